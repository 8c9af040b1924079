package keys

import "slices"

// Record is a root's word about an online signer of control.
type Record struct {
	Issuer string      `json:"iss"`   // deployment; empty: DefaultIssuer
	ID     string      `json:"kid"`   // the signer's name, as ValidID has it
	Key    IdentityKey `json:"key"`   // its public key
	Scope  []string    `json:"scope"` // the kinds that it may sign
	Epoch  uint64      `json:"epoch"` // from 1; verifiers refuse one below the highest seen
}

func (r *Record) check() error {
	switch {
	case r.Issuer == "" || len(r.Issuer) > 64:
		return refuse(ReasonMalformed, "a record without a deployment")
	case !ValidID(r.ID):
		return refuse(ReasonMalformed, "a record without a signer's name")
	case r.Key.IsZero():
		return refuse(ReasonMalformed, "a record without a key")
	case r.Epoch == 0:
		return refuse(ReasonMalformed, "a record without an epoch")
	}
	return nil
}

// SignRecord signs r with root.
func SignRecord(root *Identity, r Record) ([]byte, error) {
	if r.Issuer == "" {
		r.Issuer = DefaultIssuer
	}
	if err := r.check(); err != nil {
		return nil, err
	}
	return sign(root, header{Typ: TypeSigner, Kid: root.Key().String()}, encode(r))
}

// parseRecord reads a record without verifying its signature.
func parseRecord(token []byte) (*jws, *Record, error) {
	t, err := parse(TypeSigner, token)
	if err != nil {
		return nil, nil, err
	}
	if t.Iss != "" || t.Rec != "" || t.Sub != "" || t.Boot != "" || t.Seq != 0 {
		return nil, nil, refuse(ReasonMalformed, "a record with another kind's header")
	}
	r := new(Record)
	if err := decode(t.payload, r); err != nil {
		return nil, nil, err
	}
	return t, r, r.check()
}

// Signer signs what control says: an identity with a root's record of it. It
// is safe for concurrent use.
type Signer struct {
	id     *Identity
	record Record
	token  string
}

// NewSigner joins an identity and its record. The record must be of that
// identity; its signature is left to those who verify.
func NewSigner(id *Identity, record []byte) (*Signer, error) {
	_, r, err := parseRecord(record)
	if err != nil {
		return nil, err
	}
	if r.Key != id.Key() {
		return nil, refuse(ReasonUnknownSigner, "the record is of another key")
	}
	return &Signer{id: id, record: *r, token: string(record)}, nil
}

// Issuer returns the deployment that the signer signs for.
func (s *Signer) Issuer() string { return s.record.Issuer }

// Record returns what the root said about the signer.
func (s *Signer) Record() Record {
	r := s.record
	r.Scope = slices.Clone(r.Scope)
	return r
}

// Sign signs payload, a JSON object, as an object of kind typ. Errors are
// *GrantError.
func (s *Signer) Sign(typ string, payload []byte) ([]byte, error) {
	if !slices.Contains(s.record.Scope, typ) {
		return nil, refuse(ReasonOutOfScope, "%s may not sign a %s", s.record.ID, typ)
	}
	h := header{Typ: typ, Kid: s.record.ID, Iss: s.record.Issuer, Rec: s.token}
	return sign(s.id, h, payload)
}
