package signaling

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestMachine(t *testing.T) {
	bare := &Config{Bare: []string{"wg", "wg2"}}
	for _, c := range []struct {
		name string
		cfg  *Config
		do   func(x *rig)
		want []string
	}{
		{"up, ready, down", nil, func(x *rig) {
			x.up("c1", "s1", 1)
			x.reach(Keyed)
			x.reach(Ready)
			x.wait(time.Second)
			x.down("c2", "s1")
			x.returned(nil)
			x.wait(time.Second)
		}, []string{
			"start s1 at wg", "reply c1 s1 connected r1", "doc connected",
			"stop down", "reply c2 s1 disconnecting r1", "doc disconnecting",
			"end s1", "reply c2 s1 disconnected r1", "doc disconnected",
		}},
		{"stages are gathered for 100 ms, the first ones for 25", nil, func(x *rig) {
			x.wait(time.Second)
			x.up("c1", "s1", 1)
			x.reach(Keyed)
			x.wait(24 * time.Millisecond)
			x.log = append(x.log, "24 ms")
			x.wait(time.Millisecond)
			x.reach(Socket)
			x.wait(99 * time.Millisecond)
			x.log = append(x.log, "99 ms")
			x.wait(time.Second)
		}, []string{"start s1 at wg", "24 ms", "reply c1 s1 connecting r1", "doc connecting", "99 ms", "reply c1 s1 connecting r1"}},
		{"a repeated up opens nothing and is answered again", nil, func(x *rig) {
			x.connect("c1", "s1")
			x.up("c1", "s1", 1)
			x.up("c1", "s1", 1)
			x.wait(time.Second)
		}, []string{"reply c1 s1 connected r1"}},
		{"a higher rev goes to the handler", nil, func(x *rig) {
			x.connect("c1", "s1")
			x.up("c2", "s1", 2)
			x.wait(time.Second)
			x.reach(Ready)
		}, []string{"grant", "doc connected", "reply c2 s1 connected r2", "reply c2 s1 connected r2"}},
		{"an earlier rev is replayed", nil, func(x *rig) {
			x.connect("c1", "s1")
			x.up("c2", "s1", 3)
			x.wait(time.Second)
			x.log = nil
			x.up("c1", "s1", 1)
		}, []string{"notice refused replayed 1", "refuse c1 s1 replayed 1"}},
		{"the same rev with other content is replayed", nil, func(x *rig) {
			x.connect("c1", "s1")
			x.cmd("c2", Up, grantFor("s1", 1, `,"x":1`))
		}, []string{"notice refused replayed 1", "refuse c2 s1 replayed 1"}},
		{"another session is busy", nil, func(x *rig) {
			x.connect("c1", "s1")
			x.up("c2", "s2", 1)
		}, []string{"notice refused busy 1", "refuse c2 s2 busy 1"}},
		{"each of several busy sessions is told so", nil, func(x *rig) {
			x.connect("c1", "s1")
			x.up("c2", "s2", 1)
			x.up("c3", "s3", 1)
			x.wait(2 * time.Minute)
		}, []string{"notice refused busy 1", "refuse c2 s2 busy 1", "refuse c3 s3 busy 1", "notice refused busy 1"}},
		{"a down before its up", nil, func(x *rig) {
			x.down("c2", "s1")
			x.up("c1", "s1", 1)
		}, []string{"end s1", "reply c2 s1 disconnected r0", "notice refused closed 1", "refuse c1 s1 closed 1"}},
		{"a down for another session leaves the open one alone", nil, func(x *rig) {
			x.connect("c1", "s1")
			x.down("c2", "s2")
		}, []string{"end s2", "reply c2 s2 disconnected r0"}},
		{"a repeated down is answered again", nil, func(x *rig) {
			x.connect("c1", "s1")
			x.down("c2", "s1")
			x.down("c2", "s1")
			x.returned(nil)
			x.down("c2", "s1")
			x.wait(time.Second)
		}, []string{
			"stop down", "reply c2 s1 disconnecting r1", "doc disconnecting",
			"end s1", "reply c2 s1 disconnected r1", "reply c2 s1 disconnected r1", "doc disconnected",
		}},
		{"a later rev of a closing session is closed", nil, func(x *rig) {
			x.connect("c1", "s1")
			x.down("c2", "s1")
			x.log = nil
			x.up("c3", "s1", 2)
		}, []string{"notice refused closed 1", "refuse c3 s1 closed 1"}},
		{"an up while another closes waits for it", nil, func(x *rig) {
			x.connect("c1", "s1")
			x.down("c2", "s1")
			x.log = nil
			x.up("c3", "s2", 1)
			x.up("c3", "s2", 1)
			x.returned(nil)
			x.wait(time.Second)
		}, []string{"end s1", "reply c2 s1 disconnected r1", "start s2 at wg", "reply c3 s2 connecting r1", "doc connecting"}},
		{"of two that wait the latest counts", nil, func(x *rig) {
			x.connect("c1", "s1")
			x.down("c2", "s1")
			x.log = nil
			x.up("c3", "s2", 1)
			x.up("c4", "s3", 1)
			x.returned(nil)
		}, []string{"notice refused busy 1", "refuse c3 busy 1", "end s1", "reply c2 s1 disconnected r1", "start s3 at wg"}},
		{"one that waits can be closed before it opens", nil, func(x *rig) {
			x.connect("c1", "s1")
			x.down("c2", "s1")
			x.log = nil
			x.up("c3", "s2", 1)
			x.down("c4", "s2")
			x.returned(nil)
		}, []string{"end s2", "reply c4 s2 disconnected r0", "end s1", "reply c2 s1 disconnected r1", "notice refused closed 1", "refuse c3 s2 closed 1"}},
		{"a failure is told at once, and again", nil, func(x *rig) {
			x.wait(time.Second)
			x.up("c1", "s1", 1)
			x.reach(Keyed)
			x.returned(code("no_driver"))
			x.up("c1", "s1", 1)
			x.wait(time.Second)
		}, []string{"start s1 at wg", "end s1", "reply c1 s1 failed r1 no_driver", "doc failed no_driver", "reply c1 s1 failed r1 no_driver"}},
		{"an error without a code", nil, func(x *rig) {
			x.up("c1", "s1", 1)
			x.returned(errors.New("boom"))
		}, []string{"start s1 at wg", "end s1", "reply c1 s1 failed r1 internal"}},
		{"a session that failed is closed", nil, func(x *rig) {
			x.up("c1", "s1", 1)
			x.returned(code("no_driver"))
			x.log = nil
			x.up("c2", "s1", 2)
		}, []string{"notice refused closed 1", "refuse c2 s1 closed 1"}},
		{"a stale prekey may be asked for anew", nil, func(x *rig) {
			x.up("c1", "s1", 1)
			x.returned(code("unknown_prekey"))
			x.up("c1", "s1", 1)
			x.up("c2", "s1", 2)
		}, []string{"start s1 at wg", "notice refused unknown_prekey 1", "refuse c1 s1 unknown_prekey 1", "refuse c1 s1 unknown_prekey 1", "start s1 at wg"}},
		{"a grant that is refused at the door leaves the device as it was", nil, func(x *rig) {
			x.connect("c0", "s0")
			x.returned(code("no_driver"))
			x.wait(time.Second)
			x.log = nil
			x.up("c1", "s1", 1)
			x.returned(code("port_not_allowed"))
			x.wait(time.Second)
		}, []string{"start s1 at wg", "notice refused port_not_allowed 1", "refuse c1 s1 port_not_allowed 1", "doc failed no_driver"}},
		{"but not once a key was accepted", nil, func(x *rig) {
			x.up("c1", "s1", 1)
			x.reach(Keyed)
			x.returned(code("unknown_prekey"))
		}, []string{"start s1 at wg", "end s1", "reply c1 s1 failed r1 unknown_prekey"}},
		{"the handler may end by itself", nil, func(x *rig) {
			x.connect("c1", "s1")
			x.returned(nil)
		}, []string{"end s1", "reply c1 s1 disconnected r1", "doc disconnected"}},
		{"an old run says nothing", nil, func(x *rig) {
			x.connect("c1", "s1")
			x.returned(nil)
			x.log = nil
			x.reach(Proved)
			x.m.report(x.now, x.n, Status{VPN: Connected})
			x.m.request(x.now, x.n, "n9", []byte("r"))
			x.note()
		}, []string{"answer n9 closed"}},
		{"nor about the one after it", nil, func(x *rig) {
			x.connect("c1", "s1")
			x.returned(nil)
			x.up("c2", "s2", 1)
			x.wait(time.Second)
			x.log, x.n = nil, 1
			x.reach(Ready)
			x.m.report(x.now, 1, Status{VPN: Degraded})
			x.m.offer(1, []byte("x"))
			x.returned(code("late"))
		}, nil},
		{"ready is published though connected was reported before", nil, func(x *rig) {
			x.wait(time.Second)
			x.up("c1", "s1", 1)
			x.m.report(x.now, x.n, Status{VPN: Connected})
			x.note()
			x.wait(time.Second)
			x.log = nil
			x.reach(Ready)
			x.reach(Ready)
		}, []string{"reply c1 s1 connected r1", "doc connected", "reply c1 s1 connected r1"}},
		{"a closing session reaches nothing", nil, func(x *rig) {
			x.connect("c1", "s1")
			x.down("c2", "s1")
			x.log = nil
			x.reach(Ready)
			x.m.report(x.now, x.n, Status{VPN: Connected})
			x.note()
		}, nil},
		{"nothing is sent while the line is down", nil, func(x *rig) {
			x.line(false)
			x.log = nil
			x.connect("c1", "s1")
			x.down("c2", "s1")
			x.returned(nil)
			x.cmd("c3", Ask, "bw-ask:{}")
			x.wait(time.Hour)
		}, []string{"stop down", "end s1"}},
		{"a retained command", bare, func(x *rig) {
			b, _ := json.Marshal(Command{ID: "c1", Action: Up, Token: []byte(grantFor("s1", 1))})
			x.raw(string(b), true)
			x.raw(`{"action":"vpn_up","server":"wg"}`, true)
		}, []string{"notice refused retained 1", "refuse retained 1"}},
		{"an ask", nil, func(x *rig) { x.cmd("c1", Ask, "bw-ask:{}") }, []string{"answered c1"}},
		{"an ask while a session is open", nil, func(x *rig) {
			x.connect("c1", "s1")
			x.cmd("c2", Ask, "bw-ask:{}")
		}, []string{"answered c2"}},
		{"a bare ask", nil, func(x *rig) { x.cmd("c1", Ask, "") }, []string{"notice refused unsigned 1", "refuse c1 unsigned 1"}},
		{"roots", nil, func(x *rig) {
			x.wait(time.Second)
			x.cmd("c1", Roots, `{"lists":2}`)
			x.cmd("c1", Roots, `{"lists":2}`)
			x.wait(time.Second)
			if x.d.roots != 1 {
				x.add("roots updated %d times", x.d.roots)
			}
		}, []string{"reply c1 disconnected r0", "doc disconnected", "reply c1 disconnected r0"}},
		{"wrong roots", nil, func(x *rig) { x.cmd("c1", Roots, `{"lists":3}`) }, []string{"notice refused unknown_signer 1", "refuse c1 unknown_signer 1"}},
		{"bare roots", nil, func(x *rig) { x.cmd("c1", Roots, "") }, []string{"notice refused unsigned 1", "refuse c1 unsigned 1"}},
		{"an offer", nil, func(x *rig) {
			x.connect("c1", "s1")
			x.raw(`{"action":"offer","session":"s1","offer":"aGk"}`, false)
			x.m.offer(x.n, []byte("ho"))
			x.note()
		}, []string{"offer hi", "offered ho"}},
		{"an offer for another session", nil, func(x *rig) {
			x.connect("c1", "s1")
			x.raw(`{"id":"c2","action":"offer","session":"s2","offer":"aGk"}`, false)
		}, []string{"notice refused closed 1", "refuse c2 closed 1"}},
		{"an offer while idle", nil, func(x *rig) { x.raw(`{"action":"offer","offer":"aGk"}`, false) },
			[]string{"notice refused closed 1", "refuse closed 1"}},
		{"an offer for a bare session without a grant", bare, func(x *rig) {
			x.bare("", Up, "wg")
			x.log = nil
			x.raw(`{"action":"offer","offer":"aGk"}`, false)
		}, []string{"notice refused closed 1", "refuse closed 1"}},
		{"bare up where it is not allowed", nil, func(x *rig) { x.bare("", Up, "wg") },
			[]string{"notice refused unsigned 1", "refuse unsigned 1"}},
		{"bare up for a node that is not", bare, func(x *rig) { x.bare("c", Up, "evil") },
			[]string{"notice refused node_not_allowed 1", "refuse c node_not_allowed 1"}},
		{"bare up, request, grant, bare down", bare, func(x *rig) {
			x.wait(time.Second)
			x.bare("", Up, "wg")
			x.m.request(x.now, x.n, "n1", []byte("r"))
			x.wait(6 * time.Second)
			x.cmd("c1", Up, grantFor("s1", 1, `,"re":"n1"`))
			x.reach(Ready)
			x.wait(10 * time.Second)
			x.bare("", Up, "wg")
			x.wait(time.Second)
			x.bare("", Down, "")
			x.returned(nil)
			x.wait(time.Second)
		}, []string{
			"bare start at wg", "request", "reply connecting r0", "doc connecting", "request",
			"answer n1 s1 granted", "doc connecting", "reply c1 s1 connected r1", "doc connected",
			"reply s1 connected r1", "stop down", "reply s1 disconnecting r1", "doc disconnecting",
			"end s1", "reply s1 disconnected r1", "doc disconnected",
		}},
		{"a bare up while a signed session is open", bare, func(x *rig) {
			x.connect("c1", "s1")
			x.bare("c2", Up, "wg")
		}, []string{"notice refused busy 1", "refuse c2 busy 1"}},
		{"a grant for a request that was given up", bare, func(x *rig) {
			x.bare("", Up, "wg")
			x.m.request(x.now, x.n, "n1", []byte("r"))
			x.m.forget("n1")
			x.note()
			x.log = nil
			x.cmd("c1", Up, grantFor("s1", 1, `,"re":"n1"`))
		}, []string{"end s1", "notice refused closed 1", "refuse c1 s1 closed 1"}},
		{"control may choose another node than a bare up names", bare, func(x *rig) {
			x.bare("", Up, "wg2")
			x.m.request(x.now, x.n, "n1", []byte("r"))
			x.cmd("c1", Up, grantFor("s1", 1, `,"re":"n1"`))
			x.wait(time.Second)
			x.log = nil
			x.bare("", Up, "wg2")
			x.wait(time.Second)
		}, []string{"reply s1 connecting r1"}},
		{"a bare up for another node", bare, func(x *rig) {
			x.bare("", Up, "wg")
			x.log = nil
			x.bare("c2", Up, "wg2")
		}, []string{"notice refused busy 1", "refuse c2 busy 1"}},
		{"a grant that answers no request of the bare session", bare, func(x *rig) {
			x.bare("", Up, "wg")
			x.m.request(x.now, x.n, "n1", []byte("r"))
			x.note()
			x.log = nil
			x.cmd("c1", Up, grantFor("s1", 1, `,"re":"n2"`))
			x.up("c2", "s2", 1)
		}, []string{"notice refused busy 1", "refuse c1 s1 busy 1", "refuse c2 s2 busy 1"}},
		{"control refuses the request", bare, func(x *rig) {
			x.bare("", Up, "wg")
			x.m.request(x.now, x.n, "n1", []byte("r"))
			x.note()
			x.log = nil
			x.cmd("c1", Down, `bw-down:{"re":"n1","why":"no_policy"}`)
			x.returned(&Error{Reason: "no_policy"})
		}, []string{"answer n1 no_policy", "reply connecting r0", "reply c1 failed r0 no_policy", "reply failed r0 no_policy"}},
		{"nobody answers the request", bare, func(x *rig) {
			x.bare("", Up, "wg")
			x.m.request(x.now, x.n, "n1", []byte("r"))
			x.wait(59 * time.Second)
			n := 0
			for _, l := range x.log {
				if l == "request" {
					n++
				}
			}
			x.log = []string{fmt.Sprint(n)}
			x.wait(time.Second)
			x.returned(&Error{Reason: ReasonUnanswered})
			x.log = x.log[:3]
			x.cmd("c1", Up, grantFor("s1", 1, `,"re":"n1"`))
		}, []string{"12", "answer n1 unanswered", "reply failed r0 unanswered", "end s1", "notice refused closed 1", "refuse c1 s1 closed 1"}},
		{"a grant for a bare session that was ended", bare, func(x *rig) {
			x.bare("", Up, "wg")
			x.m.request(x.now, x.n, "n1", []byte("r"))
			x.bare("", Down, "")
			x.log = nil
			x.cmd("c1", Up, grantFor("s1", 1, `,"re":"n1"`))
			x.returned(nil)
			x.cmd("c1", Up, grantFor("s1", 1, `,"re":"n1"`))
		}, []string{"end s1", "notice refused closed 1", "refuse c1 s1 closed 1", "reply disconnected r0", "refuse c1 s1 closed 1"}},
		{"a rekey that comes late is a later rev", nil, func(x *rig) {
			x.connect("c1", "s1")
			x.m.request(x.now, x.n, "n1", []byte("r"))
			x.m.forget("n1")
			x.note()
			x.cmd("c2", Up, grantFor("s1", 2, `,"re":"n1"`))
		}, []string{"request", "grant", "doc connected"}},
		{"a rekey in mid-session", nil, func(x *rig) {
			x.connect("c1", "s1")
			x.m.request(x.now, x.n, "n1", []byte("r"))
			x.note()
			x.cmd("c2", Up, grantFor("s1", 2, `,"re":"n1"`))
			x.wait(time.Second)
		}, []string{"request", "answer n1 s1 granted", "doc connected", "reply c2 s1 connected r2"}},
		{"a bare down for a signed session", bare, func(x *rig) {
			x.connect("c1", "s1")
			x.bare("c2", Down, "")
		}, []string{"notice refused unsigned 1", "refuse c2 unsigned 1"}},
		{"a bare down while idle", bare, func(x *rig) {
			x.bare("", Down, "")
			x.wait(time.Second)
		}, []string{"reply disconnected r0"}},
		{"a bare down where bare is not allowed", nil, func(x *rig) { x.bare("", Down, "") },
			[]string{"notice refused unsigned 1", "refuse unsigned 1"}},
		{"a bare down that names another session", bare, func(x *rig) {
			x.bare("", Up, "wg")
			x.log = nil
			x.raw(`{"action":"vpn_down","session":"s9"}`, false)
		}, []string{"notice refused unsigned 1", "refuse unsigned 1"}},
		{"a bare down takes back a bare up that waits", bare, func(x *rig) {
			x.bare("", Up, "wg")
			x.bare("", Down, "")
			x.bare("", Up, "wg")
			x.bare("", Down, "")
			x.log = nil
			x.returned(nil)
			x.wait(time.Second)
		}, []string{"reply disconnected r0", "doc disconnected"}},
		{"changes are published at once, then 250 ms apart", nil, func(x *rig) {
			x.connect("c1", "s1")
			for i := range 10 {
				x.m.report(x.now, x.n, Status{VPN: []State{Degraded, Connected}[i%2]})
				x.note()
				x.wait(10 * time.Millisecond)
			}
			x.wait(time.Second)
		}, []string{"doc degraded", "doc connected"}},
		{"a change of RTT alone is not published", nil, func(x *rig) {
			x.connect("c1", "s1")
			x.m.report(x.now, x.n, Status{VPN: Connected, RTT: time.Second})
			x.note()
			x.wait(time.Second)
		}, nil},
		{"the document is renewed before it is due", &Config{Due: 100 * time.Second}, func(x *rig) { x.wait(170 * time.Second) },
			[]string{"doc disconnected", "doc disconnected"}},
		{"the line comes back", bare, func(x *rig) {
			x.bare("", Up, "wg")
			x.m.request(x.now, x.n, "n1", []byte("r"))
			x.wait(time.Second)
			x.log = nil
			x.line(false)
			x.wait(time.Second)
			x.line(true)
		}, []string{"notice line_down 0", "notice line_up 0", "rotate", "doc connecting", "request"}},
		{"Serve ends", nil, func(x *rig) {
			x.connect("c1", "s1")
			x.m.stop(x.now, errors.New("bye"))
			x.note()
			x.up("c2", "s2", 1)
			x.returned(errors.New("bye"))
			x.m.farewell(x.now)
			x.note()
		}, []string{"stop ?", "reply c1 s1 disconnecting r1", "doc disconnecting", "end s1", "reply c1 s1 disconnected r1 internal", "doc disconnected internal"}},
		{"refusals are counted by the minute", nil, func(x *rig) {
			for range 5 {
				x.cmd("c1", Up, "forged:")
				x.wait(time.Second)
			}
			x.cmd("c2", Up, "expired:")
			x.wait(time.Minute)
			x.cmd("c3", Up, "forged:")
			x.wait(time.Minute)
		}, []string{"notice refused forged 1", "refuse c1 forged 1", "notice refused expired 1", "refuse c2 expired 1",
			"notice refused forged 4", "refuse c1 forged 4", "notice refused forged 1", "refuse c3 forged 1"}},
		{"a thousand commands a second", nil, func(x *rig) {
			for range 1000 {
				x.cmd("c1", Up, "forged:")
				x.wait(time.Millisecond)
			}
			x.wait(2 * time.Minute)
		}, []string{"notice refused forged 1", "refuse c1 forged 1", "notice refused flood 1", "refuse flood 1",
			"notice refused forged 58", "refuse c1 forged 58", "notice refused flood 940", "refuse flood 940"}},
		{"messages that were dropped unseen", nil, func(x *rig) {
			x.m.refuseMany(x.now, 7)
			x.note()
			x.wait(2 * time.Minute)
		}, []string{"notice refused flood 1", "refuse flood 1", "notice refused flood 6", "refuse flood 6"}},
		{"refusals while the line is down are told later", nil, func(x *rig) {
			x.line(false)
			x.cmd("c1", Up, "forged:")
			x.cmd("c2", Up, "forged:")
			x.line(true)
			x.wait(2 * time.Minute)
		}, []string{"notice line_down 0", "notice refused forged 1", "notice line_up 0", "rotate", "doc disconnected", "refuse c2 forged 2", "notice refused forged 1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := newRig(c.cfg)
			c.do(x)
			if !slices.Equal(x.log, c.want) {
				t.Errorf("got:\n\t%s\nwant:\n\t%s", strings.Join(x.log, "\n\t"), strings.Join(c.want, "\n\t"))
			}
		})
	}
}
