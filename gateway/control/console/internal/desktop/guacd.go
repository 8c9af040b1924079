package desktop

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/boothwire/boothwire/gateway/control/console/internal/guac"
	"github.com/boothwire/boothwire/gateway/control/console/internal/rdcleanpath"
)

// Guacd is a guacd that draws desktops. It has no sign-in of its own: nobody but this
// console should reach its port. It reaches the console at the address that the console
// has towards it.
type Guacd struct {
	Address string // host:port
	// Recordings is a folder as guacd sees it; empty: nothing is recorded.
	Recordings string
	Keys       bool // record what is typed too
	Drive      bool // the device's files beside the desktop, by SFTP
}

// Guac answers the WebSocket of a Guacamole client, whose query has the connect code of
// an Offer.
func (s *Server) Guac(w http.ResponseWriter, r *http.Request) {
	ws, err := s.accept(w, r, "guacamole")
	if err != nil {
		return
	}
	ws.SetReadLimit(guac.MaxInstruction)
	v := &visit{s: s, engine: "guacd", began: time.Now()}
	why := word(s.guac(r, ws, v))
	hangUp(ws, why)
	v.end(why)
}

func (s *Server) guac(r *http.Request, ws *websocket.Conn, v *visit) (err error) {
	if s.cfg.Guacd == nil {
		return errNoGuacd
	}
	if ws.Subprotocol() == "" {
		return errMalformed
	}
	code := r.URL.Query().Get("code")
	wish, wished := s.offers.take(code)
	if v.target, err = s.cfg.Redeem(r, code); err != nil {
		return err
	}
	defer v.target.Close()
	if !wished {
		return errMalformed
	}
	if err := s.enter(v.target.User); err != nil {
		return err
	}
	defer s.leave(v.target.User)
	ctx, stop := ends(context.WithoutCancel(r.Context()), v.target)
	defer stop()
	g, err := s.joinGuacd(ctx, v, &wish)
	if err != nil {
		return err
	}
	defer g.close()
	// Its own context: a write that is cut by the tab's end cannot say why.
	browser := &stream{ctx: context.WithoutCancel(ctx), ws: ws, kind: websocket.MessageText}
	if _, err := browser.Write(guac.Append(nil, "", rand.Text())); err != nil {
		return err
	}
	v.show()
	return v.relay(ctx, browser, g)
}

// A drawn is what guacd has joined, with the ports by which it reaches the
// device.
type drawn struct {
	net.Conn
	in    *guac.Reader
	end   context.CancelFunc
	ports []*oneshot
}

func (g *drawn) close() {
	g.end()
	g.Conn.Close()
	for _, p := range g.ports {
		p.done.Wait()
	}
}

// joinGuacd looks at the device's RDP server first: with the certificate that it has,
// guacd is given no other to trust, and whoever waits learns at once what is wrong.
func (s *Server) joinGuacd(ctx context.Context, v *visit, wish *Wish) (*drawn, error) {
	bounded, cancel := context.WithTimeoutCause(ctx, connect, errLate)
	defer cancel()
	arguments, err := s.arguments(bounded, v, wish)
	if err != nil {
		return nil, err
	}
	conn, err := dialGuacd(bounded, s.cfg.Guacd.Address)
	if err != nil {
		return nil, err
	}
	life, end := context.WithCancel(ctx)
	g := &drawn{Conn: patient{conn}, in: guac.NewReader(conn), end: end}
	if err := g.join(bounded, life, v.target, wish, arguments); err != nil {
		g.close()
		return nil, err
	}
	return g, nil
}

// join opens the ports that guacd needs and asks it for the desktop.
func (g *drawn) join(ctx, life context.Context, t *Target, wish *Wish, arguments map[string]string) error {
	token := routing()
	arguments["load-balance-info"] = token + "\r\n"
	if err := g.open(life, t, arguments, "hostname", "port", portRDP, withToken(token, fromPeer(g.Conn))); err != nil {
		return err
	}
	if wish.Drive != nil {
		if err := g.drive(ctx, life, t, wish.Drive, arguments); err != nil {
			return err
		}
	}
	stop := context.AfterFunc(ctx, func() { g.Conn.Close() })
	defer stop()
	g.SetReadDeadline(time.Now().Add(step))
	screen := guac.Screen{Width: wish.Width, Height: wish.Height, DPI: max(wish.DPI, 96), Timezone: wish.Timezone, Name: t.User}
	if _, err := guac.Join(g, g.in, "rdp", arguments, screen); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return fmt.Errorf("%w: %w", errGuacdRefused, err)
	}
	g.SetReadDeadline(time.Time{})
	return nil
}

// looks is the request by which the console itself looks at an RDP server.
var looks = []byte{3, 0, 0, 19, 14, 0xe0, 0, 0, 0, 0, 0, 1, 0, 8, 0, byte(rdcleanpath.SSL | rdcleanpath.Hybrid), 0, 0, 0}

// arguments are what guacd is told of the desktop, but for where it is.
func (s *Server) arguments(ctx context.Context, v *visit, wish *Wish) (map[string]string, error) {
	seen, err := s.dialRDP(ctx, v.target, looks)
	if err != nil {
		return nil, err
	}
	seen.Close()
	v.sum = seen.sum
	a := map[string]string{
		"username": wish.Username, "password": wish.Password, "domain": wish.Domain,
		"security": "nla", "cert-fingerprints": fingerprint(seen.sum),
		"resize-method": "display-update", "client-name": "boothwire", "enable-font-smoothing": "true",
		"server-layout": wish.Layout, "timezone": wish.Timezone,
	}
	if !seen.security.NLA() {
		a["security"] = "tls"
	}
	if folder := s.cfg.Guacd.Recordings; folder != "" {
		a["recording-path"], a["create-recording-path"] = folder, "true"
		a["recording-name"] = recording(v.target, v.began)
		if s.cfg.Guacd.Keys {
			a["recording-include-keys"] = "true"
		}
	} else if s.cfg.Policy.Record {
		return nil, errRecording
	}
	return a, nil
}

// recording names a file: a session may have several, of several people.
func recording(t *Target, at time.Time) string {
	plain := func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '@' {
			return r
		}
		return '_'
	}
	parts := []string{at.UTC().Format("20060102T150405.000"), t.Device, t.Session, t.User}
	for i, p := range parts[1:] {
		parts[i+1] = strings.Map(plain, p)
	}
	return strings.Join(parts, "_") + ".guac"
}

// fingerprint is how FreeRDP writes one, in guacd.
func fingerprint(sum string) string {
	b, _ := hex.DecodeString(sum) // it was written by this package
	return "sha256:" + strings.ReplaceAll(fmt.Sprintf("% x", b), " ", ":")
}

// open makes a port that leads to one of the device's, and names it to guacd.
func (g *drawn) open(life context.Context, t *Target, arguments map[string]string, host, port string, to uint16, may gate) error {
	here, err := netip.ParseAddrPort(g.LocalAddr().String())
	if err != nil {
		return err
	}
	o, err := forwardOnce(life, here.Addr(), may, func(ctx context.Context) (net.Conn, error) { return t.Dial(ctx, to) })
	if err != nil {
		return err
	}
	g.ports = append(g.ports, o)
	arguments[host], arguments[port] = o.Address.Addr().String(), strconv.Itoa(int(o.Address.Port()))
	return nil
}

// drive has guacd show the device's files.
func (g *drawn) drive(ctx, life context.Context, t *Target, wish *Drive, arguments map[string]string) error {
	key, err := hostKey(ctx, t)
	if err != nil {
		return err
	}
	if err := g.open(life, t, arguments, "sftp-hostname", "sftp-port", portSSH, fromPeer(g.Conn)); err != nil {
		return err
	}
	arguments["enable-sftp"] = "true"
	arguments["sftp-username"], arguments["sftp-password"] = wish.Username, wish.Password
	arguments["sftp-host-key"] = "[" + arguments["sftp-hostname"] + "]:" + arguments["sftp-port"] + " " + key
	return nil
}

func dialGuacd(ctx context.Context, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, step, errGuacdAway)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, fmt.Errorf("%w: %w", errGuacdAway, err)
	}
	return conn, nil
}

// relay passes instructions both ways until an end comes or the tab goes.
func (v *visit) relay(ctx context.Context, browser *stream, g *drawn) error {
	over, cancel := context.WithCancelCause(ctx)
	var work sync.WaitGroup
	work.Go(func() { cancel(v.fromGuacd(browser, g)) })
	work.Go(func() { cancel(v.toGuacd(browser, g)) })
	work.Go(func() { cancel(watch(over, browser.ws)) })
	<-over.Done()
	why := v.lastWord(context.Cause(over))
	g.Write(guac.Append(nil, "disconnect")) // what is recorded is whole then
	g.Conn.Close()
	hangUp(browser.ws, word(why))
	work.Wait()
	return why
}

// fromGuacd passes whole instructions on, and notes why guacd gave up.
func (v *visit) fromGuacd(browser *stream, g *drawn) error {
	var said error
	for {
		frame, err := g.in.Frame()
		if err != nil {
			if said != nil {
				return said
			}
			return fromDevice(err)
		}
		if e := guac.ErrorIn(frame); e != nil {
			said = fmt.Errorf("%w: %w", errGuacdRefused, e)
		}
		n, err := browser.Write(guac.Plain(frame, 1))
		if err != nil {
			return err
		}
		v.down += uint64(n)
	}
}

// toGuacd passes on what a browser may say, and answers what is for the tunnel alone.
func (v *visit) toGuacd(browser *stream, g *drawn) error {
	for {
		kind, message, err := browser.ws.Read(browser.ctx)
		if err != nil {
			return fromBrowser(err)
		}
		if kind != websocket.MessageText {
			return errMalformed
		}
		pass, reply, err := guac.Sift(guac.Plain(message, 2))
		if err != nil {
			return fmt.Errorf("%w: %w", errMalformed, err)
		}
		if len(reply) > 0 {
			if _, err := browser.Write(reply); err != nil {
				return err
			}
		}
		if len(pass) > 0 {
			n, err := g.Write(pass)
			if err != nil {
				return err
			}
			v.up += uint64(n)
		}
	}
}

// healthLife is how long an answer about guacd is good for.
const healthLife = 10 * time.Second

// A health is what guacd's was when it was asked last.
type health struct {
	mu sync.Mutex
	at time.Time
	up bool
}

// GuacdUp reports whether guacd is there and has its part for RDP.
func (s *Server) GuacdUp(ctx context.Context) bool {
	if s.cfg.Guacd == nil {
		return false
	}
	h := &s.health
	h.mu.Lock()
	defer h.mu.Unlock()
	if time.Since(h.at) > healthLife {
		h.up = ask(ctx, s.cfg.Guacd.Address) == nil
		h.at = time.Now()
	}
	return h.up
}

// patience is how long guacd may take to answer when asked for its health.
const patience = 3 * time.Second

func ask(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conn, err := dialGuacd(ctx, address)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	if _, err := conn.Write(guac.Append(nil, "select", "rdp")); err != nil {
		return err
	}
	elements, err := guac.NewReader(conn).Next()
	if err != nil {
		return err
	}
	if string(elements[0]) != "args" {
		return errors.New("guacd has no RDP")
	}
	return nil
}

// The engines of a desktop.
const (
	EngineGuacd = "guacd"
	EngineIron  = "iron"
)

// Engines are those that a page may use at present, the preferred one first.
func (s *Server) Engines(ctx context.Context) []string {
	var list []string
	if s.GuacdUp(ctx) {
		list = append(list, EngineGuacd)
	}
	if !s.cfg.Policy.Record {
		list = append(list, EngineIron)
	}
	return list
}
