package keys

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
)

// trustName is what Roots are stored as.
const trustName = "trust"

// Roots verifies what control signs: a deployment's pinned roots, the lists
// that followed them, and the highest epoch seen. It is safe for concurrent
// use.
type Roots struct {
	mu     sync.RWMutex
	list   RootList
	pinned []string // the text that list grew from
	epoch  uint64
	store  Store // nil: memory only

	// Records that a root has signed, by their text: all tokens of a deployment carry one
	// of a few, and to verify it costs as much as the token itself.
	records map[string]signed
}

// maxRecords is far more than the signers of a deployment.
const maxRecords = 16

type signed struct {
	root   IdentityKey
	record *Record
}

// stored is what a Store remembers of one deployment.
type stored struct {
	Pinned []string      `json:"pinned"`
	N      int           `json:"n"`
	Roots  []IdentityKey `json:"roots"`
	Epoch  uint64        `json:"epoch"`
}

// ParseRoots returns the Roots of a deployment (empty: DefaultIssuer) from
// the texts of its root keys, all of one list. They forget later lists and the
// epoch with the process; OpenRoots remembers them.
func ParseRoots(issuer string, text ...string) (*Roots, error) {
	l, err := parseRootText(issuer, text)
	if err != nil {
		return nil, err
	}
	return &Roots{list: l, pinned: l.Text()}, nil
}

// OpenRoots is ParseRoots with a memory: later lists and the highest epoch
// are kept in store, for each deployment, under the name "trust". A list that
// grew from the same text is taken from there. Where the text has changed
// since, it wins unless its number is below that of the stored list; the
// epoch is forgotten only if the two lists have no root in common.
func OpenRoots(store Store, issuer string, text ...string) (*Roots, error) {
	r, err := ParseRoots(issuer, text...)
	if err != nil {
		return nil, err
	}
	r.store = store
	all, err := r.load()
	if err != nil {
		return nil, fmt.Errorf("keys: roots: %w", err)
	}
	s, ok := all[r.list.Issuer]
	if !ok {
		return r, nil
	}
	slices.Sort(s.Pinned)
	pinned := slices.Sorted(slices.Values(r.pinned))
	if slices.Equal(s.Pinned, pinned) || r.list.N < s.N {
		r.list.N, r.list.Roots, r.pinned, r.epoch = s.N, s.Roots, s.Pinned, s.Epoch
		return r, nil
	}
	if slices.ContainsFunc(s.Roots, func(k IdentityKey) bool { return slices.Contains(r.list.Roots, k) }) {
		r.epoch = s.Epoch
	}
	return r, nil
}

func (r *Roots) load() (map[string]stored, error) {
	all := make(map[string]stored)
	data, err := r.store.Load(trustName)
	if errors.Is(err, fs.ErrNotExist) {
		return all, nil
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(data, &all); err != nil {
		return nil, errors.New("the stored lists cannot be read")
	}
	for issuer, s := range all {
		if err := (&RootList{issuer, s.N, s.Roots}).check(); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// save writes what is in force; r.mu is held.
func (r *Roots) save() error {
	if r.store == nil {
		return nil
	}
	all, err := r.load()
	if err == nil {
		all[r.list.Issuer] = stored{r.pinned, r.list.N, r.list.Roots, r.epoch}
		err = r.store.Save(trustName, encode(all))
	}
	if err != nil {
		return fmt.Errorf("keys: roots: %w", err)
	}
	return nil
}

// Issuer returns the deployment.
func (r *Roots) Issuer() string { return r.list.Issuer } // never changes

// N returns the number of the list in force.
func (r *Roots) N() int { return r.List().N }

// List returns the list in force.
func (r *Roots) List() RootList {
	r.mu.RLock()
	defer r.mu.RUnlock()
	l := r.list
	l.Roots = slices.Clone(l.Roots)
	return l
}

// Update puts the next list in force: a command of SignRoots. The list in
// force again is no error. A refusal is a *GrantError and changes nothing; any
// other error means that the list is in force but could not be stored.
func (r *Roots) Update(list []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	next, err := r.list.next(list)
	if err != nil {
		return err
	}
	r.list = next
	return r.save()
}

// Verify checks that token is of kind typ, of this deployment, and signed by
// a signer that a root in force vouches for, and returns its payload: a JSON
// object, read strictly. It does not know what the payload means. Errors are
// *GrantError.
func (r *Roots) Verify(typ string, token []byte) (payload []byte, err error) {
	t, err := parse(typ, token)
	if err != nil {
		return nil, err
	}
	if t.Iss != r.Issuer() {
		return nil, refuse(ReasonWrongIssuer, "of another deployment")
	}
	if t.Sub != "" || t.Boot != "" || t.Seq != 0 {
		return nil, refuse(ReasonMalformed, "a device's header")
	}
	rec, err := r.vouched(t)
	if err != nil {
		return nil, err
	}
	if err := t.by(rec.Key); err != nil {
		return nil, err
	}
	if err := critical(typ, t.payload); err != nil {
		return nil, err
	}
	r.saw(rec.Epoch)
	return t.payload, nil
}

// vouched returns the record that t carries if a root stands behind it.
func (r *Roots) vouched(t *jws) (*Record, error) {
	if t.Rec == "" {
		return nil, refuse(ReasonUnknownSigner, "no record of the signer")
	}
	r.mu.RLock()
	s, kept := r.records[t.Rec]
	r.mu.RUnlock()
	var token *jws
	if !kept {
		var err error
		if token, s.record, err = parseRecord([]byte(t.Rec)); err != nil {
			return nil, err
		}
		if s.root, err = ParseIdentityKey(token.Kid); err != nil {
			return nil, refuse(ReasonUnknownSigner, "no root in force vouches for it")
		}
	}
	r.mu.RLock()
	known, epoch := slices.Contains(r.list.Roots, s.root), r.epoch
	r.mu.RUnlock()
	if !known {
		return nil, refuse(ReasonUnknownSigner, "no root in force vouches for it")
	}
	if !kept {
		if err := token.by(s.root); err != nil {
			return nil, err
		}
		r.keep(t.Rec, s)
	}
	rec := s.record
	switch {
	case rec.Issuer != t.Iss:
		return nil, refuse(ReasonWrongIssuer, "a signer of another deployment")
	case rec.ID != t.Kid:
		return nil, refuse(ReasonUnknownSigner, "a record of another signer")
	case !slices.Contains(rec.Scope, t.Typ):
		return nil, refuse(ReasonOutOfScope, "%s may not sign a %s", rec.ID, t.Typ)
	case rec.Epoch < epoch:
		return nil, refuse(ReasonStaleEpoch, "epoch %d after %d", rec.Epoch, epoch)
	}
	return rec, nil
}

// keep remembers a record whose root's signature is good; strangers' are not kept.
func (r *Roots) keep(text string, s signed) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.records) >= maxRecords || r.records == nil {
		r.records = make(map[string]signed)
	}
	r.records[text] = s
}

// saw raises the epoch. A disk that does not take it is no reason to refuse:
// it only means that the epoch is forgotten with the process.
func (r *Roots) saw(epoch uint64) {
	r.mu.RLock()
	higher := epoch > r.epoch
	r.mu.RUnlock()
	if !higher {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if epoch > r.epoch {
		r.epoch = epoch
		_ = r.save()
	}
}

// VerifyGrant is Verify for a grant, and reads it. Whether it is for the
// caller is left to Grant.ForNode or Device.Accept.
func (r *Roots) VerifyGrant(token []byte) (*Grant, error) {
	payload, err := r.Verify(TypeGrant, token)
	if err != nil {
		return nil, err
	}
	return decodeGrant(payload)
}
