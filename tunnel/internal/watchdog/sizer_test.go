package watchdog

import (
	"testing"
	"time"
)

// search runs a sizer over a path that lets packets of up to most through, and
// returns the sizes it tried.
func search(s *Sizer, most int) (tried []int) {
	now := time.Second
	s.Start(now)
	for n := uint16(1); n < 100; n++ {
		if size := s.Step(now); size != 0 {
			tried = append(tried, size)
			if size <= most {
				s.Answered(n, size)
			}
		}
		if s.Next() == 0 {
			return tried
		}
		now = max(now, s.Next())
	}
	return nil
}

func TestSizerUp(t *testing.T) {
	tests := []struct{ most, want, tries int }{
		{9000, 1420, 4},
		{1420, 1420, 4},
		{1419, 1400, 5},
		{1330, 1320, 3},
		{1300, 1280, 2},
	}
	for _, tt := range tests {
		s := NewSizer(1280, false)
		tried := search(&s, tt.most)
		if s.MTU() != tt.want || len(tried) != tt.tries {
			t.Errorf("over %d: MTU %d after %v, want %d after %d", tt.most, s.MTU(), tried, tt.want, tt.tries)
		}
	}
	s := NewSizer(1280, true)
	if tried := search(&s, 9000); len(tried) != 0 || s.Answered(1, 1420) || s.MTU() != 1280 {
		t.Errorf("a fixed MTU changed: %d after %v", s.MTU(), tried)
	}
}

func TestSizerOnlyByProof(t *testing.T) {
	s := NewSizer(1280, false)
	s.Start(1)
	if s.Answered(1, 65535) || s.Answered(2, 1281) || s.MTU() != 1280 {
		t.Errorf("a size that was never tried makes the MTU %d", s.MTU())
	}
}

func TestSizerDown(t *testing.T) {
	s := NewSizer(1280, false)
	seq := uint16(65534) // over the end of the count
	round := func(fullBack bool) bool {
		size := s.MTU()
		s.Sent(seq, size)
		if fullBack {
			s.Answered(seq, size)
		}
		s.Sent(seq+1, 84)
		changed := s.Answered(seq+1, 84)
		seq += 2
		return changed
	}
	round(false)
	round(false)
	round(true) // one that came back forgives the lost ones
	round(false)
	if s.Answered(seq-1, 84) || round(false) {
		t.Error("lowered too early")
	}
	if !round(false) || s.MTU() != 1200 {
		t.Errorf("MTU %d, want 1200", s.MTU())
	}
	for range 100 {
		round(false)
	}
	if s.MTU() != 576 {
		t.Errorf("MTU %d, want the least", s.MTU())
	}
	s = NewSizer(1280, true)
	for range 100 {
		round(false)
	}
	if s.MTU() != 1280 {
		t.Error("a fixed MTU was lowered")
	}
}
