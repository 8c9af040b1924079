package control

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/netip"
	"slices"
	"time"
	"unique"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/gateway/control/internal/pool"
	"github.com/boothwire/boothwire/gateway/control/internal/store"
	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/signaling"
)

// device is a registered device; Control.mu guards it.
type device struct {
	row     store.Device
	key     keys.IdentityKey
	prekeys []keys.PublicKey // of the current boot's latest batch, not spent
	ended   []string         // boots that are over, the latest last
	batch   [sha256.Size]byte
	latest  map[string]uint64 // number of the latest status and reply of the current boot
	line    signaling.Sender  // on which it was heard last

	last    string     // the node of its latest session
	from    netip.Addr // its public address, as a node saw it; zero: not known
	session *session   // that is not ending
	closing []*session
	former  *former // nil: it is written for sure
	probe   *probe
	shared  unique.Handle[string] // of row.Checks
	failing []string              // names of checks of its host that failed
	denied  denial
	refused time.Time // when it refused a command last that it should not
	ears    []ear
	opens   allowance // of sessions that it asks for
}

// ear is what a device may say on one line: to read it, and to check its signatures, takes
// a core's time, of which one device must not have all. What comes on another line is not
// for it to drown out.
type ear struct {
	line         signaling.Sender
	read, signed allowance
}

const (
	readBurst   = 2048
	readRate    = 256 // a second
	signedBurst = 512 // a hundred sessions with their ladders
	signedRate  = 64  // a second: less than a twentieth of a core
)

// ear is that for a line.
func (d *device) ear(line signaling.Sender) *ear {
	i := slices.IndexFunc(d.ears, func(e ear) bool { return e.line == line })
	if i < 0 {
		i = len(d.ears)
		d.ears = append(d.ears, ear{line: line})
	}
	return &d.ears[i]
}

// denial is the refusal of a device's latest request, to be said again.
type denial struct{ nonce, code string }

// probe is a question to find out which run of a device is the present one, asked
// when a message of an unknown run came while another has a session: the message
// may have been held back by a broker for days.
type probe struct {
	boot  string    // in question
	said  *verified // the latest that it said, to be believed if it is the present one
	nonce string
	until time.Time
}

// maxEnded bounds the runs that are remembered as over, as the store does.
const maxEnded = 64

// heard notes the number of a status or reply.
func (d *device) heard(s *keys.Statement) {
	if s.Boot != d.row.Boot {
		return
	}
	if d.latest == nil {
		d.latest = map[string]uint64{keys.TypeStatus: d.row.Seq, keys.TypeReply: d.row.Seq}
	}
	d.latest[s.Typ] = max(d.latest[s.Typ], s.Seq)
}

// news reports whether s is the latest of its kind: a document may have overtaken it.
func (d *device) news(s *keys.Statement) bool {
	if d.latest == nil {
		return s.Seq > d.row.Seq
	}
	return s.Seq > d.latest[s.Typ]
}

func (d *device) superseded(boot string) bool { return slices.Contains(d.ended, boot) }

// adopt makes boot the present run; mu is held.
func (c *Control) adopt(d *device, boot string, now time.Time) {
	if d.row.Boot == boot {
		return
	}
	id, old := d.row.ID, d.row.Boot
	if old != "" {
		d.ended = append(d.ended, old)
		if len(d.ended) > maxEnded {
			d.ended = d.ended[1:]
		}
		c.store.Later("boot/"+id+"/"+old, func(tx *store.Tx) error { return tx.EndBoot(id, old, now) })
	}
	if i := slices.Index(d.ended, boot); i >= 0 {
		d.ended = slices.Delete(d.ended, i, i+1)
		c.store.Later("boot/"+id+"/"+boot, func(tx *store.Tx) error { return tx.ReviveBoot(id, boot) })
	}
	d.row.Boot, d.row.Seq, d.row.RequestSeq, d.row.Batch = boot, 0, 0, 0
	d.row.Prekeys, d.prekeys, d.batch, d.probe = nil, nil, [32]byte{}, nil
	d.latest = nil
	c.save(d)
	// What the run before had not closed yet ended with it.
	for _, s := range slices.Clone(d.closing) {
		s.m.Rebooted(now)
		c.act(s, now)
	}
}

// save writes what a device said, soon, and lets who watches see it; mu is held.
func (c *Control) save(d *device) {
	c.feed.touch(d.row.ID)
	row := d.row
	row.Prekeys = make([]string, len(d.prekeys))
	for i, k := range d.prekeys {
		row.Prekeys[i] = k.String()
	}
	c.store.Later("device/"+row.ID, func(tx *store.Tx) error { return tx.UpdateDevice(row) })
}

// online is what follows from when a device was heard and when it was to be heard
// again. Beyond that time it is late for as long again, but no less than a minute.
func online(seen, due, now time.Time) string {
	switch {
	case seen.IsZero():
		return client.Unknown
	case due.IsZero() || !now.After(due):
		return client.Online
	case !now.After(lateUntil(seen, due)):
		return client.Late
	}
	return client.Unknown
}

func lateUntil(seen, due time.Time) time.Time { return due.Add(max(due.Sub(seen), time.Minute)) }

// shows is what the API has of a device, registered or only heard of, and after which
// time that changes though nothing happens; mu is held.
func (c *Control) shows(id string, now time.Time) (v client.Device, turns time.Time, ok bool) {
	if d := c.devices[id]; d != nil {
		return c.show(d, now), d.turns(now), true
	}
	s, ok := c.strangers.seen[id]
	if !ok {
		return v, turns, false
	}
	v = s.show(id, now)
	if v.Online == client.Online {
		turns = s.at.Add(strangerOnline)
	}
	return v, turns, true
}

// show is the device as the API has it; mu is held.
func (c *Control) show(d *device, now time.Time) client.Device {
	v := client.Device{
		ID: d.row.ID, Key: d.key, Group: d.row.Group, Gen: 3, State: signaling.State(d.row.State),
		Online: online(d.row.Seen, d.row.Due, now), LastSeen: d.row.Seen, Next: d.row.Due, Version: d.row.Version,
		Caps: slices.Clone(d.row.Caps), Boot: d.row.Boot, Prekeys: len(d.prekeys), Foreign: d.row.Foreign,
		RDP: d.row.RDP, NAT: d.row.NAT,
	}
	if sum, err := hex.DecodeString(d.row.SSH); err == nil && len(sum) > 0 {
		v.SSH = "SHA256:" + base64.RawStdEncoding.EncodeToString(sum)
	}
	v.Address, _ = c.pool.Of(pool.Device, d.row.ID)
	if d.session != nil {
		v.Session = d.session.id
	}
	v.Trouble = c.trouble(d, v, now)
	return v
}

// strangers are devices that were heard of and are not registered: Gen-2 devices,
// or what a hostile broker invents.
type strangers struct {
	seen map[string]stranger
	kept int // messages
}

type stranger struct {
	state   signaling.State
	ip      netip.Addr
	at      time.Time
	foreign string
	last    heard // signed, for the moment at which the device is registered
}

// heard is a message as it came.
type heard struct {
	line signaling.Sender
	msg  signaling.Message
}

const (
	maxStrangers = 20000
	keptMessages = 4000 // of them, 4 KiB each at most
	strangerFor  = 24 * time.Hour
	// Nothing says when the next one is due; our own device's default is as good as any.
	strangerOnline = 15 * time.Minute
)

func (s *strangers) init() { s.seen = make(map[string]stranger) }

func (s *strangers) len() int { return len(s.seen) }

// heard notes a message; beyond the limit new names are not noted.
func (s *strangers) heard(id string, v stranger) {
	old, ok := s.seen[id]
	if !ok && len(s.seen) >= maxStrangers {
		return
	}
	if v.last.line == nil {
		v.last = old.last
	}
	if had, has := old.last.line != nil, v.last.line != nil; has && !had {
		if s.kept >= keptMessages {
			v.last = heard{}
		} else {
			s.kept++
		}
	}
	s.seen[id] = v
}

// forget takes a name out and returns its last signed message.
func (s *strangers) forget(id string) heard {
	v := s.seen[id]
	delete(s.seen, id)
	if v.last.line != nil {
		s.kept--
	}
	return v.last
}

// expire forgets what is old, and returns the names.
func (s *strangers) expire(now time.Time) (old []string) {
	for id, v := range s.seen {
		if now.Sub(v.at) >= strangerFor {
			s.forget(id)
			old = append(old, id)
		}
	}
	return old
}

func (v stranger) show(id string, now time.Time) client.Device {
	d := client.Device{ID: id, Gen: 2, State: v.state, Online: client.Unknown, LastSeen: v.at, Address: v.ip, Foreign: v.foreign}
	if v.state != signaling.Offline && now.Sub(v.at) <= strangerOnline {
		d.Online = client.Online
	}
	return d
}
