package control

import (
	"time"

	"go.uber.org/zap"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/signaling"
)

// What the machine of a session wants done; mu is held for all of it.

// ask sends the ask of s.
func (c *Control) ask(s *session, now time.Time) {
	if s.nonce == "" {
		s.nonce = keys.NewID()
	}
	token, err := c.sign(keys.TypeAsk, askPayload{s.id, s.dev.row.ID, s.nonce})
	if err != nil {
		c.log.Error("ask", zap.String("session", s.id), zap.Error(err))
		return
	}
	s.own(client.ByControl, stageAsked, now)
	c.send(s.dev, true, signaling.Command{ID: s.askID(), Action: signaling.Ask, Session: s.id, Token: token})
}

// install gives the node the latest revision.
func (c *Control) install(s *session) {
	if s.node != nil {
		s.node.say(nodeLine{Kind: lineGrant, Session: s.id, Token: string(s.grant), Relays: s.legs})
	}
}

// wake sends the device the latest revision: first by the line on which it was
// heard last, then by all.
func (c *Control) wake(s *session, now time.Time) {
	for _, o := range s.dev.closing {
		if o.m.Woken && !o.m.Over() {
			c.sendDown(o) // the device may not have heard of it, and would be busy
			s.wakes++     // so that the reply is not the one to the command before
		}
	}
	again := s.m.Acked == 0 && hasStep(s, stageWoken)
	s.own(client.ByControl, stageWoken, now)
	c.send(s.dev, again, signaling.Command{
		ID: s.wakeID(), Action: signaling.Up, Server: s.name, Session: s.id, Token: s.grant,
	})
	if again {
		c.offerAgain(s)
	}
}

func hasStep(s *session, stage signaling.Stage) bool {
	for _, p := range s.ladder {
		if p.Stage == stage {
			return true
		}
	}
	return false
}

// sendDown tells the device by every line that s is over.
func (c *Control) sendDown(s *session) {
	if !c.signDown(s) {
		return
	}
	c.send(s.dev, true, signaling.Command{ID: s.downID(), Action: signaling.Down, Session: s.id, Token: s.down})
}

// endAtNode tells the node that s is over; a node that is away is told when it
// comes back.
func (c *Control) endAtNode(s *session) {
	if s.node == nil || !c.signDown(s) {
		return
	}
	for _, n := range append([]*node{s.node}, s.former...) {
		n.say(nodeLine{Kind: lineEnd, Session: s.id, Token: string(s.down)})
	}
}

func (c *Control) signDown(s *session) bool {
	if s.down != nil {
		return true
	}
	token, err := c.sign(keys.TypeDown, downPayload{Session: s.id, Device: s.dev.row.ID, Why: s.m.Code})
	if err != nil {
		c.log.Error("down", zap.String("session", s.id), zap.Error(err))
		return false
	}
	s.down = token
	return true
}
