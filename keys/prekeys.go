package keys

import "time"

const (
	batchSize = 4                // keys in a batch: sessions in 30 min before control must ask
	batchLife = 30 * time.Minute // until a batch is replaced
	honour    = 2 * time.Minute  // how long a replaced batch still counts: a wake on its way
	single    = 10 * time.Minute // how long a requested or asked key waits for its grant
)

// offered is a one-time key that was published and that no session has used.
type offered struct {
	key     PrivateKey
	session string        // the only session that may use it; empty: any
	until   time.Duration // when it is erased; 0: while its batch is current
	nonce   string        // of the ask or request that it was made for
	ask     bool
	answer  []byte // the answer to that ask, to be repeated
}

// purse is a device's unspent one-time keys. It is pure: the time comes in. It
// is not safe for concurrent use.
type purse struct {
	keys    map[PublicKey]*offered
	current []PublicKey   // of the current batch, in order
	made    time.Duration // when it was made
	n       int           // its number
	spent   ring[PublicKey]
}

func newPurse() *purse {
	return &purse{keys: make(map[PublicKey]*offered), spent: newRing[PublicKey](1024)}
}

// renew replaces the current batch.
func (p *purse) renew(now time.Duration) {
	for _, k := range p.current {
		if o := p.keys[k]; o != nil {
			o.until = now + honour
		}
	}
	p.current = p.current[:0:0]
	for range batchSize {
		o := &offered{key: NewPrivateKey()}
		pub := o.key.Public()
		p.keys[pub] = o
		p.current = append(p.current, pub)
	}
	p.made = now
	p.n++
}

// due reports whether the current batch must be replaced before it is
// published: because of its age, or because it is all but used up.
func (p *purse) due(now time.Duration) bool {
	left := 0
	for _, k := range p.current {
		if p.keys[k] != nil {
			left++
		}
	}
	return left <= 1 || now-p.made >= batchLife
}

// add makes a key outside of the batches.
func (p *purse) add(now time.Duration, o *offered) PublicKey {
	o.key = NewPrivateKey()
	o.until = now + single
	pub := o.key.Public()
	p.keys[pub] = o
	return pub
}

// expire erases what is no longer honoured, and returns when to look again: 0
// when nothing has a date. The current batch has none: it is good until it is
// replaced.
func (p *purse) expire(now time.Duration) (next time.Duration) {
	for k, o := range p.keys {
		switch {
		case o.until == 0:
		case now >= o.until:
			p.drop(k)
		case next == 0 || o.until < next:
			next = o.until
		}
	}
	return next
}

// drop erases a key that nobody used.
func (p *purse) drop(k PublicKey) {
	if o := p.keys[k]; o != nil {
		o.key.Erase()
		delete(p.keys, k)
	}
}

// take spends the key k for session.
func (p *purse) take(now time.Duration, k PublicKey, session string) (PrivateKey, error) {
	p.expire(now)
	o := p.keys[k]
	switch {
	case o == nil && p.spent.has(k):
		return PrivateKey{}, refuse(ReasonUsedPrekey, "it was used before")
	case o == nil:
		return PrivateKey{}, refuse(ReasonUnknownPrekey, "not, or no longer, a key of this device")
	case o.session != "" && o.session != session:
		return PrivateKey{}, refuse(ReasonUsedPrekey, "it was published for another session")
	}
	delete(p.keys, k)
	p.spent.add(k)
	return o.key, nil
}

// count returns how many asked or requested keys wait for their grant, and
// the one that has waited longest.
func (p *purse) count(ask bool) (n int, oldest PublicKey) {
	var until time.Duration
	for k, o := range p.keys {
		if o.nonce == "" || o.ask != ask {
			continue
		}
		if n == 0 || o.until < until {
			oldest, until = k, o.until
		}
		n++
	}
	return n, oldest
}

// end drops the keys that were published for session.
func (p *purse) end(session string) {
	for k, o := range p.keys {
		if o.session == session {
			p.drop(k)
		}
	}
}
