package signaling

import (
	"context"
	"iter"
	"sync"
)

// FleetRide is a Sender over an MQTT connection that control's host holds. The
// host subscribes to Filter at QoS 1, hands what comes to Deliver and says
// with Connected when that subscription stands.
type FleetRide struct {
	publish PublishFunc

	mu      sync.Mutex
	up      bool
	readers map[*mailbox[Message]]bool
	dropped uint64 // of readers that are gone
}

// keepStatuses is how many statuses wait for one reader: a broker hands over
// the retained ones of a whole fleet at once.
const keepStatuses = 1 << 15

// RideOnFleet makes a ride for control.
func RideOnFleet(publish PublishFunc) *FleetRide {
	return &FleetRide{publish: publish, readers: make(map[*mailbox[Message]]bool)}
}

var _ Sender = (*FleetRide)(nil)

// Filter is what the host subscribes to: iot/+/status.
func (r *FleetRide) Filter() string { return topicPrefix + "+" + topicStatus }

// Deliver takes a message that the host received, and reports whether it was a
// device's status. It never blocks and keeps no reference to payload; of what
// is too long for a status it keeps just so much that this can be seen.
func (r *FleetRide) Deliver(topic string, payload []byte, retained bool) bool {
	device, ok := deviceOf(topic, topicStatus)
	if !ok {
		return false
	}
	m := Message{device, append([]byte(nil), payload[:min(len(payload), MaxStatus+1)]...), retained}
	r.mu.Lock()
	defer r.mu.Unlock()
	for b := range r.readers {
		b.put(m)
	}
	return true
}

// Connected says that the host is connected and subscribed to Filter, or no
// longer is. It never blocks.
func (r *FleetRide) Connected(up bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.up = up
}

// Up reports what Connected said last.
func (r *FleetRide) Up() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.up
}

// Send publishes a command, as it stands, to the topic of device. Errors are
// an *Error, with ReasonLineDown when the host is not connected, or those of
// the host's function.
func (r *FleetRide) Send(ctx context.Context, device string, command []byte) error {
	topic := topicOf(device, topicCommand)
	if topic == "" {
		return refuse(ReasonMalformed, "a device's id is 1 to 64 of A-Z a-z 0-9 . _ -")
	}
	if len(command) > MaxCommand {
		return refuse(ReasonOversized, "a command of %d bytes, at most %d", len(command), MaxCommand)
	}
	if !r.Up() {
		return &Error{Reason: ReasonLineDown}
	}
	return r.publish(ctx, topic, command, false)
}

// Statuses yields what devices publish from the call on, until ctx ends. Each
// reader gets every status; of more than 32,768 that wait for a reader the
// oldest are dropped.
func (r *FleetRide) Statuses(ctx context.Context) iter.Seq2[Message, error] {
	b := newMailbox[Message](keepStatuses)
	r.mu.Lock()
	r.readers[b] = true
	r.mu.Unlock()
	stop := context.AfterFunc(ctx, func() { r.leave(b) })
	return func(yield func(Message, error) bool) {
		defer stop()
		defer r.leave(b)
		for {
			m, err := b.take(ctx, ctx)
			if err != nil || !yield(m, nil) {
				return
			}
		}
	}
}

func (r *FleetRide) leave(b *mailbox[Message]) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.readers[b] {
		delete(r.readers, b)
		r.dropped += b.drops()
	}
}

// Dropped returns how many statuses were dropped because a reader was slow.
func (r *FleetRide) Dropped() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.dropped
	for b := range r.readers {
		n += b.drops()
	}
	return n
}
