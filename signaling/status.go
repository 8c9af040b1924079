package signaling

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/netip"
	"time"

	"github.com/boothwire/boothwire/internal/strictjson"
)

// Version is the V of the statuses that this release writes.
const Version = 1

// Status is a message from a device, and the payload of the token in it. In
// the message itself VPN, IP, Session, Re and Code are hints for old readers,
// beside Prekeys, Answer, Request, Offer and Token; the token's payload has
// everything else.
type Status struct {
	VPN     State
	IP      netip.Addr // the device's in the tunnel; zero when there is none
	V       int
	Caps    []string // what the device can do beyond V
	Version string   // of its software
	Session string   // that it is about: the open one, or the latest
	Rev     int      // the highest that the session's Handler was given
	Re      string   // id of the command that it answers
	Ladder  []Step   // so far
	Code    string   // why it failed, or why the command was refused
	Why     string   // for people
	Path    string   // how packets travel: direct or relay
	RTT     time.Duration
	Rx, Tx  uint64        // bytes that the device received and sent in the session's tunnel
	Direct  time.Duration // how long packets went that way in the session; whole seconds travel
	Relay   time.Duration // likewise
	Next    time.Duration // until the next document is due, at most
	Roots   int           // number of the list of roots in force
	NAT     string        // what the device's network is, as in Config
	Checks  []Check       // what the device found of its host, as in Config; nil: it does not say

	// Count makes a reply a refusal: so many commands were refused with Code
	// since the last reply that said so. Session is then the one that the
	// refused command's token names, if its signature holds, and VPN and IP
	// say how the device is all the same.
	Count int

	Prekeys, Answer, Request []byte // the device's tokens of these kinds
	Offer                    []byte // sealed end to end
	Token                    []byte // of kind bw-status or bw-reply
}

// statusWire is a Status as it travels, in both places.
type statusWire struct {
	V       int      `json:"v,omitempty"`
	Caps    []string `json:"caps,omitempty"`
	Version string   `json:"version,omitempty"`
	VPN     string   `json:"vpn"`
	IP      string   `json:"ip,omitempty"`
	Session string   `json:"session,omitempty"`
	Rev     int      `json:"rev,omitempty"`
	Re      string   `json:"re,omitempty"`
	Ladder  []Step   `json:"ladder,omitempty"`
	Code    string   `json:"code,omitempty"`
	Why     string   `json:"why,omitempty"`
	Path    string   `json:"path,omitempty"`
	RTT     int64    `json:"rtt_us,omitempty"`
	Rx      uint64   `json:"rx,omitempty"`
	Tx      uint64   `json:"tx,omitempty"`
	Direct  int64    `json:"direct_s,omitempty"`
	Relay   int64    `json:"relay_s,omitempty"`
	Next    int64    `json:"next_s,omitempty"`
	Roots   int      `json:"roots,omitempty"`
	NAT     string   `json:"nat,omitempty"`
	Checks  []Check  `json:"checks,omitempty"`
	Count   int      `json:"count,omitempty"`
	Prekeys string   `json:"prekeys,omitempty"`
	Answer  string   `json:"answer,omitempty"`
	Request string   `json:"request,omitempty"`
	Offer   string   `json:"offer,omitempty"`
	Token   string   `json:"token,omitempty"`
}

// What a status may have at most, beyond its size.
const (
	maxCaps   = 32
	maxLadder = 32
	maxWhy    = 512     // bytes
	maxMicros = 1 << 52 // so that JavaScript can count them, 140 years
	maxNext   = 1 << 24 // seconds, 194 days
	maxBytes  = 1 << 52 // as above, 4 PiB
	maxSpent  = maxNext * time.Second
)

// ParseStatus reads a status, or the payload of its token, strictly: one JSON
// object of at most MaxStatus bytes, no name twice, exact case, nothing after
// it. Fields that are not known are ignored. Errors have a method Code()
// string.
func ParseStatus(b []byte) (*Status, error) {
	if len(b) > MaxStatus {
		return nil, refuse(ReasonOversized, "a status of more than %d bytes", MaxStatus)
	}
	var w statusWire
	if err := strictjson.Unmarshal(b, &w); err != nil {
		return nil, refuseJSON(err)
	}
	if err := w.check(); err != nil {
		return nil, err
	}
	s := &Status{
		VPN: State(w.VPN), V: w.V, Caps: w.Caps, Version: w.Version, Session: w.Session, Rev: w.Rev, Re: w.Re,
		Ladder: w.Ladder, Code: w.Code, Why: w.Why, Path: w.Path, RTT: time.Duration(w.RTT) * time.Microsecond,
		Rx: w.Rx, Tx: w.Tx, Direct: time.Duration(w.Direct) * time.Second, Relay: time.Duration(w.Relay) * time.Second,
		Next: time.Duration(w.Next) * time.Second, Roots: w.Roots, NAT: w.NAT, Checks: w.Checks, Count: w.Count,
		Prekeys: bytesOf(w.Prekeys), Answer: bytesOf(w.Answer), Request: bytesOf(w.Request), Token: bytesOf(w.Token),
	}
	var err error
	if w.IP != "" {
		if s.IP, err = netip.ParseAddr(w.IP); err != nil || s.IP.Zone() != "" {
			return nil, refuse(ReasonMalformed, "an ip that is none")
		}
	}
	if s.Offer, err = unseal(w.Offer); err != nil {
		return nil, err
	}
	return s, nil
}

// check refuses what no device of ours writes.
func (w *statusWire) check() error {
	bad := func(what string) error { return refuse(ReasonMalformed, "a status %s", what) }
	for _, id := range []string{w.Session, w.Re} {
		if id != "" && !validID(id) {
			return bad("with a wrong id")
		}
	}
	for _, word := range append([]string{w.Code, w.Path}, w.Caps...) {
		if word != "" && !validCode(word) {
			return bad("with a wrong word")
		}
	}
	for _, token := range []string{w.Prekeys, w.Answer, w.Request, w.Token} {
		if !validToken(token) {
			return bad("with a token that is none")
		}
	}
	switch {
	case !validCode(w.VPN):
		return bad("without vpn")
	case !validNAT(w.NAT):
		return bad("with a wrong nat")
	case len(w.Caps) > maxCaps || len(w.Ladder) > maxLadder || len(w.Checks) > maxChecks || len(w.Why) > maxWhy || len(w.Version) > 64:
		return bad("with too much in it")
	case w.V < 0 || w.Rev < 0 || w.Roots < 0 || w.Count < 0 || w.RTT < 0 || w.RTT > maxMicros || w.Next < 0 || w.Next > maxNext:
		return bad("with a number out of range")
	case w.Rx > maxBytes || w.Tx > maxBytes || w.Direct < 0 || w.Direct > maxNext || w.Relay < 0 || w.Relay > maxNext:
		return bad("with a figure out of range")
	}
	return nil
}

// MarshalJSON writes the status as it travels.
func (s Status) MarshalJSON() ([]byte, error) {
	w := statusWire{
		V: s.V, Caps: s.Caps, Version: s.Version, VPN: string(s.VPN), Session: s.Session, Rev: s.Rev, Re: s.Re,
		Ladder: s.Ladder, Code: s.Code, Why: s.Why, Path: s.Path, RTT: s.RTT.Microseconds(),
		Rx: s.Rx, Tx: s.Tx, Direct: int64(s.Direct / time.Second), Relay: int64(s.Relay / time.Second),
		Next: int64(s.Next / time.Second), Roots: s.Roots, NAT: s.NAT, Checks: s.Checks, Count: s.Count,
		Prekeys: string(s.Prekeys), Answer: string(s.Answer), Request: string(s.Request),
		Offer: base64.RawURLEncoding.EncodeToString(s.Offer), Token: string(s.Token),
	}
	if s.IP.IsValid() {
		w.IP = s.IP.String()
	}
	b, err := json.Marshal(w)
	if err == nil && len(b) > MaxStatus {
		return nil, refuse(ReasonOversized, "a status of %d bytes, at most %d", len(b), MaxStatus)
	}
	return b, err
}

// UnmarshalJSON is ParseStatus.
func (s *Status) UnmarshalJSON(b []byte) error {
	p, err := ParseStatus(b)
	if err == nil {
		*s = *p
	}
	return err
}

// Step is one stage of a ladder.
type Step struct {
	Stage Stage
	After time.Duration // since the command came; whole microseconds travel
	Code  string        // why it failed there; empty: it was reached
}

// MarshalJSON writes [stage, microseconds] or [stage, microseconds, code].
func (s Step) MarshalJSON() ([]byte, error) {
	list := []any{s.Stage, s.After.Microseconds()}
	if s.Code != "" {
		list = append(list, s.Code)
	}
	return json.Marshal(list)
}

// UnmarshalJSON reads what MarshalJSON writes. Stages that this release does
// not know are kept.
func (s *Step) UnmarshalJSON(b []byte) error {
	var list []json.RawMessage
	if err := json.Unmarshal(b, &list); err != nil {
		return err
	}
	if len(list) < 2 || len(list) > 3 {
		return fmt.Errorf("a step of %d parts", len(list))
	}
	var stage, code string
	var micros int64
	if err := json.Unmarshal(list[0], &stage); err != nil {
		return err
	}
	if err := json.Unmarshal(list[1], &micros); err != nil {
		return err
	}
	if len(list) == 3 {
		if err := json.Unmarshal(list[2], &code); err != nil {
			return err
		}
	}
	if !validCode(stage) || code != "" && !validCode(code) || micros < 0 || micros > maxMicros {
		return fmt.Errorf("a step out of range")
	}
	*s = Step{Stage(stage), time.Duration(micros) * time.Microsecond, code}
	return nil
}
