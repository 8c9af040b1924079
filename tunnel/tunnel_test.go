package tunnel

import (
	"io"
	"net"
	"testing"

	"github.com/boothwire/boothwire/keys"
)

func TestForward(t *testing.T) {
	noLeaks(t)
	device, operator := pair(t, keys.TCP(22))
	device.Services = map[keys.Port]string{keys.TCP(22): serveTCP(t, func(c *net.TCPConn) {
		_, _ = io.Copy(c, c)
	})}
	d, o := up(t, device), up(t, operator)
	ready(t, d, o)

	c, err := o.Dial(testContext(t), "tcp", ":22")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(c)
	if err != nil || string(got) != "hello" {
		t.Errorf("got %q, %v", got, err)
	}
	t.Logf("%+v", o.Status())
	if err := o.Close(); err != nil {
		t.Error(err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}
