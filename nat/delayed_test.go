package nat

import (
	"encoding/binary"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/boothwire/boothwire/nat/internal/stun"
)

func TestDelays(t *testing.T) {
	d := newDelays()
	now := time.Now()
	source := func(i int) netip.Prefix {
		return sourceOf(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}))
	}
	key := func(i int) delayKey {
		k := delayKey{from: client4}
		binary.BigEndian.PutUint32(k.id[:], uint32(i))
		return k
	}
	for i := range delaysMost {
		if s := source(i / delaysPerSource); !d.room(s, time.Millisecond) {
			t.Fatalf("no room for number %d", i)
		} else {
			due := now.Add(time.Duration(1+rand.IntN(1000)) * time.Second)
			next, ok := d.next()
			if first := d.add(delayed{key: key(i), source: s, due: due}); first != (!ok || due.Before(next)) {
				t.Fatalf("number %d is the first: %v", i, first)
			}
		}
		if s := source(i / delaysPerSource); i%delaysPerSource == delaysPerSource-1 && d.room(s, time.Millisecond) {
			t.Fatalf("more than %d of one source", delaysPerSource)
		}
		for part, longest := range map[int]time.Duration{2: delayMost, 3: delayMost * 2 / 3, 4: delayMost / 2} {
			if held := delaysMost - delaysMost/part; i+1 == held && (!d.room(source(9999), longest*99/100) || longest < delayMost && d.room(source(9999), longest*101/100)) {
				t.Errorf("with %d waiting, the longest delay is not %v", held, longest)
			}
		}
	}
	if d.room(source(9999), time.Millisecond) {
		t.Error("room without end")
	}
	if !d.waits(key(5)) || d.waits(key(delaysMost)) {
		t.Error("what waits is not known")
	}
	if _, ok := d.take(now); ok {
		t.Error("taken before it is due")
	}
	last := now
	for i := range delaysMost {
		due, ok := d.next()
		r, taken := d.take(due)
		if !ok || !taken || r.due != due || due.Before(last) {
			t.Fatalf("number %d: %v %v", i, ok, taken)
		}
		last = due
	}
	if len(d.known)+len(d.bySource)+len(d.queue) != 0 {
		t.Errorf("left: %d %d %d", len(d.known), len(d.bySource), len(d.queue))
	}
}

// One response for a request, when it is due, from the address it was sent to; at
// once, and said so, if there is no room.
func TestServeDelayed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newLabNet(nil)
		stop := n.serve(t, t.Context(), "192.0.2.1:3478")
		sock := n.sock("203.0.113.5:4000")
		began := time.Now()
		send := func(id int, ms uint32) {
			req := stun.New(stun.BindingRequest, stun.ID{byte(id)})
			req = stun.AddUint32(req, attrDelayedResponse, ms)
			if _, err := sock.WriteTo(req, net.UDPAddrFromAddrPort(netip.MustParseAddrPort("192.0.2.1:3478"))); err != nil {
				t.Fatal(err)
			}
		}
		type got struct {
			id    byte
			delay uint32
			at    time.Duration
		}
		heard := func() (list []got) {
			for len(sock.queue) > 0 {
				p := <-sock.queue
				m, err := stun.Parse(p.data)
				if err != nil || p.from.String() != "192.0.2.1:3478" {
					t.Fatal(err, p.from)
				}
				v, _ := m.Get(attrDelayedResponse)
				ms, _ := stun.Uint32(v)
				list = append(list, got{m.ID[0], ms, time.Since(began)})
			}
			return list
		}
		for range 3 {
			send(1, 60_000) // repeated
		}
		send(2, 20_000)
		time.Sleep(20*time.Second + 2*labDelay - time.Millisecond)
		if l := heard(); len(l) != 0 {
			t.Errorf("early: %v", l)
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if l := heard(); len(l) != 1 || l[0].id != 2 || l[0].delay != 20_000 {
			t.Errorf("after 20 s: %v", l)
		}
		time.Sleep(40 * time.Second)
		synctest.Wait()
		if l := heard(); len(l) != 1 || l[0].id != 1 || l[0].delay != 60_000 {
			t.Errorf("after 60 s: %v", l)
		}
		send(1, 1_000) // it waits no more, so this is another
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if l := heard(); len(l) != 1 || l[0].delay != 1_000 {
			t.Errorf("again: %v", l)
		}
		for i := range delaysPerSource + 3 {
			send(i, 100_000)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if l := heard(); len(l) != 3 || l[0].delay != 0 {
			t.Errorf("too many: %v", l)
		}
		stop() // with responses waiting
		time.Sleep(5 * time.Minute)
		if l := heard(); len(l) != 0 {
			t.Errorf("after the end: %v", l)
		}
	})
}
