package desktop

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/gateway/control/console/internal/firstuse"
	"github.com/boothwire/boothwire/gateway/control/console/internal/rdcleanpath"
)

func TestDesktop(t *testing.T) {
	w := newWorld(t, Config{})
	code, tab := w.code()
	e := w.opens(code)
	e.echoes("hello")
	e.echoes(strings.Repeat("a long one ", 100_000))
	if got := w.device.requests(); len(got) != 1 || !bytes.Equal(got[0], browserAsks) {
		t.Errorf("the device was asked %x", got)
	}
	if v := w.s.Stats(); v.Open != 1 || v.Opened != 1 {
		t.Errorf("open: %+v", v)
	}
	e.ws.Close(websocket.StatusNormalClosure, "")
	v := w.settled()
	if !reflect.DeepEqual(v.Ended, map[string]uint64{"closed": 1}) || v.FromDev != 1_100_005 || v.ToDev != 1_100_005 || !tab.closed() {
		t.Errorf("afterwards: %+v, tab closed %v", v, tab.closed())
	}
}

// Whatever ends a desktop is told.
func TestEnds(t *testing.T) {
	for name, c := range map[string]struct {
		device mode
		end    error
		code   websocket.StatusCode
		reason string
	}{
		"the person signs out":  {device: endsAfterTLS, code: websocket.StatusNormalClosure},
		"the password is wrong": {device: dropsAfterTLS, code: 4502, reason: "dropped"},
		"the login ends":        {end: client.Refuse(http.StatusUnauthorized, "signed_out", ""), code: 4401, reason: "signed_out"},
		"the session ends":      {end: client.Refuse(http.StatusConflict, "expired", ""), code: 4409, reason: "expired"},
		"an admin kicks":        {end: client.Refuse(http.StatusConflict, "removed", ""), code: 4409, reason: "removed"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, Config{})
			w.device.is(c.device)
			code, tab := w.code()
			e := w.opens(code)
			if c.end != nil {
				e.echoes("hello")
				tab.end(c.end)
			}
			w.ends(e.ws, c.code, c.reason)
			if v := w.settled(); v.Opened != 1 || !tab.closed() {
				t.Errorf("afterwards: %+v", v)
			}
		})
	}
}

// What keeps a desktop from opening: the engine's answer, the end of the WebSocket, and
// nothing left open.
func TestRefused(t *testing.T) {
	otherSum := strings.Repeat("ab", 32)
	request := func(code string) *rdcleanpath.PDU {
		return &rdcleanpath.PDU{Destination: "kiosk-1", ProxyAuth: code, X224: browserAsks}
	}
	plain := bytes.Clone(browserAsks)
	plain[39] = byte(rdcleanpath.SSL)
	for name, c := range map[string]struct {
		cfg    Config
		device func(*device)
		target func(*Target)
		pdu    func(code string) *rdcleanpath.PDU
		word   string
		status int
		kind   int
	}{
		"no code":              {pdu: func(string) *rdcleanpath.PDU { return &rdcleanpath.PDU{Destination: "a", X224: browserAsks} }, word: "malformed", status: 400},
		"another code":         {pdu: func(string) *rdcleanpath.PDU { return request("guessed") }, word: "bad_code", status: 401},
		"no X.224":             {pdu: func(code string) *rdcleanpath.PDU { return &rdcleanpath.PDU{ProxyAuth: code} }, word: "malformed", status: 400},
		"a blob":               {pdu: func(code string) *rdcleanpath.PDU { p := request(code); p.Blob = "vm"; return p }, word: "malformed", status: 400},
		"an engine sans NLA":   {pdu: func(code string) *rdcleanpath.PDU { p := request(code); p.X224 = plain; return p }, word: "nla_required", status: 403},
		"a server sans NLA":    {device: func(d *device) { d.answer = rdcleanpath.SSL }, word: "nla_required", status: 403},
		"RDP's own security":   {cfg: Config{Policy: Policy{Plain: true}}, device: func(d *device) { d.answer = 0 }, word: "nla_required", status: 403},
		"a refusal":            {device: func(d *device) { d.refuse = rdcleanpath.HybridRequired }, word: "negotiation_refused", kind: rdcleanpath.Negotiation},
		"another certificate":  {target: func(t *Target) { t.RDP = otherSum }, word: "certificate_wrong", status: 403},
		"an unsigned one":      {target: func(t *Target) { t.RDP = "" }, word: "certificate_unsigned", status: 403},
		"another one, trusted": {cfg: Config{First: new(firstuse.Pins)}, target: func(t *Target) { t.RDP = otherSum }, word: "certificate_wrong", status: 403},
		"no answer at TLS":     {device: func(d *device) { d.mode = junkAtTLS }, word: "tls_failed", status: 502},
		"SSH at the port":      {device: func(d *device) { d.mode = junkAtX224 }, word: "not_rdp", status: 502},
		"nobody at the port":   {target: func(t *Target) { t.Tab.(*tab).to = nil }, word: "port_closed", status: 502},
		"the session is over":  {target: func(t *Target) { t.Tab.(*tab).end(client.Refuse(http.StatusConflict, "expired", "")) }, word: "expired", status: 409},
		"recordings are asked": {cfg: Config{Policy: Policy{Record: true}}, word: "recording_required", status: 403},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, c.cfg)
			if c.device != nil {
				c.device(w.device)
			}
			if c.target == nil {
				c.target = func(*Target) {}
			}
			if c.pdu == nil {
				c.pdu = request
			}
			code, tab := w.code(c.target)
			e, got := w.asks(c.pdu(code))
			want := rdcleanpath.Error{Kind: max(c.kind, rdcleanpath.General), HTTP: c.status}
			if got.Error == nil || *got.Error != want {
				t.Errorf("the engine is told %+v, want %+v", got.Error, want)
			}
			if c.kind == rdcleanpath.Negotiation {
				if confirm, err := rdcleanpath.ParseConfirm(got.X224); err != nil || confirm.Failure != rdcleanpath.HybridRequired {
					t.Errorf("the server's word is %+v, %v", confirm, err)
				}
				c.status = 502
			}
			w.ends(e.ws, websocket.StatusCode(4000+c.status), c.word)
			if v := w.settled(); v.Opened != 0 || v.Ended[c.word] != 1 {
				t.Errorf("afterwards: %+v", v)
			}
			w.mu.Lock()
			defer w.mu.Unlock()
			if w.codes[code] == nil && !tab.closed() {
				t.Error("the tab is left open")
			}
		})
	}
}

// A code is good for one desktop, and an address that a browser names for nothing.
func TestCodeOnce(t *testing.T) {
	w := newWorld(t, Config{})
	elsewhere := newDevice(t)
	code, _ := w.code()
	e, got := w.asks(&rdcleanpath.PDU{Destination: elsewhere.ln.Addr().String(), ProxyAuth: code, X224: browserAsks})
	if got.Error != nil {
		t.Fatalf("answered %v", got)
	}
	e.echoes("hello")
	if len(elsewhere.requests()) != 0 {
		t.Error("a browser's address was dialled")
	}
	again, got := w.asks(&rdcleanpath.PDU{Destination: "a", ProxyAuth: code, X224: browserAsks})
	if got.Error == nil || got.Error.HTTP != 401 {
		t.Errorf("a second time: %v", got)
	}
	w.ends(again.ws, 4401, "bad_code")
	e.echoes("still there")
}

func TestOrigins(t *testing.T) {
	w := newWorld(t, Config{Guacd: &Guacd{Address: "127.0.0.1:1"}})
	for _, path := range []string{"/console/desktop", "/console/guac?code=a"} {
		for _, origin := range []string{"", "null", "https://evil.example", w.http.URL + ".evil.example", "http://127.0.0.1"} {
			header := http.Header{}
			if origin != "" {
				header.Set("Origin", origin)
			}
			_, r, err := websocket.Dial(w.ctx(), w.http.URL+path, &websocket.DialOptions{HTTPHeader: header})
			if err == nil || r == nil || r.StatusCode != http.StatusForbidden {
				t.Errorf("%s from %q: %v", path, origin, err)
			}
		}
	}
}

func TestNoPDU(t *testing.T) {
	for name, send := range map[string]func(*world, *websocket.Conn){
		"text": func(w *world, ws *websocket.Conn) { ws.Write(w.ctx(), websocket.MessageText, []byte("hello")) },
		"junk": func(w *world, ws *websocket.Conn) { ws.Write(w.ctx(), websocket.MessageBinary, []byte("hello")) },
		"endless": func(w *world, ws *websocket.Conn) {
			ws.Write(w.ctx(), websocket.MessageBinary, []byte{0x30, 0x84, 0x7f, 0xff, 0xff, 0xff})
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, Config{})
			ws := w.dial("/console/desktop")
			send(w, ws)
			w.ends(ws, 4400, "malformed")
			w.settled()
		})
	}
}

// A PDU comes in as many messages as the engine likes.
func TestPDUInPieces(t *testing.T) {
	w := newWorld(t, Config{})
	code, _ := w.code()
	b, err := (&rdcleanpath.PDU{Destination: "a", ProxyAuth: code, X224: browserAsks}).Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	e := &engine{w: w, ws: w.dial("/console/desktop")}
	for _, part := range [][]byte{b[:1], b[1:7], b[7 : len(b)-1], append(b[len(b)-1:], "early"...)} {
		e.send(part)
	}
	if _, answer, err := e.ws.Read(w.ctx()); err != nil || len(answer) == 0 {
		t.Fatal(err)
	}
	if _, early, err := e.ws.Read(w.ctx()); err != nil || string(early) != "early" {
		t.Fatalf("%q, %v", early, err)
	}
}

// Who waits for a device that does not speak is told when the session ends, not a
// timeout later.
func TestEndsWhileConnecting(t *testing.T) {
	for name, m := range map[string]mode{"at X.224": silentAtX224, "at TLS": silentAtTLS} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, Config{})
			w.device.is(m)
			code, tab := w.code()
			go func() {
				for len(w.device.requests()) == 0 {
					time.Sleep(time.Millisecond)
				}
				tab.end(client.Refuse(http.StatusConflict, "removed", ""))
			}()
			e, got := w.asks(&rdcleanpath.PDU{Destination: "a", ProxyAuth: code, X224: browserAsks})
			if got.Error == nil || got.Error.HTTP != http.StatusConflict {
				t.Errorf("answered %v", got)
			}
			w.ends(e.ws, 4409, "removed")
		})
	}
}

// A browser that takes nothing holds up nobody but itself, and no more than buffers.
func TestSlowBrowser(t *testing.T) {
	w := newWorld(t, Config{})
	w.device.is(floodsAfterTLS)
	code, tab := w.code()
	e := w.opens(code)
	w.device.is(honest)
	other, _ := w.code()
	w.opens(other).echoes("hello")
	tab.end(client.Refuse(http.StatusConflict, "removed", ""))
	go func() { // it reads again, or the close would have to give up on it
		for {
			if _, _, err := e.ws.Read(context.Background()); err != nil {
				return
			}
		}
	}()
	for end := time.Now().Add(patienceOfTests); w.s.Stats().Ended["removed"] == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the slow one is still open")
		}
	}
}

func TestTooMany(t *testing.T) {
	w := newWorld(t, Config{Most: 1})
	code, _ := w.code()
	e := w.opens(code)
	second, _ := w.code()
	refused, got := w.asks(&rdcleanpath.PDU{Destination: "a", ProxyAuth: second, X224: browserAsks})
	if got.Error == nil || got.Error.HTTP != http.StatusTooManyRequests {
		t.Errorf("answered %v", got)
	}
	w.ends(refused.ws, 4429, "too_many_desktops")
	e.ws.Close(websocket.StatusNormalClosure, "")
	w.settled()
	third, _ := w.code()
	w.opens(third).echoes("hello")
}

func TestPlainWhereAllowed(t *testing.T) {
	w := newWorld(t, Config{Policy: Policy{Plain: true}})
	w.device.answer = rdcleanpath.SSL
	code, _ := w.code()
	w.opens(code).echoes("hello")
}

// One user leaves room for others.
func TestTooManyOfOne(t *testing.T) {
	s := New(&Config{Most: mostEach + 1})
	for range mostEach {
		if err := s.enter("ann"); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.enter("ann"); !errors.Is(err, errFull) {
		t.Errorf("one more of hers: %v", err)
	}
	if err := s.enter("bob"); err != nil {
		t.Errorf("another's: %v", err)
	}
	s.leave("bob")
	s.leave("ann")
	if err := s.enter("ann"); err != nil {
		t.Errorf("when one of hers is over: %v", err)
	}
}
