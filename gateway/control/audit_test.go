package control

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/gateway/control/internal/store"
)

func (w *world) audits(f client.Filter) (details []string) {
	w.t.Helper()
	for a, err := range w.admin.Audit(w.t.Context(), f) {
		if err != nil {
			w.t.Fatal(err)
		}
		details = append(details, a.Detail)
	}
	return details
}

func TestAuditSearch(t *testing.T) {
	clock := newStopped()
	w := newWorld(t, &Config{Now: clock.now})
	for i, a := range []store.Audit{{Who: "ann", What: auditOpen, Detail: "one"}, {Who: "ann", What: auditClose, Detail: "two"}, {Who: "bob", What: auditOpen, Device: "kiosk-1", Detail: "Three"}} {
		if i > 0 {
			clock.move(time.Minute)
		}
		w.c.note(a)
	}
	for what, tt := range map[string]struct {
		f    client.Filter
		want string
	}{
		"all":        {client.Filter{}, "Three two one"},
		"in pages":   {client.Filter{Limit: 1}, "Three two one"},
		"a user":     {client.Filter{Who: "ann"}, "two one"},
		"a kind":     {client.Filter{What: auditOpen}, "Three one"},
		"a text":     {client.Filter{Text: "thr"}, "Three"},
		"a device":   {client.Filter{Text: "KIOSK", Device: "kiosk-1"}, "Three"},
		"since":      {client.Filter{Since: clock.now().Add(-time.Minute)}, "Three two"},
		"until":      {client.Filter{Until: clock.now()}, "two one"},
		"of nobody":  {client.Filter{Who: "eve"}, ""},
		"a pattern":  {client.Filter{Text: "%"}, ""},
		"everything": {client.Filter{Who: "ann", What: auditClose, Text: "w", Since: clock.now().Add(-time.Hour), Until: clock.now()}, "two"},
	} {
		if got := strings.Join(w.audits(tt.f), " "); got != tt.want {
			t.Errorf("%s: %q, want %q", what, got, tt.want)
		}
	}
	for _, q := range []string{"since=yesterday", "text=" + strings.Repeat("x", 101), "limit=5000", "format=xml"} {
		res, err := w.c.As(User{Name: "admin", Role: Admin}).RoundTrip(must(http.NewRequest(http.MethodGet, localURL+"/api/v1/audit/export?"+q, nil)))
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if want := http.StatusUnprocessableEntity; res.StatusCode != want && q != "limit=5000" {
			t.Errorf("%s: %d", q, res.StatusCode)
		}
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// The audit comes whole in either format, and no text of it is a formula.
func TestAuditExport(t *testing.T) {
	w := newWorld(t, nil)
	const n = 2500
	for range n - 3 {
		w.c.note(store.Audit{What: auditOpen})
	}
	w.c.note(store.Audit{Who: `=HYPERLINK("http://evil.example")`, What: auditOpen, Detail: "a \"quoted\",\nline 照片", Rx: 1 << 50, Tx: 7})
	w.c.note(store.Audit{Who: "@SUM(1)", What: auditOpen, Detail: "  +1"})
	w.c.note(store.Audit{Who: "-ann", What: auditOpen, Detail: "＝1"})
	var text bytes.Buffer
	if err := w.admin.ExportAudit(t.Context(), client.Filter{}, client.CSV, &text); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(&text).ReadAll()
	if err != nil || len(rows) != n+1 || strings.Join(rows[0], " ") != "id at who what device session node code count rx tx detail" {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	for i, want := range [][3]string{{"'-ann", "'＝1", "0"}, {"'@SUM(1)", "'  +1", "0"}, {`'=HYPERLINK("http://evil.example")`, "a \"quoted\",\nline 照片", "1125899906842624"}} {
		if r := rows[i+1]; r[2] != want[0] || r[11] != want[1] || r[9] != want[2] {
			t.Errorf("%q, want %q", r, want)
		}
	}
	if err := w.admin.ExportAudit(t.Context(), client.Filter{Who: "-ann"}, client.NDJSON, &text); err != nil {
		t.Fatal(err)
	}
	var a client.Audit
	if err := json.Unmarshal(text.Bytes(), &a); err != nil || a.Who != "-ann" || strings.Count(text.String(), "\n") != 1 {
		t.Errorf("%s, %v", text.String(), err)
	}
	for _, u := range []User{op("ann"), {Name: "bob", Role: Admin, Groups: []string{"north"}}} {
		if err := w.c.Client(u).ExportAudit(t.Context(), client.Filter{}, client.CSV, io.Discard); code(err) != "forbidden" {
			t.Errorf("%+v: %v", u, err)
		}
	}
}

// An export that breaks off is no whole one.
func TestAuditExportBreaks(t *testing.T) {
	w := newWorld(t, nil)
	for range 5000 {
		w.c.note(store.Audit{What: auditOpen, Detail: strings.Repeat("x", 200)})
	}
	api := client.New(localURL, &client.Config{Token: w.token(User{Name: "eve", Role: Admin}), HTTP: w.c.HTTP()})
	for k, err := range w.admin.Tokens(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		err := api.ExportAudit(t.Context(), client.Filter{}, client.CSV, writerFunc(func(b []byte) (int, error) {
			_ = w.admin.DeleteToken(context.Background(), k.ID)
			return len(b), nil
		}))
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("the token was deleted: %v", err)
		}
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }
