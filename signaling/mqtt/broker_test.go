package mqtt

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/boothwire/boothwire/internal/mosquittotest"
	"github.com/boothwire/boothwire/signaling"
	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"
)

// client is a plain MQTT client beside ours.
func client(t *testing.T, b *mosquittotest.Broker, id string, got func(*paho.Publish)) *paho.Client {
	t.Helper()
	conn, err := net.Dial("tcp", b.Addr())
	if err != nil {
		t.Fatal(err)
	}
	c := paho.NewClient(paho.ClientConfig{
		Conn: packets.NewThreadSafeConn(conn),
		OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(r paho.PublishReceived) (bool, error) {
			if got != nil {
				got(r.Packet)
			}
			return true, nil
		}},
	})
	if _, err := c.Connect(t.Context(), &paho.Connect{ClientID: id, KeepAlive: 60, CleanStart: true}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Disconnect(&paho.Disconnect{}) })
	return c
}

// A broker that is killed comes back with nothing: no session, no subscription.
func TestBrokerKilled(t *testing.T) {
	for _, persist := range []bool{false, true} {
		t.Run(fmt.Sprintf("persist %v", persist), func(t *testing.T) {
			b := mosquittotest.Start(t, mosquittotest.Options{Persist: persist})
			fleet, s := read(t, b.URL(), quick())
			kiosk, l := listen(t, "k1", b.URL(), quick())
			for i := range 3 {
				kiosk.awaitUp(t)
				up, down := fmt.Sprintf(`{"n":%d}`, i), fmt.Sprintf(`{"action":"vpn_up","n":%d}`, i)
				send(t, s, "k1", down)
				kiosk.awaitMessage(t, down)
				l.Publish([]byte(up), true)
				fleet.awaitMessage(t, up)
				b.Kill()
				kiosk.await(t, "end", func() bool { return !kiosk.up })
				b.Restart()
			}
			kiosk.awaitUp(t)
		})
	}
}

// While the device is away for a moment its session keeps commands, and a stale
// one is not kept for long.
func TestSessionKeepsCommands(t *testing.T) {
	b := mosquittotest.Start(t, mosquittotest.Options{})
	_, s := read(t, b.URL(), quick())
	send(t, s, "nobody", "{}")
	l, err := newListener("k1", b.URL(), quick())
	if err != nil {
		t.Fatal(err)
	}
	run := func(c *catcher, until func()) {
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { l.Listen(ctx, c) })
		c.awaitUp(t)
		until()
		cancel()
		wg.Wait()
	}
	run(newCatcher(), func() {})
	send(t, s, "k1", `{"action":"vpn_down"}`)
	c := newCatcher()
	run(c, func() { c.awaitMessage(t, `{"action":"vpn_down"}`) })
}

func TestPublishesAsDesigned(t *testing.T) {
	b := mosquittotest.Start(t, mosquittotest.Options{})
	var mu sync.Mutex
	got := map[string]*paho.Publish{}
	spy := client(t, b, "spy", func(p *paho.Publish) {
		mu.Lock()
		defer mu.Unlock()
		got[p.Topic+string(p.Payload)] = p
	})
	if _, err := spy.Subscribe(t.Context(), &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: "iot/#", QoS: 1, RetainAsPublished: true}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := spy.Publish(t.Context(), &paho.Publish{Topic: "iot/k1/cmd", QoS: 1, Retain: true, Payload: []byte("planted")}); err != nil {
		t.Fatal(err)
	}
	kiosk, l := listen(t, "k1", b.URL(), quick())
	kiosk.awaitUp(t)
	l.Publish([]byte("document"), true)
	l.Publish([]byte("reply"), false)
	_, s := read(t, b.URL(), quick())
	send(t, s, "k1", "command")
	kiosk.awaitMessage(t, "command")
	seen := func(what string) *paho.Publish {
		t.Helper()
		await(t, what, func() bool { mu.Lock(); defer mu.Unlock(); return got[what] != nil })
		mu.Lock()
		defer mu.Unlock()
		return got[what]
	}
	if p := seen("iot/k1/statusdocument"); !p.Retain || p.QoS != 1 || p.Properties.MessageExpiry != nil {
		t.Errorf("document: %+v", p)
	}
	if p := seen("iot/k1/statusreply"); p.Retain || p.QoS != 1 {
		t.Errorf("reply: %+v", p)
	}
	if p := seen("iot/k1/cmdcommand"); p.Retain || p.QoS != 1 || p.Properties.MessageExpiry == nil || *p.Properties.MessageExpiry > 60 || *p.Properties.MessageExpiry < 50 {
		t.Errorf("command: %+v", p)
	}
	kiosk.mu.Lock()
	defer kiosk.mu.Unlock()
	for _, m := range kiosk.got {
		if string(m.Payload) == "planted" && !m.Retained {
			t.Error("a retained command counts as a fresh one")
		}
	}
}

// The CONNECT packet says what the design says.
func TestConnectPacket(t *testing.T) {
	seen := make(chan *packets.Connect, 8)
	b := startRaw(t, func(c net.Conn) {
		if p, err := packets.ReadPacket(c); err == nil {
			seen <- p.Content.(*packets.Connect)
		}
	})
	listen(t, "k1", b.url, nil)
	p := <-seen
	if p.ClientID != "boothwire-k1" || p.CleanStart || p.KeepAlive != 45 || *p.Properties.SessionExpiryInterval != 300 ||
		*p.Properties.ReceiveMaximum != 16 || *p.Properties.MaximumPacketSize != 2<<20 {
		t.Errorf("device: %v", p)
	}
	if !p.WillFlag || !p.WillRetain || p.WillQOS != 1 || p.WillTopic != "iot/k1/status" ||
		string(p.WillMessage) != `{"vpn":"offline"}` || *p.WillProperties.WillDelayInterval != 90 {
		t.Errorf("will: %v", p)
	}
	if st, err := signaling.ParseStatus(p.WillMessage); err != nil || st.VPN != "offline" {
		t.Errorf("will: %v, %v", st, err)
	}
	read(t, b.url, nil)
	p = <-seen
	if !strings.HasPrefix(p.ClientID, "boothwire-control-") || !p.CleanStart || p.WillFlag ||
		p.Properties.SessionExpiryInterval != nil && *p.Properties.SessionExpiryInterval != 0 {
		t.Errorf("control: %v", p)
	}
}

// Two Senders of one group share the statuses; one that goes away leaves all to
// the other.
func TestSharedSubscription(t *testing.T) {
	b := mosquittotest.Start(t, mosquittotest.Options{})
	group := quick(func(c *Config) { c.Shared = "control" })
	one, s1 := read(t, b.URL(), group)
	send(t, s1, "nobody", "{}")
	kiosk, l := listen(t, "k1", b.URL(), quick())
	kiosk.awaitUp(t)
	total := func(cs ...*catcher) int {
		n := 0
		for _, c := range cs {
			c.mu.Lock()
			n += len(c.got)
			c.mu.Unlock()
		}
		return n
	}
	publish := func(n int, cs ...*catcher) {
		t.Helper()
		before := total(cs...)
		for i := range n {
			l.Publish([]byte(fmt.Sprint(i)), false)
			await(t, "status", func() bool { return total(cs...) > before+i })
		}
	}
	t.Run("two", func(t *testing.T) {
		two, s2 := read(t, b.URL(), group)
		send(t, s2, "nobody", "{}")
		publish(20, one, two)
		time.Sleep(100 * time.Millisecond)
		if n := total(one, two); n != 20 {
			t.Errorf("%d statuses arrived, want each once", n)
		}
		if total(one) == 0 || total(two) == 0 {
			t.Error("one has all")
		}
	})
	publish(20, one)
}

// Two clients of one id give way to each other instead of fighting, whether or not
// the broker says what happened (Mosquitto 2.0.11 does not).
func TestTakeover(t *testing.T) {
	t.Parallel()
	b := mosquittotest.Start(t, mosquittotest.Options{})
	one, _ := listen(t, "k1", b.URL(), nil)
	one.awaitUp(t)
	two, _ := listen(t, "k1", b.URL(), nil)
	two.awaitUp(t)
	one.await(t, "end", func() bool { return !one.up })
	time.Sleep(10 * time.Second)
	one.mu.Lock()
	defer one.mu.Unlock()
	two.mu.Lock()
	defer two.mu.Unlock()
	if ups := one.ups + two.ups - 2; ups > 5 {
		t.Errorf("%d reconnections in 10 s", ups)
	}
}

func TestShortLives(t *testing.T) {
	var n notices
	b := startRaw(t, func(c net.Conn) { greet(c) })
	c, _ := listen(t, "k1", b.url, quick(func(c *Config) { c.Observe = n.observe }))
	c.await(t, "fourth connection", func() bool { return c.ups >= 4 })
	if got := n.count("short_lived"); got != 1 {
		t.Errorf("%d notices, want 1", got)
	}
}

func TestTakenOverByWord(t *testing.T) {
	t.Parallel()
	var n notices
	b := startRaw(t, func(c net.Conn) {
		if greet(c) == nil {
			io.WriteString(c, "\xe0\x02\x8e\x00")
		}
	})
	_, l := listen(t, "k1", b.url, quick(func(c *Config) { c.Observe = n.observe }))
	await(t, "notice", func() bool { return n.count("taken_over") == 1 })
	time.Sleep(3 * time.Second)
	if got := b.accepted.Load(); got != 1 {
		t.Errorf("%d connections", got)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.line.mu.Lock()
	defer l.line.mu.Unlock()
	if l.line.back.why != causeTakenOver {
		t.Errorf("cause %v", l.line.back.why)
	}
}

func TestOneAtATime(t *testing.T) {
	b := mosquittotest.Start(t, mosquittotest.Options{})
	kiosk, l := listen(t, "k1", b.URL(), quick())
	kiosk.awaitUp(t)
	if err := l.Listen(t.Context(), newCatcher()); err == nil {
		t.Error("a second Listen runs")
	}
	_, s := read(t, b.URL(), quick())
	send(t, s, "k1", "{}")
	for _, err := range s.Statuses(t.Context()) {
		if err == nil {
			t.Error("a second Statuses runs")
		}
	}
	idle, err := NewSender(b.URL(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := idle.Send(t.Context(), "k1", []byte("{}")); err == nil {
		t.Error("a command goes out on no line")
	}
}

// What Listen was given to publish goes out before it disconnects.
func TestGoodbye(t *testing.T) {
	b := mosquittotest.Start(t, mosquittotest.Options{})
	fleet, s := read(t, b.URL(), quick())
	send(t, s, "nobody", "{}")
	l, err := newListener("k1", b.URL(), quick())
	if err != nil {
		t.Fatal(err)
	}
	c := newCatcher()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { l.Listen(ctx, c) })
	c.awaitUp(t)
	l.Publish([]byte(`{"vpn":"disconnected"}`), true)
	cancel()
	wg.Wait()
	fleet.awaitMessage(t, `{"vpn":"disconnected"}`)
}

func TestNoDial(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u := url.URL{Scheme: "mqtt", Host: ln.Addr().String()}
	ln.Close()
	c, _ := listen(t, "k1", u.String(), quick())
	c.await(t, "failures", func() bool { return c.downs >= 3 })
	if c.ups > 0 {
		t.Error("connected to nothing")
	}
}
