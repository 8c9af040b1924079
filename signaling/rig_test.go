package signaling

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// code is an error with a code, as a Device's are.
type code string

func (c code) Error() string { return "refused: " + string(c) }
func (c code) Code() string  { return string(c) }

// paper is a Device whose signatures are words, for a machine that only asks
// whether they hold: "bw-grant:{...}" is signed, "forged:" is refused as that.
type paper struct {
	ended []string
	roots int
}

func (p *paper) ID() string      { return "d1" }
func (p *paper) Prekeys() []byte { return []byte("prekeys") }
func (p *paper) Rotate()         {}
func (p *paper) RootsN() int     { return 1 + p.roots }
func (p *paper) Sign(typ string, payload []byte) ([]byte, error) {
	return []byte(typ), nil
}
func (p *paper) Verify(typ string, token []byte) ([]byte, error) {
	kind, payload, ok := strings.Cut(string(token), ":")
	switch {
	case !ok:
		return nil, code("malformed")
	case kind == typ:
		return []byte(payload), nil
	case strings.HasPrefix(kind, "bw-"):
		return nil, code("wrong_kind")
	}
	return nil, code(kind)
}
func (p *paper) Answer(ask []byte) ([]byte, error) {
	b, err := p.Verify("bw-ask", ask)
	return append([]byte("answer"), b...), err
}
func (p *paper) Request(payload []byte) ([]byte, string, error) { return []byte("request"), "n1", nil }
func (p *paper) UpdateRoots(lists []byte) error {
	if string(lists) != `{"lists":2}` {
		return code("unknown_signer")
	}
	p.roots++
	return nil
}
func (p *paper) End(session string) { p.ended = append(p.ended, session) }

// rig drives a machine by hand and writes down what it wants done.
type rig struct {
	m   *machine
	d   *paper
	now time.Time
	log []string
	n   int // the run that was started last
}

func newRig(cfg *Config) *rig {
	x := &rig{d: new(paper), now: time.Unix(1e9, 0)}
	x.m = newMachine(x.d, cfg.withDefaults(), x.now)
	x.line(true)
	x.log = nil
	return x
}

func (x *rig) line(up bool) { x.m.line(x.now, up); x.note() }

// note writes the actions down.
func (x *rig) note() {
	for _, a := range x.m.take() {
		switch a := a.(type) {
		case startAction:
			x.n = a.n
			kind := "start"
			if a.grant == nil {
				kind = "bare start"
			}
			x.add("%s %s at %s", kind, a.id, a.server)
		case stopAction:
			x.add("stop %v", codeOf(a.cause, "?"))
		case grantAction:
			x.add("grant")
		case offerAction:
			x.add("offer %s", a.sealed)
		case answerAction:
			x.add("answer %s %s %s", a.nonce, a.session, codeOf(a.err, "granted"))
		case endAction:
			x.add("end %s", a.session)
		case rotateAction:
			x.add("rotate")
		case sendAction:
			x.send(a)
		case noticeAction:
			x.add("notice %s %s %d", a.Kind, a.Code, a.Count)
		}
	}
}

func (x *rig) send(a sendAction) {
	switch {
	case a.typ == typStatus:
		x.add("doc %s %s", a.st.VPN, a.st.Code)
	case a.typ == typReply && a.st.Count > 0:
		x.add("refuse %s %s %s %d", a.st.Re, a.st.Session, a.st.Code, a.st.Count)
	case a.typ == typReply:
		x.add("reply %s %s %s r%d %s", a.st.Re, a.st.Session, a.st.VPN, a.st.Rev, a.st.Code)
	case a.hint.Answer != nil:
		x.add("answered %s", a.hint.Re)
	case a.hint.Request != nil:
		x.add("request")
	case a.hint.Offer != nil:
		x.add("offered %s", a.hint.Offer)
	}
}

func (x *rig) add(format string, a ...any) {
	x.log = append(x.log, strings.Join(strings.Fields(fmt.Sprintf(format, a...)), " "))
}

// wait lets time pass, with every timer that is due.
func (x *rig) wait(d time.Duration) {
	end := x.now.Add(d)
	for {
		at := x.m.next()
		if at.IsZero() || at.After(end) {
			break
		}
		x.now = at
		x.m.tick(x.now)
		x.note()
	}
	x.now = end
}

func (x *rig) raw(b string, retained bool) {
	x.m.deliver(x.now, x.now, Message{Device: "d1", Payload: []byte(b), Retained: retained})
	x.note()
}

func (x *rig) cmd(id string, a Action, token string) {
	b, _ := json.Marshal(Command{ID: id, Action: a, Token: []byte(token)})
	x.raw(string(b), false)
}

func (x *rig) bare(id string, a Action, server string) {
	b, _ := json.Marshal(Command{ID: id, Action: a, Server: server})
	x.raw(string(b), false)
}

func grantFor(session string, rev int, more ...string) string {
	return fmt.Sprintf(`bw-grant:{"session":%q,"rev":%d,"far":{"node":"wg"},"addresses":["10.166.0.5"]%s}`, session, rev, strings.Join(more, ""))
}

func downOf(session string) string { return fmt.Sprintf(`bw-down:{"session":%q}`, session) }

func (x *rig) up(id, session string, rev int) { x.cmd(id, Up, grantFor(session, rev)) }
func (x *rig) down(id, session string)        { x.cmd(id, Down, downOf(session)) }
func (x *rig) reach(st Stage)                 { x.m.reach(x.now, x.n, st); x.note() }
func (x *rig) returned(err error)             { x.m.returned(x.now, x.n, err); x.note() }
func (x *rig) connect(id, session string) {
	x.up(id, session, 1)
	x.reach(Keyed)
	x.reach(Ready)
	x.wait(time.Second)
	x.log = nil
}
