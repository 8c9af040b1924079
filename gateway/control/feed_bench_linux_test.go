package control

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/boothwire/boothwire/gateway/control/client"
)

// BenchmarkFeed measures what it costs that 100 people watch 10,000 devices, of which
// 500 change in a second: the CPU time of control and, in the same process, of those who
// read the streams over TCP; how long a change takes to arrive; how long the first list
// takes; and what a change costs while nobody watches.
func BenchmarkFeed(b *testing.B) {
	for b.Loop() {
		feedFleet(b, 10000, 100, 500, 10*time.Second)
	}
}

func feedFleet(b *testing.B, devices, watchers, rate int, long time.Duration) {
	w := newWorld(b, nil)
	defer w.stop()
	w.populate(devices)
	w.seenOnce(devices)
	const touches = 1000000
	began := time.Now()
	for range touches {
		w.c.feed.touch("kiosk-00001")
	}
	perTouch := float64(time.Since(began).Nanoseconds()) / touches
	fmt.Printf("bench control/feed-unwatched %.1f ns at-most 50 %s\n", perTouch, okay(perTouch <= 50))

	ctx, cancel := context.WithCancel(b.Context())
	url, secret := w.served(), w.token(User{Name: "ann", Role: Viewer})
	first := w.firstList(ctx, b, devices)
	fmt.Printf("bench control/feed-first-list %.0f ms at-most 1000 %s\n", first.Seconds()*1000, okay(first <= time.Second))

	var all sync.WaitGroup
	ready := make(chan struct{}, watchers)
	way := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: watchers}}
	for range watchers {
		all.Go(func() { drink(ctx, b, way, url, secret, ready) })
	}
	for range watchers {
		<-ready
	}
	var lag []time.Duration
	all.Go(func() { lag = w.lags(ctx) })
	time.Sleep(2 * time.Second) // the first lists are over
	runtime.GC()
	rss, cpu := heap(), cpuTime()
	began = time.Now()
	w.change(devices, rate, long)
	took := time.Since(began)
	share := 100 * (cpuTime() - cpu).Seconds() / took.Seconds()
	fmt.Printf("bench control/feed-cpu %.1f %%-of-a-core at-most 50 %s\n", share, okay(share <= 50))
	fmt.Printf("bench control/feed-heap %.1f MiB info - ok\n", float64(rss)/(1<<20))
	time.Sleep(time.Second)
	cancel()
	all.Wait()
	if len(lag) < rate {
		b.Fatalf("%d changes came", len(lag))
	}
	slices.Sort(lag)
	p99 := lag[len(lag)*99/100]
	fmt.Printf("bench control/feed-lag-p99 %.0f ms at-most 1000 %s\n", p99.Seconds()*1000, okay(p99 <= time.Second))
}

func okay(ok bool) string {
	if ok {
		return "ok"
	}
	return "short"
}

// seenOnce makes devices look as if they had been heard, with all that one has.
func (w *world) seenOnce(n int) {
	now := time.Now()
	w.c.mu.Lock()
	defer w.c.mu.Unlock()
	for i := range n {
		d := w.c.devices[fmt.Sprintf("kiosk-%05d", i)]
		d.row.Seen, d.row.Due, d.row.State, d.row.Version = now, now.Add(15*time.Minute), "disconnected", "1.4.0"
		d.row.Caps, d.row.Boot = []string{"end_to_end"}, "b1946ac92492d2347c6235b4d2611184"
		d.row.SSH, d.row.RDP = strings.Repeat("ab", 32), strings.Repeat("cd", 32)
	}
}

// firstList is how long a watcher waits until he has all devices.
func (w *world) firstList(ctx context.Context, b *testing.B, devices int) time.Duration {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	began, n := time.Now(), 0
	for e, err := range w.c.Client(op("ann")).WatchDevices(ctx) {
		if err != nil {
			b.Fatal(err)
		}
		if n += len(e.Devices); n == devices {
			break
		}
	}
	return time.Since(began)
}

// drink reads a stream as it comes.
func drink(ctx context.Context, b *testing.B, way *http.Client, url, secret string, ready chan<- struct{}) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/api/v1/devices/events", nil)
	if err != nil {
		b.Error(err)
		return
	}
	req.Header.Set("Authorization", "Bearer "+secret)
	res, err := way.Do(req)
	ready <- struct{}{}
	if err != nil {
		b.Error(err)
		return
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, res.Body)
}

// change changes rate devices in a second. Each says in its version when it did.
func (w *world) change(devices, rate int, long time.Duration) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	began, n := time.Now(), 0
	for now := range tick.C {
		if now.Sub(began) >= long {
			return
		}
		for ; n < int(now.Sub(began).Seconds()*float64(rate)); n++ {
			w.c.mu.Lock()
			d := w.c.devices[fmt.Sprintf("kiosk-%05d", n*7919%devices)]
			d.row.Version, d.row.Seen = time.Now().Format(time.RFC3339Nano), time.Now()
			w.c.mu.Unlock()
			w.c.feed.touch(d.row.ID)
		}
	}
}

// lags are how long changes took to come to a watcher.
func (w *world) lags(ctx context.Context) (all []time.Duration) {
	after := uint64(0)
	for ctx.Err() == nil {
		events, version, _ := w.c.watchDevices(ctx, nil, after)
		after = version
		for _, data := range events {
			var e client.DeviceEvents
			if json.Unmarshal(data, &e) != nil || e.Reset || e.More {
				continue
			}
			for _, d := range e.Devices {
				if at, err := time.Parse(time.RFC3339Nano, d.Version); err == nil {
					all = append(all, time.Since(at))
				}
			}
		}
	}
	return all
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// cpuTime is what this process has used.
func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
