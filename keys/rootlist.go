package keys

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// maxRoots bounds a list of roots: a list is a command of at most 8 KiB.
const maxRoots = 16

// RootList is one generation of a deployment's offline roots.
type RootList struct {
	Issuer string        `json:"iss"` // deployment; empty: DefaultIssuer
	N      int           `json:"n"`   // from 1
	Roots  []IdentityKey `json:"roots"`
}

func (l *RootList) check() error {
	switch {
	case l.Issuer == "" || len(l.Issuer) > 64:
		return refuse(ReasonMalformed, "a list without a deployment")
	case l.N < 1:
		return refuse(ReasonMalformed, "a list without a number")
	case len(l.Roots) == 0 || len(l.Roots) > maxRoots:
		return refuse(ReasonMalformed, "a list of %d roots", len(l.Roots))
	case slices.Contains(l.Roots, IdentityKey{}):
		return refuse(ReasonMalformed, "a list with an empty root")
	}
	return nil
}

// Text returns the list as ParseRoots and Trust.Roots read it: each root as
// "N:KEY", and as "KEY" in list 1.
func (l RootList) Text() []string {
	out := make([]string, len(l.Roots))
	for i, k := range l.Roots {
		if out[i] = k.String(); l.N > 1 {
			out[i] = strconv.Itoa(l.N) + ":" + out[i]
		}
	}
	return out
}

// parseRootText reads what Text writes.
func parseRootText(issuer string, text []string) (RootList, error) {
	l := RootList{Issuer: issuer}
	if issuer == "" {
		l.Issuer = DefaultIssuer
	}
	for _, s := range text {
		n := 1
		if num, key, ok := strings.Cut(s, ":"); ok {
			var err error
			if n, err = strconv.Atoi(num); err != nil || n < 1 {
				return l, errors.New("keys: the number of a root is from 1")
			}
			s = key
		}
		if l.N != 0 && l.N != n {
			return l, errors.New("keys: roots of different lists")
		}
		l.N = n
		k, err := ParseIdentityKey(s)
		if err != nil {
			return l, fmt.Errorf("keys: a root: %w", err)
		}
		if !slices.Contains(l.Roots, k) {
			l.Roots = append(l.Roots, k)
		}
	}
	if len(l.Roots) == 0 || len(l.Roots) > maxRoots {
		return l, fmt.Errorf("keys: 1 to %d roots are needed, %d given", maxRoots, len(l.Roots))
	}
	return l, nil
}

// signedLists is the command that hands over a list of roots.
type signedLists struct {
	Lists []string `json:"lists"`
}

// SignRoots makes the command that hands list over: two tokens over one
// payload, by a root of the list before and by one of its own. One identity
// that is in both lists may sign for both.
func SignRoots(list RootList, by ...*Identity) ([]byte, error) {
	if list.Issuer == "" {
		list.Issuer = DefaultIssuer
	}
	if err := list.check(); err != nil {
		return nil, err
	}
	if len(by) == 1 {
		by = append(by, by[0])
	}
	if len(by) != 2 {
		return nil, refuse(ReasonUnsigned, "a list needs two signatures, %d given", len(by))
	}
	if !slices.ContainsFunc(by, func(id *Identity) bool { return slices.Contains(list.Roots, id.Key()) }) {
		return nil, refuse(ReasonUnknownSigner, "no root of the list signs it")
	}
	var out signedLists
	payload := encode(list)
	for _, id := range by {
		t, err := sign(id, header{Typ: TypeRoots, Kid: id.Key().String()}, payload)
		if err != nil {
			return nil, err
		}
		out.Lists = append(out.Lists, string(t))
	}
	return encode(out), nil
}

// next verifies a command of SignRoots as the successor of l.
func (l *RootList) next(command []byte) (RootList, error) {
	var none RootList
	if len(command) > MaxToken {
		return none, refuse(ReasonOversized, "%d bytes, at most %d", len(command), MaxToken)
	}
	var lists signedLists
	if err := decode(command, &lists); err != nil {
		return none, err
	}
	if len(lists.Lists) != 2 {
		return none, refuse(ReasonUnsigned, "a list needs two signatures, %d given", len(lists.Lists))
	}
	var t [2]*jws
	var signer [2]IdentityKey
	for i, s := range lists.Lists {
		var err error
		if t[i], err = parse(TypeRoots, []byte(s)); err != nil {
			return none, err
		}
		if t[i].Iss != "" || t[i].Rec != "" || t[i].Sub != "" || t[i].Boot != "" || t[i].Seq != 0 {
			return none, refuse(ReasonMalformed, "a list with another kind's header")
		}
		if signer[i], err = ParseIdentityKey(t[i].Kid); err != nil {
			return none, refuse(ReasonUnknownSigner, "a list by no root")
		}
	}
	if !bytes.Equal(t[0].payload, t[1].payload) {
		return none, refuse(ReasonForged, "two lists in one command")
	}
	var list RootList
	if err := decode(t[0].payload, &list); err != nil {
		return none, err
	}
	if err := list.check(); err != nil {
		return none, err
	}
	if list.Issuer != l.Issuer {
		return none, refuse(ReasonWrongIssuer, "a list of another deployment")
	}
	if list.N != l.N+1 {
		return none, refuse(ReasonOutOfOrder, "list %d after list %d", list.N, l.N)
	}
	old := func(k IdentityKey) bool { return slices.Contains(l.Roots, k) }
	own := func(k IdentityKey) bool { return slices.Contains(list.Roots, k) }
	if !(old(signer[0]) && own(signer[1]) || own(signer[0]) && old(signer[1])) {
		return none, refuse(ReasonUnknownSigner, "not by a root of this list and one of the former")
	}
	for i := range t {
		if err := t[i].by(signer[i]); err != nil {
			return none, err
		}
	}
	return list, nil
}
