#!/usr/bin/env bash
# Installs what the end-to-end tests need from Debian's packages, when run as
# root there; elsewhere it says what is missing and exits 0, because a test that
# misses its part says so itself. Then it fetches the console's npm packages.
set -u
cd "$(dirname "$0")/.."

# program:package
wanted="ip:iproute2 ss:iproute2 ping:iputils-ping nft:nftables mosquitto:mosquitto mosquitto_pub:mosquitto-clients
sshd:openssh-server ssh:openssh-client smbd:samba smbclient:smbclient wg:wireguard-tools wg-quick:wireguard-tools unshare:util-linux gcc:gcc qemu-system-x86_64:qemu-system-x86 mkfs.ext4:e2fsprogs
node:nodejs npm:npm chromium:chromium Xvfb:xvfb Xtigervnc:tigervnc-standalone-server freerdp-shadow-cli:freerdp2-shadow-x11 xrdp:xrdp xterm:xterm"

PATH=$PATH:/usr/sbin:/sbin
missing=""
for w in $wanted; do
	command -v "${w%%:*}" >/dev/null 2>&1 && continue
	case "$missing " in *" ${w##*:} "*) ;; *) missing="$missing ${w##*:}" ;; esac
done
# The kernel that tests boot in qemu.
ls /boot/vmlinuz-*-cloud-amd64 >/dev/null 2>&1 || [ "$(uname -m)" != x86_64 ] || missing="$missing linux-image-cloud-amd64"
[ -e /usr/include/stdlib.h ] || missing="$missing libc6-dev"
# Its server is on nobody's PATH.
command -v postgres >/dev/null 2>&1 || ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || missing="$missing postgresql"
# Without it go cannot fetch modules, nor a test trust the system's authorities.
[ -e /etc/ssl/certs/ca-certificates.crt ] || [ ! -e /etc/debian_version ] || missing="$missing ca-certificates"
# What the browser writes with.
ls /usr/share/fonts/truetype/dejavu/*.ttf >/dev/null 2>&1 || missing="$missing fonts-dejavu-core"
ls /usr/share/fonts/opentype/noto/*CJK* >/dev/null 2>&1 || missing="$missing fonts-noto-cjk"

# The npm packages of the console and of its tests.
assets() {
	command -v npm >/dev/null 2>&1 || return 0
	make -s assets || echo "deps: npm could not fetch the console's packages; the tests that need them are skipped" >&2
}
[ -z "$missing" ] && { assets; exit 0; }

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
	echo "deps: missing:$missing; the tests that need them are skipped (as root on Debian: make deps)"
	assets
	exit 0
fi
echo "deps: installing$missing"
export DEBIAN_FRONTEND=noninteractive
# Installed services must not start, now or at the next boot: each test starts its
# own. A policy that is there already is the administrator's and stays.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
	printf '#!/bin/sh\nexit 101\n' >$policy && chmod +x $policy
	trap 'rm -f $policy' EXIT
	trap 'exit 1' INT TERM HUP
fi
apt-get update -qq >/dev/null || exit 1
apt-get install -y -qq --no-install-recommends $missing >/dev/null || {
	echo "deps: apt-get could not install$missing" >&2
	exit 1
}
if command -v systemctl >/dev/null 2>&1; then
	for m in $missing; do
		case $m in
		mosquitto) units="mosquitto" ;;
		postgresql) units="postgresql" ;;
		openssh-server) units="ssh.service ssh.socket" ;;
		samba) units="smbd nmbd samba-ad-dc" ;;
		xrdp) units="xrdp xrdp-sesman" ;;
		*) continue ;;
		esac
		for u in $units; do systemctl disable --quiet "$u" >/dev/null 2>&1; done
	done
fi
assets
exit 0
