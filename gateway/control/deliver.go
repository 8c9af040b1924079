package control

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"math"
	"time"

	"go.uber.org/zap"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/gateway/control/internal/store"
	"github.com/boothwire/boothwire/internal/strictjson"
	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/signaling"
)

// deliver takes one message of a line. What is not signed with the key under which
// the device was registered changes nothing.
func (c *Control) deliver(line signaling.Sender, msg signaling.Message) {
	c.counts.statuses.Add(1)
	if !keys.ValidID(msg.Device) {
		return
	}
	now := c.cfg.Now()
	c.mu.Lock()
	d := c.devices[msg.Device]
	much := d != nil && !d.ear(line).read.take(now, readRate, readBurst)
	c.mu.Unlock()
	if much {
		c.refuse(now, msg.Device, keys.ReasonFlood, nil)
		return
	}
	st, err := signaling.ParseStatus(msg.Payload)
	c.mu.Lock()
	d = c.devices[msg.Device]
	if d == nil {
		if err == nil {
			v := strange(st, now)
			if len(st.Token) > 0 && len(st.Prekeys) > 0 {
				v.last = heard{line, msg}
			}
			c.strangers.heard(msg.Device, v)
			if _, noted := c.strangers.seen[msg.Device]; noted {
				c.feed.touch(msg.Device)
			}
		}
		c.mu.Unlock()
		return
	}
	key := d.key
	if err == nil && len(st.Offer) > 0 && !msg.Retained {
		c.offeredBy(d, st, now)
	}
	same := err == nil && len(st.Prekeys) > 0 && d.batch == sha256.Sum256(st.Prekeys)
	signed := err == nil && len(st.Token)+len(st.Prekeys)+len(st.Answer)+len(st.Request) > 0
	flood := signed && !d.ear(line).signed.take(now, signedRate, signedBurst)
	c.mu.Unlock()
	if err != nil {
		c.refuse(now, msg.Device, codeOf(err, keys.ReasonMalformed), nil)
		return
	}
	v := verified{line: line, now: now, device: msg.Device, retained: msg.Retained}
	if !signed {
		// A will and an offer are hints by nature.
		if st.VPN != signaling.Offline && len(st.Offer) == 0 {
			c.refuse(now, msg.Device, keys.ReasonUnsigned, nil)
		}
		return
	}
	if flood {
		c.refuse(now, msg.Device, keys.ReasonFlood, nil)
		return
	}
	// Ed25519 takes most of the time, so it is done without the lock.
	if !v.read(c, st, key, msg.Retained, same) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if d := c.devices[msg.Device]; d != nil && d.key == key {
		c.believe(d, &v)
	}
}

func strange(st *signaling.Status, now time.Time) stranger {
	v := stranger{state: st.VPN, ip: st.IP, at: now}
	if len(st.Token) > 0 {
		if _, k, err := keys.StatementKey(st.Token); err == nil {
			v.foreign = k.String()
		}
	}
	return v
}

// verified is what a message says under the device's own signature.
type verified struct {
	line     signaling.Sender
	now      time.Time
	device   string
	retained bool

	token   *keys.Statement
	status  *signaling.Status // in token
	batch   *keys.Batch
	raw     [sha256.Size]byte // hash of the batch's token
	answer  *keys.Statement
	answers answerPayload
	request *keys.Statement
	asks    requestPayload
}

type answerPayload struct {
	Session string         `json:"session"`
	Nonce   string         `json:"nonce"`
	Prekey  keys.PublicKey `json:"prekey"`
	Boot    string         `json:"boot"`
}

type requestPayload struct {
	Server  string         `json:"server"`
	Session string         `json:"session"`
	Nonce   string         `json:"nonce"`
	Prekey  keys.PublicKey `json:"prekey"`
}

// read verifies every token of st; a wrong one spoils the message.
func (v *verified) read(c *Control, st *signaling.Status, key keys.IdentityKey, retained, same bool) bool {
	err := func() (err error) {
		if len(st.Token) > 0 {
			if v.token, err = verifyEither(st.Token, c.cfg.Issuer, v.device, key, retained); err != nil {
				return err
			}
			if v.status, err = signaling.ParseStatus(v.token.Payload); err != nil {
				return err
			}
			if v.token.Seq > math.MaxInt64 {
				return &keys.GrantError{Reason: keys.ReasonMalformed, Err: errors.New("a number out of range")}
			}
		}
		if len(st.Prekeys) > 0 && !same {
			if v.batch, err = keys.VerifyPrekeys(st.Prekeys, c.cfg.Issuer, v.device, key); err != nil {
				return err
			}
			v.raw = sha256.Sum256(st.Prekeys)
		}
		if len(st.Answer) > 0 {
			if v.answer, err = keys.VerifyStatement(keys.TypeAnswer, st.Answer, c.cfg.Issuer, v.device, key); err != nil {
				return err
			}
			if err = strictjson.Unmarshal(v.answer.Payload, &v.answers); err != nil {
				return err
			}
			if v.answers.Boot != v.answer.Boot || v.answers.Prekey.IsZero() {
				return &keys.GrantError{Reason: keys.ReasonMalformed, Err: errors.New("not an answer")}
			}
		}
		if len(st.Request) > 0 {
			if v.request, err = keys.VerifyStatement(keys.TypeRequest, st.Request, c.cfg.Issuer, v.device, key); err != nil {
				return err
			}
			if err = strictjson.Unmarshal(v.request.Payload, &v.asks); err != nil {
				return err
			}
			if v.asks.Prekey.IsZero() || v.request.Seq > math.MaxInt64 || !keys.ValidID(v.asks.Nonce) || v.asks.Session != "" && !keys.ValidID(v.asks.Session) {
				return &keys.GrantError{Reason: keys.ReasonMalformed, Err: errors.New("not a request")}
			}
		}
		return nil
	}()
	if err == nil {
		return true
	}
	c.refuse(v.now, v.device, codeOf(err, keys.ReasonMalformed), foreign(st, c.cfg.Issuer, v.device, key))
	return false
}

// verifyEither verifies a status or a reply: which one a message holds is not for
// the transport to say.
func verifyEither(token []byte, issuer, device string, key keys.IdentityKey, retained bool) (*keys.Statement, error) {
	first, second := keys.TypeReply, keys.TypeStatus
	if retained {
		first, second = second, first
	}
	s, err := keys.VerifyStatement(first, token, issuer, device, key)
	if err != nil && codeOf(err, "") == keys.ReasonWrongKind {
		s, err = keys.VerifyStatement(second, token, issuer, device, key)
	}
	return s, err
}

// foreign returns the other key that truly signed a token for this device, if one
// did.
func foreign(st *signaling.Status, issuer, device string, key keys.IdentityKey) *keys.IdentityKey {
	for _, t := range []struct {
		typ   string
		token []byte
	}{{keys.TypeStatus, st.Token}, {keys.TypeReply, st.Token}, {keys.TypePrekeys, st.Prekeys}, {keys.TypeAnswer, st.Answer}, {keys.TypeRequest, st.Request}} {
		if len(t.token) == 0 {
			continue
		}
		if _, k, err := keys.StatementKey(t.token); err == nil && k != key {
			if _, err := keys.VerifyStatement(t.typ, t.token, issuer, device, k); err == nil {
				return &k
			}
		}
	}
	return nil
}

// refuse counts a message that is not believed.
func (c *Control) refuse(now time.Time, id, code string, other *keys.IdentityKey) {
	c.counts.refused.Add(1)
	c.figures.refuse(code)
	if c.audit.count(c.store, now, store.Audit{Who: whoControl, What: auditStatus, Device: id, Code: code}, 1) {
		c.log.Warn("status refused", zap.String("device", id), zap.String("code", code))
	}
	if other == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	d := c.devices[id]
	if d == nil {
		return
	}
	text := other.String()
	if d.row.Foreign != text {
		d.row.Foreign = text
		if c.audit.count(c.store, now, store.Audit{Who: whoControl, What: auditForeign, Device: id, Detail: text}, 1) {
			c.log.Warn("a foreign key", zap.String("device", id), zap.String("key", text))
		}
	}
	d.row.ForeignAt = now
	c.save(d)
}

// codeOf returns the code of err, or none.
func codeOf(err error, none string) string { return cmp.Or(client.CodeOf(err), none) }

func short(sum [32]byte) string {
	if sum == [32]byte{} {
		return ""
	}
	return hex.EncodeToString(sum[:])
}

// whyOf is what err says to people beside its code.
func whyOf(err error) string {
	if e, ok := errors.AsType[*client.Error](err); ok {
		return e.Detail
	}
	return err.Error()
}
