package desktop

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/boothwire/boothwire/gateway/control/console/internal/rdcleanpath"
)

// chunk is how much is copied at once: two records of TLS.
const chunk = 32 << 10

// Iron answers the WebSocket of IronRDP: RDCleanPath, then what is inside the TLS
// connection to the device.
func (s *Server) Iron(w http.ResponseWriter, r *http.Request) {
	ws, err := s.accept(w, r)
	if err != nil {
		return
	}
	v := &visit{s: s, engine: "iron", began: time.Now()}
	why := word(s.iron(r, ws, v))
	hangUp(ws, why)
	v.end(why)
}

// iron is a visit from its first message to its end, whose reason it returns.
func (s *Server) iron(r *http.Request, ws *websocket.Conn, v *visit) error {
	// Not the request's: that ends when it likes, and a read that is cut cannot say why.
	ctx, end := context.WithCancelCause(context.WithoutCancel(r.Context()))
	defer end(nil)
	browser := &stream{ctx: ctx, ws: ws, kind: websocket.MessageBinary}
	late := time.AfterFunc(step, func() { end(errLate) }) // an engine speaks at once
	pdu, err := first(browser)
	late.Stop()
	if err != nil {
		return err
	}
	device, err := s.cleanPath(ctx, r, pdu, browser, v)
	if err != nil {
		return err
	}
	defer v.target.Close()
	defer s.leave(v.target.User)
	defer device.Close()
	v.show()
	return v.join(ctx, browser, device)
}

// cleanPath answers the browser's request, with a desktop or why not.
func (s *Server) cleanPath(ctx context.Context, r *http.Request, pdu *rdcleanpath.PDU, browser *stream, v *visit) (device *rdp, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, connect, errLate)
	defer cancel()
	defer func() {
		if err != nil {
			answer(browser, failure(err))
		}
	}()
	asks, err := rdcleanpath.ParseRequest(pdu.X224)
	switch {
	case err != nil || pdu.ProxyAuth == "" || pdu.Blob != "" || pdu.Error != nil:
		return nil, errMalformed
	case s.cfg.Policy.Record:
		return nil, errRecording
	case asks.Security&(rdcleanpath.Hybrid|rdcleanpath.HybridEx) == 0 && !s.cfg.Policy.Plain:
		return nil, errNoNLA
	}
	if v.target, err = s.cfg.Redeem(r, pdu.ProxyAuth); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			v.target.Close()
		}
	}()
	if err := s.enter(v.target.User); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.leave(v.target.User)
		}
	}()
	ctx, stop := ends(ctx, v.target)
	defer stop()
	if device, err = s.dialRDP(ctx, v.target, pdu.X224); err != nil {
		return nil, err
	}
	v.sum = device.sum
	err = answer(browser, &rdcleanpath.PDU{X224: device.confirm, Chain: device.chain(), Server: address(device)})
	if err != nil {
		device.Close()
		return nil, err
	}
	return device, nil
}

// ends returns a context that ends with the tab too, for the same reason.
func ends(ctx context.Context, t *Target) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(t.Context(), func() { cancel(t.Err()) })
	return ctx, func() { stop(); cancel(nil) }
}

// first reads the browser's one PDU.
func first(browser *stream) (*rdcleanpath.PDU, error) {
	pdu, err := rdcleanpath.Read(browser)
	switch {
	case browser.ctx.Err() != nil:
		return nil, context.Cause(browser.ctx)
	case errors.Is(err, rdcleanpath.ErrPDU):
		return nil, errMalformed
	case err != nil:
		return nil, fromBrowser(err)
	}
	return pdu, nil
}

// failure is how the engine is told.
func failure(err error) *rdcleanpath.PDU {
	if r, ok := errors.AsType[*refused](err); ok {
		return &rdcleanpath.PDU{Error: &rdcleanpath.Error{Kind: rdcleanpath.Negotiation}, X224: r.confirm}
	}
	return &rdcleanpath.PDU{Error: &rdcleanpath.Error{Kind: rdcleanpath.General, HTTP: word(err).Status}}
}

func answer(browser *stream, p *rdcleanpath.PDU) error {
	b, err := p.Append(nil)
	if err != nil {
		return err
	}
	_, err = browser.Write(b)
	return err
}

// address is the device's in the tunnel; an engine wants one that it can parse.
func address(device *rdp) string {
	a, err := netip.ParseAddrPort(device.RemoteAddr().String())
	if err != nil {
		a = netip.AddrPortFrom(netip.IPv4Unspecified(), portRDP)
	}
	return a.String()
}

// join copies both ways until an end comes or the tab goes, and returns why.
func (v *visit) join(ctx context.Context, browser *stream, device *rdp) error {
	over, stop := ends(ctx, v.target)
	defer stop()
	over, cancel := context.WithCancelCause(over)
	var work sync.WaitGroup
	work.Go(func() { cancel(pour(patient{device}, browser, &v.up, fromBrowser)) })
	work.Go(func() { cancel(pour(browser, device, &v.down, v.fromRDP)) })
	work.Go(func() { cancel(watch(over, browser.ws)) })
	<-over.Done()
	why := v.lastWord(context.Cause(over))
	device.NetConn().Close()
	hangUp(browser.ws, word(why)) // also ends the reads and writes above
	work.Wait()
	return why
}

// hearing is how long a session's end may take to be heard of: what it holds breaks
// before.
const hearing = time.Second

// lastWord is why a desktop ended: where its device went, perhaps because the session did.
func (v *visit) lastWord(why error) error {
	if e := word(why); e != normal && e != errDropped && e != errBroken {
		return why
	}
	select {
	case <-v.target.Context().Done():
		return v.target.Err()
	case <-time.After(hearing):
		return why
	}
}

// signIn is more than a server sends before it has let anybody in.
const signIn = 8 << 10

// fromRDP is what the end of the device's connection means. A server that does not
// like the password has no word for it but to go.
func (v *visit) fromRDP(err error) error {
	if err = fromDevice(err); err == normal && v.down < signIn {
		return errDropped
	}
	return err
}

// pour copies and counts until either fails, and returns what that means; reads says
// it of the reading end.
func pour(to io.Writer, from io.Reader, n *uint64, reads func(error) error) error {
	buf := make([]byte, chunk)
	for {
		k, err := from.Read(buf)
		if k > 0 {
			if _, err := to.Write(buf[:k]); err != nil {
				return err
			}
			*n += uint64(k)
		}
		if err != nil {
			return reads(err)
		}
	}
}
