package cli

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/boothwire/boothwire/gateway/control/client"
)

func TestAuditFlags(t *testing.T) {
	var asked string
	serve := func(w http.ResponseWriter, r *http.Request) {
		asked = r.URL.String()
		if strings.HasSuffix(r.URL.Path, "/export") {
			w.Write([]byte("id,at\n1,2\n"))
			return
		}
		answer(page(client.Audit{ID: 1, Who: evil, What: "ended", Rx: 70658003, Count: 1}))(w, r)
	}
	got := ctl(t, serve, "audit", "--who", "ann", "--what", "ended", "--text", "a b", "--since", "2026-11-29T14:00:00Z", "--until", "2026-11-30T00:00:00+08:00")
	want := "/api/v1/audit?since=2026-11-29T14%3A00%3A00Z&text=a+b&until=2026-11-29T16%3A00%3A00Z&what=ended&who=ann"
	if got.code != 0 || asked != want || strings.ContainsAny(got.out, "\x1b\a") || !strings.Contains(got.out, " 67.4 MiB ") {
		t.Errorf("%s, %+v", asked, got)
	}
	got = ctl(t, serve, "audit", "--device", "kiosk-1", "--export", "csv")
	if got.code != 0 || got.out != "id,at\n1,2\n" || asked != "/api/v1/audit/export?device=kiosk-1&format=csv" {
		t.Errorf("%s, %+v", asked, got)
	}
	for _, args := range [][]string{{"--export", "xml"}, {"--since", "yesterday"}, {"--until", "-3h"}, {"--since", "2026-13-01"}} {
		if got := ctl(t, serve, append([]string{"audit"}, args...)...); got.code != exitUsage {
			t.Errorf("%q: %+v", args, got)
		}
	}
}

func TestMoment(t *testing.T) {
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.Local)
	for text, want := range map[string]time.Time{
		"": {}, "24h": now.Add(-24 * time.Hour), "0s": now, "2026-11-29": now.Add(-12 * time.Hour), "2026-11-29 13:00:05": now.Add(time.Hour + 5*time.Second),
	} {
		if got, err := moment("since", text, now); err != nil || !got.Equal(want) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	if _, err := moment("since", "1e9", now); !errors.As(err, new(usageError)) {
		t.Errorf("%v", err)
	}
}
