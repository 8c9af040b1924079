package queue

import (
	"bytes"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/boothwire/boothwire/relay/internal/wire"
)

// A far is where what a Queue writes by itself goes; it can be full.
type far struct {
	sink
	full  bool
	left  []byte
	tries int
	err   error
}

func (f *far) try(b []byte) (left bool, err error) {
	f.tries++
	if f.err != nil {
		return false, f.err
	}
	if f.full {
		f.left = bytes.Clone(b)
		return true, nil
	}
	return false, f.write(b)
}

func (f *far) flush() error {
	b := f.left
	f.left = nil
	return f.write(b)
}

func passing(f *far) *Queue {
	q := New(NewPool(), f.write)
	q.Direct(f.try, f.flush)
	return q
}

func ids(t *testing.T, s *sink) (ids []byte) {
	t.Helper()
	for _, f := range s.frames(t) {
		ids = append(ids, f[0])
	}
	return ids
}

func TestPassWritesByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := new(far)
		q := passing(f)
		for i := range byte(3) {
			q.Pass(packet(i, 1300)) // and no wait for a writer
			if got := ids(t, &f.sink); len(got) != int(i)+1 {
				t.Fatalf("%v after %d", got, i+1)
			}
		}
		big := bytes.Repeat(packet(3, 1300), 1+direct/1302)
		q.Pass(big)
		synctest.Wait()
		if f.tries != 3 || len(ids(t, &f.sink)) != 3+len(big)/1302 {
			t.Errorf("%d tries, %v", f.tries, ids(t, &f.sink))
		}
		if st := q.Stats(); st.Writes != 4 || st.Bytes != uint64(3*1302+len(big)) {
			t.Errorf("%+v", st)
		}
		q.Flush(time.Minute) // nothing is left to wait for
	})
}

// What could not be written waits for the writer, and what comes meanwhile behind it.
func TestPassLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &far{sink: sink{gate: make(chan struct{})}, full: true}
		q := passing(f)
		q.Pass(packet(1, 1300))
		synctest.Wait() // the writer waits
		q.Pass(packet(2, 1300))
		q.Put(wire.AppendControl(nil, wire.Peer, 1))
		q.Pass(packet(3, 1300))
		if f.tries != 1 {
			t.Errorf("%d tries", f.tries)
		}
		close(f.gate)
		q.Flush(time.Minute)
		if got := ids(t, &f.sink); len(got) != 4 || got[0] != 1 || got[2] != 2 || got[3] != 3 {
			t.Errorf("%v, want the first, the control frame, the others", got)
		}
		f.full = false
		q.Pass(packet(4, 1300))
		if got := ids(t, &f.sink); len(got) != 5 || f.tries != 2 {
			t.Errorf("%v, %d tries, once it is idle again", got, f.tries)
		}
	})
}

// What is put while Pass writes is written after it.
func TestPassWhilePut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &far{sink: sink{gate: make(chan struct{})}}
		q := passing(f)
		go q.Pass(packet(1, 1300))
		synctest.Wait() // it writes
		q.Put(packet(2, 1300))
		close(f.gate)
		synctest.Wait()
		if got := ids(t, &f.sink); !bytes.Equal(got, []byte{1, 2}) {
			t.Errorf("%v", got)
		}
		q.Flush(time.Minute)
	})
}

func TestPassFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("broken")
		q := passing(&far{err: broken})
		for range 2 {
			if err := q.Pass(packet(1, 10)); !errors.Is(err, broken) {
				t.Errorf("%v", err)
			}
		}
		q.Flush(time.Minute)
	})
}
