package bind

import (
	"slices"
	"testing"
	"time"
)

const ms = time.Millisecond

// run steps h at every time that it asks for, up to the given one, and returns
// when it sent its initiation and its response.
func (h *handshake) runTo(end time.Duration) (initiations, responses []time.Duration) {
	for {
		at, ok := h.next()
		if !ok || at > end {
			return initiations, responses
		}
		i, r := h.step(at)
		if i != nil {
			initiations = append(initiations, at)
		}
		if r != nil {
			responses = append(responses, at)
		}
	}
}

func TestInitiationIsRepeatedUntilAnswered(t *testing.T) {
	for _, tt := range []struct {
		name   string
		until  time.Duration
		answer uint32
		want   []time.Duration
	}{
		{"never answered", 0, 0, []time.Duration{250 * ms, 500 * ms, 1000 * ms, 2000 * ms}},
		{"answered", 600 * ms, 7, []time.Duration{250 * ms, 500 * ms}},
		{"another's answer", 600 * ms, 8, []time.Duration{250 * ms, 500 * ms, 1000 * ms, 2000 * ms}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var h handshake
			h.pathChange(0, true, true, true)
			if !h.initiate(0, initiation(7)) {
				t.Fatal("the initiation was not sent at once")
			}
			got, _ := h.runTo(tt.until)
			h.answered(tt.answer)
			rest, _ := h.runTo(time.Hour)
			if got = append(got, rest...); !slices.Equal(got, tt.want) {
				t.Errorf("sent again at %v, want %v", got, tt.want)
			}
			if _, ok := h.next(); ok {
				t.Error("a step is due for ever")
			}
		})
	}
}

func TestResponseIsRepeatedUntilConfirmed(t *testing.T) {
	for _, tt := range []struct {
		name string
		data uint32
		want []time.Duration
	}{
		{"nothing comes", 0, []time.Duration{250 * ms, 500 * ms, 1000 * ms, 2000 * ms}},
		{"data for it", 9, []time.Duration{250 * ms}},
		{"data for an older session", 8, []time.Duration{250 * ms, 500 * ms, 1000 * ms, 2000 * ms}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var h handshake
			h.pathChange(0, true, true, true)
			h.respond(0, response(9, 7))
			_, got := h.runTo(300 * ms)
			h.confirmed(tt.data)
			_, rest := h.runTo(time.Hour)
			if got = append(got, rest...); !slices.Equal(got, tt.want) {
				t.Errorf("sent again at %v, want %v", got, tt.want)
			}
		})
	}
}

func TestNewestInitiationIsKeptForThePath(t *testing.T) {
	var h handshake
	if h.initiate(0, initiation(1)) || h.initiate(5*time.Second, initiation(2)) {
		t.Fatal("an initiation left without a path")
	}
	if got, _ := h.runTo(time.Hour); got != nil {
		t.Fatalf("sent at %v without a path", got)
	}
	if !h.pathChange(6*time.Second, true, true, true) || senderIndex(h.initiation[:]) != 2 {
		t.Fatal("the newest initiation was not sent with the path")
	}
	if got, _ := h.runTo(6*time.Second + 300*ms); len(got) != 1 {
		t.Errorf("repeats after the path appeared: %v", got)
	}
}

func TestKeptInitiationExpires(t *testing.T) {
	var h handshake
	h.initiate(0, initiation(1))
	if h.pathChange(keepInitiation, true, true, true) {
		t.Error("an initiation that WireGuard has given up was sent")
	}
}

func TestHold(t *testing.T) {
	guarded := func() *handshake { return &handshake{hold: time.Second} }
	t.Run("first handshake", func(t *testing.T) {
		h := guarded()
		h.pathChange(0, true, true, true)
		if h.initiate(10*time.Second, initiation(1)) {
			t.Fatal("the first initiation was not held")
		}
		got, _ := h.runTo(10*time.Second + 1300*ms)
		if want := []time.Duration{11 * time.Second, 11*time.Second + 250*ms}; !slices.Equal(got, want) {
			t.Errorf("sent at %v, want %v", got, want)
		}
	})
	t.Run("the far end begins", func(t *testing.T) {
		h := guarded()
		h.pathChange(0, true, true, true)
		h.initiate(0, initiation(1))
		h.respond(100*ms, response(2, 3))
		if got, _ := h.runTo(time.Hour); got != nil {
			t.Errorf("the initiation left at %v beside the response", got)
		}
	})
	t.Run("rekey", func(t *testing.T) {
		h := guarded()
		h.pathChange(0, true, true, true)
		h.respond(0, response(2, 3))
		h.confirmed(2)
		if !h.initiate(2*time.Minute, initiation(4)) {
			t.Error("a rekey was held")
		}
	})
	t.Run("retry", func(t *testing.T) {
		h := guarded()
		h.pathChange(0, true, true, true)
		h.initiate(0, initiation(1))
		h.runTo(4 * time.Second)
		if !h.initiate(5*time.Second, initiation(2)) {
			t.Error("WireGuard's own retry was held again")
		}
	})
	t.Run("path change", func(t *testing.T) {
		h := guarded()
		h.begun = true
		h.pathChange(60*time.Second, true, true, true)
		if h.initiate(60*time.Second+400*ms, initiation(1)) {
			t.Error("an initiation right after a change of the path was not held")
		}
		if got, _ := h.runTo(61 * time.Second); !slices.Equal(got, []time.Duration{61 * time.Second}) {
			t.Errorf("sent at %v, want once at 1m1s", got)
		}
	})
	t.Run("a held one is not put off", func(t *testing.T) {
		h := guarded()
		h.pathChange(0, true, true, true)
		h.initiate(0, initiation(1))
		for now := time.Duration(0); now < 900*ms; now += 100 * ms {
			h.pathChange(now, true, true, true)
		}
		if got, _ := h.runTo(time.Second); !slices.Equal(got, []time.Duration{time.Second}) {
			t.Errorf("sent at %v, want at 1s", got)
		}
	})
}

func TestUnansweredInitiationFollowsThePath(t *testing.T) {
	start := func(hold time.Duration) *handshake {
		h := &handshake{hold: hold, begun: true}
		h.pathChange(0, true, true, true)
		h.initiate(hold, initiation(1))
		return h
	}
	t.Run("one more address", func(t *testing.T) {
		h := start(0)
		if !h.pathChange(300*ms, true, false, true) {
			t.Error("the new address does not get the initiation at once")
		}
		if h.pathChange(310*ms, true, false, false) {
			t.Error("an address less sends the initiation again")
		}
	})
	t.Run("after the last repeat", func(t *testing.T) {
		h := start(0)
		h.runTo(3 * time.Second)
		if !h.pathChange(3*time.Second, true, true, true) {
			t.Error("the new path does not get the initiation")
		}
		if got, _ := h.runTo(3*time.Second + 300*ms); len(got) != 1 {
			t.Errorf("repeats on the new path: %v, want one", got)
		}
	})
	t.Run("guarded", func(t *testing.T) {
		h := start(time.Second)
		if h.pathChange(3*time.Second, true, true, true) {
			t.Error("the guarded end begins at once on a new path")
		}
		if got, _ := h.runTo(4 * time.Second); !slices.Equal(got[len(got)-1:], []time.Duration{4 * time.Second}) {
			t.Errorf("sent at %v, want at last at 4s", got)
		}
	})
	t.Run("answered", func(t *testing.T) {
		h := start(0)
		h.answered(1)
		if h.pathChange(time.Second, true, true, true) {
			t.Error("an answered initiation was sent again")
		}
	})
	t.Run("path lost", func(t *testing.T) {
		h := start(0)
		h.pathChange(100*ms, false, false, false)
		if got, _ := h.runTo(time.Hour); got != nil {
			t.Errorf("sent at %v without a path", got)
		}
		if !h.pathChange(4*time.Second, true, true, true) {
			t.Error("not sent when the path came back")
		}
	})
}

func TestForget(t *testing.T) {
	var h handshake
	h.pathChange(0, true, true, true)
	h.respond(0, response(2, 3))
	h.initiate(0, initiation(1))
	h.forget()
	if _, ok := h.next(); ok || h.pathChange(1, true, true, true) {
		t.Error("something is left to send")
	}
}

// FuzzHandshake feeds events in any order: each message leaves a bounded number
// of times, none without a path, and the machine always comes to rest.
func FuzzHandshake(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7}, true)
	f.Add([]byte{3, 0, 7, 7, 7, 7, 2, 3, 7}, false)
	f.Fuzz(func(t *testing.T, events []byte, guard bool) {
		var h handshake
		if guard {
			h.hold = time.Second
		}
		var now time.Duration
		path := false
		for i, e := range events {
			if len(events) > 256 {
				return
			}
			now += time.Duration(e>>3) * 20 * ms
			switch e & 7 {
			case 0:
				if h.initiate(now, initiation(uint32(i))) && !path {
					t.Fatal("sent without a path")
				}
			case 1:
				h.respond(now, response(uint32(i), 0))
			case 2:
				path = !path
				h.pathChange(now, path, path, path)
			case 3:
				if h.pathChange(now, path, false, true) && !path {
					t.Fatal("sent without a path")
				}
			case 4:
				h.answered(uint32(max(i-1, 0)))
			case 5:
				h.confirmed(uint32(max(i-1, 0)))
			default:
				if i, r := h.step(now); (i != nil || r != nil) && !path {
					t.Fatal("sent without a path")
				}
			}
		}
		last := now
		for steps := 0; ; steps++ {
			at, ok := h.next()
			if !ok {
				return
			}
			if steps > 20 {
				t.Fatalf("no rest after %v", at-last)
			}
			now = max(now, at)
			if i, r := h.step(now); (i != nil || r != nil) && !path {
				t.Fatal("sent without a path")
			}
		}
	})
}
