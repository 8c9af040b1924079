package load

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/boothwire/boothwire/cmd/boothwire-fleetsim/internal/meter"
	"github.com/boothwire/boothwire/cmd/boothwire-fleetsim/internal/report"
	"github.com/boothwire/boothwire/cmd/boothwire-fleetsim/internal/scenario"
	"github.com/boothwire/boothwire/tunnel/operator"
)

// A carrier is one engineer who fetches from one device through a tunnel of his own.
type carrier struct {
	session *operator.Session
	conn    net.Conn
	bytes   atomic.Int64
}

// upload has devices send to engineers, each at a rate, and says what arrives.
func (r *Run) upload(ctx context.Context, s scenario.Step) (report.Outcome, error) {
	devices := r.carrying(s.Devices)
	o := report.Outcome{Asked: len(devices), Failed: make(map[string]int)}
	o.What = fmt.Sprintf("%d devices send %s for %v", len(devices), bits(float64(s.Rate)), time.Duration(s.For))
	r.show.Step(o.What)
	began := time.Now()
	limit, cancel := context.WithTimeout(ctx, time.Duration(s.Patience))
	carriers, failed := r.carriers(limit, devices)
	cancel()
	defer func() { r.dismiss(carriers) }()
	o.Failed, o.Ready = failed, len(carriers)
	if len(carriers) == 0 {
		o.Judge(0, 0)
		return o, context.Cause(ctx)
	}
	packets, err := r.forwarded(ctx)
	if err != nil {
		return o, err
	}
	start := time.Now()
	if err := r.fetch(ctx, carriers, s); err != nil {
		return o, err
	}
	span := time.Since(start).Seconds()
	after, err := r.forwarded(ctx)
	if err != nil {
		return o, err
	}
	o.Carried = carried(carriers, float64(s.Rate), span)
	o.Carried.Packets = (after - packets) / span
	o.All = report.In(time.Since(began))
	o.Judge(0, 0)
	return o, nil
}

// carrying are n devices that have a session already, which engineers join, or where
// none has one, n that have none; 0: all of these.
func (r *Run) carrying(n int) []string {
	r.mu.Lock()
	var open []string
	for _, id := range r.ids {
		if r.open[id] != "" && (n == 0 || len(open) < n) {
			open = append(open, id)
		}
	}
	r.mu.Unlock()
	if len(open) == 0 {
		return r.take(n)
	}
	return open
}

// carriers opens a tunnel to each device and a connection through it.
func (r *Run) carriers(ctx context.Context, devices []string) ([]*carrier, map[string]int) {
	var mu sync.Mutex
	var all []*carrier
	failed := make(map[string]int)
	defer r.show.Now(func() string {
		mu.Lock()
		defer mu.Unlock()
		return fmt.Sprintf("%d of %d tunnels", len(all), len(devices))
	})()
	var work sync.WaitGroup
	for _, device := range devices {
		work.Go(func() {
			c, err := r.carrier(ctx, device)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed[tunnelCode(err)]++
				return
			}
			all = append(all, c)
		})
	}
	work.Wait()
	return all, failed
}

func (r *Run) carrier(ctx context.Context, device string) (*carrier, error) {
	if err := r.slot(ctx); err != nil {
		return nil, err
	}
	defer func() { <-r.slots }()
	s, err := operator.Open(ctx, r.deployed.Engineers, device, nil)
	if err != nil {
		return nil, err
	}
	conn, err := s.Dial(ctx, "tcp", ":22")
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return &carrier{session: s, conn: conn}, nil
}

func tunnelCode(err error) string {
	if e, ok := errors.AsType[*operator.Error](err); ok && e.Code != "" {
		return e.Code
	}
	return codeOf(err)
}

// fetch has all devices send at once for the time of the step.
func (r *Run) fetch(ctx context.Context, carriers []*carrier, s scenario.Step) error {
	total := func() (n int64) {
		for _, c := range carriers {
			n += c.bytes.Load()
		}
		return n
	}
	start := time.Now()
	defer r.show.Now(func() string {
		return fmt.Sprintf("%.0f MiB, %s", float64(total())/(1<<20), bits(8*float64(total())/time.Since(start).Seconds()))
	})()
	var work sync.WaitGroup
	for _, c := range carriers {
		work.Go(func() {
			c.conn.SetReadDeadline(start.Add(time.Duration(s.For)))
			c.conn.Write(binary.BigEndian.AppendUint64(nil, uint64(s.Rate/8)))
			buf := make([]byte, 64<<10)
			for {
				n, err := c.conn.Read(buf)
				c.bytes.Add(int64(n))
				if err != nil {
					return
				}
			}
		})
	}
	err := sleep(ctx, time.Duration(s.For))
	if err != nil {
		for _, c := range carriers {
			c.conn.SetReadDeadline(time.Unix(1, 0))
		}
	}
	work.Wait()
	return err
}

// dismiss takes the engineers' tunnels down.
func (r *Run) dismiss(carriers []*carrier) {
	var work sync.WaitGroup
	for _, c := range carriers {
		work.Go(func() {
			c.conn.Close()
			_ = c.session.Close() // what is left shows when sessions are closed
		})
	}
	work.Wait()
}

// forwarded is how many packets all nodes have let through.
func (r *Run) forwarded(ctx context.Context) (sum float64, err error) {
	for _, n := range r.deployed.Nodes {
		if r.wasKilled(n.Name) {
			continue
		}
		c, err := meter.Scrape(ctx, r.deployed.Metrics[n.Name])
		if err != nil {
			return 0, err
		}
		sum += c["node_forwarded_packets_total"]
	}
	return sum, nil
}

// carried sums up what came through in span seconds.
func carried(all []*carrier, wanted, span float64) *report.Carried {
	var rates []float64
	c := &report.Carried{Sessions: len(all), Wanted: wanted}
	for _, a := range all {
		rate := 8 * float64(a.bytes.Load()) / span
		rates = append(rates, rate)
		c.Total += rate
	}
	slices.Sort(rates)
	c.Least, c.Median, c.Most = rates[0], rates[len(rates)/2], rates[len(rates)-1]
	return c
}

// bits is a rate in words; 0 is as fast as it goes.
func bits(rate float64) string {
	switch {
	case rate == 0:
		return "as fast as it goes"
	case rate < 1e6:
		return fmt.Sprintf("%.0f kbit/s", rate/1e3)
	}
	return fmt.Sprintf("%.1f Mbit/s", rate/1e6)
}
