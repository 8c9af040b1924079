//go:build linux

package netlab

import (
	"bufio"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// What gets out of each kind of site, and what in that nobody asked for.
func TestSites(t *testing.T) {
	t.Parallel()
	l := New(t)
	internet := l.Switch("internet")
	var wg sync.WaitGroup
	for n, tt := range []struct {
		kind           Kind
		out            string // of udp4, tcp4, 443, udp6, tcp6
		asksIn, mapped string // which UDP comes in: from "any", the same "address" or "port" as was sent to; whether the port is "preserved", "same" or "varies" by whom it sees
	}{
		{Open, "udp4 tcp4 443", "any", "preserved"},
		{FullCone, "udp4 tcp4 443", "any", "same"},
		{AddressRestricted, "udp4 tcp4 443", "address", "same"},
		{PortRestricted, "udp4 tcp4 443", "port", "preserved"},
		{Symmetric, "udp4 tcp4 443", "port", "varies"},
		{DoubleNAT, "udp4 tcp4 443", "port", "same"},
		{UDPBlocked, "tcp4 443", "", ""},
		{OnlyTCP443, "443", "", ""},
		{OnlyProxy, "", "", ""},
		{OnlyIPv6, "udp6 tcp6", "port", "preserved"},
		{DualStack, "udp4 tcp4 443 udp6 tcp6", "port", "preserved"},
		{SmallMTU, "udp4 tcp4 443", "port", "preserved"},
	} {
		v := newSiteView(t, l, internet, tt.kind, n+1)
		wg.Go(func() { // not subtests: nearly all of it is waiting
			if got := v.out(tt.out); got != tt.out {
				t.Errorf("%s: out gets %q, want %q", tt.kind, got, tt.out)
			}
			if tt.mapped == "" {
				return
			}
			if asksIn, mapped := v.udp(); asksIn != tt.asksIn || mapped != tt.mapped {
				t.Errorf("%s: in comes what is from %q, want %q; ports are %q, want %q", tt.kind, asksIn, tt.asksIn, mapped, tt.mapped)
			}
		})
	}
	l.Start()
	wg.Wait()
}

// A siteView is a site and a host of its own outside, with two addresses of each
// family.
type siteView struct {
	t        *testing.T
	site     *Site
	outside  *Host
	at4, at6 [2]string
}

func newSiteView(t *testing.T, l *Lab, internet *Host, kind Kind, n int) *siteView {
	v := &siteView{t: t, outside: l.Host(fmt.Sprint("outside-", n))}
	wan := l.Link(v.outside, "", internet, "")
	for i := range v.at4 {
		v.at4[i], v.at6[i] = fmt.Sprintf("203.0.113.%d", 2*n+i), fmt.Sprintf("2001:db8::%x", 2*n+i)
		wan.A.Add(v.at4[i] + "/24")
		wan.A.Add(v.at6[i] + "/64")
	}
	v.site = l.Site(fmt.Sprint("kiosk-", n), kind, internet, n, SiteConfig{})
	v.site.Others6(v.outside)
	return v
}

// oneSite is a lab with one site.
func oneSite(t *testing.T, kind Kind) *siteView {
	l := New(t)
	v := newSiteView(t, l, l.Switch("internet"), kind, 1)
	l.Start()
	return v
}

func (v *siteView) listen(h *Host, addr string) *sock { v.t.Helper(); return listen(v.t, h, addr) }

// out is which of some protocols get to the outside; those that should have longer.
func (v *siteView) out(should string) string {
	ways := []struct{ name, network, addr string }{
		{"udp4", "udp", v.at4[0] + ":7000"}, {"tcp4", "tcp", v.at4[0] + ":80"}, {"443", "tcp", v.at4[0] + ":443"},
		{"udp6", "udp", "[" + v.at6[0] + "]:7000"}, {"tcp6", "tcp", "[" + v.at6[0] + "]:80"},
	}
	within := func(name string) time.Duration {
		if slices.Contains(strings.Fields(should), name) {
			return 15 * time.Second
		}
		return 1500 * time.Millisecond
	}
	arrived := make([]bool, len(ways))
	var wg sync.WaitGroup
	for n, way := range ways {
		if way.network == "udp" {
			s := v.listen(v.outside, way.addr)
			wg.Go(func() { arrived[n] = v.datagrams(s, way.addr, within(way.name)) })
			continue
		}
		var ln net.Listener
		if err := v.outside.Do(func() (err error) { ln, err = net.Listen("tcp", way.addr); return }); err != nil {
			v.t.Fatal(err)
		}
		wg.Go(func() {
			defer ln.Close()
			arrived[n] = nil == v.site.Host.Do(func() error {
				c, err := net.DialTimeout(way.network, way.addr, within(way.name))
				if err == nil {
					c.Close()
				}
				return err
			})
		})
	}
	wg.Wait()
	var all []string
	for n, way := range ways {
		if arrived[n] {
			all = append(all, way.name)
		}
	}
	return strings.Join(all, " ")
}

// datagrams sends some: the first ones may come before the switch forwards.
func (v *siteView) datagrams(to *sock, addr string, within time.Duration) bool {
	var c net.Conn
	if err := v.site.Host.Do(func() (err error) { c, err = net.Dial("udp", addr); return }); err != nil {
		return false
	}
	defer c.Close()
	for end := time.Now().Add(within); time.Now().Before(end); {
		c.Write([]byte("x"))
		to.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		if _, _, err := to.ReadFromUDPAddrPort(make([]byte, 1)); err == nil {
			return true
		}
	}
	return false
}

// udp is whom the site hears and how its port is seen.
func (v *siteView) udp() (asksIn, mapped string) {
	one, two, any := v.at4[0], v.at4[1], "0.0.0.0"
	if v.site.Kind == OnlyIPv6 {
		one, two, any = "["+v.at6[0]+"]", "["+v.at6[1]+"]", "[::]"
	}
	asked, port, addr := v.listen(v.outside, one+":7001"), v.listen(v.outside, one+":7002"), v.listen(v.outside, two+":7001")
	in := v.listen(v.site.Host, any+":4001")
	at := seen(in, asked)
	addr.send(at, "address")
	port.send(at, "port")
	asked.send(at, "end")
	heard, _ := in.until("end")
	switch {
	case heard["address"]:
		asksIn = "any"
	case heard["port"]:
		asksIn = "address"
	default:
		asksIn = "port"
	}
	switch {
	case seen(in, addr) != at:
		mapped = "varies"
	case at.Port() == 4001:
		mapped = "preserved"
	default:
		mapped = "same"
	}
	if at.Addr() != v.site.Public {
		v.t.Errorf("the site is seen as %v, want %v", at, v.site.Public)
	}
	return asksIn, mapped
}

func TestProxyWantsPasswordAndPort443(t *testing.T) {
	t.Parallel()
	v := oneSite(t, OnlyProxy)
	var ln net.Listener
	if err := v.outside.Do(func() (err error) { ln, err = net.Listen("tcp", v.at4[0]+":443"); return }); err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			fmt.Fprint(c, "here\n")
			c.Close()
		}
	}()
	for _, tt := range []struct{ port, header, want string }{
		{"443", "", "HTTP/1.1 407 Proxy Authentication Required"},
		{"443", "Proxy-Authorization: Basic c2hvcDp3cm9uZw==\r\n", "HTTP/1.1 407 Proxy Authentication Required"},
		{"8883", "Proxy-Authorization: Basic c2hvcDpwYXNzIHdvcmQ=\r\n", "HTTP/1.1 403 Forbidden"},
		{"443", "Proxy-Authorization: Basic c2hvcDpwYXNzIHdvcmQ=\r\n", "HTTP/1.1 200 Connection established here"},
	} {
		var c net.Conn
		if err := v.site.Host.Do(func() (err error) { c, err = net.Dial("tcp", v.site.Proxy); return }); err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(10 * time.Second))
		fmt.Fprintf(c, "CONNECT %s HTTP/1.1\r\nHost: %[1]s\r\n%s\r\n", net.JoinHostPort(v.at4[0], tt.port), tt.header)
		r := bufio.NewReader(c)
		got, _ := r.ReadString('\n')
		got = strings.TrimSpace(got)
		if strings.Contains(got, " 200 ") {
			r.ReadString('\n')
			said, _ := r.ReadString('\n')
			got += " " + strings.TrimSpace(said)
		}
		c.Close()
		if got != tt.want {
			t.Errorf("to %s with %q: %q, want %q", tt.port, tt.header, got, tt.want)
		}
	}
}

func TestSwapGivesAnotherAddress(t *testing.T) {
	t.Parallel()
	v := oneSite(t, PortRestricted)
	out := v.listen(v.outside, v.at4[0]+":7001")
	at := seen(v.listen(v.site.Host, "192.168.1.2:4001"), out)
	v.site.Swap()
	again := seen(v.listen(v.site.Host, "192.168.101.2:4001"), out)
	if at.Addr() != again.Addr() || at == again {
		t.Errorf("seen as %v before and as %v after", at, again)
	}
	if _, err := v.site.Host.Output("ping", "-c", "1", "-W", "1", "-I", "192.168.1.2", v.at4[0]); err == nil {
		t.Error("the old uplink still works")
	}
}

func TestSmallMTULosesInSilence(t *testing.T) {
	t.Parallel()
	Require(t, "ping")
	v := oneSite(t, SmallMTU)
	v.site.Host.Run("ping", "-c", "1", "-W", "5", "-M", "do", "-s", fmt.Sprint(SmallestMTU-28), v.at4[0])
	out, err := v.site.Host.Output("ping", "-c", "1", "-W", "1", "-M", "do", "-s", fmt.Sprint(SmallestMTU-27), v.at4[0])
	if err == nil || strings.Contains(out, "Frag needed") {
		t.Errorf("a packet too big passed, or somebody said that it was:\n%s", out)
	}
}
