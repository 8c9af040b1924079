// Package path chooses among the routes to a far end. Everything in it is pure:
// routes, answers and times in, where to send out.
package path

import (
	"slices"
	"time"
)

// Patience is how long the preferred route may stay silent before packets go
// to another one too: longer than a round trip to the other side of the world.
const Patience = 300 * time.Millisecond

// A Race sends to the preferred route first and to one more, in turn, while
// nothing answers. The route that answers wins and carries everything, until
// it is lost. The zero R is no route, and the zero Race has none. It is not safe for
// concurrent use.
//
//	        Patience                  a route answers
//	alone ───────────► with another ────────────────────► won
//	  ▲                 │   ▲  └─Patience: the next one     │ Lost: at once
//	  └── SetRoutes ─────┘   └───────────────────────────────┘
type Race[R comparable] struct {
	routes  []R // the preferred first
	primary R
	also    R
	turn    int           // index in routes of the newest also
	due     time.Duration // when the next one joins; 0: at the next Step
	won     bool
}

// Paths returns where to send: primary, and also unless it is none. Both are
// none while there is no route.
func (r *Race[R]) Paths() (primary, also R) { return r.primary, r.also }

// Won reports whether the primary route has answered.
func (r *Race[R]) Won() bool { return r.won }

// SetRoutes replaces the routes. A winner that is still among them stays; any
// other way the race starts again.
func (r *Race[R]) SetRoutes(routes []R) {
	var unique []R
	for _, a := range routes {
		if !slices.Contains(unique, a) {
			unique = append(unique, a)
		}
	}
	r.routes = unique
	if r.won && slices.Contains(unique, r.primary) {
		return
	}
	r.restart()
}

func (r *Race[R]) restart() {
	var none R
	r.primary, r.also, r.turn, r.due, r.won = none, none, 0, 0, false
	if len(r.routes) > 0 {
		r.primary = r.routes[0]
	}
}

// Step takes the time and reports whether Paths changed.
func (r *Race[R]) Step(now time.Duration) bool {
	var none R
	if r.won || r.primary == none {
		return false
	}
	if r.due == 0 {
		r.due = now + Patience
		return true
	}
	if now < r.due || r.alone() {
		return false
	}
	r.due = now + Patience
	for range r.routes {
		r.turn = (r.turn + 1) % len(r.routes)
		if a := r.routes[r.turn]; a != r.primary {
			changed := r.also != a
			r.also = a
			return changed
		}
	}
	return false
}

// alone reports whether there is no route but the primary.
func (r *Race[R]) alone() bool {
	return len(r.routes) == 0 || len(r.routes) == 1 && r.routes[0] == r.primary
}

// Next returns when Step is due, 0 when it is not.
func (r *Race[R]) Next() time.Duration {
	var none R
	if r.won || r.primary == none || r.alone() {
		return 0
	}
	return r.due
}

// Answered takes the route that a proof came by and reports whether Paths
// changed. It may be one that was not in the race: a far end that moved.
func (r *Race[R]) Answered(from R) bool {
	var none R
	changed := r.primary != from || r.also != none
	r.primary, r.also, r.won = from, none, true
	return changed
}

// Lost takes back the win of a route that stays silent: the others join at
// the next Step, and the silent one stays in the race.
func (r *Race[R]) Lost(now time.Duration) {
	if !r.won {
		return
	}
	r.won = false
	r.due = max(now, 1)
	r.turn = slices.Index(r.routes, r.primary)
}
