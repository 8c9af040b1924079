package bind

import (
	"testing"

	"golang.zx2c4.com/wireguard/conn"
)

func TestRingEndpointAddress(t *testing.T) {
	var o origin
	for _, want := range []string{addrA, "[2001:db8::1]:4000"} {
		parsed, err := new(conn.WinRingBind).ParseEndpoint(want)
		if err != nil {
			t.Fatal(err)
		}
		if got := o.addrPort(parsed); got != addr(want) {
			t.Errorf("%s is %v", want, got)
		}
		// Each packet brings an object of its own with the same value.
		again := *parsed.(*conn.WinRingEndpoint)
		if got := testing.AllocsPerRun(100, func() { o.addrPort(&again) }); got != 0 {
			t.Errorf("%v allocations a packet, want 0", got)
		}
	}
}
