package console

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/boothwire/boothwire/gateway/control"
	"github.com/boothwire/boothwire/internal/browsertest"
	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/signaling"
)

// What BenchmarkList puts under load: so many devices, of which in a second so many say
// something else than before, for ten minutes (BOOTHWIRE_LIST_SECONDS: another time).
const (
	listDevices = 10000
	listChanges = 500
	listSeconds = 600
	listOpen    = 100 // consoles that follow beside the browser
)

// crowd is a line on which devices say what the bench wants them to.
type crowd struct {
	said    chan signaling.Message
	devices []*keys.Device
}

// Send implements signaling.Sender: nobody is woken here.
func (c *crowd) Send(context.Context, string, []byte) error { return nil }

// Statuses implements signaling.Sender.
func (c *crowd) Statuses(ctx context.Context) iter.Seq2[signaling.Message, error] {
	return func(yield func(signaling.Message, error) bool) {
		for {
			select {
			case m := <-c.said:
				if !yield(m, nil) {
					return
				}
			case <-ctx.Done():
				yield(signaling.Message{}, ctx.Err())
				return
			}
		}
	}
}

// say lets the i-th device say its n-th status.
func (c *crowd) say(ctx context.Context, i, n int) error {
	d := c.devices[i]
	st := signaling.Status{VPN: signaling.Disconnected, V: 1, Version: fmt.Sprintf("3.%d.%d", n%4, i%3), Next: 15 * time.Minute, Roots: 1}
	text, err := json.Marshal(st)
	if err != nil {
		return err
	}
	if st.Token, err = d.Sign(keys.TypeStatus, text); err != nil {
		return err
	}
	if text, err = json.Marshal(st); err != nil {
		return err
	}
	select {
	case c.said <- signaling.Message{Device: d.ID(), Payload: text}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// newCrowd registers devices with a control, which hears each once.
func newCrowd(b *testing.B, d *desk) *crowd {
	b.Helper()
	api := d.control.Client(control.User{Name: "root", Role: control.Admin})
	trust, err := api.Trust(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	c := &crowd{said: make(chan signaling.Message, 64)}
	var csv strings.Builder
	csv.WriteString("id,key,group\n")
	for i := range listDevices {
		one, err := keys.OpenDevice(fmt.Sprintf("booth-%05d", i), keys.NewMemory(), keys.Trust{Issuer: trust.Issuer, Roots: trust.Roots})
		if err != nil {
			b.Fatal(err)
		}
		c.devices = append(c.devices, one)
		fmt.Fprintf(&csv, "%s,%s,mall-%d\n", one.ID(), one.Key(), i%40)
	}
	if _, err := api.ImportDevices(b.Context(), strings.NewReader(csv.String())); err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	var work sync.WaitGroup
	b.Cleanup(func() { cancel(); work.Wait() })
	work.Go(func() { _ = d.control.Run(ctx, c) })
	for i := range c.devices {
		if err := c.say(b.Context(), i, 0); err != nil {
			b.Fatal(err)
		}
	}
	return c
}

// change lets devices speak at an even pace until ctx ends.
func (c *crowd) change(ctx context.Context) {
	began, n := time.Now(), 0
	for ticker := time.NewTicker(20 * time.Millisecond); ; {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			ticker.Stop()
			return
		}
		for ; n < int(time.Since(began).Seconds()*listChanges); n++ {
			if c.say(ctx, (n*7919)%listDevices, n/listDevices+n) != nil {
				return
			}
		}
	}
}

// BenchmarkList shows ten thousand devices of a real control in Chromium while they
// change, beside a hundred consoles that follow too.
func BenchmarkList(b *testing.B) {
	browsertest.Tools(b)
	for b.Loop() {
		d := newDesk(b, nil)
		crowd := newCrowd(b, d)
		before := residentMiB(b)
		d.followers(b, listOpen)
		open := residentMiB(b)
		ctx, cancel := context.WithCancel(b.Context())
		var work sync.WaitGroup
		seconds := listSeconds
		if n, err := strconv.Atoi(os.Getenv("BOOTHWIRE_LIST_SECONDS")); err == nil {
			seconds = n
		}
		text := browsertest.Play(b, browsertest.Scenario{
			File: "list.mjs",
			Args: map[string]any{"url": d.url + "/console/", "admin": map[string]string{"name": "admin", "password": secretWord}, "devices": listDevices, "seconds": seconds},
			Answers: map[string]func(json.RawMessage) (any, error){"begin": func(json.RawMessage) (any, error) {
				work.Go(func() { crowd.change(ctx) })
				return nil, nil
			}},
		})
		cancel()
		work.Wait()
		var r struct {
			First, Loading, Batch, BatchMost, Filter, FilterMedian, Task float64
			Batches, Filters, Tasks                                      int
			Early, Late                                                  float64
		}
		if err := json.Unmarshal(text, &r); err != nil {
			b.Fatal(err)
		}
		if r.Batches < seconds || r.Filters < seconds/4 {
			b.Fatalf("only %d batches and %d filters were seen", r.Batches, r.Filters)
		}
		figure := func(name string, value float64, unit string, most float64) {
			if most == 0 {
				fmt.Printf("bench console/list-%s %.2f %s info - ok\n", name, value, unit)
				return
			}
			word := "ok"
			if value > most {
				word = "short"
			}
			fmt.Printf("bench console/list-%s %.2f %s at-most %v %s\n", name, value, unit, most, word)
		}
		figure("first", r.First, "ms", 1000)
		figure("batch-p95", r.Batch, "ms", 8)
		figure("batch-most", r.BatchMost, "ms", 0)
		figure("filter-most", r.Filter, "ms", 50)
		figure("filter-p50", r.FilterMedian, "ms", 0)
		figure("task-most", max(r.Task, r.Loading), "ms", 100)
		figure("task-most-live", r.Task, "ms", 0)
		figure("heap", r.Late/max(r.Early, 1), "x-early", 1.1)
		figure("heap-mib", r.Late/(1<<20), "MiB", 0)
		figure("rss-100", open, "MiB", 0)
		figure("rss-100-more", open-before, "MiB", 0)
	}
}

// followers opens consoles that follow the devices, and waits until each has all.
func (d *desk) followers(b *testing.B, n int) {
	b.Helper()
	var ready sync.WaitGroup
	for i := range n {
		ready.Add(1)
		_, secret := d.begin(b, control.User{Name: fmt.Sprintf("user-%d", i), Role: control.Viewer})
		r, err := http.NewRequestWithContext(b.Context(), "GET", d.url+"/console/api/v1/devices/events", nil)
		if err != nil {
			b.Fatal(err)
		}
		r.AddCookie(&http.Cookie{Name: "boothwire", Value: secret})
		go func() {
			res, err := http.DefaultClient.Do(r)
			if err != nil {
				ready.Done()
				return
			}
			defer res.Body.Close()
			lines := bufio.NewReaderSize(res.Body, 64<<10)
			for once := true; ; {
				line, err := lines.ReadSlice('\n')
				if once && (err != nil && err != bufio.ErrBufferFull || strings.HasPrefix(string(line), "id: ")) {
					once = false
					ready.Done()
				}
				if err != nil && err != bufio.ErrBufferFull {
					return
				}
			}
		}()
	}
	ready.Wait()
}

// residentMiB is this process's memory: control, console and what measures them.
func residentMiB(b *testing.B) float64 {
	b.Helper()
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		b.Fatal(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(text))[1])
	if err != nil {
		b.Fatal(err)
	}
	return float64(pages) * float64(os.Getpagesize()) / (1 << 20)
}
