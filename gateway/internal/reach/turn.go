package reach

import "time"

// Turn is a device's change of its key, in a data plane in which an address has one
// peer. The zero value is of no device. It is not safe for concurrent use.
//
//	Key ── the session names another ──► Key and Next: Next has a peer, without addresses
//	Next proves itself, or patience ends ──► the addresses are Next's, and Key's peer goes
//	the session names a third key meanwhile ──► Next's peer goes, the third is Next
//	the session names Key again ──► Next's peer goes
type Turn struct {
	Key  [32]byte  // has the addresses
	Next *[32]byte // nil: there is none

	patience *time.Timer // with Next
}

// To returns what becomes of t, which is given up for it, when the session names
// wanted, and the key whose peer goes, if one does. A change that begins calls late
// once patience has passed, on a goroutine of its own.
func (t Turn) To(wanted [32]byte, patience time.Duration, late func(next [32]byte)) (now Turn, dropped *[32]byte) {
	if t.Next != nil && *t.Next == wanted {
		return t, nil
	}
	t.Stop()
	now, dropped = Turn{Key: t.Key}, t.Next
	if t.Key != wanted {
		now.Next = &wanted
		now.patience = time.AfterFunc(patience, func() { late(wanted) })
	}
	return now, dropped
}

// Done ends the change to key and returns the one of before, whose peer goes; ok is
// false when t does not change to key, or does so no more.
func (t *Turn) Done(key [32]byte) (before [32]byte, ok bool) {
	if t.Next == nil || *t.Next != key {
		return before, false
	}
	t.Stop()
	before, t.Key, t.Next = t.Key, key, nil
	return before, true
}

// Keys are those that have a peer.
func (t *Turn) Keys() [][32]byte {
	if t.Next == nil {
		return [][32]byte{t.Key}
	}
	return [][32]byte{t.Key, *t.Next}
}

// Stop ends the patience with the next key, so that late is not called any more unless
// it is being called.
func (t *Turn) Stop() {
	if t.patience != nil {
		t.patience.Stop()
	}
}
