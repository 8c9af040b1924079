package relay_test

import (
	"context"
	"errors"
	"net"
	"testing"
)

func TestMeet(t *testing.T) {
	w := newWorld(t, 1)
	a := w.dial(0)
	tired, end := context.WithCancel(t.Context())
	end()
	if err := a.Meet(tired); !errors.Is(err, context.Canceled) {
		t.Errorf("alone: %v", err)
	}
	b := w.dial(1)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := errors.Join(a.Meet(ctx), b.Meet(ctx)); err != nil {
		t.Errorf("together: %v", err)
	}
}

func TestMeetEndsWithClose(t *testing.T) {
	w := newWorld(t, 1)
	a := w.dial(0)
	met := make(chan error, 1)
	go func() { met <- a.Meet(context.Background()) }()
	a.Close()
	if err := <-met; !errors.Is(err, net.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}
