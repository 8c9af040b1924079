package store

import (
	"context"
	"time"
)

// Node is one gateway.
type Node struct {
	Name, Identity, Key string
	Endpoints           []string
	Operators           []string // endpoints for them, where they differ
	Proof, Version      string
	Draining            bool // it gets no new sessions
	Moving              bool // while it drains: those that it has go elsewhere
	Seen, Created       time.Time
	ClaimHash           string
	ClaimExpires        time.Time
}

// Nodes returns the nodes by name.
func (s *Store) Nodes(ctx context.Context) ([]Node, error) {
	return all(ctx, s, func(r row) (n Node, err error) {
		var draining, seen, created, expires int64
		var endpoints, operators string
		err = r.Scan(&n.Name, &n.Identity, &n.Key, &endpoints, &operators, &n.Proof, &n.Version, &draining, &seen, &created, &n.ClaimHash, &expires)
		if err == nil {
			n.Endpoints, err = fromText[string](endpoints)
		}
		if err == nil {
			n.Operators, err = fromText[string](operators)
		}
		n.Draining, n.Moving = draining != 0, draining == drainMoving
		n.Seen, n.Created, n.ClaimExpires = fromMicros(seen), fromMicros(created), fromMicros(expires)
		return n, err
	}, `SELECT name, identity, wg_key, endpoints, operator_endpoints, proof, version, draining, seen, created, claim_hash, claim_expires FROM nodes ORDER BY name`)
}

// PutNode writes a node.
func (t *Tx) PutNode(n Node) error {
	return t.exec(`INSERT INTO nodes (name, identity, wg_key, endpoints, operator_endpoints, proof, version, draining, seen, created, claim_hash, claim_expires)
		VALUES (?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT (name) DO UPDATE SET identity=excluded.identity, wg_key=excluded.wg_key,
		endpoints=excluded.endpoints, operator_endpoints=excluded.operator_endpoints, proof=excluded.proof, version=excluded.version, draining=excluded.draining,
		seen=excluded.seen, claim_hash=excluded.claim_hash, claim_expires=excluded.claim_expires`,
		n.Name, n.Identity, n.Key, text(n.Endpoints), text(n.Operators), n.Proof, n.Version, n.draining(), micros(n.Seen), micros(n.Created),
		n.ClaimHash, micros(n.ClaimExpires))
}

// drainMoving is how a node is kept whose sessions move.
const drainMoving = 2

func (n Node) draining() int64 {
	if n.Draining && n.Moving {
		return drainMoving
	}
	return flag(n.Draining)
}

// UseClaim uses the claim with that hash up; ErrTaken when it was used, replaced or
// is too old.
func (t *Tx) UseClaim(name, hash string, now time.Time) error {
	n, err := t.change(`UPDATE nodes SET claim_hash='', claim_expires=0 WHERE name=? AND claim_hash=? AND claim_expires>?`, name, hash, micros(now))
	if err == nil && n == 0 {
		return ErrTaken
	}
	return err
}

// DeleteNode removes a node.
func (t *Tx) DeleteNode(name string) error { return t.exec(`DELETE FROM nodes WHERE name=?`, name) }

// Address is a tunnel address and who has it.
type Address struct {
	Address, Kind, Holder string
	Used                  time.Time
}

// Addresses returns all addresses that somebody has or had, the longest given up first.
func (s *Store) Addresses(ctx context.Context) ([]Address, error) {
	return all(ctx, s, func(r row) (a Address, err error) {
		var used int64
		err = r.Scan(&a.Address, &a.Kind, &a.Holder, &used)
		a.Used = fromMicros(used)
		return a, err
	}, `SELECT address, kind, holder, used FROM addresses ORDER BY used, address`)
}

// AddressTaken is an address that somebody else has.
type AddressTaken struct{ Address string }

func (e *AddressTaken) Error() string { return "store: somebody has the address " + e.Address }

const takeAddress = `INSERT INTO addresses (address, kind, holder, used) VALUES (?,?,?,?)
	ON CONFLICT (address) DO UPDATE SET kind=excluded.kind, holder=excluded.holder, used=excluded.used
	WHERE addresses.kind=excluded.kind AND addresses.holder=excluded.holder
	OR addresses.kind<>'node' AND addresses.used<=?
	AND NOT EXISTS (SELECT 1 FROM sessions s WHERE s.clean=0 AND s.address=addresses.address)
	AND NOT EXISTS (SELECT 1 FROM operators o WHERE o.removed=0 AND o.address=addresses.address
		AND EXISTS (SELECT 1 FROM sessions s WHERE s.id=o.session AND s.clean=0))`

// TakeAddress gives an address to its holder; *AddressTaken unless it is new, the
// holder's own, or nobody's: given up before rested, and in no session about which
// something is left to be done. A node's stays its own. It comes before the session's
// own row.
func (t *Tx) TakeAddress(a Address, rested time.Time) error {
	if err := t.exec(`DELETE FROM addresses WHERE kind=? AND holder=? AND address<>?`, a.Kind, a.Holder, a.Address); err != nil {
		return err
	}
	n, err := t.change(takeAddress, a.Address, a.Kind, a.Holder, micros(a.Used), micros(rested))
	if err == nil && n == 0 {
		return &AddressTaken{a.Address}
	}
	return err
}
