package gateway

import (
	"fmt"
	"testing"
)

func TestOutbox(t *testing.T) {
	var o outbox
	o.add(Event{Session: "nobody follows"})
	ready, ok := o.open()
	if !ok {
		t.Fatal("not opened")
	}
	if _, twice := o.open(); twice {
		t.Error("opened twice")
	}
	if len(o.take(10)) != 0 {
		t.Error("an event from before")
	}
	for i := range outboxLength + 1 {
		o.add(Event{Rev: i})
	}
	<-ready
	select {
	case <-ready:
		t.Error("signalled twice")
	default:
	}
	first := o.take(1)
	if len(first) != 1 || first[0].Rev != outboxLength/8 || o.lost != outboxLength/8 {
		t.Errorf("first %v, %d lost", first, o.lost)
	}
	o.poke()
	<-ready
	if rest := o.take(outboxLength); len(rest) != outboxLength-outboxLength/8 || rest[len(rest)-1].Rev != outboxLength {
		t.Errorf("%d more", len(rest))
	}
	o.poke()
	select {
	case <-ready:
		t.Error("signalled for nothing")
	default:
	}
	o.close()
	o.add(Event{})
	if _, ok := o.open(); !ok || len(o.take(1)) != 0 {
		t.Error("not opened anew, or not empty")
	}
}

func TestBackoff(t *testing.T) {
	b := newBackoff()
	for i := range 1000 {
		if d := b.next(); d < shortestWait || d > longestWait || i == 0 && d > 2*shortestWait {
			t.Fatalf("wait %d is %v", i, d)
		}
	}
	b.reset()
	if d := b.next(); d > 2*shortestWait {
		t.Errorf("after reset: %v", d)
	}
}

// BenchmarkAdmit is what a node that comes back does for each live session: two
// signatures, two X25519 for its peers.
func BenchmarkAdmit(b *testing.B) {
	a := newAuthority(b, "test")
	n, _ := newNode(b, a, nil)
	tokens := make([][]byte, 500)
	for i := range tokens {
		p := newPair(n, i)
		p.grant.Session = fmt.Sprint("s-", i)
		tokens[i] = a.sign(b, &p.grant)
	}
	b.ResetTimer()
	for i := range b.N {
		if err := n.Admit(b.Context(), tokens[i%len(tokens)]); err != nil {
			b.Fatal(err)
		}
		if i%len(tokens) == len(tokens)-1 {
			b.StopTimer()
			for _, s := range n.Sessions() {
				n.mu.Lock()
				n.close(s.ID, "", tombstone{})
				delete(n.closed, s.ID)
				clear(n.keys)
				n.mu.Unlock()
			}
			b.StartTimer()
		}
	}
}
