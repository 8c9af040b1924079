package load

import (
	"context"
	"fmt"
	"time"

	"github.com/boothwire/boothwire/cmd/boothwire-fleetsim/internal/report"
	"github.com/boothwire/boothwire/cmd/boothwire-fleetsim/internal/scenario"
	"github.com/boothwire/boothwire/gateway/control/client"
)

// What control promises of a lost node: the first thousand sessions have moved after
// twenty seconds, which hold the time until it counts as lost, and the others follow at
// three hundred a second.
const (
	moveFirst  = 1000
	moveWithin = 20 * time.Second
	movePerS   = 300
)

// kill ends a node as a loss of power would, and waits until its sessions are connected
// by another one.
func (r *Run) kill(ctx context.Context, s scenario.Step) (report.Outcome, error) {
	node := r.deployed.Nodes[s.Node-1]
	its, err := r.sessionsOf(ctx, node.Name)
	if err != nil {
		return report.Outcome{}, err
	}
	o := report.Outcome{Asked: len(its), Failed: make(map[string]int), What: fmt.Sprintf("kill %s, which has %d sessions", node.Name, len(its))}
	r.show.Step(o.What)
	r.mu.Lock()
	r.killed[node.Name] = true
	r.mu.Unlock()
	began := time.Now()
	node.Kill()
	moved := make(map[string]time.Duration, len(its))
	stop := r.show.Now(func() string { return fmt.Sprintf("devices see %d open", r.crew.Figures().Open) })
	err = r.awaitMoves(ctx, node.Name, its, began, moved, time.Duration(s.Patience))
	stop()
	if err != nil {
		return o, err
	}
	var times []time.Duration
	for _, after := range moved {
		times = append(times, after)
		o.All = max(o.All, report.In(after))
	}
	sum := report.Sum(times)
	o.Ready, o.Moved = len(moved), &sum
	if left := o.Asked - o.Ready; left > 0 {
		o.Failed["not_moved"] = left
	}
	limit := moveWithin + time.Duration(max(len(its)-moveFirst, 0))*time.Second/movePerS
	o.Judge(0, limit)
	return o, nil
}

// sessionsOf are the sessions that a node carries, by device.
func (r *Run) sessionsOf(ctx context.Context, node string) (map[string]string, error) {
	its := make(map[string]string)
	for v, err := range r.deployed.API.Sessions(ctx, client.Filter{Open: true, Limit: 1000}) {
		if err != nil {
			return nil, err
		}
		if v.Node == node && v.State == client.Connected {
			its[v.Device] = v.ID
		}
	}
	return its, nil
}

// awaitMoves notes when each session is connected by another node, to the second, since
// that is how often control is asked.
func (r *Run) awaitMoves(ctx context.Context, node string, its map[string]string, began time.Time, moved map[string]time.Duration, patience time.Duration) error {
	for len(moved) < len(its) && time.Since(began) < patience {
		if err := sleep(ctx, time.Second); err != nil {
			return err
		}
		at := time.Since(began)
		for v, err := range r.deployed.API.Sessions(ctx, client.Filter{Open: true, Limit: 1000}) {
			if err != nil {
				return err
			}
			if _, seen := moved[v.ID]; !seen && its[v.Device] == v.ID && v.Node != node && v.State == client.Connected {
				moved[v.ID] = at
			}
		}
	}
	return nil
}
