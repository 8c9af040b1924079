package worker

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/pprof"
	"runtime/debug"
	"sync"
	"time"
)

// The stacks of a worker's goroutines, some forty for each device, make a collection
// dear, and what a wake leaves to collect is little beside the buffers of a tunnel, most
// of which is never touched: so it is collected seldom, and before a device takes more
// than this.
const (
	gcPercent = 400
	heapEach  = 1600 << 10 // bytes, as the runtime counts them
	heapLeast = 512 << 20  // beside: a few devices that send much
)

// Work is a worker's life: it serves until in ends or ctx does, and leaves nothing
// behind.
func Work(ctx context.Context, in io.Reader, out io.Writer) error {
	orders := json.NewDecoder(in)
	var b Brief
	if err := orders.Decode(&b); err != nil {
		return fmt.Errorf("read the brief: %w", err)
	}
	debug.SetGCPercent(gcPercent)
	debug.SetMemoryLimit(heapLeast + int64(len(b.Devices))*heapEach)
	say := json.NewEncoder(out)
	if b.Profile != "" {
		l, err := net.Listen("tcp", b.Profile)
		if err != nil {
			return err
		}
		defer l.Close()
		mux := http.NewServeMux()
		mux.HandleFunc("/debug/pprof/", pprof.Index)
		mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
		go http.Serve(l, mux)
	}
	bulk, err := listenBulk()
	if err != nil {
		return err
	}
	defer bulk.Close()
	devices, keys, err := open(b, bulk.Addr().String())
	if err != nil {
		return err
	}
	if err := say.Encode(word{Keys: keys}); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var work sync.WaitGroup
	defer work.Wait()
	defer cancel()
	work.Go(func() { tell(ctx, say, devices, cancel) })
	go func() {
		defer cancel()
		for {
			var o order
			if orders.Decode(&o) != nil {
				return
			}
			for _, d := range devices {
				work.Go(func() { d.serve(ctx, pause(o.Connect)) })
			}
		}
	}()
	<-ctx.Done()
	return nil
}

// tell says each second what the devices have seen.
func tell(ctx context.Context, say *json.Encoder, devices []*device, cancel func()) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		var sum Figures
		for _, d := range devices {
			sum.Add(d.seen())
		}
		if say.Encode(word{Figures: &sum}) != nil {
			cancel()
			return
		}
	}
}

// pause is a moment within d, any of them as likely.
func pause(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return rand.N(d)
}
