package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/boothwire/boothwire/internal/leaktest"
	"github.com/boothwire/boothwire/internal/postgrestest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// opener opens the same database again and again: that of one test.
type opener func(t *testing.T) *Store

func TestSQLite(t *testing.T) {
	suite(t, func(t *testing.T) opener {
		dsn := "file:" + filepath.Join(t.TempDir(), "control.db")
		return func(t *testing.T) *Store {
			s, err := Open(t.Context(), dsn)
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
	})
}

func TestPostgres(t *testing.T) {
	server := postgrestest.Start(t)
	suite(t, func(t *testing.T) opener {
		dsn := server.Database()
		return func(t *testing.T) *Store {
			s, err := Open(t.Context(), dsn)
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
	})
}

func TestMemory(t *testing.T) {
	s, err := Open(t.Context(), ":memory:")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	do(t, s, func(tx *Tx) error { return tx.PutDevice(Device{ID: "a", Key: "k"}) })
	if list, err := s.Devices(t.Context()); err != nil || len(list) != 1 {
		t.Errorf("%v, %v", list, err)
	}
}

// suite is what every database must do. database makes an empty one.
func suite(t *testing.T, database func(t *testing.T) opener) {
	for name, test := range map[string]func(*testing.T, opener){
		"devices": devices, "prekeys": prekeys, "commands": commands, "sessions": sessions, "nodes": nodes,
		"addresses": addresses, "audit": audit, "tokens": tokens, "logins": logins, "texts": texts, "transactions": transactions, "behind": behind, "lead": lead,
	} {
		t.Run(name, func(t *testing.T) { test(t, database(t)) })
	}
}

func do(t *testing.T, s *Store, f func(*Tx) error) {
	t.Helper()
	if err := s.Do(t.Context(), f); err != nil {
		t.Fatal(err)
	}
}

func same(t *testing.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s:\n got %+v\nwant %+v", what, got, want)
	}
}

func at(n int) time.Time { return time.UnixMicro(1_800_000_000_000_000 + int64(n)*1000).UTC() }

func devices(t *testing.T, open opener) {
	s := open(t)
	d := Device{
		ID: "kiosk-1", Key: "key", Group: "north", Gen: 3, Created: at(1), State: "connected", Version: "v", Caps: []string{"a", "b"},
		Seen: at(2), Due: at(3), Roots: 2, Boot: "boot", Seq: 1 << 40, RequestSeq: 7, Batch: 3, Prekeys: []string{"p", "q"},
		SSH: "s", RDP: "r", Foreign: "f", ForeignAt: at(4), NAT: "open/open", ClonedAt: at(5), LastFailed: "no_proof", Checks: `[["ssh","ok"]]`,
	}
	do(t, s, func(tx *Tx) error { return tx.PutDevice(d) })
	d.Seq, d.State, d.Prekeys, d.NAT, d.ClonedAt, d.LastFailed, d.Checks = d.Seq+1, "failed", nil, "udp_blocked", at(6), "", `[["ssh","fail"]]`
	do(t, s, func(tx *Tx) error { return tx.UpdateDevice(d) })
	// What another machine of that id said is not this one's.
	do(t, s, func(tx *Tx) error { return tx.UpdateDevice(Device{ID: "kiosk-1", Key: "other", State: "bad"}) })
	do(t, s, func(tx *Tx) error { return tx.UpdateDevice(Device{ID: "gone", Key: "key"}) })
	for i := range maxBoots + 10 {
		do(t, s, func(tx *Tx) error { return tx.EndBoot("kiosk-1", fmt.Sprintf("boot-%d", i), at(i)) })
	}
	do(t, s, func(tx *Tx) error { return tx.ReviveBoot("kiosk-1", "boot-60") })
	s.Close()
	s = open(t)
	defer s.Close()
	list, err := s.Devices(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	same(t, "devices", list, []Device{d})
	boots, err := s.Boots(t.Context())
	if err != nil || len(boots) != maxBoots-1 || boots[0].Boot != "boot-10" {
		t.Errorf("%d boots from %v, %v", len(boots), boots[0], err)
	}
	fleet := make([]Device, 300)
	for i := range fleet {
		fleet[i] = Device{ID: fmt.Sprintf("kiosk-%03d", i), Key: "k", Group: "\x00"}
	}
	for range 2 {
		do(t, s, func(tx *Tx) error { return tx.PutDevices(fleet) })
	}
	if list, err := s.Devices(t.Context()); err != nil || len(list) != len(fleet)+1 {
		t.Errorf("a fleet of %d, %v", len(list), err)
	}
	for _, d := range fleet {
		do(t, s, func(tx *Tx) error { return tx.DeleteDevice(d.ID) })
	}
	do(t, s, func(tx *Tx) error { return tx.DeleteDevice("kiosk-1") })
	if list, _ := s.Devices(t.Context()); len(list) != 0 {
		t.Errorf("left %v", list)
	}
}

func prekeys(t *testing.T, open opener) {
	s := open(t)
	defer s.Close()
	do(t, s, func(tx *Tx) error { return tx.SpendPrekey("p", "a", "one", at(1)) })
	for _, session := range []string{"one", "two"} {
		if err := s.Do(t.Context(), func(tx *Tx) error { return tx.SpendPrekey("p", "b", session, at(2)) }); !errors.Is(err, ErrTaken) {
			t.Errorf("spent again: %v", err)
		}
	}
	// Of many at once one wins.
	var won atomic.Int32
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			err := s.Do(t.Context(), func(tx *Tx) error { return tx.SpendPrekey("q", "a", fmt.Sprint(i), at(5)) })
			if err == nil {
				won.Add(1)
			} else if !errors.Is(err, ErrTaken) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 {
		t.Errorf("%d spent one key", won.Load())
	}
	do(t, s, func(tx *Tx) error { return tx.ForgetPrekeys(at(3)) })
	got, err := s.SpentPrekeys(t.Context(), "a")
	if err != nil || len(got) != 1 || got["q"] == "" {
		t.Errorf("spent %v, %v", got, err)
	}
}

func commands(t *testing.T, open opener) {
	s := open(t)
	do(t, s, func(tx *Tx) error { return tx.PutDevice(Device{ID: "a", Key: "k"}) })
	push := func(c string, floor uint64, when int) (n uint64, err error) {
		err = s.Do(t.Context(), func(tx *Tx) error {
			n, err = tx.PushCommand("a", []byte(c), floor, at(when), at(when-100), 3)
			return err
		})
		return n, err
	}
	for i, tc := range []struct {
		c     string
		floor uint64
		when  int
		n     uint64
		err   error
	}{
		{"one", 100, 1, 100, nil}, {"two", 5, 2, 101, nil}, {"two", 5, 3, 101, nil}, {"\x00three", 200, 4, 200, nil}, {"four", 0, 5, 0, ErrTaken},
		{"five", 0, 102, 201, nil}, // one has grown too old
	} {
		if n, err := push(tc.c, tc.floor, tc.when); n != tc.n || !errors.Is(err, tc.err) {
			t.Errorf("%d: %d, %v, want %d, %v", i, n, err, tc.n, tc.err)
		}
	}
	if err := s.Do(t.Context(), func(tx *Tx) error {
		_, err := tx.PushCommand("nobody", nil, 0, at(1), at(0), 3)
		return err
	}); !errors.Is(err, ErrAbsent) || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("nobody: %v", err)
	}
	do(t, s, func(tx *Tx) error { return tx.AckCommands("a", 101) })
	s.Close()
	s = open(t)
	defer s.Close()
	list, err := s.Commands(t.Context(), "a", at(0))
	if err != nil {
		t.Fatal(err)
	}
	same(t, "commands", list, []Command{{200, []byte("\x00three"), at(4)}, {201, []byte("five"), at(102)}})
	if list, _ := s.Commands(t.Context(), "a", at(50)); len(list) != 1 {
		t.Errorf("not too old: %v", list)
	}
	// Numbers go on after all were fetched.
	do(t, s, func(tx *Tx) error { return tx.AckCommands("a", 999) })
	if n, err := push("six", 0, 103); n != 202 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	for _, v := range []string{"x", "y"} {
		do(t, s, func(tx *Tx) error { return tx.InitMeta("m", v) })
	}
	if v, err := s.Meta(t.Context(), "m"); v != "x" || err != nil {
		t.Errorf("%q, %v", v, err)
	}
	if _, err := s.Meta(t.Context(), "none"); !errors.Is(err, ErrAbsent) {
		t.Error(err)
	}
}

func sessions(t *testing.T, open opener) {
	s := open(t)
	full := Session{
		ID: "s1", Device: "a", Node: "n", State: "connected", Stage: "ready", Rev: 2, Installed: 2, Acked: 1, Ready: true, Proved: true,
		Code: "c", Why: "w", Path: "direct", RTT: 3 * time.Millisecond, Address: "10.166.0.1", Boot: "b", Prekey: "p", Nonce: "x", Bare: true,
		Reason: "r", Ticket: "t", User: "u", Role: "operator", Lifetime: time.Hour, Opened: at(1), Ends: at(2), Closed: at(3), Rx: 1 << 50, Tx: 2,
		PathWhy: "direct: host-host open/open 2 ms", Direct: time.Minute, Relay: 3 * time.Second,
		Samples: []Sample{{1, "relay", 40123, false}, {60, "direct", 8000, true}},
		Operators: []Operator{
			{ID: "o1", User: "ann", Key: "k1", Address: "10.166.192.0", Ports: []string{"tcp/22"}, Added: at(1)},
			{ID: "o2", User: "bob", Key: "k2", Address: "10.166.192.1", Added: at(2), Removed: at(3)},
		},
		Steps: []Step{{"granted", "", "control", time.Microsecond}, {"ready", "bad", "device", time.Second}},
	}
	early := full
	early.Operators, early.Steps, early.Rev, early.State = full.Operators[:1], full.Steps[:1], 1, "opening"
	do(t, s, func(tx *Tx) error {
		if err := tx.PutSession(early); err != nil {
			return err
		}
		return tx.AddGrant("s1", 1, "wg-1", "first", at(1))
	})
	do(t, s, func(tx *Tx) error { return tx.AddGrant("s1", 2, "wg-1", "second", at(2)) })
	open1, err := s.OpenSessions(t.Context())
	if err != nil || len(open1) != 1 || open1[0].Grant != "second" || open1[0].Rev != 2 {
		t.Errorf("open: %+v, %v", open1, err)
	}
	do(t, s, func(tx *Tx) error { return tx.PutSession(full) })
	do(t, s, func(tx *Tx) error { return tx.AddGrant("s1", 2, "wg-1", "without o2", at(3)) })
	if open1, err = s.OpenSessions(t.Context()); err != nil || open1[0].Cut != 2 {
		t.Errorf("open: %+v, %v", open1, err)
	}
	for i := range 5 {
		do(t, s, func(tx *Tx) error {
			return tx.PutSession(Session{ID: fmt.Sprintf("t%d", i), Device: "b", Node: "n", State: "closed", Clean: true, Opened: at(10 + i/2), Ends: at(20)})
		})
	}
	s.Close()
	s = open(t)
	defer s.Close()
	got, err := s.Session(t.Context(), "s1")
	if err != nil {
		t.Fatal(err)
	}
	same(t, "session", got, full)
	if _, err := s.Session(t.Context(), "none"); !errors.Is(err, ErrAbsent) {
		t.Error(err)
	}
	if list, err := s.OpenSessions(t.Context()); err != nil || len(list) != 1 || list[0].ID != "s1" {
		t.Errorf("open: %v, %v", list, err)
	}
	var ids []string
	for after := ""; ; {
		list, err := s.Sessions(t.Context(), SessionFilter{After: after, Limit: 2})
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range list {
			ids = append(ids, v.ID)
			after = v.ID
		}
		if len(list) < 2 {
			break
		}
	}
	same(t, "pages", ids, []string{"t4", "t3", "t2", "t1", "t0", "s1"})
	if list, _ := s.Sessions(t.Context(), SessionFilter{Device: "a", Limit: 9}); len(list) != 1 {
		t.Errorf("of a: %v", list)
	}
	// Nobody knew whether it had been written, and it is issued anew.
	do(t, s, func(tx *Tx) error { return tx.AddGrant("s1", 2, "wg-1", "again", at(3)) })
	if list, err := s.OpenSessions(t.Context()); err != nil || list[0].Grant != "again" {
		t.Errorf("issued anew: %+v, %v", list, err)
	}
}

func nodes(t *testing.T, open opener) {
	s := open(t)
	n := Node{
		Name: "wg-1", Identity: "i", Key: "k", Endpoints: []string{"192.0.2.1:1"}, Proof: "10.166.255.0", Version: "v", Draining: true, Moving: true,
		Seen: at(1), Created: at(2), ClaimHash: "h", ClaimExpires: at(100),
	}
	do(t, s, func(tx *Tx) error { return tx.PutNode(n) })
	for _, tc := range []struct {
		name, hash string
		now        int
		want       error
	}{{"wg-1", "x", 1, ErrTaken}, {"wg-2", "h", 1, ErrTaken}, {"wg-1", "h", 100, ErrTaken}, {"wg-1", "h", 99, nil}, {"wg-1", "h", 99, ErrTaken}} {
		if err := s.Do(t.Context(), func(tx *Tx) error { return tx.UseClaim(tc.name, tc.hash, at(tc.now)) }); !errors.Is(err, tc.want) {
			t.Errorf("%+v: %v", tc, err)
		}
	}
	s.Close()
	s = open(t)
	defer s.Close()
	n.ClaimHash, n.ClaimExpires = "", time.Time{}
	list, err := s.Nodes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	same(t, "nodes", list, []Node{n})
	do(t, s, func(tx *Tx) error { return tx.DeleteNode("wg-1") })
	if list, _ := s.Nodes(t.Context()); len(list) != 0 {
		t.Errorf("left %v", list)
	}
}

func addresses(t *testing.T, open opener) {
	s := open(t)
	defer s.Close()
	for i, tc := range []struct {
		a      Address
		rested int
		taken  bool
	}{
		{Address{"10.166.0.1", "device", "a", at(1)}, 0, false},
		{Address{"10.166.0.2", "device", "b", at(1)}, 0, false},
		{Address{"10.166.0.1", "device", "a", at(2)}, 0, false},
		{Address{"10.166.0.1", "device", "c", at(3)}, 1, true},    // a gave it up a moment ago
		{Address{"10.166.0.1", "device", "b", at(100)}, 2, false}, // at rest; and b's former one is free
		{Address{"10.166.0.2", "operator", "o", at(100)}, 0, false},
		{Address{"10.166.0.3", "node", "n", at(1)}, 0, false},
		{Address{"10.166.0.3", "node", "m", at(200)}, 150, true},
		{Address{"10.166.0.1", "device", "c", at(300)}, 200, true}, // b's open session has it
		{Address{"10.166.0.2", "operator", "p", at(300)}, 200, true},
	} {
		if i == 8 {
			do(t, s, func(tx *Tx) error {
				return tx.PutSession(Session{ID: "s", Device: "b", Address: "10.166.0.1", Operators: []Operator{{ID: "o", Address: "10.166.0.2"}}})
			})
		}
		err := s.Do(t.Context(), func(tx *Tx) error { return tx.TakeAddress(tc.a, at(tc.rested)) })
		var taken *AddressTaken
		if errors.As(err, &taken) != tc.taken || err != nil && !tc.taken {
			t.Errorf("%d: %v", i, err)
		}
	}
	do(t, s, func(tx *Tx) error { return tx.PutSession(Session{ID: "s", Device: "b", Clean: true}) })
	do(t, s, func(tx *Tx) error { return tx.TakeAddress(Address{"10.166.0.2", "operator", "p", at(300)}, at(200)) })
	list, err := s.Addresses(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	same(t, "addresses", list, []Address{
		{"10.166.0.3", "node", "n", at(1)}, {"10.166.0.1", "device", "b", at(100)}, {"10.166.0.2", "operator", "p", at(300)}, // the longest given up first
	})
	// Of many who want a new one at once one gets it.
	var won atomic.Int32
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			err := s.Do(t.Context(), func(tx *Tx) error {
				return tx.TakeAddress(Address{"10.166.0.9", "device", fmt.Sprint("d", i), at(1)}, at(0))
			})
			if err == nil {
				won.Add(1)
			} else if !errors.As(err, new(*AddressTaken)) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 {
		t.Errorf("%d have one address", won.Load())
	}
}

func audit(t *testing.T, open opener) {
	s := open(t)
	defer s.Close()
	for i := range 5 {
		a := Audit{ID: int64(i + 1), At: at(i), Who: "w", What: "x", Device: fmt.Sprint(i % 2), Session: "s", Node: "n", Code: "c", Count: 1, Detail: "d"}
		do(t, s, func(tx *Tx) error { return tx.AddAudit(a) })
		a.Count = 10 * i
		do(t, s, func(tx *Tx) error { return tx.AddAudit(a) })
	}
	if n, err := s.LastAudit(t.Context()); n != 5 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	list, next, err := s.Audits(t.Context(), AuditFilter{Limit: 2, Before: 5})
	if err != nil || len(list) != 2 || list[0].ID != 4 || list[0].Count != 30 || list[1].ID != 3 || next != 3 {
		t.Errorf("%+v, %d, %v", list, next, err)
	}
	for i, a := range []Audit{
		{Who: "ann", What: "open", Detail: "Ticket 4711: cannot print"},
		{Who: "ann", What: "close", Rx: 1 << 50, Tx: 7},
		{Who: "bob", What: "open", Detail: "50 % done_?", Device: "Zürich-1"},
	} {
		a.ID, a.At, a.Count = int64(10+i), at(10+i), 1
		do(t, s, func(tx *Tx) error { return tx.AddAudit(a) })
	}
	for what, tt := range map[string]struct {
		f    AuditFilter
		want []int64
	}{
		"all":                {AuditFilter{}, []int64{12, 11, 10, 5, 4, 3, 2, 1}},
		"a device, session":  {AuditFilter{Device: "1", Session: "s"}, []int64{4, 2}},
		"a user":             {AuditFilter{Who: "ann"}, []int64{11, 10}},
		"a user's deed":      {AuditFilter{Who: "ann", What: "open"}, []int64{10}},
		"since":              {AuditFilter{Since: at(4)}, []int64{12, 11, 10, 5}},
		"until":              {AuditFilter{Until: at(2)}, []int64{2, 1}},
		"between, page":      {AuditFilter{Since: at(1), Until: at(12), Before: 10}, []int64{5, 4, 3, 2}},
		"a text":             {AuditFilter{Text: "CANNOT print"}, []int64{10}},
		"a text, no pattern": {AuditFilter{Text: "% DONE_?"}, []int64{12}},
		"a text, a device":   {AuditFilter{Text: "zürich"}, []int64{12}},
		"a text of a user":   {AuditFilter{Text: "ann", What: "close"}, []int64{11}},
		"nothing":            {AuditFilter{Text: "'; DROP TABLE audit; --"}, nil},
		"after what is not":  {AuditFilter{Before: 99}, nil},
	} {
		tt.f.Limit = 9
		var got []int64
		list, next, err := s.Audits(t.Context(), tt.f)
		for _, a := range list {
			got = append(got, a.ID)
		}
		if err != nil || next != 0 || !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, %d, %v; want %v", what, got, next, err, tt.want)
		}
	}
	if list, _, _ := s.Audits(t.Context(), AuditFilter{Who: "ann", Limit: 1}); list[0].Rx != 1<<50 || list[0].Tx != 7 {
		t.Errorf("%+v", list[0])
	}
}

// A text is looked for in so many rows for a page, and the next one goes on there.
func TestAuditLooks(t *testing.T) {
	s, err := Open(t.Context(), ":memory:")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	do(t, s, func(tx *Tx) error {
		for i := range maxLooked + 10 {
			if err := tx.AddAudit(Audit{ID: int64(i + 1), At: at(i), Who: "w", What: "x", Detail: map[bool]string{true: "found"}[i == 3]}); err != nil {
				return err
			}
		}
		return nil
	})
	list, next, err := s.Audits(t.Context(), AuditFilter{Text: "found", Limit: 10})
	if err != nil || len(list) != 0 || next != 11 {
		t.Fatalf("%v, %d, %v", list, next, err)
	}
	if list, next, err = s.Audits(t.Context(), AuditFilter{Text: "found", Limit: 10, Before: next}); err != nil || len(list) != 1 || next != 0 {
		t.Errorf("%v, %d, %v", list, next, err)
	}
}

// Every search reads an index in the order of the answer.
func TestAuditPlans(t *testing.T) {
	s, err := Open(t.Context(), ":memory:")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for index, f := range map[string]AuditFilter{
		"audit_at": {Since: at(1), Until: at(2)}, "audit_device": {Device: "a", Since: at(1)}, "audit_session": {Session: "a", Before: 7},
		"audit_who": {Who: "a", Until: at(3)}, "audit_what": {What: "a", Before: 7, Until: at(9)},
	} {
		query, args := f.query()
		plan, err := all(t.Context(), s, func(r row) (text string, err error) {
			var a, b, c any
			return text, r.Scan(&a, &b, &c, &text)
		}, "EXPLAIN QUERY PLAN "+query, append(args, 10)...)
		if text := strings.Join(plan, "; "); err != nil || !strings.Contains(text, "USING INDEX "+index+" ") || strings.Contains(text, "TEMP B-TREE") {
			t.Errorf("%s: %s, %v", index, text, err)
		}
	}
}

// To give an address again looks through neither all open sessions nor all operators.
func TestAddressPlan(t *testing.T) {
	s, err := Open(t.Context(), ":memory:")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	plan, err := all(t.Context(), s, func(r row) (text string, err error) {
		var a, b, c any
		return text, r.Scan(&a, &b, &c, &text)
	}, "EXPLAIN QUERY PLAN "+takeAddress, "10.166.0.1", "operator", "o", 1, 1)
	text := strings.Join(plan, "; ")
	for _, want := range []string{"USING COVERING INDEX sessions_address (address=?)", "USING INDEX operators_address (address=?)"} {
		if err != nil || !strings.Contains(text, want) || strings.Contains(text, "SCAN") || strings.Contains(text, "sessions_clean") {
			t.Errorf("%s: %s, %v", want, text, err)
		}
	}
}

func tokens(t *testing.T, open opener) {
	s := open(t)
	defer s.Close()
	k := Token{ID: "t", Hash: "h", User: "u", Role: "viewer", Groups: []string{"north"}, Created: at(1), Expires: at(2)}
	do(t, s, func(tx *Tx) error { return tx.AddToken(k) })
	list, err := s.Tokens(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	same(t, "tokens", list, []Token{k})
	do(t, s, func(tx *Tx) error { return tx.DeleteToken("t") })
	if err := s.Do(t.Context(), func(tx *Tx) error { return tx.DeleteToken("t") }); !errors.Is(err, ErrAbsent) {
		t.Error(err)
	}
}

func logins(t *testing.T, open opener) {
	s := open(t)
	l := Login{ID: "l", Hash: "h", Source: "s", Name: "ann", Subject: "1", Groups: []string{"north"}, Refresh: "r", Began: at(1), Seen: at(2), Confirmed: at(3)}
	later := Login{ID: "m", Hash: "i", Source: "s", Name: "bob", Began: at(5), Seen: at(5)}
	do(t, s, func(tx *Tx) error { return errors.Join(tx.PutLogin(l), tx.PutLogin(later)) })
	l.Hash, l.Groups, l.Refresh, l.Confirmed = "g", nil, "", at(9)
	do(t, s, func(tx *Tx) error {
		return errors.Join(tx.PutLogin(l), tx.SeeLogin("l", at(8)), tx.SeeLogin("gone", at(8)))
	})
	l.Seen = at(8)
	if err := s.Do(t.Context(), func(tx *Tx) error { return tx.PutLogin(Login{ID: "n", Hash: "g"}) }); err == nil {
		t.Error("two logins have one secret")
	}
	s.Close()
	s = open(t)
	defer s.Close()
	kept := func(what string, want ...Login) {
		t.Helper()
		list, err := s.Logins(t.Context(), 9)
		if err != nil {
			t.Fatal(err)
		}
		same(t, what, list, want)
	}
	kept("all", later, l)
	if list, err := s.Logins(t.Context(), 1); err != nil || len(list) != 1 || list[0].ID != "m" {
		t.Errorf("one: %+v, %v", list, err)
	}
	do(t, s, func(tx *Tx) error { return tx.ForgetLogins(at(1), 2) })
	kept("none too old", later, l)
	do(t, s, func(tx *Tx) error { return tx.ForgetLogins(at(0), 1) })
	kept("the latest", later)
	do(t, s, func(tx *Tx) error { return errors.Join(tx.PutLogin(l), tx.ForgetLogins(at(2), 9)) })
	kept("the younger", later)
	do(t, s, func(tx *Tx) error { return tx.DeleteLogins("m", "gone") })
	kept("none")
}

// Whatever a text holds it can be written, asked for, and copied to another database.
func texts(t *testing.T, open opener) {
	s := open(t)
	defer s.Close()
	do(t, s, func(tx *Tx) error {
		return errors.Join(tx.AddAudit(Audit{ID: 1, Who: "ann", Device: "a\x00b", Detail: "\x00no\xffne\u20ac"}),
			tx.PutDevice(Device{ID: "kiosk-1", Key: "k", Caps: []string{"\x00"}}))
	})
	list, _, err := s.Audits(t.Context(), AuditFilter{Device: "a\x00b", Limit: 9})
	if err != nil || len(list) != 1 || list[0].Detail != "\ufffdno\ufffdne\u20ac" {
		t.Errorf("%+v, %v", list, err)
	}
	if list, err := s.Devices(t.Context()); err != nil || list[0].Caps[0] != "\x00" { // in JSON it is an escape
		t.Errorf("%+v, %v", list, err)
	}
	if _, err := s.Session(t.Context(), "\x00"); !errors.Is(err, ErrAbsent) {
		t.Errorf("a session of no name: %v", err)
	}
}

// What fails is not written, and does not spoil what shares its transaction.
func transactions(t *testing.T, open opener) {
	s := open(t)
	bad := errors.New("bad")
	if err := s.Do(t.Context(), func(tx *Tx) error {
		if err := tx.PutDevice(Device{ID: "half", Key: "k"}); err != nil {
			return err
		}
		return bad
	}); !errors.Is(err, bad) {
		t.Error(err)
	}
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			err := s.Do(t.Context(), func(tx *Tx) error {
				if err := tx.PutDevice(Device{ID: fmt.Sprint("d", i), Key: "k"}); err != nil || i%2 == 0 {
					return err
				}
				return bad
			})
			if (i%2 == 0) != (err == nil) {
				t.Errorf("%d: %v", i, err)
			}
		})
	}
	wg.Wait()
	list, err := s.Devices(t.Context())
	if err != nil || len(list) != 50 {
		t.Errorf("%d devices, %v", len(list), err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_ = s.Do(ctx, func(tx *Tx) error { return nil }) // it may have begun
	s.Close()
	if err := s.Do(t.Context(), func(tx *Tx) error { return nil }); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	s.Later("x", func(tx *Tx) error { t.Error("written after Close"); return nil })
}

func behind(t *testing.T, open opener) {
	s := open(t)
	var failures atomic.Int32
	s.Failed(func(error) { failures.Add(1) })
	block := make(chan struct{})
	go s.Do(context.Background(), func(*Tx) error { <-block; return nil })
	var ran atomic.Int32
	for i := range 1000 {
		s.Later("same", func(tx *Tx) error {
			ran.Add(1)
			return tx.PutDevice(Device{ID: "a", Key: "k", Roots: i})
		})
	}
	s.Later("bad", func(*Tx) error { return errors.New("bad") })
	close(block)
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	list, err := s.Devices(t.Context())
	if err != nil || len(list) != 1 || list[0].Roots != 999 || failures.Load() != 1 {
		t.Errorf("%+v, %v, %d failures", list, err, failures.Load())
	}
	if n := ran.Load(); n > 2 { // the first may have run before the block
		t.Errorf("ran %d times", n)
	}
	for i := range 700 {
		s.Later(fmt.Sprint(i), func(tx *Tx) error { return tx.PutDevice(Device{ID: fmt.Sprint(i), Key: "k"}) })
	}
	s.Close() // writes what is left
	s = open(t)
	defer s.Close()
	if list, _ := s.Devices(t.Context()); len(list) != 701 {
		t.Errorf("%d devices", len(list))
	}
}

// Who has the database write without a pause does not keep what was noted from being
// written.
func TestBehindHasItsTurn(t *testing.T) {
	s, err := Open(t.Context(), ":memory:")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var stop atomic.Bool
	var asks sync.WaitGroup
	defer asks.Wait()
	defer stop.Store(true)
	var ask func(*Tx) error
	ask = func(*Tx) error { // the next waits before this one is done
		if stop.Load() {
			return nil
		}
		asks.Go(func() { _ = s.Do(context.Background(), ask) })
		for waits := false; !waits; time.Sleep(10 * time.Microsecond) {
			s.w.mu.Lock()
			waits = len(s.w.now) > 0
			s.w.mu.Unlock()
		}
		return nil
	}
	asks.Go(func() { _ = s.Do(context.Background(), ask) })
	written := make(chan struct{})
	s.Later("behind", func(*Tx) error { close(written); return nil })
	select {
	case <-written:
	case <-time.After(time.Minute):
		t.Error("not written in a minute")
	}
}

func TestRebind(t *testing.T) {
	if got := rebind(Postgres, "a=? AND b IN (?,?)"); got != "a=$1 AND b IN ($2,$3)" {
		t.Error(got)
	}
	if got := rebind(SQLite, "a=?"); got != "a=?" {
		t.Error(got)
	}
}

// One file is one process's.
// A folder may have any name: t.TempDir has a # in it where two subtests have one.
func TestPlainPath(t *testing.T) {
	file := filepath.Join(t.TempDir(), "100%41 of #1", "control.db")
	if err := os.Mkdir(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, name := range []string{file, file + "-lock"} {
		if _, err := os.Stat(name); err != nil {
			t.Error(err)
		}
	}
}

func TestInUse(t *testing.T) {
	dsn := "file:" + filepath.Join(t.TempDir(), "control.db")
	s, err := Open(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), dsn); !errors.Is(err, ErrInUse) {
		t.Errorf("opened twice: %v", err)
	}
	s.Close()
	if s, err = Open(t.Context(), dsn); err != nil {
		t.Fatal(err)
	}
	s.Close()
}

// One process has the lead; a later term fences the writes of an earlier one off.
func lead(t *testing.T, open opener) {
	a := open(t)
	defer a.Close()
	const lease = time.Hour
	if l, err := a.Lead(t.Context()); err != nil || l.Term != 0 || l.Left != 0 {
		t.Errorf("at first: %+v, %v", l, err)
	}
	term, err := a.TakeLead(t.Context(), Lead{Control: "a", URL: "https://a", Pin: "p"}, Lead{}, lease)
	if err != nil || term != 1 {
		t.Fatalf("%d, %v", term, err)
	}
	a.Fence(term)
	do(t, a, func(tx *Tx) error { return tx.PutDevice(Device{ID: "a", Key: "k"}) })
	if _, err := a.TakeLead(t.Context(), Lead{Control: "b"}, Lead{}, lease); !errors.Is(err, ErrTaken) {
		t.Errorf("taken twice: %v", err)
	}
	l, err := a.Lead(t.Context())
	if err != nil || l.Control != "a" || l.URL != "https://a" || l.Pin != "p" || l.Left < lease-time.Minute || l.Left > lease {
		t.Errorf("%+v, %v", l, err)
	}
	if err := a.LeaveLead(t.Context(), term); err != nil {
		t.Error(err)
	}
	// It has lapsed, and nobody took it. SQLite's clock may be at the same millisecond.
	if err := a.KeepLead(t.Context(), term, lease+time.Minute); err != nil {
		t.Error(err)
	}
	if _, err := a.TakeLead(t.Context(), Lead{Control: "b"}, l, lease); !errors.Is(err, ErrTaken) {
		t.Errorf("taken as it was before it was kept: %v", err)
	}
	if err := a.LeaveLead(t.Context(), term); err != nil {
		t.Error(err)
	}
	if next, err := a.TakeLead(t.Context(), Lead{Control: "b"}, Lead{Term: term}, lease); err != nil || next != 2 {
		t.Errorf("the next: %d, %v", next, err)
	}
	if err := a.KeepLead(t.Context(), term, lease); !errors.Is(err, ErrFenced) {
		t.Errorf("kept though another has it: %v", err)
	}
	if err := a.LeaveLead(t.Context(), term); !errors.Is(err, ErrFenced) {
		t.Errorf("left though another has it: %v", err)
	}
	var failed atomic.Int32
	a.Failed(func(err error) {
		if errors.Is(err, ErrFenced) {
			failed.Add(1)
		}
	})
	if err := a.Do(t.Context(), func(tx *Tx) error { return tx.PutDevice(Device{ID: "b", Key: "k"}) }); !errors.Is(err, ErrFenced) {
		t.Errorf("written after its term: %v", err)
	}
	for i := range 600 {
		a.Later(fmt.Sprint(i), func(tx *Tx) error { return tx.PutDevice(Device{ID: fmt.Sprint("c", i), Key: "k"}) })
	}
	for end := time.Now().Add(time.Minute); failed.Load() == 0 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	if list, err := a.Devices(t.Context()); err != nil || len(list) != 1 || failed.Load() == 0 {
		t.Errorf("%d devices, %v, %d failures", len(list), err, failed.Load())
	}
}

// No table is forgotten when a database is copied.
func TestTables(t *testing.T) {
	s, err := Open(t.Context(), ":memory:")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	got, err := all(t.Context(), s, func(r row) (name string, err error) { return name, r.Scan(&name) },
		`SELECT name FROM sqlite_master WHERE type='table' AND name NOT LIKE 'sqlite%' AND name NOT LIKE 'goose%' AND name<>'lead' ORDER BY name`)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "tables", got, slices.Sorted(slices.Values(tables)))
}
