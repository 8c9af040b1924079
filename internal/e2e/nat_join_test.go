//go:build linux

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"time"

	"github.com/boothwire/boothwire/internal/netlab"
	"github.com/boothwire/boothwire/keys"
)

// join starts an end on the device's and one on the operator's host, and returns
// what both came to.
func (w *natWorld) join(p pair) (cell, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	device, operator := keys.NewPrivateKey(), keys.NewPrivateKey()
	token := keys.Token{
		Session: keys.NewID(), Rev: 1, Relays: []string{relayName}, End: time.Now().Add(time.Hour),
		Ends: [2]keys.PublicKey{device.Public(), operator.Public()},
	}
	d, err := w.startEnd(ctx, w.devices[p.device], device, token)
	if err != nil {
		return cell{}, err
	}
	defer d.stop()
	token.Leg = 1
	o, err := w.startEnd(ctx, w.others[p.operator], operator, token)
	if err != nil {
		return cell{}, err
	}
	defer o.stop()
	a, b := o.report(), d.report()
	switch {
	case a.Err != "" || b.Err != "":
		return cell{}, fmt.Errorf("operator: %s; device: %s", a.Err, b.Err)
	case (a.Direct == 0) != (b.Direct == 0):
		return cell{}, fmt.Errorf("a direct path at one end: operator %+v, device %+v", a, b)
	}
	return cell{Relay: max(a.Relay, b.Relay), Direct: max(a.Direct, b.Direct), Pair: a.Pair}, nil
}

// A farEnd is a process that plays an end.
type farEnd struct {
	cmd    *exec.Cmd
	in     io.Closer
	out    io.Reader
	stderr bytes.Buffer
}

func (w *natWorld) startEnd(ctx context.Context, s *netlab.Site, key keys.PrivateKey, token keys.Token) (*farEnd, error) {
	signed, err := token.Sign(w.signer)
	if err != nil {
		return nil, err
	}
	e := end{Key: key.Expose(), CA: w.ca.File, STUN: []string{addrPublic, "[" + addrPublic6 + "]"}, Dials: token.Leg == 1, Secret: token.Session}
	for _, host := range []string{addrPublic, "[" + addrPublic6 + "]"} {
		e.Relays = append(e.Relays, keys.Relay{URL: "https://" + host + "/relay", Key: w.key.Public(), Token: string(signed)})
	}
	if s.Proxy != "" {
		e.Proxy = (&url.URL{Scheme: "http", Host: s.Proxy, User: url.UserPassword(netlab.ProxyUser, netlab.ProxyPassword)}).String()
	}
	text, err := json.Marshal(e)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	f := &farEnd{cmd: s.Host.Command(ctx, self)}
	f.cmd.Env = append(os.Environ(), endEnv+"="+string(text), "HTTPS_PROXY="+e.Proxy)
	f.cmd.Stderr = &f.stderr
	if f.in, err = f.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if f.out, err = f.cmd.StdoutPipe(); err != nil {
		return nil, err
	}
	return f, f.cmd.Start()
}

// report waits for what the end has to say.
func (f *farEnd) report() (r endReport) {
	if err := json.NewDecoder(f.out).Decode(&r); err != nil {
		r.Err = errors.Join(err, errors.New(f.stderr.String())).Error()
	}
	return r
}

// stop ends the process: it keeps its path for the other end until then.
func (f *farEnd) stop() {
	f.in.Close()
	f.cmd.Wait()
}
