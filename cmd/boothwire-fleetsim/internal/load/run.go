package load

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/boothwire/boothwire/cmd/boothwire-fleetsim/internal/meter"
	"github.com/boothwire/boothwire/cmd/boothwire-fleetsim/internal/parts"
	"github.com/boothwire/boothwire/cmd/boothwire-fleetsim/internal/report"
	"github.com/boothwire/boothwire/cmd/boothwire-fleetsim/internal/scenario"
	"github.com/boothwire/boothwire/cmd/boothwire-fleetsim/internal/worker"
	"github.com/boothwire/boothwire/gateway/control/client"
)

// Progress shows how far a run is.
type Progress interface {
	Step(text string)              // a step begins
	Now(text func() string) func() // shown again and again until the returned func is called
}

// A Run is one scenario under way.
type Run struct {
	script   *scenario.Scenario
	deployed *parts.Deployment
	crew     *worker.Crew
	meter    *meter.Meter
	show     Progress
	slots    chan struct{} // calls of the API at once

	mu     sync.Mutex
	ids    []string          // devices, the one that was used last at the end
	open   map[string]string // session by device
	killed map[string]bool   // nodes

	profiles string // folder
	steps    int    // so far
}

// Config says where a run happens.
type Config struct {
	Dir      string       // for everything that is written
	Bin      string       // folder of the other programs
	Broker   parts.Broker // zero: one of our own
	Profile  string       // folder for CPU profiles of each part during each step; "": none
	Progress Progress
}

// Do starts a fleet, does what the script says and reports it.
func Do(ctx context.Context, s *scenario.Scenario, cfg Config) (*report.Report, error) {
	show := cfg.Progress
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r := &Run{script: s, show: show, slots: make(chan struct{}, s.Callers), open: make(map[string]string), killed: make(map[string]bool), profiles: cfg.Profile}
	for i := range s.Devices {
		r.ids = append(r.ids, fmt.Sprintf("kiosk-%05d", i+1))
	}
	rep := &report.Report{Made: time.Now().UTC(), Machine: report.ThisMachine(), Name: s.Name, Title: s.Title, Devices: s.Devices, Nodes: s.Nodes, Workers: s.Workers}
	show.Step(fmt.Sprintf("start a broker, control and %d node(s)", s.Nodes))
	var err error
	if r.deployed, err = parts.Start(ctx, parts.Config{Dir: cfg.Dir, Bin: cfg.Bin, Devices: r.ids, Nodes: s.Nodes, Broker: cfg.Broker, Callers: s.Callers, Profile: cfg.Profile != ""}); err != nil {
		return nil, err
	}
	defer r.deployed.Close()
	show.Step(fmt.Sprintf("make %d devices in %d processes, and register them", s.Devices, s.Workers))
	if err := r.hire(ctx); err != nil {
		return nil, err
	}
	defer r.crew.Close()
	r.meter = meter.New(r.crew.Figures, r.measured()...)
	var work sync.WaitGroup
	defer work.Wait()
	defer cancel(nil)
	work.Go(func() { r.meter.Run(ctx) })
	work.Go(func() { r.guard(ctx, cancel) })
	if err := r.connect(ctx); err != nil {
		return nil, err
	}
	r.meter.Take(ctx)
	samples := r.meter.Samples()
	rep.Idle = samples[len(samples)-1]
	for _, step := range s.Steps {
		out, ceiling, err := r.step(ctx, step)
		if err != nil {
			return nil, err
		}
		rep.Outcomes = append(rep.Outcomes, out...)
		if ceiling != nil {
			rep.Ceiling = ceiling
		}
	}
	r.meter.Take(ctx) // how it ended
	rep.Finish(r.meter.Samples())
	return rep, nil
}

// hire starts the workers and registers their devices.
func (r *Run) hire(ctx context.Context) error {
	trust := r.deployed.Trust
	crew, keys, err := worker.Hire(ctx, r.script.Workers, worker.Brief{
		Devices: r.ids, Addresses: r.script.Addresses, Broker: r.deployed.Broker, Roots: trust.Roots, Issuer: trust.Issuer,
	}, r.profiles != "")
	if err != nil {
		return err
	}
	r.crew = crew
	const lines = 2_000 // of one import
	for from := 0; from < len(r.ids); from += lines {
		var csv strings.Builder
		csv.WriteString("id,key\n")
		for _, id := range r.ids[from:min(from+lines, len(r.ids))] {
			fmt.Fprintf(&csv, "%s,%s\n", id, keys[id])
		}
		if _, err := r.deployed.API.ImportDevices(ctx, strings.NewReader(csv.String())); err != nil {
			crew.Close()
			return fmt.Errorf("register the devices: %w", err)
		}
	}
	return nil
}

// measured are the parts, as the report names them.
func (r *Run) measured() []meter.Part {
	all := []meter.Part{{Name: "devices", PIDs: r.crew.PIDs}}
	for _, p := range r.deployed.Processes() {
		all = append(all, meter.Part{Name: p.Name, PIDs: func() []int { return []int{p.PID()} }, Metrics: r.deployed.Metrics[p.Name]})
	}
	return all
}

// guard ends the run when a part ends that should not.
func (r *Run) guard(ctx context.Context, cancel context.CancelCauseFunc) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := errors.Join(r.crew.Failed(), r.deployed.Failed(r.wasKilled)); err != nil {
			cancel(err)
			return
		}
	}
}

func (r *Run) wasKilled(name string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.killed[name]
}

// connect has every device connect, and returns when control holds keys of each.
func (r *Run) connect(ctx context.Context) error {
	within := time.Duration(r.script.Connect)
	r.show.Step(fmt.Sprintf("%d devices connect to the broker within %v", r.script.Devices, within))
	if err := r.crew.Connect(within); err != nil {
		return err
	}
	defer r.show.Now(func() string { return fmt.Sprintf("%d online", r.crew.Figures().Online) })()
	const patience = 2 * time.Minute
	end := time.Now().Add(within + patience)
	for known := 0; ; {
		if time.Now().After(end) {
			return fmt.Errorf("%d of %d devices are online, control has heard of %d", r.crew.Figures().Online, r.script.Devices, known)
		}
		if err := sleep(ctx, time.Second); err != nil {
			return err
		}
		if r.crew.Figures().Online < r.script.Devices {
			continue
		}
		known = 0
		for d, err := range r.deployed.API.Devices(ctx, client.Filter{Limit: 1000}) {
			if err != nil {
				return err
			}
			if d.Prekeys > 0 {
				known++
			}
		}
		if known == r.script.Devices {
			return nil
		}
	}
}

// step does one line of the script.
func (r *Run) step(ctx context.Context, s scenario.Step) ([]report.Outcome, *report.Ceiling, error) {
	if s.Do == scenario.Climb {
		return r.climb(ctx, s)
	}
	o, err := r.measure(ctx, s, map[string]deed{
		scenario.Wake: r.wake, scenario.Hold: r.hold, scenario.Upload: r.upload, scenario.Churn: r.churn, scenario.Kill: r.kill, scenario.Close: r.close,
	}[s.Do])
	return []report.Outcome{o}, nil, err
}

// A deed is what one kind of step does.
type deed func(context.Context, scenario.Step) (report.Outcome, error)

// measure does a step and adds what it cost.
func (r *Run) measure(ctx context.Context, s scenario.Step, do deed) (report.Outcome, error) {
	began, before := time.Since(r.meter.Began()), r.crew.Figures()
	stop := r.profile(ctx, s.Do)
	o, err := do(ctx, s)
	stop()
	if err != nil {
		return o, err
	}
	// Workers speak once a second, and a sample is of the second before it.
	if err := sleep(ctx, 1200*time.Millisecond); err != nil {
		return o, err
	}
	o.Do, o.Began, o.Ended = s.Do, began, time.Since(r.meter.Began())-1200*time.Millisecond
	opened := before.Opened
	if s.Do == scenario.Wake || s.Do == scenario.Churn {
		opened += o.Ready
	}
	after, err := r.seen(ctx, opened)
	if err != nil {
		return o, err
	}
	o.Use, o.Busy = report.Uses(r.meter.Samples(), o.Began, o.Ended)
	o.Device = &report.Device{
		Opened: after.Opened - before.Opened, Lost: after.Lost - before.Lost, Failed: after.Failed - before.Failed,
		Degraded: after.Degraded - before.Degraded, Dropped: after.Dropped - before.Dropped, Refused: after.Refused - before.Refused,
	}
	return o, nil
}

// seen is what the devices have seen, so many opened sessions among it: control knew of
// them, and a worker that has much to do says so late.
func (r *Run) seen(ctx context.Context, opened int) (worker.Figures, error) {
	const lateMost = 30 * time.Second // then it is no delay, and shows
	for end := time.Now().Add(lateMost); ; {
		f := r.crew.Figures()
		if f.Opened >= opened || time.Now().After(end) {
			return f, nil
		}
		if err := sleep(ctx, 100*time.Millisecond); err != nil {
			return f, err
		}
	}
}

// sleep returns early, with the reason, when ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return context.Cause(ctx)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}
