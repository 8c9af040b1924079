package https

import "sync"

// How many epochs a listener remembers: several when two servers with queues of their own
// answer behind one name.
const marksDepth = 8

// marks remember the last command delivered in each of the latest epochs, so that none is
// delivered twice.
type marks struct {
	mu   sync.Mutex
	seen []Mark // the latest epoch last
}

// last is the mark to poll after.
func (m *marks) last() Mark {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.seen) == 0 {
		return Mark{}
	}
	return m.seen[len(m.seen)-1]
}

// fresh takes note of an answer's mark and tells whether it stands for a new command.
func (m *marks) fresh(at Mark) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	known := Mark{Epoch: at.Epoch}
	for i, s := range m.seen {
		if s.Epoch == at.Epoch {
			known = s
			m.seen = append(m.seen[:i], m.seen[i+1:]...)
			break
		}
	}
	isNew := at.N > known.N
	if isNew {
		known.N = at.N
	}
	if len(m.seen) == marksDepth {
		m.seen = append(m.seen[:0], m.seen[1:]...)
	}
	m.seen = append(m.seen, known)
	return isNew
}
