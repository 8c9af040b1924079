package mqtt

import (
	"net"
	"slices"
	"strings"
	"time"
)

// linkPoll is how often the local link is looked at while there is no connection.
const linkPoll = 2 * time.Second

// fingerprint stands for the local link: the addresses of this machine, and those
// that it would use towards the Internet, which come and go with the default
// routes. No packet is sent. Loopback addresses do not count.
func fingerprint() string {
	var all []string
	addrs, _ := net.InterfaceAddrs()
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && !n.IP.IsLoopback() {
			all = append(all, n.String())
		}
	}
	slices.Sort(all)
	// Addresses for documentation, RFC 5737 and RFC 3849: connecting a UDP socket
	// asks for the route only.
	for _, to := range []string{"192.0.2.1:9", "[2001:db8::1]:9"} {
		c, err := net.Dial("udp", to)
		if err != nil {
			all = append(all, "-")
			continue
		}
		if a, ok := c.LocalAddr().(*net.UDPAddr); ok {
			all = append(all, a.IP.String())
		}
		c.Close()
	}
	return strings.Join(all, " ")
}
