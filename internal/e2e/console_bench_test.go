//go:build linux

package e2e

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/boothwire/boothwire/signaling"
)

const (
	changesPerSecond = 500
	openConsoles     = 100
)

// BenchmarkConsole measures the list of ten thousand devices in Chromium while five
// hundred of them change each second and somebody filters, scrolls and sorts, for ten
// minutes, and what a hundred such lists cost control. Run it without the race detector and with -benchtime 1x.
func BenchmarkConsole(b *testing.B) {
	if raceEnabled {
		b.Skip("the race detector's programs are not what is measured")
	}
	w := newWorld(b, options{console: true})
	c := w.populate(fleetSize, fleetSize)
	changes := new(changes)
	for b.Loop() {
		var seen struct {
			Batches, Filters                                                                   int
			ScriptP95, ScriptMost, Longest, LongestLive, Filter, FilterP50, First, Early, Late float64
		}
		text := w.browse(b, "bench.mjs", map[string]any{"minute": time.Minute.Milliseconds()}, map[string]func(json.RawMessage) (any, error){
			"change": func(json.RawMessage) (any, error) { changes.begin(b, c); return nil, nil },
		})
		if err := json.Unmarshal(text, &seen); err != nil {
			b.Fatal(err)
		}
		if seen.Batches < 600 || seen.Filters < 150 {
			b.Fatalf("only %d batches and %d filters were seen", seen.Batches, seen.Filters)
		}
		info("console/changes", "%.0f a-second", changes.rate())
		info("console/batches", "%.0f", float64(seen.Batches))
		atMost("console/script-p95", "ms", seen.ScriptP95, 8)
		info("console/script-most", "%.1f ms", seen.ScriptMost)
		atMost("console/longest-task", "ms", seen.Longest, 100)
		info("console/longest-task-live", "%.1f ms", seen.LongestLive)
		atMost("console/filter", "ms", seen.Filter, 50)
		info("console/filter-p50", "%.1f ms", seen.FilterP50)
		atMost("console/first-list", "ms", seen.First, 1000)
		info("console/heap", "%.1f MiB", seen.Late)
		atMost("console/heap-growth", "x", seen.Late/seen.Early, 1.1)
		w.consoles(b)
	}
}

// consoles opens a hundred lists of devices, which follow the changes, and prints what
// control's memory becomes.
func (w *world) consoles(b *testing.B) {
	before := resident(b, w.control.pid())
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	for range openConsoles { // one after the other: sign-ins at once look like guesses
		if err := w.follow(ctx); err != nil {
			b.Fatalf("a console: %v", err)
		}
	}
	time.Sleep(10 * time.Second)
	after := resident(b, w.control.pid())
	info("console/rss", "%.1f MiB", after)
	info("console/rss-each", "%.2f MiB", (after-before)/openConsoles)
}

// follow signs in and opens the devices' stream, of which it reads everything until ctx
// ends; it returns when the whole list has come.
func (w *world) follow(ctx context.Context) error {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return err
	}
	caller := &http.Client{Jar: jar, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: w.ca.Pool()},
		DialContext: func(_ context.Context, network, address string) (c net.Conn, err error) {
			err = w.operator.Do(func() error { c, err = net.DialTimeout(network, address, patience); return err })
			return c, err
		},
	}}
	base := "https://" + w.front + "/console"
	signedIn, err := caller.PostForm(base+"/signin", url.Values{"name": {"admin"}, "password": {consolePassword}})
	if err != nil {
		return err
	}
	signedIn.Body.Close()
	ask, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/api/v1/devices/events", nil)
	if err != nil {
		return err
	}
	answer, err := caller.Do(ask)
	if err != nil {
		return err
	}
	lines := bufio.NewReader(answer.Body)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return errors.Join(err, fmt.Errorf("status %d", answer.StatusCode))
		}
		if strings.HasPrefix(line, "data:") && !strings.Contains(line, `"more":true`) {
			break
		}
	}
	go func() {
		_, _ = io.Copy(io.Discard, lines) // until ctx ends
		answer.Body.Close()
	}()
	return nil
}

// changes is a crowd whose devices change, so many in each second.
type changes struct {
	began time.Time
	said  atomic.Int64
	done  chan struct{}
}

// begin lets devices change until the test ends.
func (c *changes) begin(b *testing.B, crowd *crowd) {
	if c.done != nil {
		return
	}
	c.began, c.done = time.Now(), make(chan struct{})
	ctx, cancel := context.WithCancel(b.Context())
	b.Cleanup(func() { cancel(); <-c.done })
	go func() {
		defer close(c.done)
		const step = 100 * time.Millisecond
		for tick := time.NewTicker(step); ctx.Err() == nil; <-tick.C {
			var which []int
			for range int(changesPerSecond * step / time.Second) {
				which = append(which, int(c.said.Add(1))*7919%len(crowd.devices)) // a prime: each in its turn
			}
			round := int(c.said.Load()) / len(crowd.devices)
			err := crowd.each(which, func(i int) error {
				st := crowd.idle(i)
				st.Version = fmt.Sprintf("3.%d.%d", round%5, i%3)
				st.VPN = []signaling.State{signaling.Disconnected, signaling.Offline}[round%2]
				return crowd.say(i, st)
			})
			if err != nil && ctx.Err() == nil {
				b.Error(err)
				return
			}
		}
	}()
}

// rate is how many changes a second there were.
func (c *changes) rate() float64 { return float64(c.said.Load()) / time.Since(c.began).Seconds() }

// atMost prints a figure with its bar.
func atMost(name, unit string, value, most float64) {
	verdict := "ok"
	if value > most {
		verdict = "short"
	}
	fmt.Printf("\nbench %s %.3g %s at-most %g %s\n", name, value, unit, most, verdict)
}
