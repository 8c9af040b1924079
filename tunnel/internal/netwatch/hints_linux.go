package netwatch

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// hints signals when the addresses may have changed: the kernel says so on a
// route socket. Its messages are not read, only counted.
func hints() (<-chan struct{}, func()) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return poll()
	}
	const groups = unix.RTMGRP_LINK | unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV6_IFADDR
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		_ = unix.Close(fd)
		return poll()
	}
	file := os.NewFile(uintptr(fd), "netlink")
	ch := make(chan struct{}, 1)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		buf := make([]byte, 16<<10)
		for {
			if _, err := file.Read(buf); err != nil && !overflowed(err) {
				return
			}
			select {
			case ch <- struct{}{}:
			default:
			}
		}
	}()
	return ch, func() { _ = file.Close(); <-stopped }
}

// overflowed reports that messages were lost, which is a hint like any other.
func overflowed(err error) bool { return errors.Is(err, unix.ENOBUFS) }
