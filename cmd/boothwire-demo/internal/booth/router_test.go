package booth

import (
	"net"
	"testing"
	"time"
)

func TestRouter(t *testing.T) {
	const patience = 20 * time.Second
	var r Router
	inside, err := r.Socket()
	if err != nil {
		t.Fatal(err)
	}
	defer inside.Close()
	outside, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer outside.Close()
	send := func(from, to net.PacketConn, text string) {
		if _, err := from.WriteTo([]byte(text), to.LocalAddr()); err != nil {
			t.Error(err)
		}
	}
	read := func(c net.PacketConn) string {
		buf := make([]byte, 100)
		c.SetReadDeadline(time.Now().Add(patience))
		n, _, err := c.ReadFrom(buf)
		if err != nil {
			t.Error(err)
		}
		return string(buf[:n])
	}
	r.Shut()
	got := make(chan string)
	go func() { got <- read(inside) }()
	send(inside, outside, "lost")
	send(outside, inside, "lost too")
	for end := time.Now().Add(patience); r.Dropped() < 2; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d packets were dropped, not both", r.Dropped())
		}
	}
	r.Open()
	send(inside, outside, "out")
	if text := read(outside); text != "out" {
		t.Errorf("outside got %q", text)
	}
	send(outside, inside, "in")
	if text := <-got; text != "in" {
		t.Errorf("inside got %q", text)
	}
	if n := r.Dropped(); n != 2 {
		t.Errorf("%d packets were dropped, not the two", n)
	}
}
