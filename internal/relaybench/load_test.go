//go:build linux

package relaybench

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/boothwire/boothwire/keys"
)

// The servers.
const (
	ours   = "boothwire"
	theirs = "derper"
)

// The loads.
const (
	bulk  = "bulk"  // one pair, as fast as a window of packets goes
	idle  = "idle"  // many legs that say nothing
	mile  = "mile"  // one pair, more than the receiver's link carries
	stall = "stall" // paced pairs beside one whose receiver stops reading
)

// patience is many times what anything here takes.
const patience = 60 * time.Second

// A role is what one process of load does, as JSON in its environment. It prints a
// result when it is done.
type role struct {
	Server  string
	Load    string
	PID     int       // the server's
	Addrs   [2]string // of the server, for a sender and for a receiver
	CA      string    // file
	Control control
	Key     string // our relay's
	Batch   int    // packets of one Write
	Open    int    // packets under way at most
	Legs    int
	Warm    time.Duration // before the window, times what it takes
	Window  time.Duration
	Debug   string // address of our server's profiles
	Profile string // file, or empty

	pool   *x509.CertPool
	signer *keys.Signer
	key    keys.PublicKey
}

// A result is what a load saw.
type result struct {
	CPU         time.Duration // of the server, in the window
	Sent, Bytes int64         // bytes of packets, in the window
	Took        time.Duration // the window
	P50         time.Duration // one way
	Gap, Before time.Duration // the longest between two packets, with a stopped receiver and without
	Leg         float64       // bytes of the server's resident set for each leg
}

func (r *role) run(ctx context.Context) (res result, err error) {
	if r.pool, err = readPool(r.CA); err != nil {
		return res, err
	}
	if r.Server == ours {
		if _, r.signer, err = r.Control.signer(); err != nil {
			return res, err
		}
		if r.key, err = keys.ParsePublicKey(r.Key); err != nil {
			return res, err
		}
	}
	if r.Profile != "" {
		done := make(chan error, 1)
		go func() { done <- r.takeProfile() }()
		defer func() { err = errors.Join(err, <-done) }()
	}
	switch r.Load {
	case bulk:
		return r.bulk(ctx)
	case idle:
		return r.idle(ctx)
	case mile:
		return r.mile(ctx)
	case stall:
		return r.stall(ctx)
	}
	return res, fmt.Errorf("no load is called %q", r.Load)
}

// pair makes two legs that send to each other.
func (r *role) pair(ctx context.Context) (legs [2]*leg, err error) {
	if r.Server == ours {
		return r.ourPair(ctx, r.Addrs)
	}
	return r.derpPair(ctx, r.Addrs)
}

// first is pair for the first of a load, which may be before the server listens.
func (r *role) first(ctx context.Context) (legs [2]*leg, err error) {
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if legs, err = r.pair(ctx); err == nil {
			break
		}
	}
	return legs, err
}

const callers = 16 // pairs that are made at once

// idle makes pairs and says what the server holds for a leg.
func (r *role) idle(ctx context.Context) (res result, err error) {
	if _, err = r.first(ctx); err != nil {
		return res, err
	}
	before, err := resident(r.PID)
	if err != nil {
		return res, err
	}
	kept := make([][2]*leg, r.Legs/2)
	errs := make([]error, callers)
	var work sync.WaitGroup
	for i := range callers {
		work.Go(func() {
			for n := i; n < len(kept) && errs[i] == nil; n += callers {
				kept[n], errs[i] = r.pair(ctx)
			}
		})
	}
	work.Wait()
	if err := errors.Join(errs...); err != nil {
		return res, err
	}
	time.Sleep(5 * r.Warm)
	after, err := resident(r.PID)
	if err != nil {
		return res, err
	}
	for _, legs := range kept {
		for _, l := range legs {
			l.Close()
		}
	}
	res.Leg = float64(after-before) / float64(2*len(kept))
	return res, nil
}

// resident is the resident set of a process in bytes.
func resident(pid int) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	_, text2, ok := strings.Cut(string(text), "VmRSS:")
	if f := strings.Fields(text2); ok && len(f) > 0 {
		kib, err := strconv.ParseInt(f[0], 10, 64)
		return kib << 10, err
	}
	return 0, errors.New("no VmRSS")
}

// cpu is what a process has used so far, its threads and the kernel's work for them.
func cpu(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	_, after, _ := strings.Cut(string(text), ") ")
	f := strings.Fields(after)
	if len(f) < 13 {
		return 0, errors.New("a stat that is too short")
	}
	var ticks int64
	for _, field := range f[11:13] { // utime and stime
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * (time.Second / 100), nil
}

// takeProfile writes a profile of our server for the time of the window.
func (r *role) takeProfile() error {
	time.Sleep(r.Warm)
	resp, err := http.Get(fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", r.Debug, max(1, int(r.Window.Seconds()))))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	f, err := os.Create(r.Profile)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, resp.Body)
	return errors.Join(err, f.Close())
}
