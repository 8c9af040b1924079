//go:build linux

package e2e

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/boothwire/boothwire/nat"
)

// TestEndToEnd reaches the kiosk without a node: straight through the shop's NAT, and
// through the relay while nothing but TCP gets out of the shop; then a node does so.
func TestEndToEnd(t *testing.T) {
	w := newWorld(t, options{relay: true})
	before := w.gateway.log.len()
	for _, tt := range []struct {
		name, path string
		why        string // both networks in it, the device's first
		prepare    func()
	}{
		{"direct", "direct", `^direct: \w+-\w+ ([a-z0-9-]+)/([a-z0-9-]+) `, func() {}},
		{"udp blocked", "relay", `^relay: direct failed no_path \(([a-z0-9-]+) here, ([a-z0-9-]+) there; tried [0-9a-z ]+ x [0-9a-z ]+\)`, func() { w.shop.Refuse("meta l4proto udp") }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.prepare()
			hold := start(t, w.operator, w.ctlArgs("connect", kiosk, "--end-to-end", "--json")[0], w.ctlArgs("connect", kiosk, "--end-to-end", "--json")[1:]...)
			var why string
			eventually(t, "the session's path is "+tt.path, func() error {
				var path string
				var err error
				path, why, err = w.path()
				if err == nil && (path != tt.path || !namesBoth(tt.why, why)) {
					err = fmt.Errorf("%s: %s", path, why)
				}
				return err
			})
			t.Log(why)
			hold.stop()
			w.over()
			if class := w.device().NAT; !slices.Contains(nat.Behaviours(), class) {
				t.Errorf("the device's network is shown as %q", class)
			}
		})
	}
	if text := w.gateway.log.since(before); strings.Contains(text, "installed") {
		t.Errorf("a node took part: %s", text)
	}
	// A node is reached by its relay too.
	if got := w.ssh("echo", "tcp only"); !strings.Contains(got, "tcp only") {
		t.Errorf("ssh through the node printed %q", got)
	}
	w.over()
	w.shop.NFT("table inet refuse\ndelete table inet refuse\n")
	// A file crosses whole, over whatever path it began and went on.
	up := filepath.Join(w.dir, "file")
	w.random(up, 8<<20)
	proxy := strings.Join(w.ctlArgs("proxy", "--end-to-end", "%h", "%p"), " ")
	w.operator.Run("scp", "-i", w.sshKey, "-o", "ProxyCommand="+proxy, "-o", "UserKnownHostsFile="+filepath.Join(w.dir, "known_hosts"),
		"-o", "StrictHostKeyChecking=accept-new", "-o", "BatchMode=yes", "-q", up, "root@"+kiosk+":"+filepath.Join(w.sftpRoot, "file"))
	if w.read(up) != w.read(filepath.Join(w.sftpRoot, "file")) {
		t.Error("the file came out different")
	}
	w.over()
}

// namesBoth reports whether why is as pattern says, whose two groups are what the ends
// know of their networks: which of the names it is depends on what a probe gets to hear.
func namesBoth(pattern, why string) bool {
	m := regexp.MustCompile(pattern).FindStringSubmatch(why)
	return m != nil && nat.ParseNAT(m[1]) != nat.NATUnknown && nat.ParseNAT(m[2]) != nat.NATUnknown
}

// path is what control shows of the open session.
func (w *world) path() (path, why string, err error) {
	d := w.device()
	if d.Session == "" {
		return "", "", fmt.Errorf("no session: %+v", d)
	}
	out, err := w.tryCtl("sessions", "--json")
	if err != nil {
		return "", "", err
	}
	dec := json.NewDecoder(strings.NewReader(out))
	for dec.More() {
		var all json.RawMessage
		if err := dec.Decode(&all); err != nil {
			return "", "", err
		}
		type shown struct {
			ID, Path, State string
			Why             string `json:"path_why"`
		}
		var list []shown
		if json.Unmarshal(all, &list) != nil {
			list = append(list, shown{})
			if err := json.Unmarshal(all, &list[len(list)-1]); err != nil {
				return "", "", err
			}
		}
		for _, s := range list {
			if s.ID == d.Session {
				return s.Path, s.Why + " " + s.State, nil
			}
		}
	}
	return "", "", fmt.Errorf("control does not list %s", d.Session)
}
