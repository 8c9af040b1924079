package https

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

func pull(t *testing.T, q *Memory, after Mark) (string, Mark) {
	t.Helper()
	c, at, err := q.Pull(t.Context(), "a", after)
	if err != nil {
		t.Fatal(err)
	}
	return string(c), at
}

func push(t *testing.T, q *Memory, command string) {
	t.Helper()
	if err := q.Push(t.Context(), "a", []byte(command)); err != nil {
		t.Fatal(err)
	}
}

func newMemory(t *testing.T) *Memory {
	q := NewQueue()
	if err := q.Register("a", publicKey("a")); err != nil {
		t.Fatal(err)
	}
	return q
}

func TestMemoryAcknowledges(t *testing.T) {
	q := newMemory(t)
	push(t, q, "one")
	push(t, q, "two")
	push(t, q, "one") // still waits
	c, first := pull(t, q, Mark{})
	if c != "one" {
		t.Fatalf("got %q, want one", c)
	}
	if c, _ := pull(t, q, Mark{}); c != "one" {
		t.Errorf("not acknowledged, got %q, want one again", c)
	}
	if c, _ := pull(t, q, Mark{Epoch: "other", N: 99}); c != "one" {
		t.Errorf("after a mark of another epoch got %q, want one", c)
	}
	c, second := pull(t, q, first)
	if c != "two" || second.N <= first.N || second.Epoch != first.Epoch {
		t.Errorf("got %q at %v, want two after %v", c, second, first)
	}
	if c, _ := pull(t, q, Mark{}); c != "two" {
		t.Errorf("a late poll got %q, want two: one is acknowledged", c)
	}
	if c, at := pull(t, q, second); c != "" || at != (Mark{Epoch: first.Epoch}) {
		t.Errorf("empty queue gave %q at %v", c, at)
	}
	// A device that is registered anew keeps its place in the count.
	q.Forget("a")
	if _, _, err := q.Pull(t.Context(), "a", Mark{}); !errors.Is(err, ErrUnknownDevice) {
		t.Errorf("forgotten: %v", err)
	}
	if err := q.Push(t.Context(), "a", []byte("x")); !errors.Is(err, ErrUnknownDevice) {
		t.Errorf("forgotten: %v", err)
	}
	if err := q.Register("a", publicKey("a")); err != nil {
		t.Fatal(err)
	}
	push(t, q, "three")
	if c, _ := pull(t, q, second); c != "three" {
		t.Errorf("got %q, want three", c)
	}
}

func TestMemoryBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newMemory(t)
		for i := range memoryDepth {
			push(t, q, fmt.Sprint(i))
		}
		if err := q.Push(t.Context(), "a", []byte("more")); !errors.Is(err, ErrQueueFull) {
			t.Errorf("full: %v, want %v", err, ErrQueueFull)
		}
		time.Sleep(memoryAge + time.Second)
		if c, _ := pull(t, q, Mark{}); c != "" {
			t.Errorf("a command of another time: %q", c)
		}
		push(t, q, "more")
		if c, _ := pull(t, q, Mark{}); c != "more" {
			t.Errorf("got %q, want more", c)
		}
	})
}

func TestMemoryIDs(t *testing.T) {
	q := NewQueue()
	for _, id := range []string{"", "a/b", "a+", "#", "ä", "a\n"} {
		if err := q.Register(id, publicKey("a")); err == nil {
			t.Errorf("registered %q", id)
		}
	}
}
