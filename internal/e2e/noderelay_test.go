//go:build linux

package e2e

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/boothwire/boothwire/internal/netlab"
)

// carryRelay gives the node a relay, a STUN server and metrics in its own process,
// and names the relay to control.
func (w *world) carryRelay() {
	w.t.Helper()
	w.gateway.stop()
	cert, key := w.ca.Server("node-relay", []string{addrNode})
	w.write(w.gatewayConfig, fmt.Sprintf(`%s
stun = ["%s:3478"]
metrics = "127.0.0.1:9167"
[relay]
listen = "%[2]s:443"
drain = "1s"
[relay.tls]
cert = %[3]q
key = %[4]q
`, w.read(w.gatewayConfig), addrNode, cert, key))
	public := strings.TrimSpace(w.nodeHost.Run(program(w.t, "boothwire-gateway"), "-config", w.gatewayConfig, "relay-key"))
	w.control.stop()
	w.write(w.controlConfig, fmt.Sprintf("%s\n[[relay]]\nname = %q\nurl = \"https://%s/relay\"\nkey = %q\n", w.read(w.controlConfig), node, addrNode, public))
	from := w.control.log.len()
	w.control.run()
	w.control.waitLog(from, "serving")
	w.runNode()
}

// runNode starts the node again and waits until it and its relay are there.
func (w *world) runNode() {
	w.t.Helper()
	from := w.gateway.log.len()
	w.gateway.run()
	w.gateway.waitLog(from, "relay serves")
	w.gateway.waitLog(from, "control is there")
}

// figures waits until the node's metrics hold every line, a regular expression.
func (w *world) figures(lines ...string) {
	w.t.Helper()
	eventually(w.t, "the node's metrics", func() error {
		text, err := get(w.nodeHost, "127.0.0.1:9167", "/metrics")
		if err != nil {
			return err
		}
		for _, l := range lines {
			if !regexp.MustCompile("(?m)^" + l + "$").MatchString(text) {
				return fmt.Errorf("no %q in\n%s", l, text)
			}
		}
		return nil
	})
}

// get reads a page of a server on the host itself.
func get(h *netlab.Host, addr, path string) (string, error) {
	var c net.Conn
	if err := h.Do(func() (err error) { c, err = net.Dial("tcp", addr); return }); err != nil {
		return "", err
	}
	defer c.Close()
	fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", path)
	r, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	return string(b), err
}

// TestNodeRelay reaches a kiosk whose site lets out nothing but TCP to port 443,
// with no machine more than the node: the relay is in the node's process.
func TestNodeRelay(t *testing.T) {
	t.Setenv("GORACE", "atexit_sleep_ms=10 "+os.Getenv("GORACE")) // not a second for each boothctl
	lines := options{lines: []string{"wss"}}
	w := prepare(t, lines)
	w.carryRelay()
	// As behind a NAT that does not send its own back: the node's legs need no network.
	w.nodeHost.NFT("table inet hairpin {\n chain input {\n type filter hook input priority 0; policy accept;\n iifname lo ip daddr " + addrNode + " drop\n }\n}\n")
	w.shop.Refuse("iifname net1 meta l4proto udp")
	w.shop.Refuse("iifname net1 tcp dport != 443")
	w.startAgent(lines)
	w.waitOnline()

	k := w.talk()
	onRelay(w)
	// For the relay each pair of ends is one: device and node, perhaps operator and node.
	w.figures("boothwire_node_sessions 1", "boothwire_relay_sessions [12]", "boothwire_node_legs 2")

	// Asked to end, the node sends the legs of its relay elsewhere before it goes; when
	// it is back the same ssh goes on.
	from := w.gateway.log.len()
	w.gateway.stop()
	text := w.gateway.log.since(from)
	if drained, stopped := strings.Index(text, `"draining"`), strings.Index(text, `"stopped"`); drained < 0 || stopped < drained {
		t.Errorf("the node did not drain its relay and then stop:\n%s", text)
	}
	w.runNode()
	t.Logf("packets flow again %v after the node was back", k.say(patience).Round(time.Millisecond))
	onRelay(w)

	// Closed, it is over at the relay too.
	began := time.Now()
	w.ctl("close", w.one().ID)
	w.figures("boothwire_node_sessions 0", "boothwire_relay_sessions 0", "boothwire_relay_legs 0", "boothwire_node_legs 0")
	t.Logf("nothing is left of the session at the node %v after boothctl was called to close it", time.Since(began).Round(time.Millisecond))

	// So is one that is not the node's, by its relay, by control's word alone: the ends
	// are asleep.
	eventually(t, "the kiosk is free", func() error {
		if d := w.device(); d.Session != "" || d.State != "disconnected" {
			return fmt.Errorf("%+v", d)
		}
		return nil
	})
	from = w.gateway.log.len()
	args := w.ctlArgs("connect", kiosk, "--end-to-end", "--json")
	hold := start(t, w.operator, args[0], args[1:]...)
	onRelay(w)
	w.figures("boothwire_node_sessions 0", "boothwire_relay_sessions 1")
	id := w.one().ID
	thaw := freeze(hold, w.agent)
	began = time.Now()
	closed := make(chan error, 1)
	go func() { _, err := w.tryCtl("close", id); closed <- err }() // waits for the kiosk
	w.gateway.waitLog(from, `"revoked"`)
	t.Logf("the relay ended the end-to-end session %v after boothctl was called to close it", time.Since(began).Round(time.Millisecond))
	thaw()
	if err := <-closed; err != nil {
		t.Error(err)
	}
	<-hold.gone
	w.figures("boothwire_relay_legs 0")

	if err := binding(w.operator, addrNode+":3478"); err != nil {
		t.Errorf("STUN at the node: %v", err)
	}
	w.gateway.stop()
}

// onRelay waits until control shows that the session's path is the relay.
func onRelay(w *world) {
	w.t.Helper()
	eventually(w.t, "the session's path is relay", func() error {
		path, why, err := w.path()
		if err == nil && path != "relay" {
			err = fmt.Errorf("%q: %s", path, why)
		}
		return err
	})
}

// binding asks a STUN server for the sender's address (RFC 8489, section 3).
func binding(h *netlab.Host, server string) error {
	var c net.Conn
	if err := h.Do(func() (err error) { c, err = net.Dial("udp", server); return }); err != nil {
		return err
	}
	defer c.Close()
	ask := binary.BigEndian.AppendUint32([]byte{0, 1, 0, 0}, 0x2112a442)
	ask = append(ask, "abcdefghijkl"...)
	answer := make([]byte, 1500)
	for range 10 {
		if _, err := c.Write(ask); err != nil {
			return err
		}
		_ = c.SetReadDeadline(time.Now().Add(patience / 10))
		if n, err := c.Read(answer); err == nil && n > 20 && answer[0] == 1 && answer[1] == 1 && string(answer[8:20]) == "abcdefghijkl" {
			return nil
		}
	}
	return errors.New("no answer")
}
