package mux

// sentMost is how many requests are remembered: pion forgets its own after 4 s,
// and an agent with 20 candidates sends 400 a second until one of them answers.
const sentMost = 2048

// transactions remembers who sent the newest requests. Answers do not remove
// them: the first to arrive may be a forged one that its receiver drops.
type transactions struct {
	ring  [sentMost]id
	next  int
	owner map[id]*conn
}

func (t *transactions) add(x id, c *conn) {
	if t.owner == nil {
		t.owner = make(map[id]*conn)
	}
	if _, ok := t.owner[x]; ok {
		return // sent again
	}
	delete(t.owner, t.ring[t.next])
	t.ring[t.next] = x
	t.next = (t.next + 1) % sentMost
	t.owner[x] = c
}

func (t *transactions) find(x id) *conn { return t.owner[x] }

// drop forgets what c sent.
func (t *transactions) drop(c *conn) {
	for x, owner := range t.owner {
		if owner == c {
			delete(t.owner, x)
		}
	}
}
