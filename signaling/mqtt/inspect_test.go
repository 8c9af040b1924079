package mqtt

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"
)

func TestInspect(t *testing.T) {
	for _, tt := range []struct {
		name string
		in   string
		good int // bytes that pass; -1: all
		code byte
	}{
		{"connack", "\x20\x03\x00\x00\x00", -1, reasonNone},
		{"two packets", "\xd0\x00\x30\x05\x00\x01a\x00x", -1, reasonNone},
		{"publish at QoS 1", "\x32\x07\x00\x01a\x00\x01\x00x", -1, reasonNone},
		{"publish at QoS 2", "\xd0\x00\x34\x07", 2, reasonNone},
		{"publish at QoS 3", "\x36\x07", 0, reasonNone},
		{"largest", "\x30\x80\x80\x80\x01", -1, reasonNone},
		{"too large by one", "\x30\x81\x80\x80\x01", 4, reasonNone},
		{"256 MiB", "\x30\xff\xff\xff\x7f", 4, reasonNone},
		{"length without end", "\x30\x80\x80\x80\x80\x80\x80", 4, reasonNone},
		{"reserved type", "\x00\x00", 0, reasonNone},
		{"connect", "\x10\x00", 0, reasonNone},
		{"pubrec", "\x50\x02\x00\x01", 0, reasonNone},
		{"pubrel", "\x62\x02\x00\x01", 0, reasonNone},
		{"pingreq", "\xc0\x00", 0, reasonNone},
		{"auth", "\xf0\x00", 0, reasonNone},
		{"taken over", "\xe0\x02\x8e\x00", -1, 0x8e},
		{"bare disconnect", "\xe0\x00", -1, reasonNone},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want := tt.good
			if want < 0 {
				want = len(tt.in)
			}
			whole := newInspector()
			n, err := whole.inspect([]byte(tt.in))
			if n != want || (err == nil) != (tt.good < 0) || whole.reason != tt.code {
				t.Errorf("%d bytes pass, code %#x, %v; want %d, %#x", n, whole.reason, err, want, tt.code)
			}
			split := newInspector()
			for i := range len(tt.in) {
				if n, _ := split.inspect([]byte(tt.in[i : i+1])); n == 0 {
					if i != want {
						t.Errorf("byte by byte: stops at %d, want %d", i, want)
					}
					return
				}
			}
			if want != len(tt.in) {
				t.Errorf("byte by byte: passes all, want %d", want)
			}
		})
	}
}

// FuzzInspect feeds what passes the inspector to the client library's parser: it
// must not panic, nor be told of more than maxPacket bytes. A split of the input
// must not change the verdict.
func FuzzInspect(f *testing.F) {
	for _, s := range []string{
		"\x20\x03\x00\x00\x00", "\x20\x0a\x00\x00\x07\x22\x00\x0a\x21\x00\x10\x2a", "\x90\x04\x00\x01\x00\x01",
		"\x32\x07\x00\x01a\x00\x01\x00x", "\x40\x02\x00\x01", "\xe0\x02\x8e\x00", "\xd0\x00", "\xb0\x04\x00\x01\x00\x11",
		"\x30\xff\xff\xff\x7f", "\x20\x06\x00\x00\x03\x15\x00\x00", "\x90\x03\x00\x01\x00", "\x30\x80\x80\x80\x80\x01",
	} {
		f.Add([]byte(s), 3)
	}
	f.Fuzz(func(t *testing.T, b []byte, at int) {
		whole := newInspector()
		n, err := whole.inspect(b)
		split := newInspector()
		at = max(0, min(at, len(b)))
		m, err2 := split.inspect(b[:at])
		if err2 == nil {
			var k int
			k, err2 = split.inspect(b[at:])
			m += k
		}
		if n != m || (err == nil) != (err2 == nil) {
			t.Fatalf("%d bytes (%v) in one, %d (%v) in two", n, err, m, err2)
		}
		for r := bytes.NewReader(b[:n]); ; {
			p, err := packets.ReadPacket(r)
			if err != nil {
				return
			}
			switch c := p.Content.(type) {
			case *packets.Connack:
				paho.ConnackFromPacketConnack(c)
			case *packets.Publish:
				paho.PublishFromPacketPublish(c)
			case *packets.Suback:
				paho.SubackFromPacketSuback(c)
			case *packets.Puback:
				paho.PublishResponseFromPuback(c)
			case *packets.Disconnect:
				paho.DisconnectFromPacketDisconnect(c)
			}
		}
	})
}

func TestConnReadStopsBeforeTheFault(t *testing.T) {
	client, server := pipe(t)
	c := newConn(client)
	go func() {
		io.WriteString(server, "\xd0\x00\x30\xff\xff\xff\x7f"+strings.Repeat("x", 100))
		server.Close()
	}()
	got, err := io.ReadAll(c)
	if string(got) != "\xd0\x00\x30\xff\xff\xff" || err == nil {
		t.Errorf("read %q, %v", got, err)
	}
	if why, _ := c.fault(); why == nil {
		t.Error("no fault")
	}
}

func TestConnWritesOncePerPacket(t *testing.T) {
	client, server := pipe(t)
	counted := &writeCounter{Conn: client}
	c := newConn(counted)
	p := &packets.Publish{Topic: "a", Payload: []byte("payload"), QoS: 1, PacketID: 7, Properties: &packets.Properties{}}
	if _, err := p.WriteTo(c); err != nil {
		t.Fatal(err)
	}
	got, err := packets.ReadPacket(server)
	if err != nil {
		t.Fatal(err)
	}
	if counted.n != 1 || string(got.Content.(*packets.Publish).Payload) != "payload" {
		t.Errorf("%d writes, payload %q", counted.n, got.Content.(*packets.Publish).Payload)
	}
	client.Close()
	c.Lock()
	c.Write([]byte("x"))
	c.Unlock()
	c.Lock()
	defer c.Unlock()
	if _, err := c.Write([]byte("x")); err == nil {
		t.Error("a write after a failed one succeeds")
	}
}
