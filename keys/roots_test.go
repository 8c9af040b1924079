package keys

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func list(n int, ids ...*Identity) RootList {
	l := RootList{Issuer: DefaultIssuer, N: n}
	for _, id := range ids {
		l.Roots = append(l.Roots, id.Key())
	}
	return l
}

func command(t testing.TB, l RootList, by ...*Identity) []byte {
	t.Helper()
	c, err := SignRoots(l, by...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestRootRotation(t *testing.T) {
	a, b, c, stranger := seeded(11), seeded(12), seeded(13), seeded(14)
	fresh := func() *Roots {
		r, err := ParseRoots("", list(1, a, b).Text()...)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	both := func(x, y []byte) []byte {
		var l, m signedLists
		if json.Unmarshal(x, &l) != nil || json.Unmarshal(y, &m) != nil {
			t.Fatal("not a command")
		}
		return encode(signedLists{[]string{l.Lists[0], m.Lists[1]}})
	}
	next := list(2, b, c)
	elsewhere := next
	elsewhere.Issuer = "elsewhere"
	good := command(t, next, a, c)
	var parts signedLists
	if err := json.Unmarshal(good, &parts); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, reason string
		command      []byte
	}{
		{"by a former and an own root", "", good},
		{"the other way round", "", command(t, next, c, a)},
		{"one root of both", "", command(t, next, b)},
		{"by former roots only", ReasonUnknownSigner, both(command(t, next, a, c), command(t, next, c, a))},
		{"by own roots only", ReasonUnknownSigner, command(t, next, c, c)},
		{"by a stranger", ReasonUnknownSigner, command(t, next, stranger, c)},
		{"a stranger's list", ReasonUnknownSigner, command(t, list(2, stranger), stranger)},
		{"the list after", ReasonOutOfOrder, command(t, list(3, b, c), a, c)},
		{"the list in force", ReasonOutOfOrder, command(t, list(1, a, b), a)},
		{"another deployment's", ReasonWrongIssuer, command(t, elsewhere, a, c)},
		{"two payloads", ReasonForged, both(command(t, list(2, b, c), a, c), command(t, list(2, c, b), a, c))},
		{"one signature", ReasonUnsigned, encode(signedLists{parts.Lists[:1]})},
		{"three signatures", ReasonUnsigned, encode(signedLists{append(parts.Lists[:2:2], parts.Lists[0])})},
		{"not a command", ReasonMalformed, []byte(`[]`)},
		{"twice lists", ReasonDuplicateKey, []byte(`{"lists":[],"lists":[]}`)},
		{"oversized", ReasonOversized, make([]byte, MaxToken+1)},
		{"a record", ReasonWrongKind, encode(signedLists{[]string{record(t), record(t)}})},
	}
	forged := slices.Clone(parts.Lists)
	forged[1] = forged[1][:strings.LastIndexByte(forged[1], '.')+1] + forged[0][strings.LastIndexByte(forged[0], '.')+1:]
	tests = append(tests, struct {
		name, reason string
		command      []byte
	}{"another's signature", ReasonForged, encode(signedLists{forged})})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := fresh()
			want(t, r.Update(tt.command), tt.reason)
			if n := r.N(); n != 1 && tt.reason != "" || n != 2 && tt.reason == "" {
				t.Errorf("list %d in force", n)
			}
		})
	}
	r := fresh()
	for _, c := range [][]byte{good, command(t, list(3, c), b, c)} {
		want(t, r.Update(c), "")
	}
	want(t, r.Update(good), ReasonOutOfOrder)
	if l := r.List(); l.N != 3 || len(l.Roots) != 1 || l.Roots[0] != c.Key() {
		t.Errorf("got %+v", l)
	}
}

func record(t testing.TB) string {
	t.Helper()
	rec, err := SignRecord(seeded(11), Record{ID: "c1", Key: seeded(2).Key(), Epoch: 1, Scope: controlScope})
	if err != nil {
		t.Fatal(err)
	}
	return string(rec)
}

// TestRotationCounts: after a rotation a signer of a root that left is
// refused, and one of a root that came is taken, also after a restart.
func TestRotationCounts(t *testing.T) {
	w := newWorld(t)
	came := seeded(12)
	before := w.sign(w.grant("a", 1, w.keys()[0]))
	want(t, w.device.UpdateRoots(command(t, list(2, came), w.root, came)), "")
	w.accept(ReasonUnknownSigner, before)
	w.signer = w.newSigner(came, seeded(3), Record{ID: "c2", Epoch: 5, Scope: controlScope})
	w.accept("", w.sign(w.grant("a", 1, w.keys()[0])))
	w.boot()
	if w.device.RootsN() != 2 {
		t.Fatalf("list %d after a restart", w.device.RootsN())
	}
	w.accept(ReasonUnknownSigner, before)
	w.accept("", w.sign(w.grant("a", 1, w.keys()[0])))
	w.signer = w.newSigner(came, seeded(3), Record{ID: "c2", Epoch: 4, Scope: controlScope})
	w.accept(ReasonStaleEpoch, w.sign(w.grant("b", 1, w.keys()[1])))
}

// TestRecordsKept: a record that was found good is good while its root is in force, and
// strangers' are not kept.
func TestRecordsKept(t *testing.T) {
	w := newWorld(t)
	r, err := ParseRoots("", w.trust.Roots...)
	if err != nil {
		t.Fatal(err)
	}
	verify := func(reason string, signer *Signer) {
		t.Helper()
		grant, err := w.grant("a", 1, w.keys()[0]).Sign(signer)
		if err != nil {
			t.Fatal(err)
		}
		_, err = r.VerifyGrant(grant)
		want(t, err, reason)
	}
	other := w.newSigner(w.root, seeded(3), Record{ID: "c1", Epoch: 1, Scope: controlScope})
	forged := *w.signer
	forged.token = other.token[:strings.LastIndexByte(other.token, '.')] + w.signer.token[strings.LastIndexByte(w.signer.token, '.'):]
	for range 2 {
		verify("", w.signer)
		verify("", other)
		verify(ReasonForged, &forged)
		verify(ReasonUnknownSigner, w.newSigner(seeded(21), seeded(22), Record{ID: "c1", Epoch: 1, Scope: controlScope}))
	}
	if len(r.records) != 2 {
		t.Errorf("%d records are kept", len(r.records))
	}
	for i := range 3 * maxRecords {
		verify("", w.newSigner(w.root, seeded(3), Record{ID: fmt.Sprint("c", i), Epoch: 1, Scope: controlScope}))
	}
	if len(r.records) > maxRecords {
		t.Errorf("%d records are kept", len(r.records))
	}
	verify("", w.signer)
	if err := r.Update(command(t, list(2, seeded(12)), w.root, seeded(12))); err != nil {
		t.Fatal(err)
	}
	verify(ReasonUnknownSigner, w.signer)
}

// TestEpoch: the highest epoch seen is remembered for each deployment.
func TestEpoch(t *testing.T) {
	w := newWorld(t)
	old := w.signer
	w.signer = w.newSigner(w.root, seeded(3), Record{ID: "c2", Epoch: 2, Scope: controlScope})
	newer := w.sign(w.grant("a", 1, w.keys()[0]))
	broken := append([]byte(nil), newer...)
	broken[len(broken)-2] ^= 1
	if _, _, err := w.device.Accept(broken); err == nil {
		t.Fatal("accepted a broken one")
	}
	w.signer = old
	w.accept("", w.sign(w.grant("b", 1, w.keys()[1])))
	w.accept("", newer)
	w.accept(ReasonStaleEpoch, w.sign(w.grant("c", 1, w.keys()[2])))
	w.boot()
	w.accept(ReasonStaleEpoch, w.sign(w.grant("c", 1, w.keys()[2])))

	r, err := OpenRoots(w.store, "elsewhere", w.trust.Roots...)
	if err != nil || r.epoch != 0 {
		t.Fatalf("another deployment begins with epoch %d, %v", r.epoch, err)
	}
}

// TestConfiguredRoots holds what is stored against what the host says now.
func TestConfiguredRoots(t *testing.T) {
	a, b, c := seeded(11), seeded(12), seeded(13)
	store := NewMemory()
	open := func(l RootList) *Roots {
		t.Helper()
		r, err := OpenRoots(store, "", l.Text()...)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	r := open(list(1, a))
	want(t, r.Update(command(t, list(2, a, b), a)), "")
	r.saw(7)
	for _, tt := range []struct {
		name  string
		conf  RootList
		want  RootList
		epoch uint64
	}{
		{"unchanged", list(1, a), list(2, a, b), 7},
		{"changed, but older", list(1, b), list(2, a, b), 7},
		{"changed, as new, one root in common", list(2, b, c), list(2, b, c), 7},
		{"changed, newer, none in common", list(3, c), list(3, c), 0},
	} {
		r := open(tt.conf)
		if got := r.List(); got.N != tt.want.N || !slices.Equal(got.Roots, tt.want.Roots) || r.epoch != tt.epoch {
			t.Errorf("%s: %+v, epoch %d", tt.name, got, r.epoch)
		}
	}
	for _, bad := range []string{`x`, `{"boothwire":{"pinned":[],"n":0,"roots":[],"epoch":0}}`} {
		if err := store.Save(trustName, []byte(bad)); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenRoots(store, "", a.Key().String()); err == nil {
			t.Errorf("opened on %s", bad)
		}
	}
}

func TestRootText(t *testing.T) {
	k := seeded(1).Key().String()
	for text, n := range map[string]int{k: 1, "1:" + k: 1, "12:" + k: 12} {
		if r, err := ParseRoots("", text); err != nil || r.N() != n {
			t.Errorf("%s: %v", text, err)
		}
	}
	for _, bad := range [][]string{nil, {""}, {"0:" + k}, {"-1:" + k}, {"x:" + k}, {k, "2:" + seeded(2).Key().String()}, {k[:43]}, {IdentityKey{}.String()}} {
		if _, err := ParseRoots("", bad...); err == nil {
			t.Errorf("parsed %q", bad)
		}
	}
	if _, err := OpenDevice("press-7", NewMemory(), Trust{}); err == nil {
		t.Error("a device that trusts nobody")
	}
	if _, err := OpenDevice("a/b", NewMemory(), Trust{Roots: []string{k}}); err == nil {
		t.Error("a device whose id is a topic")
	}
}

// full is a Store on a full disk.
type full struct{ Store }

var errFull = errors.New("no space left on device")

func (full) Save(string, []byte) error { return errFull }

func TestFullDisk(t *testing.T) {
	w := newWorld(t)
	w.store = full{w.store}
	w.boot()
	came := seeded(12)
	err := w.device.UpdateRoots(command(t, list(2, came), w.root, came))
	if !errors.Is(err, errFull) || w.device.RootsN() != 2 {
		t.Fatalf("%v, list %d", err, w.device.RootsN())
	}
	w.signer = w.newSigner(came, seeded(3), Record{ID: "c2", Epoch: 5, Scope: controlScope})
	w.accept("", w.sign(w.grant("a", 1, w.keys()[0])))
	if _, err := OpenIdentity(full{NewMemory()}, "x"); !errors.Is(err, errFull) {
		t.Error("an identity that is not stored", err)
	}
}

func TestSigners(t *testing.T) {
	w := newWorld(t)
	if _, err := NewSigner(seeded(9), []byte(w.signer.token)); reasonOf(err) != ReasonUnknownSigner {
		t.Error(err)
	}
	if _, err := NewSigner(w.online, []byte("x")); reasonOf(err) != ReasonMalformed {
		t.Error(err)
	}
	if _, err := w.signer.Sign(TypeRoots, []byte(`{}`)); reasonOf(err) != ReasonOutOfScope {
		t.Error(err)
	}
	if _, err := w.signer.Sign(TypeGrant, []byte(`7`)); reasonOf(err) != ReasonMalformed {
		t.Error(err)
	}
	for _, r := range []Record{{ID: "a/b", Key: w.online.Key(), Epoch: 1}, {ID: "a", Epoch: 1}, {ID: "a", Key: w.online.Key()}} {
		if _, err := SignRecord(w.root, r); reasonOf(err) != ReasonMalformed {
			t.Errorf("%+v: %v", r, err)
		}
	}
}
