package signaling

import (
	"context"
	"errors"
	"sync"
	"time"
)

// PublishFunc publishes on a connection that a host holds, at QoS 1. It
// returns when the broker has the message, or when ctx ends, which it must
// honour. A ride calls it from goroutines of its own, at most two at a time.
type PublishFunc func(ctx context.Context, topic string, payload []byte, retain bool) error

// Ride is a Listener over an MQTT connection that the host holds. The host
// subscribes to Topic at QoS 1, hands what comes to Deliver and says with
// Connected when that subscription stands: those are all that a ride needs. It
// never blocks the host's connection, and leaves its will, session and other
// topics alone.
type Ride struct {
	device string
	post   post
	doc    outbox
	rest   outbox

	mu    sync.Mutex // before post.mu
	sink  Sink       // nil: nobody listens
	early []arrival  // while nobody did
}

const (
	keepReplies = 32 // that wait to be published

	// What a broker kept for a device comes right behind its CONNACK, and is not sent
	// again; the host may be about to listen.
	keepEarly = 16
	earlyFor  = 10 * time.Second
)

// RideOn makes a ride for device, whose id is 1 to 64 of A-Z a-z 0-9 . _ -;
// with another id Topic is empty and Listen fails. At publish, messages wait
// their turn: of documents the latest counts, of others the oldest of more
// than 32 are dropped, and after 3 failures of publish while the line is up.
func RideOn(device string, publish PublishFunc) *Ride {
	return &Ride{
		device: device,
		post:   post{topic: topicOf(device, topicStatus), publish: publish, news: make(chan struct{})},
		doc:    outbox{most: 1, retain: true},
		rest:   outbox{most: keepReplies, tries: 3},
	}
}

var _ Listener = (*Ride)(nil)

// Topic is what the host subscribes to: iot/{device}/cmd.
func (r *Ride) Topic() string { return topicOf(r.device, topicCommand) }

// Deliver takes a message that the host received, and reports whether it was
// for the ride. It never blocks and keeps no reference to payload. Whoever listens within
// ten seconds gets what came before and is not retained, of more than 16 the latest.
func (r *Ride) Deliver(topic string, payload []byte, retained bool) bool {
	if topic == "" || topic != r.Topic() {
		return false
	}
	msg := Message{Device: r.device, Payload: payload, Retained: retained}
	r.mu.Lock()
	sink := r.sink
	if sink == nil && !retained { // what is retained is obeyed by nobody
		msg.Payload = append([]byte(nil), payload[:min(len(payload), MaxCommand+1)]...)
		r.early = append(r.early[max(0, len(r.early)+1-keepEarly):], arrival{time.Now(), msg})
	}
	r.mu.Unlock()
	if sink != nil {
		sink.Deliver(msg)
	}
	return true
}

// Connected says, each time, that the host is connected and subscribed to
// Topic, or no longer is. It never blocks.
func (r *Ride) Connected(up bool) {
	r.mu.Lock() // also over the sink's call, so that it hears of changes in their order
	defer r.mu.Unlock()
	r.post.change(func() { r.post.up = up })
	if r.sink != nil {
		r.sink.Connected(up)
	}
}

// Listen serves sink until ctx ends and returns ctx's error. One Listen runs
// at a time.
func (r *Ride) Listen(ctx context.Context, sink Sink) error {
	if !validID(r.device) {
		return refuse(ReasonMalformed, "a device's id is 1 to 64 of A-Z a-z 0-9 . _ -")
	}
	r.mu.Lock()
	if r.sink != nil {
		r.mu.Unlock()
		return errors.New("signaling: the ride has a listener")
	}
	r.sink = sink
	for _, a := range r.early {
		if time.Since(a.at) < earlyFor {
			sink.Deliver(a.Message)
		}
	}
	r.early = nil
	r.post.change(func() { r.post.draining = false })
	if r.post.up {
		sink.Connected(true)
	}
	r.mu.Unlock()

	out, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() { r.post.run(out, &r.doc) })
	wg.Go(func() { r.post.run(out, &r.rest) })

	<-ctx.Done()
	r.post.change(func() { r.post.draining = true })
	late := time.AfterFunc(flushFor, cancel)
	defer late.Stop()
	wg.Wait()
	r.mu.Lock()
	r.sink = nil
	r.mu.Unlock()
	return ctx.Err()
}

// Publish queues a status: it is sent while the line is up.
func (r *Ride) Publish(status []byte, retain bool) {
	b := append([]byte(nil), status...)
	r.post.change(func() {
		if retain {
			r.doc.put(b)
		} else {
			r.rest.put(b)
		}
	})
}

// Dropped returns how many statuses were never sent, documents that a later
// one replaced among them.
func (r *Ride) Dropped() uint64 {
	r.post.mu.Lock()
	defer r.post.mu.Unlock()
	return r.doc.dropped + r.rest.dropped
}
