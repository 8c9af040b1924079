package tunnel

import (
	"errors"
	"time"

	"github.com/boothwire/boothwire/tunnel/internal/path"
	"github.com/boothwire/boothwire/tunnel/internal/reach"
	"github.com/boothwire/boothwire/tunnel/internal/watchdog"
)

// run watches the tunnel until it ends, and takes it down.
func (t *Tunnel) run() {
	watch := t.watchNetwork()
	err := t.loop(watch)
	t.mu.Lock()
	t.err = err
	t.mu.Unlock()
	t.become(Disconnecting, reasonOf(err))
	t.tell(Event{Kind: EventClosing, Err: err})
	t.cancel()
	t.closePaths()
	t.work.Wait()
	t.release()

	var driver *DriverError
	if errors.As(err, &driver) {
		t.become(Failed, err.Error())
	} else {
		t.become(Disconnected, reasonOf(err))
	}
	t.tell(Event{Kind: EventClosed, Err: err})
	t.events.end()
	close(t.done)
}

func reasonOf(err error) string {
	if err == nil {
		return "closed"
	}
	return err.Error()
}

// loop returns why the tunnel ends, nil for Close.
func (t *Tunnel) loop(network <-chan struct{}) error {
	t.tell(Event{Kind: EventSocket})
	t.takePaths(t.config(), false)
	t.setRoutes()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		next, err := t.step()
		if err != nil {
			return err
		}
		timer.Reset(max(next-t.gate.Now(), 0))
		select {
		case <-t.ctx.Done():
			return nil
		case <-t.dev.Wait():
			return &DriverError{"tun", errors.New("the adapter went away")}
		case p := <-t.filter.Proofs():
			t.proof(p)
		case f := <-t.calls:
			f()
		case r := <-t.roamed:
			t.moved(r)
		case <-network:
			t.networkChanged()
		case <-t.gate.Moved():
		case <-timer.C:
		}
	}
}

func (t *Tunnel) config() *Config {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.cfg
}

// longest is how long run sleeps at most, so that a set clock is noticed.
const longest = watchdog.Idle

// lookEvery is how old Status.Handshake may be; WireGuard makes a new one each two
// minutes.
const lookEvery = 10 * time.Second

// step does what is due and returns when the next thing is.
func (t *Tunnel) step() (next time.Duration, err error) {
	// Before the look at what has moved: what moves after it must wake run.
	t.gate.ArmOut()
	if t.far.dog.State() == watchdog.Connecting {
		t.gate.ArmIn()
	}
	stats := t.filter.Stats()
	now := t.gate.Now()
	next = now + longest

	t.mu.Lock()
	end := t.end
	t.mu.Unlock()
	over, at := watchdog.Ends(now, end, t.idle, stats.LastUse)
	switch over {
	case watchdog.Lifetime:
		return 0, ErrLifetime
	case watchdog.Unused:
		return 0, ErrIdle
	}
	if at != 0 {
		next = min(next, at)
	}
	if moved := t.clock.Check(t.hooks.now(), now); moved != 0 {
		t.tell(Event{Kind: EventClock, Err: &ClockError{moved}})
	}
	if now >= t.looked+lookEvery {
		t.lookForHandshake(t.far)
	}
	next = min(next, t.stepFar(t.far, now, stats))
	if size := t.sizer.Step(now); size != 0 {
		t.try(t.far, now, size)
	}
	if at := t.sizer.Next(); at != 0 {
		next = min(next, at)
	}
	if t.next != nil {
		next = min(next, t.stepFar(t.next, now, reach.Stats{}))
	}
	t.tellPath()
	t.publish(now)
	return next, nil
}

// stepFar does what is due for one far end.
func (t *Tunnel) stepFar(f *far, now time.Duration, stats reach.Stats) time.Duration {
	if f.dog.State() == watchdog.Connecting {
		t.lookForHandshake(f)
	}
	if f.hold > now && stats.LastIn == 0 {
		t.stepPath(f, now, path.Facts{})
		return sooner(f.hold, f.path.Next())
	}
	f.dog.Quick = f.quick()
	a := f.dog.Step(now, stats.LastIn, stats.LastOut)
	if a.Restored {
		t.restored(f)
	}
	if a.Doubted {
		t.doubted(f)
	}
	if a.Repair {
		t.repair(f)
	}
	t.stepPath(f, now, path.Facts{Waiting: f.dog.Waiting(), Used: stats.LastUse})
	if a.Echo {
		t.prove(f, now)
	}
	next := f.dog.Next()
	if at := f.path.Next(); at != 0 {
		next = min(next, at)
	}
	return next
}

// proof takes one answered echo.
func (t *Tunnel) proof(p reach.Proof) {
	f := t.far
	if t.next != nil && p.From == t.next.peer.Proof {
		f = t.next
	} else if p.From != f.peer.Proof {
		return
	}
	if _, ok := f.meter.Answered(p.Seq, p.At); !ok {
		return
	}
	first := f.dog.State() == watchdog.Connecting
	if first {
		t.lookForHandshake(f)
	}
	if f == t.far && t.sizer.Answered(p.Seq, p.Size) {
		t.setMTU(t.sizer.MTU())
	}
	a := f.dog.Proved(p.At)
	f.hear(t.start)
	if f.path.Proved(p.At) {
		f.point()
		t.dirty = true
	}
	if first {
		close(f.proved)
	}
	if a.Restored {
		t.restored(f)
	}
}

// restored is a far end that passes traffic, for the first time or again.
func (t *Tunnel) restored(f *far) {
	if f != t.far {
		return
	}
	t.dirty = true
	t.become(Connected, "")
	t.tell(Event{Kind: EventProved})
	select {
	case <-t.proved:
	default:
		t.tellPath()
		t.publish(t.gate.Now())
		t.tell(Event{Kind: EventReady})
		close(t.proved)
		t.sizer.Start(t.gate.Now())
	}
}

func (t *Tunnel) doubted(f *far) {
	if f != t.far {
		return
	}
	t.become(Degraded, "packets stay unanswered")
	t.tell(Event{Kind: EventUnproved})
}

// freshHandshake is how long a handshake gets to show that it is good for
// something: half of the pause between two repairs.
const freshHandshake = watchdog.Repair / 2

// repair takes the peer out and puts it in again: a fresh handshake begins with
// the next packet, and a far end that forgot this one answers it.
func (t *Tunnel) repair(f *far) {
	// Both ends may come here at once: the one that sees the other's handshake
	// leaves it alone.
	if at, ok := t.handshake(f); ok && time.Since(at).Abs() < freshHandshake {
		return
	}
	allowed := f.peer.Allowed
	if f != t.far {
		allowed = allowed[:0:0]
		allowed = append(allowed, f.peer.Proof)
	}
	if err := t.configure(removeLines(f.peer.Key) + f.addLines(allowed)); err != nil {
		t.tell(Event{Kind: EventWarning, Err: err})
		return
	}
	t.tell(Event{Kind: EventRepair})
}

// setMTU takes over what echoes have shown.
func (t *Tunnel) setMTU(mtu int) {
	var err error
	switch {
	case t.stack != nil:
		t.stack.Device().SetMTU(mtu)
	case t.nic != nil:
		err = t.nic.SetMTU(mtu)
	}
	t.mu.Lock()
	t.snapshot.mtu = mtu
	t.mu.Unlock()
	t.tell(Event{Kind: EventMTU, Err: err})
}

// lookForHandshake notices the handshakes with the far end that carries traffic.
func (t *Tunnel) lookForHandshake(f *far) {
	t.looked = t.gate.Now()
	at, ok := t.handshake(f)
	if !ok || f != t.far {
		return
	}
	t.mu.Lock()
	known := !t.snapshot.handshake.IsZero()
	t.snapshot.handshake = at
	t.mu.Unlock()
	if !known {
		t.tell(Event{Kind: EventHandshake, At: at})
	}
}

// publish leaves what Status shows, and tells of another reason for the path.
func (t *Tunnel) publish(now time.Duration) {
	t.show(now)
	t.tellWhy()
}

// show leaves what Status shows.
func (t *Tunnel) show(now time.Duration) {
	f := t.far
	t.publishWays(f, now)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.snapshot.rtt = f.meter.RTT()
	t.snapshot.loss = f.meter.Loss(now)
	if last := f.dog.LastProof(); last != 0 {
		t.snapshot.proved = t.start.Add(last)
	}
}
