package terminal

import (
	"context"
	"testing"
	"time"
)

func TestWindow(t *testing.T) {
	var w window
	ctx, cancel := context.WithCancel(context.Background())
	if w.take(ctx, Window-1) != nil || w.take(ctx, 1) != nil {
		t.Fatal("what fits did not go")
	}
	taken := make(chan error)
	go func() { taken <- w.take(ctx, 2) }()
	if !w.ack(1) || !w.ack(1) {
		t.Error("an acknowledgement was refused")
	}
	if err := <-taken; err != nil {
		t.Error(err)
	}
	if w.ack(Window + 1) {
		t.Error("more was acknowledged than was sent")
	}
	go func() { taken <- w.take(ctx, 1) }()
	select {
	case <-taken:
		t.Error("more than the window went")
	case <-time.After(10 * time.Millisecond):
	}
	cancel()
	if err := <-taken; err == nil {
		t.Error("the end was not heard")
	}
}

func TestInbox(t *testing.T) {
	in := newInbox()
	if !in.put([]byte("ab")) || !in.put([]byte("c")) || in.put(make([]byte, Window-2)) {
		t.Fatal("the window is another one")
	}
	keys, err := in.next(context.Background())
	if string(keys) != "abc" || err != nil {
		t.Fatalf("%q %v", keys, err)
	}
	if in.put(make([]byte, Window-2)) {
		t.Error("keystrokes that were handed out have no place any more")
	}
	in.done()
	if !in.put(make([]byte, Window)) {
		t.Error("there is no room after all were taken")
	}
	ctx, cancel := context.WithCancel(context.Background())
	in.next(ctx)
	cancel()
	if _, err := in.next(ctx); err == nil {
		t.Error("the end was not heard")
	}
}
