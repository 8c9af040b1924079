//go:build linux

package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/internal/postgrestest"
	"github.com/boothwire/boothwire/keys"
)

// startSecond runs another control on the same database, with the same keys: node,
// device and engineer know only this one.
func (w *world) startSecond() {
	w.t.Helper()
	w.control.waitLog(0, "this process has the lead") // it serves before that
	state := filepath.Join(w.dir, "control-2")
	if err := os.CopyFS(state, os.DirFS(filepath.Join(w.dir, "control"))); err != nil {
		w.t.Fatal(err)
	}
	cert, key := w.ca.Server("control-2", []string{addrSecond})
	text := w.read(w.controlConfig)
	text, tls, _ := strings.Cut(text, "[tls]")
	_, rest, _ := strings.Cut(tls, "[mqtt]")
	text = strings.NewReplacer(filepath.Join(w.dir, "control")+`"`, state+`"`, addrControl, addrSecond).Replace(text)
	config := filepath.Join(w.dir, "control-2.toml")
	w.write(config, fmt.Sprintf("%s[tls]\ncert = %q\nkey = %q\n[mqtt]%s", text, cert, key, rest))
	w.second = start(w.t, w.secondHost, program(w.t, "boothwire-control"), "-config", config)
	w.second.waitLog(0, "another process has the lead")
	w.front = addrSecond
}

// rows is what a query of one number says.
func rows(t testing.TB, database, query string) (n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, database)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	if err := conn.QueryRow(ctx, query).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

// sound checks that nothing is there twice, and that all that was opened is over, once
// control has written what it knows.
func sound(t testing.TB, database string) {
	t.Helper()
	wrong := map[string]string{
		"sessions that are not over":                 `SELECT count(*) FROM sessions WHERE clean=0 OR closed=0`,
		"devices with two sessions at a time":        `SELECT count(*) FROM sessions a JOIN sessions b ON a.device=b.device AND a.id<b.id AND a.opened<b.closed AND b.opened<a.closed`,
		"grants of a session without a row":          `SELECT count(*) FROM grants WHERE session NOT IN (SELECT id FROM sessions)`,
		"sessions with a grant and no spent key":     `SELECT count(*) FROM sessions WHERE rev>0 AND id NOT IN (SELECT session FROM prekeys)`,
		"spent keys of no session":                   `SELECT count(*) FROM prekeys WHERE session NOT IN (SELECT id FROM sessions)`,
		"sessions whose opening no audit row has":    `SELECT count(*) FROM sessions WHERE rev>0 AND id NOT IN (SELECT session FROM audit WHERE what='open')`,
		"sessions whose opening the audit has twice": `SELECT count(*) FROM (SELECT session FROM audit WHERE what='open' GROUP BY session HAVING count(*)>1) x`,
		"sessions whose end the audit has not once":  `SELECT count(*) FROM sessions WHERE (SELECT count(*) FROM audit WHERE what='ended' AND session=sessions.id)<>1`,
		"revisions that are missing":                 `SELECT count(*) FROM (SELECT session FROM grants GROUP BY session HAVING max(rev)<>count(*)) x`,
	}
	eventually(t, "the database is sound", func() (err error) {
		for what, query := range wrong {
			if n := rows(t, database, query); n != 0 {
				err = errors.Join(err, fmt.Errorf("%d %s", n, what))
			}
		}
		return err
	})
}

// TestControls has the device poll, the node follow and the engineer call one control
// while another decides. That one is killed with a session open: the session goes on,
// the first takes over, and nothing is lost or there twice.
func TestControls(t *testing.T) {
	t.Parallel() // it waits, most of the time
	database := postgrestest.Start(t).Database()
	w := newWorld(t, options{database: database, lines: []string{"https"}})
	k := w.talk()
	id := w.one().ID
	if d := w.device(); d.Session != id {
		t.Errorf("the device that polls one control has session %q, opened by another: %s", d.Session, id)
	}
	if term := rows(t, database, `SELECT term FROM lead`); term != 2 {
		t.Errorf("term %d: the first control has not got the lead", term) // the token took one
	}

	from := w.second.log.len()
	thaw := freeze(w.second)
	w.control.kill()
	killed := time.Now()
	k.say(patience) // while nobody decides
	thaw()
	w.stays(id) // a call waits for who decides next
	t.Logf("a call is answered %v after the deciding control was killed", time.Since(killed).Round(100*time.Millisecond))
	w.second.waitLog(from, "this process has the lead")
	k.say(patience)
	k.in.Close()
	w.over()
	if got := w.ssh("echo", "again"); !strings.Contains(got, "again") {
		t.Errorf("the next session: %q", got)
	}
	w.over()
	sound(t, database) // now: device and node speak to the second alone, which goes

	// The first is back, and carries to the second.
	from = w.control.log.len()
	w.control.run()
	w.control.waitLog(from, "another process has the lead")
	w.front = addrControl
	w.waitOnline()
	// One that ends as planned leaves the lead at once.
	from = w.control.log.len()
	term := rows(t, database, `SELECT term FROM lead`)
	w.second.stop()
	if n := rows(t, database, fmt.Sprintf(`SELECT count(*) FROM lead WHERE term=%d AND expires>0`, term)); n != 0 {
		t.Error("it has the lead, and is gone")
	}
	w.control.waitLog(from, "this process has the lead")
	w.over()
	sound(t, database)
}

// over waits until nothing of any session is left.
func (w *world) over() {
	w.t.Helper()
	eventually(w.t, "no session is left", func() error {
		if d := w.device(); d.Session != "" || d.State != "disconnected" {
			return fmt.Errorf("%+v", d)
		}
		return nil
	})
}

// TestControlsChurn kills whichever control decides, again and again, while an engineer
// opens and closes at one of the two.
func TestControlsChurn(t *testing.T) {
	if os.Getenv("BOOTHWIRE_SOAK") != "1" {
		t.Skip("minutes long: make soak runs it")
	}
	database := postgrestest.Start(t).Database()
	w := newWorld(t, options{database: database, lines: []string{"mqtts"}})
	engineer, ctx, stop := w.api(), t.Context(), make(chan struct{})
	opened, refused := 0, 0
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
			}
			s, err := engineer.OpenSession(ctx, kiosk, &client.OpenRequest{Key: keys.NewPrivateKey().Public()})
			if err == nil {
				opened++
				_, err = engineer.CloseSession(ctx, s.ID)
			}
			if err != nil {
				refused++
				time.Sleep(100 * time.Millisecond)
			}
		}
	}()
	deciding, next := w.control, w.second
	for range 6 {
		time.Sleep(time.Duration(2000+rand.N(500)) * time.Millisecond)
		from := next.log.len()
		deciding.kill()
		next.waitLog(from, "this process has the lead")
		from = deciding.log.len()
		deciding.run()
		deciding.waitLog(from, "another process has the lead")
		deciding, next = next, deciding
	}
	close(stop)
	<-done
	t.Logf("%d opened, %d refused", opened, refused)
	if opened < 20 {
		t.Error("too few to show anything")
	}
	for _, s := range w.sessions() {
		w.ctl("close", s.ID)
	}
	w.over()
	if n := rows(t, database, `SELECT count(*) FROM sessions WHERE rev>0`); n < opened {
		t.Errorf("%d sessions were opened, %d are known", opened, n)
	}
	sound(t, database)
}

// TestDatabaseAway takes the database away for longer than the lead lasts. Sessions
// flow; what would have to be written is refused; afterwards control goes on where it
// was, and nothing that happened meanwhile is lost.
func TestDatabaseAway(t *testing.T) {
	t.Parallel() // it waits, most of the time
	server := postgrestest.Start(t)
	database := server.Database()
	w := newWorld(t, options{database: database, lines: []string{"mqtts"}})
	outages := map[string]struct{ begin, end func() }{"killed": {server.Kill, server.Restart}}
	away := 17 * time.Second
	if os.Getenv("BOOTHWIRE_SOAK") == "1" {
		away = time.Minute
		outages["frozen"] = struct{ begin, end func() }{server.Freeze, server.Thaw}
	}
	for name, outage := range outages {
		t.Run(name, func(t *testing.T) {
			k := w.talk()
			id := w.one().ID
			from := w.control.log.len()
			began := time.Now()
			outage.begin()
			key := keys.NewPrivateKey().Public()
			if _, err := w.api().OpenSession(t.Context(), kiosk, &client.OpenRequest{Key: key}); err == nil {
				t.Error("joined a session without a database")
			} else {
				t.Logf("an open is refused after %v: %v", time.Since(began).Round(100*time.Millisecond), err)
			}
			for time.Since(began) < away {
				k.say(patience)
				time.Sleep(time.Second)
			}
			outage.end()
			back := time.Now()
			w.control.waitLog(from, "the lead is back")
			w.stays(id)
			t.Logf("calls are answered %v after the database came back", time.Since(back).Round(100*time.Millisecond))
			k.say(patience)
			k.in.Close()
			w.over()
			if got := w.ssh("echo", "again"); !strings.Contains(got, "again") {
				t.Errorf("the next session: %q", got)
			}
			w.over()
			sound(t, database)
		})
	}
}

// TestControlFrozen stops the control that decides where it stands until another does.
// When it goes on it neither says nor writes anything of its term.
func TestControlFrozen(t *testing.T) {
	if os.Getenv("BOOTHWIRE_SOAK") != "1" {
		t.Skip("half a minute long: make soak runs it")
	}
	database := postgrestest.Start(t).Database()
	w := newWorld(t, options{database: database, lines: []string{"mqtts"}})
	k := w.talk()
	id := w.one().ID
	from, second := w.control.log.len(), w.second.log.len()
	thaw := freeze(w.control)
	t.Cleanup(thaw)
	w.second.waitLog(second, "this process has the lead")
	if s := w.one(); s.ID != id || s.State != "connected" {
		t.Errorf("with the next: %+v", s)
	}
	thaw()
	w.control.waitLog(from, "another process has the lead")
	w.control.waitLog(from, "https://"+addrSecond)
	time.Sleep(5 * time.Second) // what it might still say
	if s := w.one(); s.ID != id || s.State != "connected" {
		t.Errorf("after the first goes on: %+v", s)
	}
	k.say(patience)
	k.in.Close()
	w.over()
	sound(t, database)
}
