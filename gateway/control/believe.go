package control

import (
	"time"

	"go.uber.org/zap"

	"github.com/boothwire/boothwire/gateway/control/internal/machine"
	"github.com/boothwire/boothwire/gateway/control/internal/store"
	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/signaling"
)

// believe acts on what a device said; mu is held.
func (c *Control) believe(d *device, v *verified) {
	if v.answer != nil {
		c.answered(d, v)
	}
	if v.token != nil && d.superseded(v.token.Boot) {
		c.overtaken(d, v, keys.ReasonWrongBoot)
	} else if v.token != nil && c.present(d, v.token.Boot, v.now) {
		switch refusal := v.status.Count > 0 && v.token.Typ == keys.TypeReply; {
		case v.token.Seq > d.row.Seq, refusal && d.news(v.token):
			d.heard(v.token)
			d.row.Seq = max(d.row.Seq, v.token.Seq)
			d.line = v.line
			c.said(d, v)
		default:
			c.overtaken(d, v, keys.ReasonReplayed)
		}
	}
	if v.batch != nil && c.present(d, v.batch.Boot, v.now) {
		c.offered(d, v)
	}
	if p := d.probe; p != nil && v.token != nil && v.token.Boot == p.boot {
		p.said = v
	}
	if v.request != nil && c.present(d, v.request.Boot, v.now) {
		switch {
		case v.request.Seq > d.row.RequestSeq && !d.spare(v.asks, v.now):
			c.refuse(v.now, d.row.ID, keys.ReasonFlood, nil) // to be said again
		case v.request.Seq > d.row.RequestSeq:
			d.row.RequestSeq = v.request.Seq
			d.line = v.line
			c.requested(d, v.asks, v.now)
		case v.asks.Nonce == d.denied.nonce:
			c.deny(d, d.denied.nonce, d.denied.code) // the answer was lost
		default:
			c.counts.replayed.Add(1)
		}
	}
	c.save(d)
}

// overtaken takes a status or reply that is older than what was heard. Those two
// overtake each other on their way, and a broker says the latest again, and what it
// keeps to whoever subscribes; all else is a replay.
func (c *Control) overtaken(d *device, v *verified, code string) {
	c.counts.replayed.Add(1)
	kept := v.retained && v.token.Typ == keys.TypeStatus
	if old := v.token.Boot != d.row.Boot || v.token.Seq < d.latest[v.token.Typ]; old && !kept {
		c.refuse(v.now, d.row.ID, code, nil)
	}
	d.heard(v.token)
}

// present reports whether boot is the device's present run, as far as is known. An
// unknown one is, unless another has a session: then the device is asked.
func (c *Control) present(d *device, boot string, now time.Time) bool {
	switch {
	case boot == d.row.Boot:
		return true
	case d.superseded(boot):
		c.counts.replayed.Add(1)
		return false
	case d.session != nil && d.session.m.Acked > 0:
		c.inquire(d, boot, now)
		return false
	}
	if d.row.Boot != "" {
		c.audit.count(c.store, now, store.Audit{Who: d.row.ID, What: auditReboot, Device: d.row.ID}, 1)
	}
	c.adopt(d, boot, now)
	return true
}

const (
	probeFor   = 10 * time.Second
	probeEvery = 2 * time.Second
)

// inquire asks a device which of its runs is the present one.
func (c *Control) inquire(d *device, boot string, now time.Time) {
	if p := d.probe; p != nil && p.boot == boot && now.Before(p.until.Add(probeEvery-probeFor)) {
		return
	}
	if p := d.probe; p == nil || !now.Before(p.until) {
		d.probe = &probe{boot: boot, nonce: keys.NewID(), until: now.Add(probeFor)}
	}
	d.probe.boot = boot
	token, err := c.sign(keys.TypeAsk, askPayload{d.session.id, d.row.ID, d.probe.nonce})
	if err != nil {
		c.log.Error("ask", zap.Error(err))
		return
	}
	c.send(d, true, signaling.Command{ID: "probe." + d.probe.nonce, Action: signaling.Ask, Session: d.session.id, Token: token})
}

// answered takes the answer to an ask of ours. It is fresh, so it shows which run
// is the present one.
func (c *Control) answered(d *device, v *verified) {
	s, a := d.session, v.answers
	asked := s != nil && s.m.Asking() && a.Session == s.id && a.Nonce == s.nonce
	probed := d.probe != nil && a.Nonce == d.probe.nonce
	if !asked && !probed {
		c.counts.replayed.Add(1)
		return
	}
	d.line = v.line
	if d.superseded(a.Boot) {
		// What that run said before its answer is old.
		defer func() {
			d.row.Seq, d.row.RequestSeq = max(d.row.Seq, v.answer.Seq), max(d.row.RequestSeq, v.answer.Seq)
		}()
		d.row.ClonedAt = v.now
		c.note(store.Audit{Who: d.row.ID, What: auditClone, Device: d.row.ID, Code: "clone",
			Detail: "a run that was over answered a fresh ask"})
		c.log.Warn("two runs of one device", zap.String("device", d.row.ID))
	}
	if probed {
		said := d.probe.said
		d.probe = nil
		if a.Boot == d.row.Boot {
			if said != nil {
				c.overtaken(d, said, keys.ReasonWrongBoot)
			}
			return
		}
		c.adopt(d, a.Boot, v.now)
		if s != nil {
			c.detach(s)
			s.m.Rebooted(v.now)
			c.act(s, v.now)
		}
		if said != nil && said.token.Boot == a.Boot {
			c.believe(d, said)
		}
		return
	}
	c.adopt(d, a.Boot, v.now)
	s.fresh, s.freshBoot, s.nonce = a.Prekey, a.Boot, ""
	s.m.Answered()
	c.act(s, v.now)
}

// offered takes a batch of one-time keys.
func (c *Control) offered(d *device, v *verified) {
	if v.batch.N < d.row.Batch {
		c.counts.replayed.Add(1)
		return
	}
	d.batch = v.raw
	d.row.SSH, d.row.RDP = short(v.batch.SSH), short(v.batch.RDP)
	if v.batch.N == d.row.Batch {
		return // its keys are known, and some may be spent
	}
	d.row.Batch = v.batch.N
	d.prekeys = v.batch.Keys
}

// said takes a status or a reply.
func (c *Control) said(d *device, v *verified) {
	st := v.status
	d.row.Seen = v.now
	if v.token.Typ == keys.TypeStatus {
		d.row.State, d.row.Version, d.row.Caps, d.row.Roots, d.row.NAT = string(st.VPN), st.Version, st.Caps, st.Roots, knownNAT(st.NAT)
		d.checked(checksText(st.Checks))
		d.row.Due = time.Time{}
		if st.Next > 0 {
			// What is on its way for as long as a broker takes to reconnect is not late.
			d.row.Due = v.now.Add(st.Next + max(st.Next/10, 30*time.Second))
		}
		if len(c.cfg.RootList) > 0 && st.Roots < c.rootsN {
			c.send(d, false, signaling.Command{ID: "roots." + itoa(c.rootsN), Action: signaling.Roots, Token: c.cfg.RootList})
		}
	} else if st.Count == 0 {
		d.row.State = string(st.VPN)
	}
	if st.Count > 0 && troubles(st.Code) {
		d.refused = v.now
	}
	if st.Count > 0 {
		row := store.Audit{Who: d.row.ID, What: auditCommand, Device: d.row.ID, Session: st.Session, Code: st.Code}
		if c.audit.count(c.store, v.now, row, st.Count) {
			c.log.Warn("the device refused a command", zap.String("device", d.row.ID), zap.String("code", st.Code), zap.Int("count", st.Count))
		}
	}
	for _, s := range append(append([]*session(nil), d.closing...), d.session) {
		if s == nil || !s.concerns(st) {
			continue
		}
		s.heard(st, v.now)
		if st.Count == 0 {
			to := &c.counts.nodeSpent
			if s.endToEnd {
				to = &c.counts.alone
			}
			to.add(s.carried(st, v.now))
		}
		s.m.DeviceSaid(v.now, machine.Reply{
			Re: s.isReply(st.Re), Refusal: st.Count > 0, Rev: st.Rev, VPN: string(st.VPN), Code: st.Code, Why: st.Why,
			Sibling: len(d.closing) > 0,
		})
		c.act(s, v.now)
	}
}
