package browsertest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
)

// TestFaults plays a scenario whose pages do what no page may.
func TestFaults(t *testing.T) {
	pages := map[string]struct{ script, seen string }{
		"/throws":  {`throw new Error("on purpose")`, "on purpose"},
		"/rejects": {`Promise.reject(new Error("later"))`, "later"},
		"/logs":    {`console.error("a word")`, "a word"},
		"/evals":   {`try { eval("1") } catch {}`, "script-src"},
		"/calls":   {`fetch("https://elsewhere.example/").catch(() => {})`, "refused by the page's policy"},
		"/asks":    {`fetch("/absent")`, "404"},
	}
	mux := http.NewServeMux()
	serve := func(path, kind, text string) {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; connect-src 'self'; img-src data:")
			w.Header().Set("Content-Type", kind)
			fmt.Fprint(w, text)
		})
	}
	serve("/{$}", "text/html", "<!doctype html><title>t</title><link rel=icon href=data:,><p>nothing wrong")
	var faults []map[string]string
	for path, p := range pages {
		serve(path, "text/html", "<!doctype html><title>t</title><link rel=icon href=data:,><script src="+path+".js></script>")
		serve(path+".js", "text/javascript", p.script)
		faults = append(faults, map[string]string{"path": path, "seen": p.seen})
	}
	server := httptest.NewServer(mux)
	defer server.Close()

	shots := t.TempDir()
	t.Setenv("BOOTHWIRE_ARTIFACTS", shots)
	var result struct {
		Missed  []string
		Doubled int
	}
	text := Play(t, Scenario{
		File: "faults.mjs",
		Args: map[string]any{"url": server.URL, "faults": faults},
		Answers: map[string]func(json.RawMessage) (any, error){
			"double": func(data json.RawMessage) (any, error) {
				var n int
				err := json.Unmarshal(data, &n)
				return 2 * n, err
			},
		},
	})
	if err := json.Unmarshal(text, &result); err != nil {
		t.Fatal(err)
	}
	if len(result.Missed) > 0 || result.Doubled != 42 {
		t.Errorf("unseen are %v; twice 21 is %d", result.Missed, result.Doubled)
	}
	if _, err := os.Stat(filepath.Join(shots, t.Name(), "page.png")); err != nil {
		t.Error(err)
	}
}
