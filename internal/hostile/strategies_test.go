package hostile

import (
	"fmt"
	"slices"
	"time"

	"github.com/boothwire/boothwire/signaling"
)

// strategy is one thing that a hostile broker can do.
type strategy struct {
	name   string
	tamper func(e *enemy, p packet) []packet // called with e.mu held
	attack func(e *enemy) []packet           // what it sends unasked, again and again; may be nil
	posing bool                              // control sees a foreign key
}

func strategies() []strategy {
	return []strategy{
		{name: "reads", tamper: pass},
		{name: "forges", posing: true, tamper: func(e *enemy, p packet) []packet {
			all := e.forgeries(p)
			return []packet{all[e.rand.IntN(len(all))], p, all[e.rand.IntN(len(all))]}
		}, attack: (*enemy).forge},
		{name: "replays", tamper: func(_ *enemy, p packet) []packet { return []packet{p, p, p} }, attack: replays},
		{name: "reorders", tamper: func(e *enemy, p packet) []packet {
			e.held = append(e.held, p)
			if len(e.held) == 3 {
				e.release(slices.Reverse)
			}
			return nil
		}},
		{name: "swaps", tamper: func(e *enemy, p packet) []packet {
			swapped, to := p, other
			if deviceOf(p) == other {
				to = victim
			}
			swapped.Topic = fmt.Sprintf("iot/%s/%s", to, kindOf(p))
			e.later(swapped, 0)
			if e.rand.IntN(2) == 0 {
				return nil
			}
			return []packet{p}
		}},
		{name: "mixes", tamper: mixes},
		{name: "withholds", tamper: func(*enemy, packet) []packet { return nil }},
		{name: "withholds commands", tamper: func(_ *enemy, p packet) []packet {
			if isCommand(p) {
				return nil
			}
			return []packet{p}
		}},
		{name: "withholds statuses", tamper: func(_ *enemy, p packet) []packet {
			if isCommand(p) {
				return []packet{p}
			}
			return nil
		}},
		{name: "delivers late", tamper: func(e *enemy, p packet) []packet {
			e.later(p, time.Duration(e.rand.IntN(800))*time.Millisecond)
			return nil
		}},
		{name: "all of it", posing: true, tamper: mixture, attack: func(e *enemy) []packet {
			if e.rand.IntN(2) == 0 {
				return e.forge()
			}
			return replays(e)
		}},
	}
}

func pass(_ *enemy, p packet) []packet { return []packet{p} }

// replays are some of what passed, now and then as if it had been kept.
func replays(e *enemy) (list []packet) {
	for range 3 {
		if p, ok := e.choose(""); ok {
			p.Retained = e.rand.IntN(4) == 0
			list = append(list, p)
		}
	}
	return list
}

// mixes puts parts of two messages together, each of which is genuine.
func mixes(e *enemy, p packet) []packet {
	q, ok := e.choose(kindOf(p))
	if !ok {
		return []packet{p}
	}
	if isCommand(p) {
		a, err := signaling.ParseCommand(p.Payload)
		b, err2 := signaling.ParseCommand(q.Payload)
		if err != nil || err2 != nil {
			return []packet{p}
		}
		a.Token, a.Action = b.Token, []signaling.Action{signaling.Up, signaling.Down, signaling.Ask, signaling.Roots}[e.rand.IntN(4)]
		if len(a.Token) > 0 && a.Action == signaling.Down && headerOf(a.Token)["typ"] == "bw-down" {
			return []packet{p} // that is a replay
		}
		return []packet{p, {Topic: p.Topic, Payload: command(*a)}}
	}
	a, err := signaling.ParseStatus(p.Payload)
	b, err2 := signaling.ParseStatus(q.Payload)
	if err != nil || err2 != nil {
		return []packet{p}
	}
	// The newest words with older keys, and hints that say something else.
	if deviceOf(p) == deviceOf(q) {
		a.Prekeys = b.Prekeys
	}
	a.VPN, a.Session, a.Code = signaling.Failed, b.Session, "lifetime"
	return []packet{{Topic: p.Topic, Payload: must(a.MarshalJSON())}}
}

// mixture does any of it.
func mixture(e *enemy, p packet) []packet {
	switch e.rand.IntN(8) {
	case 0:
		return nil
	case 1:
		return []packet{p, p}
	case 2:
		e.later(p, time.Duration(e.rand.IntN(600))*time.Millisecond)
		return nil
	case 3:
		return append(e.forgeries(p), p)
	case 4:
		if q, ok := e.choose(kindOf(p)); ok && deviceOf(q) == deviceOf(p) {
			return []packet{q, p}
		}
	case 5:
		p.Retained = true
	case 6:
		return mixes(e, p)
	}
	return []packet{p}
}
