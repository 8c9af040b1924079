package nat

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
)

// An offer is one end's message to the other: everything it has to say of its
// generation so far, so that any of them makes up for lost ones. On the wire:
//
//	version 1 | generation, u64 big-endian | nonce, 12 bytes | AES-256-GCM of JSON
//
// with the first nine bytes authenticated and the key that of the generation and
// of the end that sends.
type offer struct {
	Seq        uint32   `json:"seq"`            // counts changes of what follows, from 1
	Ack        uint32   `json:"ack,omitempty"`  // the far end's newest Seq that was heard
	Want       bool     `json:"want,omitempty"` // the sender knows of no Ack for this Seq
	Candidates []string `json:"candidates"`     // see parseCandidate
	End        bool     `json:"end,omitempty"`  // no more of them will come
	Report     string   `json:"report,omitempty"`
}

const (
	offerVersion   = 1
	offerHeader    = 1 + 8
	offerNonce     = 12
	offerTag       = 16
	offerMost      = 2800 // bytes that signaling carries
	candidatesMost = 32   // of at most 54 bytes and 3 of JSON each: 1,824 bytes
	reportMost     = 256  // bytes, twice that with backslashes
)

var errOffer = errors.New("not an offer")

// seal returns the message.
func (o *offer) seal(k *keys) ([]byte, error) {
	var plain bytes.Buffer
	enc := json.NewEncoder(&plain)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(o); err != nil {
		return nil, err
	}
	b := make([]byte, offerHeader+offerNonce, offerHeader+offerNonce+plain.Len()+offerTag)
	b[0] = offerVersion
	binary.BigEndian.PutUint64(b[1:], k.generation)
	rand.Read(b[offerHeader:])
	b = k.aead.Seal(b, b[offerHeader:], plain.Bytes(), b[:offerHeader])
	if len(b) > offerMost {
		return nil, errOffer
	}
	return b, nil
}

// generationOf returns what a message says of itself; nothing is proved by it.
func generationOf(sealed []byte) (uint64, bool) {
	if len(sealed) < offerHeader+offerNonce+offerTag || len(sealed) > offerMost || sealed[0] != offerVersion {
		return 0, false
	}
	g := binary.BigEndian.Uint64(sealed[1:])
	return g, g != 0
}

// openOffer returns what an end sealed with k.
func openOffer(sealed []byte, k *keys) (*offer, []Candidate, error) {
	if g, ok := generationOf(sealed); !ok || g != k.generation {
		return nil, nil, errOffer
	}
	header, nonce := sealed[:offerHeader], sealed[offerHeader:offerHeader+offerNonce]
	plain, err := k.aead.Open(nil, nonce, sealed[offerHeader+offerNonce:], header)
	if err != nil {
		return nil, nil, errOffer
	}
	return parseOffer(plain)
}

// parseOffer is strict: a field, a value or a candidate that it does not know
// makes the whole void.
func parseOffer(plain []byte) (*offer, []Candidate, error) {
	dec := json.NewDecoder(bytes.NewReader(plain))
	dec.DisallowUnknownFields()
	var o offer
	if dec.Decode(&o) != nil {
		return nil, nil, errOffer
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, nil, errOffer
	}
	if o.Seq == 0 || len(o.Candidates) > candidatesMost || !validReport(o.Report) {
		return nil, nil, errOffer
	}
	list := make([]Candidate, 0, len(o.Candidates))
	for _, text := range o.Candidates {
		c, err := parseCandidate(text)
		if err != nil {
			return nil, nil, errOffer
		}
		list = append(list, c)
	}
	return &o, list, nil
}

// validReport allows printable ASCII.
func validReport(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return len(s) <= reportMost
}
