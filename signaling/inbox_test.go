package signaling

import (
	"context"
	"errors"
	"testing"
)

// TestInbox: what a transport hands over is copied, cut and bounded.
func TestInbox(t *testing.T) {
	b := newInbox()
	long := make([]byte, 1<<20)
	for range keepArrivals + 5 {
		b.Deliver(Message{Device: "d", Payload: long})
	}
	long[0] = 'x'
	b.Connected(false)
	b.Connected(true)
	a, ok, dropped, line, news := b.take()
	if !ok || len(a.Payload) != MaxCommand+1 || cap(a.Payload) > 2*MaxCommand || a.Payload[0] != 0 || dropped != 5 || !line || !news || a.at.IsZero() {
		t.Errorf("took %d bytes, %v, %d dropped, line %v %v", len(a.Payload), ok, dropped, line, news)
	}
	for range keepArrivals - 1 {
		if _, ok, dropped, _, news := b.take(); !ok || dropped != 0 || news {
			t.Fatal("an arrival is missing, or news come twice")
		}
	}
	if _, ok, _, _, _ := b.take(); ok {
		t.Error("more than was delivered")
	}
}

// TestMailbox: of too many the oldest go, and whoever waits is told why in the
// end.
func TestMailbox(t *testing.T) {
	b := newMailbox[int](2)
	for i := range 5 {
		b.put(i)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	for _, want := range []int{3, 4} {
		if got, err := b.take(ctx, ctx); got != want || err != nil {
			t.Errorf("took %d, %v, want %d", got, err, want)
		}
	}
	why := errors.New("over")
	cancel(why)
	if _, err := b.take(context.Background(), ctx); err != why || b.drops() != 3 {
		t.Errorf("at the end: %v, %d dropped", err, b.drops())
	}
}
