// Package quota bounds how many of a kind somebody has open at a time.
package quota

import "sync"

// Each counts what is open for each key. It keeps nothing for a key that has none open.
// The zero value is empty and ready for use; it is safe for concurrent use.
type Each struct {
	mu sync.Mutex
	of map[string]int
}

// Enter counts one more of key, for which Leave is called once it is over, unless there
// are as many as there may be.
func (e *Each) Enter(key string, most int) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.of[key] >= most {
		return false
	}
	if e.of == nil {
		e.of = make(map[string]int)
	}
	e.of[key]++
	return true
}

// Leave takes back one Enter of key.
func (e *Each) Leave(key string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.of[key]--; e.of[key] <= 0 {
		delete(e.of, key)
	}
}
