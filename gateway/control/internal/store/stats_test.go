package store

import (
	"errors"
	"testing"
	"time"
)

// What waits behind a slow transaction is seen to wait, and what a task fails with is
// not the database's fault.
func TestStats(t *testing.T) {
	s, err := Open(t.Context(), ":memory:")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	refused := errors.New("refused")
	if err := s.Do(t.Context(), func(*Tx) error { return refused }); !errors.Is(err, refused) {
		t.Fatal(err)
	}
	entered, leave := make(chan struct{}), make(chan struct{})
	s.Later("slow", func(tx *Tx) error { close(entered); <-leave; return nil })
	<-entered
	s.Later("next", func(tx *Tx) error { return nil })
	time.Sleep(20 * time.Millisecond)
	if st := s.Stats(); st.Waiting != 1 || st.Lag < 20*time.Millisecond || st.Failed != 0 || st.Broken {
		t.Errorf("meanwhile: %+v", st)
	}
	close(leave)
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	st := s.Stats()
	n := uint64(0)
	for _, c := range st.Commits.Counts {
		n += c
	}
	if st.Waiting != 0 || st.Lag != 0 || n < 3 || st.Commits.Sum < 0.02 {
		t.Errorf("after it: %+v", st)
	}

	// A database that is gone is.
	s.w.db.Close()
	if err := s.Do(t.Context(), func(*Tx) error { return nil }); err == nil {
		t.Error("wrote to a closed database")
	}
	if st := s.Stats(); st.Failed != 1 || !st.Broken {
		t.Errorf("broken: %+v", st)
	}
}
