package signaling

// ring remembers the latest so many ids, and takes no room for those to come.
type ring struct {
	set  map[string]bool
	list []string
	size int
	next int
}

func newRing(size int) ring {
	return ring{set: make(map[string]bool), size: size}
}

func (r *ring) has(id string) bool { return r.set[id] }

// add reports whether id is new.
func (r *ring) add(id string) bool {
	if r.set[id] {
		return false
	}
	r.set[id] = true
	if len(r.list) < r.size {
		r.list = append(r.list, id)
		return true
	}
	delete(r.set, r.list[r.next])
	r.list[r.next] = id
	r.next = (r.next + 1) % len(r.list)
	return true
}
