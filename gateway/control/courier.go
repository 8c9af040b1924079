package control

import (
	"context"
	"strconv"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/boothwire/boothwire/signaling"
)

const (
	// A transport that does not take a command within this has lost it; it is said
	// again anyway.
	sendTimeout = 10 * time.Second
	// Commands that wait for one device on one line: a session has one up, one down
	// and one ask under way. Beyond it the oldest is dropped.
	maxWaiting = 16
)

// couriers take commands to lines, in order for each device and line, so that
// nobody waits for a slow broker. An idle device costs nothing.
type couriers struct {
	c *Control

	mu     sync.Mutex
	routes map[route]*[][]byte
}

type route struct {
	line   signaling.Sender
	device string
}

func (q *couriers) init(c *Control) { q.c, q.routes = c, make(map[route]*[][]byte) }

// send queues a command; c.mu is held, so that work can be counted. An offer takes no
// command's place.
func (q *couriers) send(line signaling.Sender, device string, command []byte, offer bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	k := route{line, device}
	if waiting := q.routes[k]; waiting != nil {
		if offer && len(*waiting) >= maxWaiting/2 {
			return
		}
		if len(*waiting) >= maxWaiting {
			*waiting = (*waiting)[1:]
		}
		*waiting = append(*waiting, command)
		return
	}
	if !q.c.begin() {
		return
	}
	q.routes[k] = &[][]byte{}
	go q.carry(k, command)
}

// waiting returns how many commands wait for a line.
func (q *couriers) waiting() (n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, waiting := range q.routes {
		n += len(*waiting)
	}
	return n
}

func (q *couriers) carry(k route, command []byte) {
	defer q.c.work.Done()
	for {
		ctx, cancel := context.WithTimeout(q.c.ctx, sendTimeout)
		err := k.line.Send(ctx, k.device, command)
		cancel()
		q.c.counts.sent.Add(1)
		if err != nil {
			q.c.counts.sendFailed.Add(1)
			q.c.log.Warn("not sent", zap.String("device", k.device), zap.Error(err))
		}
		q.mu.Lock()
		waiting := q.routes[k]
		if len(*waiting) == 0 || q.c.ctx.Err() != nil {
			delete(q.routes, k)
			q.mu.Unlock()
			return
		}
		command = (*waiting)[0]
		*waiting = (*waiting)[1:]
		q.mu.Unlock()
	}
}

// send hands a command to the line on which the device was heard last, or to all;
// mu is held.
func (c *Control) send(d *device, all bool, cmd signaling.Command) {
	if !c.leads() {
		return
	}
	b, err := cmd.MarshalJSON()
	if err != nil {
		c.log.Error("command", zap.String("device", d.row.ID), zap.Error(err))
		return
	}
	for _, line := range c.lines {
		if all || d.line == nil || d.line == line {
			c.couriers.send(line, d.row.ID, b, cmd.Action == signaling.Offer)
		}
	}
}

func itoa[T ~int | ~int64](n T) string { return strconv.FormatInt(int64(n), 10) }
