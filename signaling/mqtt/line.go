package mqtt

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"sync"
	"time"

	"github.com/boothwire/boothwire/internal/lenienttls"
	"github.com/boothwire/boothwire/signaling"
	"github.com/eclipse/paho.golang/autopaho"
	"github.com/eclipse/paho.golang/paho"
	"github.com/eclipse/paho.golang/paho/session/state"
	"go.uber.org/zap"
)

// A rider is what a line carries: a signaling.Ride or a signaling.FleetRide.
type rider interface {
	Deliver(topic string, payload []byte, retained bool) bool
	Connected(up bool)
}

// A plan is what a line does with its connection.
type plan struct {
	clientID  string
	subscribe paho.SubscribeOptions
	clean     bool   // start without a session
	session   uint32 // seconds that the broker keeps one
	expiry    uint32 // seconds that a publish counts; 0: for ever
	will      string // topic; "" none
}

// A line keeps one connection up while it is open. It is made of the client
// library's connection manager, and of what that lacks.
//
// Lock order: mu, then what the rider locks.
type line struct {
	cfg   Config
	plan  plan
	ride  rider
	log   *zap.Logger
	dial  *dialer
	state *state.State
	route func(net.Addr) netip.Addr // from where an address is reached; nil: always from the same
	wg    sync.WaitGroup

	mu   sync.Mutex
	back *backoff
	link string // the last fingerprint
	gen  int    // of connections: a SUBACK of an earlier one counts for nothing
	conn *conn  // nil: none yet
	why  cause  // why the connection is being closed by us, or causeStart
	cm   *autopaho.ConnectionManager
	live context.Context // ends with the connection; nil: none yet
	end  context.CancelFunc
	stop context.CancelFunc
}

func newLine(to *endpoint, cfg Config, p plan, log *zap.Logger) *line {
	l := &line{cfg: cfg, plan: p, log: log}
	if !loopback(to.host) {
		l.route = routeTo
	}
	l.dial = &dialer{to: to, proxy: cfg.Proxy, tls: lenienttls.Config(tlsFor(cfg.TLS, to), func(err error) {
		l.warn("certificate_dates", err)
	})}
	return l
}

// open begins to connect. A line is open at most once.
func (l *line) open(ctx context.Context, ride rider) error {
	ctx, l.stop = context.WithCancel(ctx)
	l.ride, l.back, l.link, l.state = ride, newBackoff(l.cfg.Spread), fingerprint(), state.NewInMemory()
	cc := autopaho.ClientConfig{
		ServerUrls:            []*url.URL{l.dial.to.url},
		KeepAlive:             uint16(l.cfg.KeepAlive / time.Second),
		SessionExpiryInterval: l.plan.session,
		ReconnectBackoff:      func(int) time.Duration { l.wait(ctx); return 0 },
		ConnectTimeout:        dialTimeout + packetTimeout,
		AttemptConnection:     l.attempt,
		ConnectPacketBuilder:  l.connectPacket,
		ConnectUsername:       l.cfg.Username,
		ConnectPassword:       []byte(l.cfg.Password),
		OnConnectError:        func(err error) { l.failed(ctx, err) },
		OnConnectionUp:        func(cm *autopaho.ConnectionManager, _ *paho.Connack) { l.connected(ctx, cm) },
		OnConnectionDown:      l.lost,
		ClientConfig: paho.ClientConfig{
			ClientID:      l.plan.clientID,
			Session:       l.state,
			AuthHandler:   noAuth{},
			PacketTimeout: packetTimeout,
			// A handler added to the connection manager would be lost at the
			// next reconnect; this one is not.
			OnPublishReceived: []func(paho.PublishReceived) (bool, error){
				func(r paho.PublishReceived) (bool, error) {
					return ride.Deliver(r.Packet.Topic, r.Packet.Payload, r.Packet.Retain), nil
				},
			},
		},
	}
	if l.plan.will != "" {
		cc.WillMessage = &paho.WillMessage{Topic: l.plan.will, Payload: []byte(`{"vpn":"offline"}`), QoS: 1, Retain: true}
		cc.WillProperties = &paho.WillProperties{WillDelayInterval: ptr(uint32(willDelay))}
	}
	cm, err := autopaho.NewConnection(ctx, cc)
	if err != nil {
		l.stop()
		return fmt.Errorf("mqtt: %w", err)
	}
	l.mu.Lock()
	l.cm = cm
	l.mu.Unlock()
	return nil
}

// close disconnects, which tells the broker to forget the will, and waits until
// nothing of the line is left.
func (l *line) close() {
	l.mu.Lock()
	l.gen++
	c, cm := l.conn, l.cm
	l.mu.Unlock()
	if c != nil {
		c.hurry()
	}
	l.stop()
	<-cm.Done()
	l.state.Close() // ends publishes that nobody will acknowledge
	l.wg.Wait()
	l.ride.Connected(false)
}

// publish returns when the broker has the message.
func (l *line) publish(ctx context.Context, topic string, payload []byte, retain bool) error {
	l.mu.Lock()
	cm, live := l.cm, l.live
	l.mu.Unlock()
	if live == nil {
		return errDown
	}
	// The client library may leave a publish waiting that a lost connection met on
	// its way: only its timeout would end it.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(live, cancel)()
	p := &paho.Publish{Topic: topic, Payload: payload, Retain: retain, QoS: 1}
	if l.plan.expiry > 0 {
		p.Properties = &paho.PublishProperties{MessageExpiry: ptr(l.plan.expiry)}
	}
	res, err := cm.Publish(ctx, p)
	switch {
	case res != nil && res.ReasonCode >= 0x80:
		return fmt.Errorf("mqtt: broker refuses the message: reason 0x%02x", res.ReasonCode)
	case err != nil:
		return fmt.Errorf("mqtt: %w", err)
	}
	return nil
}

func (l *line) connectPacket(cp *paho.Connect, _ *url.URL) (*paho.Connect, error) {
	cp.CleanStart = l.plan.clean
	if cp.Properties == nil {
		cp.Properties = &paho.ConnectProperties{}
	}
	cp.Properties.ReceiveMaximum = ptr(uint16(receiveMaximum))
	cp.Properties.MaximumPacketSize = ptr(uint32(maxPacket))
	return cp, nil
}

// attempt makes one connection. A ServerReference (0x9c, 0x9d) is not followed: it
// is unsigned, and a broker that moves has a name that moves with it.
func (l *line) attempt(ctx context.Context, _ autopaho.ClientConfig, _ *url.URL) (net.Conn, error) {
	l.mu.Lock()
	l.conn, l.why = nil, causeStart
	l.mu.Unlock()
	c, err := l.dial.dial(ctx)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	l.conn = c
	l.mu.Unlock()
	return c, nil
}

// failed takes an attempt that did not reach CONNACK, or got a bad one.
func (l *line) failed(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	why := causeFailed
	var refused *autopaho.ConnackError
	if errors.As(err, &refused) {
		err = fmt.Errorf("mqtt: broker refuses the connection: reason 0x%02x", refused.ReasonCode)
		if unauthorised(refused.ReasonCode) {
			why = causeNotAuthorised
		}
	}
	l.down(why, err)
}

// connected subscribes, on a goroutine of its own: the caller must not wait.
func (l *line) connected(ctx context.Context, cm *autopaho.ConnectionManager) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.gen++
	l.cm = cm
	l.live, l.end = context.WithCancel(ctx)
	live, gen, c := l.live, l.gen, l.conn
	l.wg.Go(func() { l.subscribe(live, cm, gen, c) })
}

func (l *line) subscribe(ctx context.Context, cm *autopaho.ConnectionManager, gen int, c *conn) {
	soon, cancel := context.WithTimeout(ctx, packetTimeout)
	defer cancel()
	err := l.ask(soon, cm, l.plan.subscribe)
	why := causeFailed
	if refused := (*subscriptionError)(nil); errors.As(err, &refused) && unauthorised(refused.reason) {
		why = causeNotAuthorised
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if gen != l.gen {
		return
	}
	if err != nil {
		l.log.Warn("mqtt: subscription failed", zap.Error(err))
		l.why = why
		c.Close() // the connection manager notices, and calls lost
		return
	}
	l.link = fingerprint()
	l.back.up(time.Now())
	l.log.Info("mqtt: line up", zap.String("broker", l.dial.to.address))
	l.ride.Connected(true)
	l.wg.Go(func() { l.watch(ctx, cm, gen, c) })
}

// A subscriptionError is a broker's refusal.
type subscriptionError struct{ reason byte }

func (e *subscriptionError) Error() string {
	return fmt.Sprintf("mqtt: broker refuses the subscription: reason 0x%02x", e.reason)
}

// ask subscribes, and waits for the broker's answer.
func (l *line) ask(ctx context.Context, cm *autopaho.ConnectionManager, to paho.SubscribeOptions) error {
	ack, err := cm.Subscribe(ctx, &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{to}})
	switch {
	case ack != nil && len(ack.Reasons) == 1 && ack.Reasons[0] >= 0x80:
		return &subscriptionError{ack.Reasons[0]}
	case err == nil && len(ack.Reasons) != 1:
		return errors.New("mqtt: broker answered another subscription")
	}
	return err
}

// lost takes the end of a connection that had its CONNACK.
func (l *line) lost() bool {
	l.mu.Lock()
	why := l.why
	l.mu.Unlock()
	if why == causeStart {
		why = causeLost
	}
	l.down(why, errors.New("mqtt: connection lost"))
	return true
}

// down begins the wait for the next attempt. What the broker said last, or did
// wrong, is read here from the connection itself: the client library tells of a
// DISCONNECT on a goroutine that may come too late.
func (l *line) down(why cause, err error) {
	l.mu.Lock()
	l.gen++
	if l.end != nil {
		l.end()
	}
	code := byte(reasonNone)
	if l.conn != nil {
		var fault error
		if fault, code = l.conn.fault(); fault != nil {
			err = fault
			defer l.warn("broker_protocol", err)
		}
	}
	switch {
	case code == reasonTakenOver:
		why = causeTakenOver
		defer l.warn("taken_over", fmt.Errorf("mqtt: another client connected as %q", l.plan.clientID))
	case code != reasonNone && unauthorised(code):
		why = causeNotAuthorised
	case code != reasonNone:
		err = fmt.Errorf("mqtt: broker ended the connection: reason 0x%02x", code)
	}
	if why == causeNotAuthorised {
		defer l.warn("not_authorised", err)
	}
	before := l.back.restless()
	l.back.down(time.Now(), why)
	if l.back.restless() && !before {
		defer l.warn("short_lived", fmt.Errorf("mqtt: connections end soon; is there another client %q? %w", l.plan.clientID, err))
	}
	l.mu.Unlock()
	l.log.Info("mqtt: line down", zap.String("broker", l.dial.to.address), zap.Error(err))
	l.ride.Connected(false)
}

// wait returns when the next attempt is due, or when ctx ends.
func (l *line) wait(ctx context.Context) {
	l.mu.Lock()
	l.look()
	d := l.back.delay()
	l.mu.Unlock()
	if d <= 0 {
		return
	}
	due := time.Now().Add(d)
	timer, poll := time.NewTimer(d), time.NewTicker(linkPoll)
	defer timer.Stop()
	defer poll.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			return
		case <-poll.C:
		}
		l.mu.Lock()
		if l.look() {
			if d := l.back.delay(); time.Until(due) > d {
				due = time.Now().Add(d)
				timer.Reset(d)
			}
		}
		l.mu.Unlock()
	}
}

// look reports whether the local link changed in a way that counts.
func (l *line) look() bool {
	now := fingerprint()
	if now == l.link {
		return false
	}
	l.link = now
	return l.back.linkChanged(time.Now())
}

func (l *line) warn(code string, err error) {
	l.log.Warn("mqtt: "+code, zap.String("broker", l.dial.to.address), zap.Error(err))
	l.cfg.Observe(signaling.Notice{At: time.Now(), Kind: NoticeWarning, Code: code, Err: err, Count: 1})
}

func ptr[T any](v T) *T { return &v }
