package keys

// ring remembers the latest so many values, and takes no room for those to come.
type ring[T comparable] struct {
	set  map[T]bool
	list []T
	size int
	next int
}

func newRing[T comparable](size int) ring[T] {
	return ring[T]{set: make(map[T]bool), size: size}
}

func (r *ring[T]) has(v T) bool { return r.set[v] }

func (r *ring[T]) add(v T) {
	if r.set[v] {
		return
	}
	r.set[v] = true
	if len(r.list) < r.size {
		r.list = append(r.list, v)
		return
	}
	delete(r.set, r.list[r.next])
	r.list[r.next] = v
	r.next = (r.next + 1) % len(r.list)
}
