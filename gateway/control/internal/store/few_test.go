package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"
)

// counter opens connections that count what they are asked.
type counter struct {
	driver driver.Driver
	name   string
	asked  *atomic.Int32
}

func (c counter) Connect(context.Context) (driver.Conn, error) {
	conn, err := c.driver.Open(c.name)
	return counted{conn, c.asked}, err
}

func (c counter) Driver() driver.Driver { return c.driver }

type counted struct {
	driver.Conn
	asked *atomic.Int32
}

func (c counted) Prepare(query string) (driver.Stmt, error) {
	stmt, err := c.Conn.Prepare(query)
	return question{stmt, c.asked}, err
}

type question struct {
	driver.Stmt
	asked *atomic.Int32
}

func (q question) Exec(args []driver.Value) (driver.Result, error) {
	q.asked.Add(1)
	return q.Stmt.Exec(args)
}

func (q question) Query(args []driver.Value) (driver.Rows, error) {
	q.asked.Add(1)
	return q.Stmt.Query(args)
}

// far is a store whose questions are counted.
func far(t *testing.T) (*Store, *atomic.Int32) {
	t.Helper()
	name := "file:" + filepath.Join(t.TempDir(), "control.db")
	plain, err := sql.Open("sqlite", name)
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	asked := new(atomic.Int32)
	c := counter{plain.Driver(), name + "?_pragma=busy_timeout(10000)&_pragma=journal_mode(wal)&_pragma=synchronous(off)", asked}
	write, read := sql.OpenDB(c), sql.OpenDB(c)
	write.SetMaxOpenConns(1)
	s, err := New(t.Context(), write, read, SQLite)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(s.Close(), read.Close(), write.Close()); err != nil {
			t.Error(err)
		}
	})
	asked.Store(0)
	return s, asked
}

// A fleet is registered in one transaction, which must not take longer than one may.
func TestFleetInFewStatements(t *testing.T) {
	s, asked := far(t)
	const many = 2001
	fleet := make([]Device, many)
	for i := range fleet {
		fleet[i] = Device{ID: fmt.Sprintf("kiosk-%05d", i), Key: fmt.Sprint("k", i)}
	}
	do(t, s, func(tx *Tx) error { return tx.PutDevices(fleet) })
	if n := asked.Load(); n > 30 {
		t.Errorf("%d statements", n)
	}
	fleet[7].Group, fleet[many-1].Group = "north", "north"
	do(t, s, func(tx *Tx) error { return tx.PutDevices(fleet) })
	list, err := s.Devices(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	same(t, "fleet", list, fleet)
}

// How often the database is asked for sessions does not depend on how many there are:
// each question takes as long as a server is far away, and a lead lasts for seconds.
func TestSessionsInFewQueries(t *testing.T) {
	s, asked := far(t)
	const many = 100
	do(t, s, func(tx *Tx) error {
		var errs []error
		for i := range many {
			id := fmt.Sprint("s", i)
			errs = append(errs, tx.AddGrant(id, 1, "n", "first", at(i)), tx.AddGrant(id, 2, "n", "latest of "+id, at(i)), tx.PutSession(Session{
				ID: id, Device: "d", Opened: at(i), Operators: []Operator{{ID: "a" + id}, {ID: "b" + id}}, Steps: []Step{{Stage: "one"}, {Stage: "two"}},
			}))
		}
		return errors.Join(errs...)
	})
	whole := func(what string, list []Session, err error) {
		t.Helper()
		if n := asked.Swap(0); err != nil || len(list) != many || n > 5 {
			t.Fatalf("%s: %d in %d queries, %v", what, len(list), n, err)
		}
		for _, v := range list {
			if len(v.Operators) != 2 || v.Operators[0].ID != "a"+v.ID || len(v.Steps) != 2 || v.Steps[1].Stage != "two" {
				t.Errorf("%s: %+v", what, v)
			}
		}
	}
	asked.Store(0)
	list, err := s.OpenSessions(t.Context())
	whole("open", list, err)
	for _, v := range list {
		if v.Rev != 2 || v.Grant != "latest of "+v.ID {
			t.Errorf("open: %+v", v)
		}
	}
	list, err = s.Sessions(t.Context(), SessionFilter{Limit: many})
	whole("a page", list, err)
}
