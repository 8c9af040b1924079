package keys

import (
	"crypto"
	"encoding/base64"
	"fmt"
	"sync"
	"time"
)

// identityName is what a device's identity is stored as.
const identityName = "identity"

// Trust says whom a device believes, and the limits that its host sets: they
// bound every grant, whoever signed it.
type Trust struct {
	Roots   []string      // required: root keys as RootList.Text writes them
	Issuer  string        // the deployment; empty: DefaultIssuer
	Ports   []Port        // that operators may be let to; none: any
	Nodes   []string      // far ends; none: any. An operator's own tool is ""
	Longest time.Duration // of a session; 0: as granted
}

// Device is a device's side of the authority: its id, identity, one-time keys
// and the roots that it trusts. It is safe for concurrent use.
//
// One-time keys live in memory only. A Device has nothing to close; it holds
// one timer, which erases keys that are no longer honoured.
type Device struct {
	id    string
	boot  string
	ident *Identity
	roots *Roots
	trust Trust
	clock func() time.Duration

	mu       sync.Mutex
	seq      uint64
	purse    *purse
	batch    []byte // the current one, signed
	hashes   fingerprints
	sessions map[string]*open
	closed   ring[string]
	asks     limiter
	nonces   ring[string]
	timer    *time.Timer
	timerAt  time.Duration
}

type fingerprints struct{ ssh, rdp [32]byte }

// OpenDevice opens the device called id. Its identity is made at the first
// time and kept in store, as "identity"; later lists of roots and the highest
// epoch are kept as "trust".
func OpenDevice(id string, store Store, trust Trust) (*Device, error) {
	return openDevice(id, store, trust, newClock())
}

func openDevice(id string, store Store, trust Trust, clock func() time.Duration) (*Device, error) {
	if !ValidID(id) {
		return nil, fmt.Errorf("keys: a device's id is 1 to 64 of A-Z a-z 0-9 . _ -")
	}
	roots, err := OpenRoots(store, trust.Issuer, trust.Roots...)
	if err != nil {
		return nil, err
	}
	ident, err := OpenIdentity(store, identityName)
	if err != nil {
		return nil, err
	}
	d := &Device{
		id: id, boot: NewID(), ident: ident, roots: roots, clock: clock,
		trust:    Trust{Ports: append([]Port(nil), trust.Ports...), Nodes: append([]string(nil), trust.Nodes...), Longest: trust.Longest},
		purse:    newPurse(),
		sessions: make(map[string]*open),
		closed:   newRing[string](1024),
		asks:     newLimiter(clock()),
		nonces:   newRing[string](64),
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d, d.rotate()
}

// ID returns the device's id.
func (d *Device) ID() string { return d.id }

// Key returns the public half of the device's identity: what is registered
// with control.
func (d *Device) Key() IdentityKey { return d.ident.Key() }

// Signer returns the identity, for TLS client certificates and the like.
func (d *Device) Signer() crypto.Signer { return d.ident }

// Identity returns the same as Signer, with its type.
func (d *Device) Identity() *Identity { return d.ident }

// Issuer returns the deployment.
func (d *Device) Issuer() string { return d.roots.Issuer() }

// Ports returns those that operators may be let to; none: any.
func (d *Device) Ports() []Port { return append([]Port(nil), d.trust.Ports...) }

// Boot returns the id of this run, made by OpenDevice: one-time keys of
// another are refused.
func (d *Device) Boot() string { return d.boot }

// RootsN returns the number of the list of roots in force.
func (d *Device) RootsN() int { return d.roots.N() }

// UpdateRoots puts the next list of roots in force: Roots.Update.
func (d *Device) UpdateRoots(lists []byte) error { return d.roots.Update(lists) }

// Fingerprints sets the SHA-256 of the device's SSH host key and RDP
// certificate, which later batches carry so that operators can pin them. Zero
// leaves one out.
func (d *Device) Fingerprints(ssh, rdp [32]byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hashes = fingerprints{ssh, rdp}
}

// batchWire is the payload of a batch.
type batchWire struct {
	Boot string      `json:"boot"`
	N    int         `json:"n"`
	Keys []PublicKey `json:"keys"`
	SSH  string      `json:"ssh,omitempty"`
	RDP  string      `json:"rdp,omitempty"`
}

// Prekeys returns the current batch of one-time keys, signed: at most 1,400
// bytes. It is replaced when it is 30 minutes old or all but used up.
func (d *Device) Prekeys() []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.purse.due(d.clock()) {
		_ = d.rotate() // fails only for an id or a deployment that OpenDevice refuses
	}
	return append([]byte(nil), d.batch...)
}

// Rotate replaces the batch, as at each connection. The replaced one is
// honoured for 2 more minutes.
func (d *Device) Rotate() {
	d.mu.Lock()
	defer d.mu.Unlock()
	_ = d.rotate()
}

// rotate makes and signs a batch; d.mu is held.
func (d *Device) rotate() error {
	now := d.clock()
	d.purse.renew(now)
	d.tidy(now)
	w := batchWire{Boot: d.boot, N: d.purse.n, Keys: d.purse.current}
	if d.hashes.ssh != [32]byte{} {
		w.SSH = base64.RawURLEncoding.EncodeToString(d.hashes.ssh[:])
	}
	if d.hashes.rdp != [32]byte{} {
		w.RDP = base64.RawURLEncoding.EncodeToString(d.hashes.rdp[:])
	}
	b, err := d.state(TypePrekeys, encode(w))
	if err == nil {
		d.batch = b
	}
	return err
}

// tidy erases what is no longer honoured and sees to it that this is done
// again in time; d.mu is held.
func (d *Device) tidy(now time.Duration) {
	next := d.purse.expire(now)
	if next == 0 || d.timer != nil && d.timerAt <= next {
		return
	}
	if d.timer != nil {
		d.timer.Stop()
	}
	d.timerAt = next
	d.timer = time.AfterFunc(next-now, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.timer = nil
		d.tidy(d.clock())
	})
}

// state signs a statement; d.mu is held.
func (d *Device) state(typ string, payload []byte) ([]byte, error) {
	h := header{Typ: typ, Kid: d.ident.Key().String(), Iss: d.roots.Issuer(), Sub: d.id, Boot: d.boot, Seq: d.seq + 1}
	t, err := sign(d.ident, h, payload)
	if err == nil {
		d.seq++
	}
	return t, err
}

// Sign signs payload, a JSON object, as a TypeStatus or TypeReply. Other kinds
// have methods of their own. Errors are *GrantError.
func (d *Device) Sign(typ string, payload []byte) ([]byte, error) {
	if typ != TypeStatus && typ != TypeReply {
		return nil, refuse(ReasonWrongKind, "a device signs no %s by itself", typ)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.state(typ, payload)
}

// Verify checks that token is of kind typ, signed by control for this device,
// and returns its payload. It changes nothing and permits nothing: a grant is
// for Accept, an ask for Answer. Errors are *GrantError.
func (d *Device) Verify(typ string, token []byte) ([]byte, error) {
	payload, err := d.roots.Verify(typ, token)
	if err != nil {
		return nil, err
	}
	var p struct {
		Device string `json:"device"`
	}
	if err := decode(payload, &p); err != nil {
		return nil, err
	}
	if p.Device != d.id {
		return nil, refuse(ReasonWrongDevice, "for another device")
	}
	return payload, nil
}
