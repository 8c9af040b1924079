package preflight

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/boothwire/boothwire/internal/leaktest"
	"github.com/boothwire/boothwire/keys"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

var noon = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

// well is a host with which nothing is wrong.
func well() host {
	return host{
		now:      func() time.Time { return noon },
		made:     func() time.Time { return noon.AddDate(-1, 0, 0) },
		dial:     func(context.Context, string) error { return nil },
		own:      func() netip.Addr { return netip.MustParseAddr("192.168.1.7") },
		networks: func() ([]netip.Prefix, error) { return prefixes("192.168.1.7/24", "0.0.0.0/0"), nil },
		adapter:  func() string { return "no_driver" },
		rdp:      func() (rdpFacts, error) { return rdpFacts{nla: true}, nil },
		firewall: func() ([]profile, error) { return []profile{{"public", true, false}}, nil },
	}
}

func prefixes(text ...string) (list []netip.Prefix) {
	for _, s := range text {
		list = append(list, netip.MustParsePrefix(s))
	}
	return list
}

func at(least, most time.Time) func() (a, b time.Time) {
	return func() (a, b time.Time) { return least, most }
}

// text has the results of a run in a line each.
func text(all []Result) string {
	var b strings.Builder
	for _, r := range all {
		b.WriteString(strings.TrimSpace(strings.Join([]string{r.Check, string(r.State), r.Code, r.Detail}, " ")) + "\n")
	}
	return b.String()
}

// dialling answers by address; the others listen.
func dialling(errs map[string]error) func(context.Context, string) error {
	return func(_ context.Context, address string) error { return errs[address] }
}

func TestChecks(t *testing.T) {
	refused := &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	rdpAt := func(f rdpFacts, err error) func(*host) {
		return func(h *host) { h.rdp = func() (rdpFacts, error) { return f, err } }
	}
	wall := func(list []profile, err error) func(*host) {
		return func(h *host) { h.firewall = func() ([]profile, error) { return list, err } }
	}
	nets := func(text ...string) func(*host) {
		return func(h *host) { h.networks = func() ([]netip.Prefix, error) { return prefixes(text...), nil } }
	}
	driver := func(code string) func(*host) { return func(h *host) { h.adapter = func() string { return code } } }
	dials := func(errs map[string]error) func(*host) { return func(h *host) { h.dial = dialling(errs) } }
	adapter, driverless := Config{Mode: "adapter"}, Config{Mode: "driverless"}
	clockOf := func(least, most time.Time) Config { return Config{Clock: at(least, most)} }
	for _, tt := range []struct {
		what string
		cfg  Config
		host func(*host)
		want string // a line of the results
	}{
		{"nothing configured", Config{}, nil, "ssh ok listening 127.0.0.1:22"},
		{"nothing configured", Config{}, nil, "smb ok listening 127.0.0.1:445"},
		{"nothing configured", Config{}, nil, "rdp ok listening 127.0.0.1:3389"},
		{"one of three missing", Config{}, dials(map[string]error{"127.0.0.1:445": refused}), "smb warn refused 127.0.0.1:445"},
		{"all missing", Config{Ports: []keys.Port{keys.TCP(22), keys.TCP(8080)}}, dials(map[string]error{"127.0.0.1:22": refused, "127.0.0.1:8080": context.DeadlineExceeded}), "ssh fail refused 127.0.0.1:22"},
		{"all missing", Config{Ports: []keys.Port{keys.TCP(22), keys.TCP(8080)}}, dials(map[string]error{"127.0.0.1:22": refused, "127.0.0.1:8080": context.DeadlineExceeded}), "tcp_8080 fail no_answer 127.0.0.1:8080"},
		{"another address", Config{Services: map[keys.Port]string{keys.TCP(22): "192.168.1.9:2222"}}, dials(map[string]error{"192.168.1.9:2222": syscall.EHOSTUNREACH}), "ssh fail unreachable 192.168.1.9:2222"},
		{"forbidden", Config{Services: map[keys.Port]string{keys.TCP(22): "[::1]:22"}}, dials(map[string]error{"[::1]:22": syscall.EACCES}), "ssh fail forbidden [::1]:22"},

		{"RDP with NLA", Config{}, nil, "rdp_settings ok nla"},
		{"RDP without NLA", Config{}, rdpAt(rdpFacts{}, nil), "rdp_settings warn no_nla"},
		{"RDP off", Config{}, rdpAt(rdpFacts{off: true, foreign: true}, nil), "rdp_settings warn off"},
		{"RDP by another library", Config{}, rdpAt(rdpFacts{nla: true, foreign: true}, nil), "rdp_settings warn replaced"},
		{"no RDP here", Config{}, rdpAt(rdpFacts{}, errNotHere), "rdp_settings unknown not_here"},
		{"RDP that cannot be read", Config{}, rdpAt(rdpFacts{}, errors.New("x")), "rdp_settings unknown unreadable"},
		{"RDP not offered", Config{Ports: []keys.Port{keys.TCP(22)}}, rdpAt(rdpFacts{off: true}, nil), "rdp_settings unknown not_offered"},

		{"firewall", Config{}, nil, "firewall ok lets_out"},
		{"firewall that blocks", Config{}, wall([]profile{{"domain", false, true}, {"private", true, true}, {"public", true, true}}, nil), "firewall warn blocks_out private public"},
		{"firewall that is off", Config{}, wall([]profile{{"public", false, true}}, nil), "firewall ok lets_out"},
		{"firewall of administrators", Config{}, wall(nil, errPrivileges), "firewall unknown no_rights"},

		{"no other clock", Config{}, nil, "clock unknown no_reference"},
		{"opened before", clockOf(noon.Add(-time.Hour), time.Time{}), nil, "clock unknown no_reference"},
		{"opened later", clockOf(noon.AddDate(20, 0, 0), time.Time{}), nil, "clock warn behind 7305d"},
		{"made later", Config{}, func(h *host) { h.made = func() time.Time { return noon.AddDate(0, 0, 3) } }, "clock warn behind 3d"},
		{"made later than a session was opened", clockOf(noon.AddDate(0, 0, -1), noon.AddDate(0, 0, 1)), func(h *host) { h.made = func() time.Time { return noon.Add(time.Hour) } }, "clock warn behind 1h0m"},
		{"right", clockOf(noon.Add(4*time.Minute), noon.Add(4*time.Minute)), nil, "clock ok right"},
		{"behind", clockOf(noon.Add(7*time.Minute+30*time.Second), noon.Add(time.Hour)), nil, "clock warn behind 7m"},
		{"ahead", clockOf(noon.Add(-5*time.Hour-time.Second), noon.Add(-5*time.Hour-time.Second)), nil, "clock warn ahead 5h"},

		{"no overlap", adapter, nil, "addresses ok clear 10.166.0.0/16"},
		{"overlap", adapter, nets("10.0.0.0/8", "10.166.3.7/24", "10.166.3.9/24", "172.16.0.0/12"), "addresses fail overlap 10.166.3.0/24 10.0.0.0/8"},
		{"overlap, adapter or not", Config{}, nets("10.0.0.0/8"), "addresses warn overlap 10.0.0.0/8"},
		{"overlap, driverless", driverless, nets("10.0.0.0/8"), "addresses ok inside 10.0.0.0/8"},
		{"overlap, driverless for its services", Config{Services: map[keys.Port]string{keys.TCP(22): "127.0.0.1:22"}}, nets("10.0.0.0/8"), "addresses ok inside 10.0.0.0/8"},
		{"another pool", Config{Mode: "adapter", Pool: netip.MustParsePrefix("100.64.0.0/10")}, nets("100.100.0.0/16", "10.166.0.0/16"), "addresses fail overlap 100.100.0.0/16"},
		{"every address", adapter, nets("0.0.0.0/0", "::/0", "fd00::1/64"), "addresses ok clear 10.166.0.0/16"},

		{"through an interface", adapter, driver(""), "ssh ok listening 192.168.1.7:22"},
		{"through an interface, as can be had", Config{}, driver(""), "ssh ok listening 192.168.1.7:22"},
		{"through an interface, configured", Config{Mode: "adapter", Services: map[keys.Port]string{keys.TCP(22): "127.0.0.1:22"}}, driver(""), "ssh ok listening 127.0.0.1:22"},
		{"through an interface, without another address", adapter, func(h *host) { driver("")(h); h.own = func() (a netip.Addr) { return a } }, "ssh ok listening 127.0.0.1:22"},
		{"no driver needed", driverless, driver("no_driver"), "driver ok none_needed"},
		{"driver", adapter, driver(""), "driver ok ready"},
		{"no driver", adapter, driver("no_driver"), "driver fail no_driver"},
		{"no rights, and none needed", Config{}, driver("no_rights"), "driver ok none_needed"},
	} {
		h := well()
		if tt.host != nil {
			tt.host(&h)
		}
		cfg := tt.cfg.withDefaults()
		if got := text(cfg.run(t.Context(), h)); !strings.Contains("\n"+got, "\n"+tt.want+"\n") {
			t.Errorf("%s:\n%s want %q", tt.what, got, tt.want)
		}
	}
}

// What is offered is bounded, sorted and named once.
func TestOffered(t *testing.T) {
	var many []keys.Port
	for n := range uint16(20) {
		many = append(many, keys.TCP(9000-n), keys.TCP(9000-n), keys.UDP(53))
	}
	got := (&Config{Ports: many}).offered(loopback)
	if len(got) != maxServices || got[0] != (service{"tcp_8981", "127.0.0.1:8981"}) {
		t.Errorf("%v", got)
	}
}

// A check that hangs is unknown when its time is up, and takes no longer; the others are
// not held up.
func TestPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := well()
		hang := make(chan struct{})
		h.firewall = func() ([]profile, error) { <-hang; return nil, nil }
		h.dial = func(ctx context.Context, _ string) error { <-ctx.Done(); return ctx.Err() }
		cfg := Config{Patience: time.Second, Mode: "adapter"}
		cfg = cfg.withDefaults()
		began := time.Now()
		got := text(cfg.run(t.Context(), h))
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("it took %v", took)
		}
		for _, want := range []string{"firewall unknown too_slow", "ssh fail no_answer 127.0.0.1:22", "driver fail no_driver"} {
			if !strings.Contains(got, want+"\n") {
				t.Errorf("no %q in\n%s", want, got)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if got := text(cfg.run(ctx, h)); !strings.Contains(got, "ssh unknown too_slow 127.0.0.1:22\n") {
			t.Errorf("ended before it began:\n%s", got)
		}
		close(hang)
	})
}

// This machine, whatever it is, is checked; and concurrently.
func TestHere(t *testing.T) {
	defer leaktest.None(t, goleak.IgnoreCurrent())
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	cfg := &Config{Services: map[keys.Port]string{keys.TCP(22): ln.Addr().String(), keys.TCP(3389): gone.Addr().String()}, Patience: 30 * time.Second}
	var work sync.WaitGroup
	for range 4 {
		work.Go(func() {
			got := Run(t.Context(), cfg)
			for i, want := range []string{"ssh", "rdp", RDPSettings, Firewall, Clock, Addresses, Driver} {
				if got[i].Check != want {
					t.Errorf("%d is %+v, want %s", i, got[i], want)
				}
				if what, _ := Explain(got[i].Check, got[i].Code); what == "" {
					t.Errorf("no words for %+v", got[i])
				}
			}
			if got[0].Code != "listening" || got[0].State != OK || got[1].Code != "refused" || got[1].State != Warn {
				t.Errorf("services: %+v", got[:2])
			}
			if got[5].Code == "unreadable" {
				t.Errorf("the networks of this machine cannot be read")
			}
		})
	}
	work.Wait()
}

func TestOwnInterfaces(t *testing.T) {
	for name, want := range map[string]bool{"bw0": true, "bw12": true, "bw": false, "bwx": false, "eth0": false, "": false} {
		if ownName(name) != want {
			t.Errorf("%q is ours: %v", name, !want)
		}
	}
}

func TestWords(t *testing.T) {
	for _, key := range Codes() {
		check, code, _ := strings.Cut(key, ".")
		if code == "" {
			check, code = "", check
		}
		if what, _ := Explain(check, code); what == "" {
			t.Errorf("%s explains nothing", key)
		}
	}
	if what, todo := Explain("rdp", "refused"); what == "" || todo == "" {
		t.Errorf("a service: %q, %q", what, todo)
	}
	if what, _ := Explain("flux", "capacitor"); what != "" {
		t.Errorf("unknown: %q", what)
	}
	if !slices.IsSorted(Codes()) {
		t.Error("codes are not sorted")
	}
}
