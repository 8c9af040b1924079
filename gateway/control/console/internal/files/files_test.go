package files

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/gateway/control/console/internal/sshconn"
	"github.com/boothwire/boothwire/gateway/control/console/internal/sshtest"
	"github.com/boothwire/boothwire/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// A world is a console with one held session, signed in, and a folder on its device.
type world struct {
	t      *testing.T
	dir    string
	url    string
	target *sshtest.Target
	conns  *sshconn.Conns
}

func newWorld(t *testing.T, server sshtest.Config, cfg Config) *world {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("the folder's paths are none of SFTP's here")
	}
	w := &world{t: t, dir: t.TempDir(), target: sshtest.Serve(t, server).Lead(t), conns: sshconn.New(nil, nil)}
	cfg.Open = func(r *http.Request) (Tab, *sshconn.Conn, error) {
		ctx, cancel := context.WithCancelCause(r.Context())
		stop := context.AfterFunc(w.target.Context(), func() { cancel(context.Cause(w.target.Context())) })
		return tab{ctx, func() { stop(); cancel(nil) }}, w.conns.Of(w.target.Key()), nil
	}
	if cfg.Requests == 0 {
		cfg.Requests = 1000
	}
	mux := http.NewServeMux()
	New(cfg).Routes("/s", mux.Handle)
	srv := httptest.NewServer(mux)
	w.url = srv.URL
	t.Cleanup(func() {
		w.conns.Close()
		srv.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	w.signIn()
	return w
}

type tab struct {
	ctx   context.Context
	close func()
}

func (t tab) Context() context.Context { return t.ctx }
func (t tab) Close()                   { t.close() }

type nobody struct{}

func (nobody) Ask(context.Context, sshconn.Challenge) ([]sshconn.Secret, error) { return nil, nil }
func (nobody) Banner(string)                                                    {}

func (w *world) signIn() {
	w.t.Helper()
	cred := sshconn.Credential{User: "operator", Password: sshconn.NewSecret("right")}
	if _, err := w.conns.SignIn(context.Background(), w.target, &cred, nobody{}); err != nil {
		w.t.Fatal(err)
	}
}

// do calls a route with the query's pairs, and returns the answer and its body.
func (w *world) do(method, route string, body io.Reader, query ...string) (*http.Response, []byte) {
	w.t.Helper()
	q := url.Values{}
	for i := 0; i < len(query); i += 2 {
		q.Set(query[i], query[i+1])
	}
	r, err := http.NewRequest(method, w.url+"/s"+route+"?"+q.Encode(), body)
	if err != nil {
		w.t.Fatal(err)
	}
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer a.Body.Close()
	text, err := io.ReadAll(a.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return a, text
}

// json calls a route that answers with v's form.
func (w *world) json(v any, method, route string, body io.Reader, query ...string) {
	w.t.Helper()
	a, text := w.do(method, route, body, query...)
	if a.StatusCode != http.StatusOK || json.Unmarshal(text, v) != nil {
		w.t.Fatalf("%s %s %q: %s %s", method, route, query, a.Status, text)
	}
}

// refused calls a route and returns its code; "" for an answer.
func (w *world) refused(method, route string, body io.Reader, query ...string) string {
	w.t.Helper()
	a, text := w.do(method, route, body, query...)
	if a.StatusCode < 300 {
		return ""
	}
	var p client.Error
	if json.Unmarshal(text, &p) != nil || p.Code == "" || p.Status != a.StatusCode || a.Header.Get("Content-Type") != "application/problem+json" {
		w.t.Errorf("%s %s %q: %s %s", method, route, query, a.Status, text)
	}
	return p.Code
}

func (w *world) write(name, text string) string {
	w.t.Helper()
	p := filepath.Join(w.dir, name)
	if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
		w.t.Fatal(err)
	}
	return p
}

// noise is n bytes that repeat nowhere, the same for the same n.
func noise(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(n), byte(n >> 8), byte(n >> 16)}).Read(b)
	return b
}

func sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

func TestList(t *testing.T) {
	w := newWorld(t, sshtest.Config{SFTP: true}, Config{})
	w.write("b.txt", "four")
	w.write("A.txt", "")
	w.write("日志.log", "x")
	w.write("<img src=x onerror=alert(1)>", "x")
	w.write("bad\xffname", "x")
	os.Mkdir(filepath.Join(w.dir, "z"), 0o755)
	os.Symlink("/etc/passwd", filepath.Join(w.dir, "link"))

	var f folder
	w.json(&f, "GET", "/files", nil, "path", w.dir)
	var names []string
	for _, e := range f.Entries {
		names = append(names, e.Kind+" "+e.Name+" "+e.Ref)
	}
	want := []string{"folder z ", "file <img src=x onerror=alert(1)> ", "file A.txt ", "file b.txt ", "file bad\uFFFDname bad%FFname", "link link ", "file 日志.log "}
	if fmt.Sprint(names) != fmt.Sprint(want) || f.Total != 7 || f.Path != w.dir || f.Home == "" {
		t.Errorf("%q\nwant %q, %+v", names, want, f)
	}
	if e := f.Entries[3]; e.Size != 4 || e.Mode != "rw-r--r--" || time.Since(e.Changed) > time.Hour {
		t.Errorf("%+v", e)
	}
	w.json(&f, "GET", "/files", nil, "path", w.dir, "offset", "2", "limit", "3")
	if len(f.Entries) != 3 || f.Entries[0].Name != "A.txt" || f.Offset != 2 || f.Total != 7 {
		t.Errorf("a part of it: %+v", f)
	}
	w.json(&f, "GET", "/files", nil, "path", w.dir, "offset", "9000")
	if len(f.Entries) != 0 {
		t.Errorf("behind its end: %+v", f)
	}
	w.json(&f, "GET", "/files", nil)
	if f.Path != f.Home || f.Path[0] != '/' {
		t.Errorf("without a path: %+v", f)
	}
	for p, code := range map[string]string{
		w.dir + "/none": "no_such_file", w.dir + "/b.txt": "not_a_folder", "relative": "bad_path", w.dir + "/../x": "bad_path",
		w.dir + "//z": "bad_path", w.dir + "/\x00": "bad_path", "/" + strings.Repeat("a", maxPath): "bad_path",
	} {
		if got := w.refused("GET", "/files", nil, "path", p); got != code {
			t.Errorf("%.80q: %q, want %q", p, got, code)
		}
	}
	if got := w.refused("GET", "/files", nil, "path", w.dir, "limit", "-1"); got != "malformed" {
		t.Errorf("a bad limit: %q", got)
	}
}

func TestDownload(t *testing.T) {
	w := newWorld(t, sshtest.Config{SFTP: true}, Config{})
	data := noise(3*window + 12345)
	p := w.write("日志 \"a\".bin", string(data))
	a, got := w.do("GET", "/files/content", nil, "path", p)
	if !bytes.Equal(got, data) || a.ContentLength != int64(len(data)) {
		t.Fatalf("%s, %d bytes", a.Status, len(got))
	}
	for name, want := range map[string]string{
		"Content-Disposition": `attachment; filename="__ _a_.bin"; filename*=UTF-8''%E6%97%A5%E5%BF%97%20_a_.bin`,
		"Content-Type":        "application/octet-stream", "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Accept-Ranges": "bytes",
	} {
		if a.Header.Get(name) != want {
			t.Errorf("%s: %s", name, a.Header.Get(name))
		}
	}

	// A browser goes on where it was, as long as the file is the same.
	part := func(etag string) (*http.Response, []byte) {
		r, _ := http.NewRequest("GET", w.url+"/s/files/content?path="+url.QueryEscape(p), nil)
		r.Header.Set("Range", fmt.Sprintf("bytes=%d-", 2*window+7))
		r.Header.Set("If-Range", etag)
		a, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Body.Close()
		got, _ := io.ReadAll(a.Body)
		return a, got
	}
	if b, got := part(a.Header.Get("ETag")); b.StatusCode != http.StatusPartialContent || !bytes.Equal(got, data[2*window+7:]) {
		t.Errorf("%s, %d bytes", b.Status, len(got))
	}
	if b, got := part(`"another"`); b.StatusCode != http.StatusOK || !bytes.Equal(got, data) {
		t.Errorf("of another file: %s, %d bytes", b.Status, len(got))
	}

	var is struct {
		Size   int64
		SHA256 string
	}
	w.json(&is, "GET", "/files/sum", nil, "path", p)
	if is.Size != int64(len(data)) || is.SHA256 != sum(data) {
		t.Errorf("%+v, want %s", is, sum(data))
	}
	w.json(&is, "GET", "/files/sum", nil, "path", w.write("empty", ""))
	if is.Size != 0 || is.SHA256 != sum(nil) {
		t.Errorf("of an empty file: %+v", is)
	}

	link := filepath.Join(w.dir, "link")
	os.Symlink(p, link)
	if _, got := w.do("GET", "/files/content", nil, "path", link); !bytes.Equal(got, data) {
		t.Errorf("by a link: %d bytes", len(got))
	}
	for p, code := range map[string]string{w.dir: "is_a_folder", w.dir + "/none": "no_such_file", "/dev/zero": "not_a_file", "x": "bad_path"} {
		for _, route := range []string{"/files/content", "/files/sum"} {
			if got := w.refused("GET", route, nil, "path", p); got != code {
				t.Errorf("%s %s: %q, want %q", route, p, got, code)
			}
		}
	}
}

// put sends a piece of an upload.
func (w *world) put(p string, data []byte, offset, total int, more ...string) progress {
	w.t.Helper()
	var now progress
	w.json(&now, "PUT", "/files/content", bytes.NewReader(data), append([]string{"path", p, "offset", fmt.Sprint(offset), "total", fmt.Sprint(total)}, more...)...)
	return now
}

func TestUpload(t *testing.T) {
	w := newWorld(t, sshtest.Config{SFTP: true}, Config{Largest: 64 << 20})
	data := noise(2*window + 4321)
	p := filepath.Join(w.dir, "日志.bin")
	cut := window + 99
	now := w.put(p, data[:cut], 0, len(data))
	if now.Done || now.Offset != int64(cut) || now.SHA256 != sum(data[:cut]) {
		t.Fatalf("%+v", now)
	}
	if _, err := os.Stat(p); err == nil {
		t.Error("half a file has the name already")
	}
	if got := w.refused("PUT", "/files/content", bytes.NewReader(data), "path", p, "offset", "5", "total", fmt.Sprint(len(data))); got != "wrong_offset" {
		t.Errorf("at another place: %q", got)
	}
	var is progress
	w.json(&is, "GET", "/files/upload", nil, "path", p, "total", fmt.Sprint(len(data)))
	if is != now {
		t.Errorf("%+v, want %+v", is, now)
	}
	now = w.put(p, data[cut:], cut, len(data))
	if !now.Done || now.SHA256 != sum(data) {
		t.Fatalf("%+v, want %s", now, sum(data))
	}
	if got, err := os.ReadFile(p); err != nil || !bytes.Equal(got, data) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	if left, _ := filepath.Glob(w.dir + "/*" + PartSuffix); len(left) > 0 {
		t.Errorf("left: %v", left)
	}

	// What is there stays, unless it is said otherwise.
	if got := w.refused("PUT", "/files/content", strings.NewReader("x"), "path", p, "total", "1"); got != "exists" {
		t.Errorf("over a file: %q", got)
	}
	if now := w.put(p, []byte("new"), 0, 3, "overwrite", "1"); !now.Done {
		t.Errorf("%+v", now)
	}
	if got, _ := os.ReadFile(p); string(got) != "new" {
		t.Errorf("%q", got)
	}
	if now := w.put(w.dir+"/empty", nil, 0, 0); !now.Done || now.SHA256 != sum(nil) {
		t.Errorf("%+v", now)
	}
	target := w.write("target", "precious")
	os.Symlink(target, filepath.Join(w.dir, "link"))
	os.Symlink(target, filepath.Join(w.dir, "trap"+PartSuffix))
	w.put(w.dir+"/link", []byte("new"), 0, 3, "overwrite", "1")
	if got := w.refused("PUT", "/files/content", strings.NewReader("x"), "path", w.dir+"/trap", "total", "1"); got != "exists" {
		t.Errorf("through a link: %q", got)
	}
	if got, _ := os.ReadFile(target); string(got) != "precious" {
		t.Errorf("written through a link: %q", got)
	}

	for name, tt := range map[string]struct {
		body  string
		query []string
		code  string
	}{
		"a folder":                {"x", []string{"path", w.dir, "total", "1", "overwrite", "1"}, "is_a_folder"},
		"more than announced":     {"xyz", []string{"path", w.dir + "/more", "total", "2"}, "malformed"},
		"too large":               {"x", []string{"path", w.dir + "/large", "total", fmt.Sprint(64<<20 + 1)}, "too_large"},
		"an offset behind":        {"x", []string{"path", w.dir + "/o", "offset", "2", "total", "1"}, "malformed"},
		"an offset of nothing":    {"x", []string{"path", w.dir + "/o", "offset", "1", "total", "2"}, "wrong_offset"},
		"a total of nothing":      {"x", []string{"path", w.dir + "/o", "total", "-1"}, "malformed"},
		"no folder":               {"x", []string{"path", w.dir + "/none/x", "total", "1"}, "no_such_file"},
		"no path":                 {"x", []string{"total", "1"}, "bad_path"},
		"the root":                {"x", []string{"path", "/", "total", "1"}, "bad_name"},
		"a name that is too long": {"x", []string{"path", w.dir + "/" + strings.Repeat("a", maxName), "total", "1"}, "bad_name"},
	} {
		if got := w.refused("PUT", "/files/content", strings.NewReader(tt.body), tt.query...); got != tt.code {
			t.Errorf("%s: %q, want %q", name, got, tt.code)
		}
	}
}

// An upload whose session is over goes on in the next one, and another file's does not.
func TestResumeInAnotherSession(t *testing.T) {
	w := newWorld(t, sshtest.Config{SFTP: true}, Config{})
	data := noise(3 * window)
	p := filepath.Join(w.dir, "big")
	w.put(p, data[:2*window+5], 0, len(data))
	w.target.Server.Cut()
	for w.conns.Of(w.target.Key()) != nil {
		time.Sleep(time.Millisecond)
	}
	if got := w.refused("GET", "/files", nil); got != "ssh_sign_in" {
		t.Errorf("without a connection: %q", got)
	}
	w.signIn()
	var is progress
	w.json(&is, "GET", "/files/upload", nil, "path", p, "total", fmt.Sprint(len(data)))
	if is.Offset != window+5 || is.SHA256 != sum(data[:window+5]) {
		t.Fatalf("%+v", is)
	}
	if now := w.put(p, data[is.Offset:], int(is.Offset), len(data)); !now.Done || now.SHA256 != sum(data) {
		t.Fatalf("%+v", now)
	}
	if got, _ := os.ReadFile(p); !bytes.Equal(got, data) {
		t.Errorf("%d bytes", len(got))
	}
	w.json(&is, "GET", "/files/upload", nil, "path", p+"-new", "total", "7")
	if is.Offset != 0 {
		t.Errorf("of a new one: %+v", is)
	}
	w.write("long"+PartSuffix, "0123456789")
	w.json(&is, "GET", "/files/upload", nil, "path", w.dir+"/long", "total", "7")
	if is.Offset != 0 {
		t.Errorf("of a longer one: %+v", is)
	}
	if got := w.refused("DELETE", "/files/upload", nil, "path", w.dir+"/long"); got != "" {
		t.Errorf("cancel: %q", got)
	}
	if _, err := os.Stat(w.dir + "/long" + PartSuffix); err == nil {
		t.Error("what came of it is still there")
	}
	if got := w.refused("DELETE", "/files/upload", nil, "path", w.dir+"/long"); got != "" {
		t.Errorf("cancel of nothing: %q", got)
	}
}

func TestChange(t *testing.T) {
	w := newWorld(t, sshtest.Config{SFTP: true}, Config{})
	a, b := w.write("a", "a"), w.write("b", "b")
	os.Symlink(a, filepath.Join(w.dir, "link"))
	sub := filepath.Join(w.dir, "文件夹")
	for _, tt := range []struct {
		method, route string
		query         []string
		code          string
	}{
		{"POST", "/files/mkdir", []string{"path", sub}, ""},
		{"POST", "/files/mkdir", []string{"path", sub}, "exists"},
		{"POST", "/files/mkdir", []string{"path", a}, "exists"},
		{"POST", "/files/mkdir", []string{"path", w.dir + "/none/x"}, "no_such_file"},
		{"POST", "/files/mkdir", []string{"path", "/"}, "bad_name"},
		{"POST", "/files/rename", []string{"path", a, "to", b}, "exists"},
		{"POST", "/files/rename", []string{"path", a, "to", sub, "overwrite", "1"}, "is_a_folder"},
		{"POST", "/files/rename", []string{"path", w.dir + "/none", "to", w.dir + "/x"}, "no_such_file"},
		{"POST", "/files/rename", []string{"path", a, "to", "x"}, "bad_path"},
		{"POST", "/files/rename", []string{"path", a, "to", sub + "/a"}, ""},
		{"POST", "/files/rename", []string{"path", sub + "/a", "to", b, "overwrite", "1"}, ""},
		{"DELETE", "/files", []string{"path", w.dir}, "not_empty"},
		{"DELETE", "/files", []string{"path", w.dir + "/none"}, "no_such_file"},
		{"DELETE", "/files", []string{"path", ""}, "bad_path"},
		{"DELETE", "/files", []string{"path", sub}, ""},
		{"DELETE", "/files", []string{"path", w.dir + "/link"}, ""},
	} {
		if got := w.refused(tt.method, tt.route, nil, tt.query...); got != tt.code {
			t.Errorf("%s %s %q: %q, want %q", tt.method, tt.route, tt.query, got, tt.code)
		}
	}
	if got, _ := os.ReadFile(b); string(got) != "a" {
		t.Errorf("renamed over it: %q", got)
	}
	left, _ := os.ReadDir(w.dir)
	if len(left) != 1 {
		t.Errorf("left: %v", left)
	}
}

// Whoever asks too often, or for too many files at once, is told to wait.
func TestLimits(t *testing.T) {
	w := newWorld(t, sshtest.Config{SFTP: true}, Config{Transfers: 2, Requests: 5})
	in, out := io.Pipe()
	var uploads sync.WaitGroup
	uploads.Go(func() { w.refused("PUT", "/files/content", in, "path", w.dir+"/slow", "total", "2") })
	out.Write([]byte("x"))
	w.began("slow")
	if got := w.refused("PUT", "/files/content", strings.NewReader("xy"), "path", w.dir+"/slow", "total", "2"); got != "transfer_busy" {
		t.Errorf("the same upload twice: %q", got)
	}
	if got := w.refused("DELETE", "/files/upload", nil, "path", w.dir+"/slow"); got != "transfer_busy" {
		t.Errorf("cancelled while it runs: %q", got)
	}
	var hundred sync.WaitGroup
	var told atomic.Bool
	for range 100 {
		hundred.Go(func() {
			a, _ := w.do("GET", "/files", nil, "path", w.dir)
			if a.StatusCode == http.StatusTooManyRequests && a.Header.Get("Retry-After") != "" {
				told.Store(true)
			}
		})
	}
	hundred.Wait()
	if !told.Load() {
		t.Error("a hundred requests at once were answered")
	}
	out.Write([]byte("y"))
	out.Close()
	uploads.Wait()
}

// began waits until an upload has come to the device.
func (w *world) began(name string) {
	for {
		if _, err := os.Stat(filepath.Join(w.dir, name+PartSuffix)); err == nil {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

func TestTransfersAreBounded(t *testing.T) {
	w := newWorld(t, sshtest.Config{SFTP: true}, Config{Transfers: 1})
	in, out := io.Pipe()
	var uploads sync.WaitGroup
	uploads.Go(func() { w.refused("PUT", "/files/content", in, "path", w.dir+"/slow", "total", "2") })
	out.Write([]byte("x"))
	small := w.write("small", "x")
	w.began("slow")
	if got := w.refused("GET", "/files/sum", nil, "path", small); got != "too_many_transfers" {
		t.Errorf("one more: %q", got)
	}
	if got := w.refused("GET", "/files", nil, "path", w.dir); got != "" {
		t.Errorf("a folder beside it: %q", got)
	}
	w.target.Cancel(&client.Error{Status: 401, Code: "signed_out"}) // what is on the way ends with the login
	out.Write([]byte("y"))
	out.Close()
	uploads.Wait()
}
