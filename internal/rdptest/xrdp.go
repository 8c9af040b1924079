//go:build linux

package rdptest

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/boothwire/boothwire/internal/netlab"
)

// XRDP serves a VNC server's screen, with a shell in the given folder, by xrdp over TLS.
// It asks for no password: the session manager, which would, does not run. It allows
// channels: IronRDP looks after its clipboard each 5 s, and ends where there is none for
// it. Cert and key are files in PEM.
func XRDP(t testing.TB, host *netlab.Host, port int, folder, cert, key string) *Server {
	t.Helper()
	netlab.Require(t, "xrdp", "Xtigervnc", "xterm")
	dir := t.TempDir()
	vnc := port + 1
	screen, x := startX(t, host, "Xtigervnc", "-geometry", "1280x720", "-depth", "24", "-SecurityTypes", "None",
		"-localhost", "-interface", "127.0.0.1", "-rfbport", strconv.Itoa(vnc), "-AcceptSetDesktopSize", "-AlwaysShared", "-r")
	x.awaitPort(t, host, vnc)
	screen.Terminal(folder)

	ini := filepath.Join(dir, "xrdp.ini")
	write(t, ini, `[Globals]
ini_version=1
fork=true
port=tcp://127.0.0.1:%d
security_layer=tls
crypt_level=high
certificate=%s
key_file=%s
ssl_protocols=TLSv1.2, TLSv1.3
autorun=kiosk
allow_channels=true
bitmap_cache=true
bitmap_compression=true
max_bpp=32

[Logging]
LogFile=%s
LogLevel=INFO
EnableSyslog=false

[kiosk]
name=kiosk
lib=libvnc.so
ip=127.0.0.1
port=%d
username=na
password=na
`, port, cert, key, filepath.Join(dir, "xrdp.log"), vnc)
	p := start(t, host, nil, "xrdp", "--nodaemon", "--config", ini)
	t.Cleanup(func() {
		if log, err := os.ReadFile(filepath.Join(dir, "xrdp.log")); t.Failed() && err == nil {
			t.Logf("xrdp.log:\n%s", log)
		}
	})
	p.awaitPort(t, host, port)
	return &Server{Port: port, User: "kiosk", Password: "any", Cert: cert, Key: key, process: p}
}
