package terminal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/crypto/ssh"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/gateway/control/console/internal/sshconn"
	"github.com/boothwire/boothwire/gateway/control/console/internal/sshtest"
	"github.com/boothwire/boothwire/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// patience is what a test waits for what takes milliseconds.
const patience = 30 * time.Second

// A world is a console with one held session, whose code is "code".
type world struct {
	target *sshtest.Target
	url    string
}

func newWorld(t *testing.T, cfg sshtest.Config) *world {
	t.Helper()
	w := &world{target: sshtest.Serve(t, cfg).Lead(t)}
	conns := sshconn.New(nil, nil)
	srv := httptest.NewServer(&Handler{Conns: conns, Redeem: func(_ *http.Request, code string) (Tab, error) {
		if code != "code" {
			return nil, errors.New("no such code")
		}
		return w.target, nil
	}})
	w.url = srv.URL
	t.Cleanup(func() {
		conns.Close()
		srv.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	return w
}

// A page is the browser's end.
type page struct {
	t  *testing.T
	ws *websocket.Conn

	got []byte // output that was not looked at
	ack bool   // acknowledge it at once
}

func (w *world) page(t *testing.T) *page {
	t.Helper()
	ws, _, err := websocket.Dial(context.Background(), w.url, &websocket.DialOptions{HTTPHeader: http.Header{"Origin": {w.url}}})
	if err != nil {
		t.Fatal(err)
	}
	ws.SetReadLimit(1 << 20)
	t.Cleanup(func() { ws.CloseNow() })
	return &page{t: t, ws: ws, ack: true}
}

func (p *page) say(text string) {
	p.t.Helper()
	if err := p.ws.Write(context.Background(), websocket.MessageText, []byte(text)); err != nil {
		p.t.Fatal(err)
	}
}

func (p *page) typed(keys string) {
	p.t.Helper()
	if err := p.ws.Write(context.Background(), websocket.MessageBinary, []byte(keys)); err != nil {
		p.t.Fatal(err)
	}
}

// read returns the next message: a notice, or output, which it keeps.
func (p *page) read() (*notice, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	kind, data, err := p.ws.Read(ctx)
	if err != nil {
		return nil, err
	}
	if kind == websocket.MessageBinary {
		p.got = append(p.got, data...)
		if p.ack {
			text, _ := json.Marshal(map[string]int{"ack": len(data)})
			p.say(string(text))
		}
		return nil, nil
	}
	n := new(notice)
	if err := json.Unmarshal(data, n); err != nil {
		p.t.Fatalf("%s: %v", data, err)
	}
	return n, nil
}

// notice returns the next one but acknowledgements.
func (p *page) notice() *notice {
	p.t.Helper()
	for {
		n, err := p.read()
		if err != nil {
			p.t.Fatal(err)
		}
		if n != nil && n.Ack == 0 {
			return n
		}
	}
}

// until reads until the output has text in it.
func (p *page) until(text string) {
	p.t.Helper()
	for !bytes.Contains(p.got, []byte(text)) {
		if _, err := p.read(); err != nil {
			p.t.Fatalf("no %q in %q: %v", text, p.got, err)
		}
	}
}

// end reads to the end and returns the reason of the close, which must be that of the
// notice before it.
func (p *page) end() string {
	p.t.Helper()
	var last *over
	for {
		n, err := p.read()
		if err == nil {
			if n != nil && n.Over != nil {
				last = n.Over
			}
			continue
		}
		c, ok := errors.AsType[websocket.CloseError](err)
		if !ok {
			p.t.Fatalf("the socket ended without a reason: %v", err)
		}
		if last == nil || last.Code != c.Reason {
			p.t.Errorf("close reason %q after %+v", c.Reason, last)
		}
		return c.Reason
	}
}

const hi = `{"code":"code","cols":100,"rows":30}`

// signedIn is a page with a shell.
func (w *world) signedIn(t *testing.T) *page {
	t.Helper()
	p := w.page(t)
	p.say(hi)
	if n := p.notice(); n.SignIn == nil {
		t.Fatalf("%+v", n)
	}
	p.say(`{"signin":{"user":"operator","password":"right"}}`)
	if n := p.notice(); n.Ready == nil {
		t.Fatalf("%+v", n)
	}
	return p
}

func TestTerminal(t *testing.T) {
	seen := make(chan *sshtest.Terminal, 4)
	w := newWorld(t, sshtest.Config{Shell: func(term *sshtest.Terminal) uint32 {
		seen <- term
		return sshtest.Echo(term)
	}})
	waiting := w.page(t)
	waiting.say(`{"code":"code","files":true}`)
	if n := waiting.notice(); n.SignIn == nil {
		t.Fatalf("%+v", n)
	}
	p := w.page(t)
	p.say(hi)
	if n := p.notice(); n.SignIn == nil || n.SignIn.Code != "" {
		t.Fatalf("%+v", n)
	}
	p.say(`{"signin":{"user":"operator","password":"wrong"}}`)
	if n := p.notice(); n.SignIn == nil || n.SignIn.Code != sshconn.CodeDenied {
		t.Fatalf("%+v", n)
	}
	p.say(`{"signin":{"user":"operator","password":"right"}}`)
	n := p.notice()
	if n.Ready == nil || n.Ready.User != "operator" || n.Ready.HostKey != w.target.Server.Fingerprint || n.Ready.HostKeyBy != sshconn.Signed {
		t.Fatalf("%+v", n)
	}
	term := <-seen
	if term.Term != "xterm-256color" || term.Cols != 100 || term.Rows != 30 || term.Env["LANG"] != "C.UTF-8" {
		t.Errorf("terminal %q %dx%d, LANG=%s", term.Term, term.Cols, term.Rows, term.Env["LANG"])
	}
	p.typed("打印机 \x1b[31m")
	p.until("打印机 \x1b[31m")
	p.say(`{"resize":{"cols":31,"rows":109}}`)
	if s := <-term.Sizes; s != [2]uint32{31, 109} {
		t.Errorf("size %v", s)
	}

	if n := waiting.notice(); n.Ready == nil { // it was signed in by the other page
		t.Fatalf("%+v", n)
	}

	// A second page finds the connection signed in, and has a shell of its own.
	other := w.page(t)
	other.say(hi)
	if n := other.notice(); n.Ready == nil {
		t.Fatalf("%+v", n)
	}
	companion := w.page(t)
	companion.say(`{"code":"code","files":true}`)
	if n := companion.notice(); n.Ready == nil {
		t.Fatalf("%+v", n)
	}

	p.typed("exit\r")
	if n := p.notice(); n.Exit == nil || n.Exit.Status != 7 {
		t.Fatalf("%+v", n)
	}
	if !strings.HasSuffix(string(p.got), "bye\r\n") {
		t.Errorf("printed %q", p.got)
	}
	if why := p.end(); why != codeExit {
		t.Errorf("closed for %q", why)
	}
	other.typed("still here")
	other.until("still here")
	w.target.Cancel(&client.Error{Code: "lifetime"})
	for _, p := range []*page{other, companion} {
		if why := p.end(); why != "lifetime" {
			t.Errorf("closed for %q", why)
		}
	}
}

func TestQuestions(t *testing.T) {
	w := newWorld(t, sshtest.Config{Shell: sshtest.Echo, Banner: "Property of the mall", Interactive: func(ask ssh.KeyboardInteractiveChallenge) error {
		if answers, err := ask("token", "look", []string{"PIN: "}, []bool{false}); err != nil || answers[0] != "12" {
			return errors.New("wrong")
		}
		return nil
	}})
	p := w.page(t)
	p.say(hi)
	p.notice()
	p.say(`{"signin":{"user":"operator"}}`)
	if n := p.notice(); n.Banner != "Property of the mall" {
		t.Fatalf("%+v", n)
	}
	if n := p.notice(); n.Prompt == nil || n.Prompt.Name != "token" || n.Prompt.Instruction != "look" || len(n.Prompt.Questions) != 1 || n.Prompt.Questions[0].Text != "PIN: " {
		t.Fatalf("%+v", n)
	}
	p.say(`{"answers":["12"]}`)
	if n := p.notice(); n.Ready == nil {
		t.Fatalf("%+v", n)
	}
}

// Whoever comes from elsewhere gets no socket; whoever has no code gets no further.
func TestStrangers(t *testing.T) {
	w := newWorld(t, sshtest.Config{})
	for _, origin := range []string{"", "null", "https://evil.example", "http://127.0.0.1:1", w.url + ".evil.example"} {
		head := http.Header{}
		if origin != "" {
			head.Set("Origin", origin)
		}
		ws, r, err := websocket.Dial(context.Background(), w.url, &websocket.DialOptions{HTTPHeader: head})
		if err == nil {
			ws.CloseNow()
			t.Errorf("origin %q came in", origin)
		} else if r == nil || r.StatusCode != http.StatusForbidden {
			t.Errorf("origin %q: %v", origin, err)
		}
	}
	for first, want := range map[string]string{
		`{"code":"other","cols":80,"rows":24}`:               codeCode,
		`{"code":"","cols":80,"rows":24}`:                    codeMessage,
		`{"code":"code"}`:                                    codeMessage,
		`{"code":"code","cols":0,"rows":24}`:                 codeMessage,
		`{"code":"code","cols":80,"rows":1001}`:              codeMessage,
		`{"code":"code","code":"other","cols":80,"rows":24}`: codeMessage,
		`[]`: codeMessage,
		`{`:  codeMessage,
		strings.Repeat(" ", 1<<10) + `{"CODE":"code","files":true}`: codeMessage,
	} {
		p := w.page(t)
		p.say(first)
		if why := p.end(); why != want {
			t.Errorf("%s: closed for %q, want %q", first, why, want)
		}
	}
	if n := w.target.Server.Conns(); n != 0 {
		t.Errorf("%d connections to the device", n)
	}
}

// A page that breaks the protocol is hung up on, whatever it is doing.
func TestBrokenPages(t *testing.T) {
	w := newWorld(t, sshtest.Config{Shell: sshtest.Echo})
	for _, text := range []string{
		``, `{}`, `null`, `{"ack":1}`, `{"ack":-1}`, `{"ack":99999999}`, `{"ack":1,"resize":{"cols":1,"rows":1}}`,
		`{"resize":{"cols":0,"rows":1}}`, `{"resize":{"cols":1e9,"rows":1}}`, `{"answers":"x"}`,
		`{"answers":["","","","","","","","","","","","","","","","",""]}`, `{"signin":{"user":1}}`,
	} {
		p := w.page(t)
		p.say(hi)
		n := p.notice()
		if n.SignIn != nil {
			p.say(`{"signin":{"user":"operator","password":"right"}}`)
			n = p.notice()
		}
		if n.Ready == nil {
			t.Fatalf("%+v", n)
		}
		p.say(text)
		if why := p.end(); why != codeMessage {
			t.Errorf("%s: closed for %q", text, why)
		}
	}
}

// Guessing ends: after some tries the page needs another code.
func TestTries(t *testing.T) {
	w := newWorld(t, sshtest.Config{})
	p := w.page(t)
	p.say(hi)
	for range maxTries {
		if n := p.notice(); n.SignIn == nil {
			t.Fatalf("%+v", n)
		}
		p.say(`{"signin":{"user":"operator","password":"wrong"}}`)
	}
	if why := p.end(); why != codeTries {
		t.Errorf("closed for %q", why)
	}
}

// A shell that prints without end fills no memory and keeps no keystroke from it; it
// goes on as the page says that it has shown what came.
func TestFlood(t *testing.T) {
	stopped := make(chan struct{})
	w := newWorld(t, sshtest.Config{Shell: func(term *sshtest.Terminal) uint32 {
		go func() {
			key := make([]byte, 1)
			if _, err := io.ReadFull(term, key); err == nil && key[0] == 3 {
				close(stopped)
			}
		}()
		zeros := make([]byte, 32<<10)
		for {
			select {
			case <-stopped:
				return 130
			default:
			}
			if _, err := term.Write(zeros); err != nil {
				return 1
			}
		}
	}})
	p := w.signedIn(t)
	p.ack = false
	for len(p.got) <= Window-32<<10 {
		if _, err := p.read(); err != nil {
			t.Fatal(err)
		}
	}
	// Nothing more comes: what is next is the answer to the keystroke, not output.
	p.typed("\x03")
	for {
		n, err := p.read()
		if err != nil {
			t.Fatal(err)
		}
		if n != nil && n.Ack == 1 {
			break
		}
	}
	if len(p.got) > Window {
		t.Fatalf("%d bytes came unacknowledged", len(p.got))
	}
	<-stopped
	p.ack = true
	text, _ := json.Marshal(map[string]int{"ack": len(p.got)})
	p.say(string(text))
	if n := p.notice(); n.Exit == nil || n.Exit.Status != 130 {
		t.Fatalf("%+v", n)
	}
}

// A page that keeps to the window can paste more than a shell takes at once; one that
// does not is hung up on, while the shell reads nothing.
func TestPaste(t *testing.T) {
	const all = 8 * Window // SSH's own window is half of that
	reads := make(chan struct{})
	w := newWorld(t, sshtest.Config{Shell: func(term *sshtest.Terminal) uint32 {
		<-reads
		if n, _ := io.CopyN(io.Discard, term, all); n != all {
			return 1
		}
		return 0
	}})
	block := strings.Repeat("a", 32<<10)
	greedy := w.signedIn(t)
	go func() {
		for greedy.ws.Write(context.Background(), websocket.MessageBinary, []byte(block)) == nil {
		}
	}()
	if why := greedy.end(); why != codeMessage {
		t.Errorf("closed for %q", why)
	}

	p := w.signedInAgain(t)
	close(reads)
	for sent, acked := 0, 0; acked < all; {
		for sent < all && sent-acked+len(block) <= Window {
			p.typed(block)
			sent += len(block)
		}
		n, err := p.read()
		if err != nil {
			t.Fatal(err)
		}
		if n != nil {
			acked += n.Ack
		}
	}
	if n := p.notice(); n.Exit == nil || n.Exit.Status != 0 {
		t.Fatalf("%+v", n)
	}
}

// signedInAgain is a page on the connection that another one signed in.
func (w *world) signedInAgain(t *testing.T) *page {
	t.Helper()
	p := w.page(t)
	p.say(hi)
	if n := p.notice(); n.Ready == nil {
		t.Fatalf("%+v", n)
	}
	return p
}

// A login has so many sockets in a session, whatever they wait for; one that ends makes
// room.
func TestSocketsAreBounded(t *testing.T) {
	w := newWorld(t, sshtest.Config{})
	var pages []*page
	for range maxSockets {
		p := w.page(t)
		p.say(hi)
		if n := p.notice(); n.SignIn == nil {
			t.Fatalf("%+v", n)
		}
		pages = append(pages, p)
	}
	p := w.page(t)
	p.say(hi)
	if why := p.end(); why != sshconn.CodeMany {
		t.Errorf("one more: closed for %q", why)
	}
	pages[0].ws.Close(websocket.StatusNormalClosure, "")
	for {
		p := w.page(t)
		p.say(hi)
		if n := p.notice(); n.SignIn != nil {
			return
		}
	}
}

// The server's end, and the page's, end the shell.
func TestEnds(t *testing.T) {
	over := make(chan struct{}, 8)
	w := newWorld(t, sshtest.Config{Shell: func(term *sshtest.Terminal) uint32 {
		defer func() { over <- struct{}{} }()
		return sshtest.Echo(term)
	}})
	p := w.signedIn(t)
	p.ws.Close(websocket.StatusNormalClosure, "")
	<-over
	p = w.signedInAgain(t)
	p.ws.CloseNow()
	<-over
	p = w.signedInAgain(t)
	w.target.Server.Cut()
	if why := p.end(); why != sshconn.CodeLost {
		t.Errorf("closed for %q", why)
	}
	<-over
	p = w.page(t)
	p.say(hi)
	if n := p.notice(); n.SignIn == nil {
		t.Fatalf("%+v", n)
	}
	w.target.Cancel(nil) // while the person types
	if why := p.end(); why != sshconn.CodeEnded {
		t.Errorf("closed for %q", why)
	}
}
