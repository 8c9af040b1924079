package database

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/boothwire/boothwire/gateway/control/internal/store"
	"github.com/boothwire/boothwire/internal/leaktest"
	"github.com/boothwire/boothwire/internal/postgrestest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// filled makes a file with something of everything.
func filled(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "control.db")
	s, err := store.Open(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	at := time.UnixMicro(1_800_000_000_000_000).UTC()
	if err := s.Do(t.Context(), func(tx *store.Tx) error {
		var errs []error
		for i := range 2500 {
			errs = append(errs, tx.PutDevice(store.Device{ID: fmt.Sprint("kiosk-", i), Key: "k", Seq: 1 << 62, Caps: []string{"ü"}, Prekeys: []string{"p"}}))
		}
		_, err := tx.PushCommand("kiosk-1", []byte("\x00\xff"), 5, at, at, 9)
		errs = append(errs, err, tx.InitMeta("a", "b"), tx.EndBoot("kiosk-1", "boot", at), tx.SpendPrekey("p", "kiosk-1", "s", at),
			tx.PutNode(store.Node{Name: "wg-1", Draining: true}), tx.TakeAddress(store.Address{Address: "10.166.0.1", Kind: "device", Holder: "kiosk-1", Used: at}, at),
			tx.PutSession(store.Session{
				ID: "s", Device: "kiosk-1", Opened: at, Ends: at.Add(time.Hour),
				Operators: []store.Operator{{ID: "o", Added: at}}, Steps: []store.Step{{Stage: "granted", By: "control"}},
			}),
			tx.AddGrant("s", 1, "n", "token", at), tx.AddAudit(store.Audit{ID: 1, At: at, What: "open"}), tx.AddToken(store.Token{ID: "t", Hash: "h"}), tx.PutLogin(store.Login{ID: "l", Hash: "h"}))
		return errors.Join(errs...)
	}); err != nil {
		t.Fatal(err)
	}
	return file
}

// All of a file is in PostgreSQL afterwards, and a second time nothing is.
func TestMove(t *testing.T) {
	server, file := postgrestest.Start(t), filled(t)
	target := server.Database()
	last := make(map[string]Progress)
	steps := 0
	if err := Move(t.Context(), file, target, func(p Progress) { last[p.Table] = p; steps++ }); err != nil {
		t.Fatal(err)
	}
	if steps < len(last)+2 || len(last) < 13 || last["devices"] != (Progress{"devices", 2500, 2500}) {
		t.Errorf("told %d times: %v", steps, last)
	}
	for table, p := range last {
		if p.Done != p.Rows || p.Rows == 0 {
			t.Errorf("%s: %+v", table, p)
		}
	}
	same(t, file, target)
	if err := Move(t.Context(), file, target, nil); !errors.Is(err, ErrNotEmpty) {
		t.Errorf("moved twice: %v", err)
	}
}

// same compares what both hold, as control reads it.
func same(t *testing.T, file, target string) {
	t.Helper()
	read := func(dsn string) (all []any) {
		s, err := store.Open(t.Context(), dsn)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		for _, f := range []func() (any, error){
			func() (any, error) { return s.Devices(t.Context()) },
			func() (any, error) { return s.Boots(t.Context()) },
			func() (any, error) { return s.SpentPrekeys(t.Context(), "kiosk-1") },
			func() (any, error) { return s.Commands(t.Context(), "kiosk-1", time.Time{}) },
			func() (any, error) { return s.OpenSessions(t.Context()) },
			func() (any, error) { return s.Nodes(t.Context()) },
			func() (any, error) { return s.Addresses(t.Context()) },
			func() (any, error) { return s.Tokens(t.Context()) },
			func() (any, error) { return s.Logins(t.Context(), 9) },
			func() (any, error) {
				list, _, err := s.Audits(t.Context(), store.AuditFilter{Limit: 9})
				return list, err
			},
			func() (any, error) { return s.Meta(t.Context(), "a") },
		} {
			v, err := f()
			if err != nil {
				t.Error(err)
			}
			all = append(all, v)
		}
		return all
	}
	got, want := read(target), read(file)
	for i := range want {
		if fmt.Sprint(got[i]) == "[]" || !reflect.DeepEqual(got[i], want[i]) {
			t.Errorf("%d:\n got %.500v\nwant %.500v", i, got[i], want[i])
		}
	}
}

// What cannot be moved leaves the target empty, so that it can be moved later.
func TestMoveFails(t *testing.T) {
	server, file := postgrestest.Start(t), filled(t)
	target := server.Database()
	if err := Move(t.Context(), filepath.Join(t.TempDir(), "none.db"), target, nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if err := Move(t.Context(), file, "file:other.db", nil); err == nil {
		t.Error("moved to another file")
	}
	ctx, cancel := context.WithCancel(t.Context())
	if err := Move(ctx, file, target, func(p Progress) {
		if p.Table == "sessions" {
			cancel() // in the middle
		}
	}); err == nil {
		t.Error("moved though interrupted")
	}

	used, err := store.Open(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	if err := Move(t.Context(), file, target, nil); !errors.Is(err, ErrInUse) {
		t.Errorf("the file is in use: %v", err)
	}
	used.Close()
	led, err := store.Open(t.Context(), target)
	if err != nil {
		t.Fatal(err)
	}
	term, err := led.TakeLead(t.Context(), store.Lead{}, store.Lead{}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if err := Move(t.Context(), file, target, nil); !errors.Is(err, ErrInUse) {
		t.Errorf("a control has the target: %v", err)
	}
	if err := led.LeaveLead(t.Context(), term); err != nil {
		t.Fatal(err)
	}
	led.Close()
	if err := Move(t.Context(), file, target, nil); err != nil {
		t.Errorf("after all that: %v", err)
	}
	same(t, file, target)
}
