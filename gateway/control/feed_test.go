package control

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/keys"
)

// onlooker is who watches the devices, and what he knows of them.
type onlooker struct {
	stop func()

	mu     sync.Mutex
	knows  map[string]client.Device
	events int
	resets int
	told   map[string]int // how often, by device
	ended  error
}

func (w *world) watches(u User) *onlooker { return w.watchesBy(w.c.Client(u)) }

func (w *world) watchesBy(api *client.Client) *onlooker {
	ctx, cancel := context.WithCancel(context.Background())
	o := &onlooker{knows: make(map[string]client.Device), told: make(map[string]int)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for e, err := range api.WatchDevices(ctx) {
			o.mu.Lock()
			if err != nil {
				o.ended = err
			}
			o.events++
			if e.Reset {
				o.resets++
				clear(o.knows)
			}
			for _, d := range e.Devices {
				o.knows[d.ID] = d
				o.told[d.ID]++
			}
			for _, id := range e.Gone {
				delete(o.knows, id)
			}
			o.mu.Unlock()
		}
	}()
	o.stop = sync.OnceFunc(func() { cancel(); <-done })
	w.t.Cleanup(o.stop)
	eventually(w.t, "the first list", func() bool { o.mu.Lock(); defer o.mu.Unlock(); return o.resets > 0 || o.ended != nil })
	return o
}

func (o *onlooker) sees(id string) (client.Device, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	d, ok := o.knows[id]
	return d, ok
}

func (o *onlooker) waits(t *testing.T, what, id string, ok func(d client.Device, there bool) bool) {
	t.Helper()
	eventually(t, what, func() bool { return ok(o.sees(id)) })
}

func there(_ client.Device, there bool) bool { return there }
func gone(_ client.Device, there bool) bool  { return !there }

// Whoever watches sees what changes, by a message, a session, a hand or time alone.
func TestWatchDevices(t *testing.T) {
	clock := &hand{}
	w := newWorld(t, &Config{Now: clock.now})
	_, b := w.pair()
	all := w.watches(User{Name: "ann", Role: Viewer})
	north := w.watches(User{Name: "bob", Role: Viewer, Groups: []string{"north"}})
	if d, ok := all.sees("kiosk-1"); !ok || d.Online != client.Online || d.Prekeys == 0 {
		t.Errorf("at first %+v, %v", d, ok)
	}
	if _, ok := north.sees("kiosk-1"); ok {
		t.Error("a device of no group is shown to who sees one group")
	}
	s := w.mustOpen(op("ann"), "kiosk-1")
	all.waits(t, "the session", "kiosk-1", func(d client.Device, _ bool) bool { return d.Session == s.ID })
	w.reaches(s.ID, client.Connected)
	all.waits(t, "the state", "kiosk-1", func(d client.Device, _ bool) bool { return d.State == "connected" && d.Address.IsValid() })
	w.mustClose(op("ann"), s.ID)
	all.waits(t, "its end", "kiosk-1", func(d client.Device, _ bool) bool { return d.Session == "" && d.State == "disconnected" })

	put := func(group string) {
		t.Helper()
		if _, err := w.admin.PutDevice(t.Context(), "kiosk-1", &client.DeviceRequest{Key: b.keys.Key(), Group: group}); err != nil {
			t.Fatal(err)
		}
	}
	put("north")
	north.waits(t, "a device that came to the group", "kiosk-1", there)
	all.waits(t, "its group", "kiosk-1", func(d client.Device, _ bool) bool { return d.Group == "north" })
	put("south")
	north.waits(t, "a device that left the group", "kiosk-1", gone)
	put("north")
	north.waits(t, "its return", "kiosk-1", there)

	w.booth("kiosk-9", false).serve()
	all.waits(t, "a stranger", "kiosk-9", func(d client.Device, there bool) bool { return there && d.Gen == 2 })
	b.kill()
	clock.move(20 * time.Minute)
	all.waits(t, "late, by time alone", "kiosk-1", func(d client.Device, _ bool) bool { return d.Online == client.Late })
	clock.move(20 * time.Minute)
	all.waits(t, "unknown, by time alone", "kiosk-1", func(d client.Device, _ bool) bool { return d.Online == client.Unknown })
	if err := w.admin.DeleteDevice(t.Context(), "kiosk-1"); err != nil {
		t.Fatal(err)
	}
	all.waits(t, "deleted", "kiosk-1", gone)
	north.waits(t, "deleted", "kiosk-1", gone)
	all.stop()
	north.stop()
	if north.told["kiosk-9"] > 0 || all.resets != 1 || north.resets != 1 {
		t.Errorf("%+v, %+v", north.told, all.resets)
	}
}

// A device that says nothing new is shown again once a minute, and when it was heard
// last is not forgotten.
func TestNoEventForAHeartbeat(t *testing.T) {
	clock := newStopped()
	w := newWorld(t, &Config{Now: clock.now})
	w.booth("kiosk-1", true)
	tell := teller{c: w.c, f: &w.c.feed, shown: make(map[string]shown)}
	beat := func() {
		w.c.mu.Lock()
		d := w.c.devices["kiosk-1"]
		d.row.Seen, d.row.Due = clock.now(), clock.now().Add(10*time.Minute)
		w.c.mu.Unlock()
	}
	look := func() []news { return tell.look([]string{"kiosk-1"}) }
	if got := look(); len(got) != 1 {
		t.Fatalf("at first: %v", got)
	}
	beat()
	if got := look(); len(got) != 1 || !strings.Contains(string(got[0].data), `"online":"online"`) {
		t.Fatalf("online: %v", got)
	}
	said := 0
	for range 60 {
		clock.move(5 * time.Second)
		beat()
		said += len(look())
	}
	if said != 5 {
		t.Errorf("60 heartbeats in 5 minutes made %d events", said)
	}
	clock.move(5 * time.Second)
	beat()
	last := clock.now()
	if got := look(); len(got) != 0 {
		t.Errorf("%s", got[0].data)
	}
	// It falls silent: its last word is told all the same, without a touch.
	turns := tell.shown["kiosk-1"].turns
	if due := turns.Sub(last); due <= 0 || due > feedSeen {
		t.Fatalf("looked at again in %v", due)
	}
	clock.move(turns.Sub(last) + time.Second)
	if got := look(); len(got) != 1 || tell.shown["kiosk-1"].device.LastSeen != last {
		t.Errorf("its last word is not told: %v", got)
	}
	if turns = tell.shown["kiosk-1"].turns; turns != last.Add(10*time.Minute) {
		t.Errorf("looked at again at %v", turns)
	}
	clock.move(turns.Sub(clock.now()) + time.Second)
	if got := look(); len(got) != 1 || tell.shown["kiosk-1"].device.Online != client.Late {
		t.Errorf("not late: %v", got)
	}
	clock.move(tell.shown["kiosk-1"].turns.Sub(clock.now()) + time.Second)
	if got := look(); len(got) != 1 || tell.shown["kiosk-1"].device.Online != client.Unknown || !tell.shown["kiosk-1"].turns.IsZero() {
		t.Errorf("not unknown: %v", got)
	}
}

// Without a watcher nothing is kept, and who comes back soon goes on where he was.
func TestFeedEnds(t *testing.T) {
	w := newWorld(t, nil)
	w.booth("kiosk-1", true)
	f := &w.c.feed
	f.touch("kiosk-1")
	if f.on.Load() || len(f.queue) > 0 {
		t.Fatal("kept for nobody")
	}
	w.watches(op("ann")).stop()
	eventually(t, "nobody watches", func() bool { f.mu.Lock(); defer f.mu.Unlock(); return f.watching == 0 })
	f.mu.Lock()
	at := f.log.Version()
	f.mu.Unlock()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if events, version, err := w.c.watchDevices(ctx, nil, at); !errors.Is(err, context.DeadlineExceeded) || version < at {
		t.Errorf("who comes back is told %s, %v", events, err)
	}
	if f.end(time.Now()) {
		t.Error("ended too soon")
	}
	f.mu.Lock()
	f.left = f.left.Add(-feedLinger)
	f.mu.Unlock()
	eventually(t, "its end", func() bool { return !f.on.Load() })
	f.mu.Lock()
	if f.log != nil || f.queue != nil || f.version < at {
		t.Errorf("%+v", f.queue)
	}
	f.mu.Unlock()
	if events, version, err := w.c.watchDevices(t.Context(), nil, at); err != nil || version <= at || !strings.Contains(string(events[0]), `"reset":true`) {
		t.Errorf("who comes back too late: %s, %d, %v", events, version, err)
	}
}

// The stream ends with the token, and is refused to who may see nothing.
func TestWatchDevicesRefused(t *testing.T) {
	w := newWorld(t, nil)
	url, secret := w.served(), w.token(op("ann"))
	get := func(secret string) *http.Response {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/api/v1/devices/events", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+secret)
		req.Header.Set("Last-Event-ID", "no number")
		tr := &http.Transport{}
		t.Cleanup(tr.CloseIdleConnections)
		r, err := tr.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.Body.Close() })
		return r
	}
	if r := get("bwt_none"); r.StatusCode != http.StatusUnauthorized {
		t.Errorf("a stranger: %d", r.StatusCode)
	}
	if r := get(w.token(User{Name: "relay", Role: RelayRole})); r.StatusCode != http.StatusForbidden {
		t.Errorf("a relay: %d", r.StatusCode)
	}
	r := get(secret)
	lines := bufio.NewScanner(r.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() && !strings.HasPrefix(lines.Text(), "id: ") {
	}
	for k, err := range w.admin.Tokens(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if err := w.admin.DeleteToken(t.Context(), k.ID); err != nil {
			t.Fatal(err)
		}
	}
	w.booth("kiosk-1", true)
	for lines.Scan() {
		if strings.Contains(lines.Text(), "kiosk-1") {
			t.Fatal("told after the token was deleted")
		}
	}
}

// Ten thousand devices come in pages that a client takes.
func TestWatchManyDevices(t *testing.T) {
	w := newWorld(t, nil)
	w.populate(2500)
	o := w.watches(op("ann"))
	eventually(t, "all of them", func() bool { o.mu.Lock(); defer o.mu.Unlock(); return len(o.knows) == 2500 })
	o.stop()
	if o.events < 3 || o.resets != 1 {
		t.Errorf("%d events, %d resets", o.events, o.resets)
	}
}

// populate registers devices of which nothing is heard.
func (w *world) populate(n int) {
	w.t.Helper()
	var csv strings.Builder
	for i := range n {
		id, err := keys.OpenIdentity(keys.NewMemory(), "device")
		if err != nil {
			w.t.Fatal(err)
		}
		fmt.Fprintf(&csv, "kiosk-%05d,%s,group-%d\n", i, id.Key(), i%10)
	}
	if _, err := w.admin.ImportDevices(w.t.Context(), strings.NewReader(csv.String())); err != nil {
		w.t.Fatal(err)
	}
}

// A connection that breaks is made anew, and goes on where it was.
func TestWatchDevicesResumes(t *testing.T) {
	w := newWorld(t, nil)
	w.booth("kiosk-1", true)
	srv := httptest.NewServer(w.c)
	t.Cleanup(srv.Close)
	way := &http.Transport{}
	t.Cleanup(way.CloseIdleConnections)
	o := w.watchesBy(client.New(srv.URL, &client.Config{Token: w.token(op("ann")), HTTP: &http.Client{Transport: way}}))
	for n := range 3 {
		id := fmt.Sprintf("kiosk-new-%d", n)
		srv.CloseClientConnections()
		w.booth(id, true)
		o.waits(t, id, id, there)
	}
	o.stop()
	if o.resets != 1 || o.told["kiosk-1"] != 1 {
		t.Errorf("%d resets, %+v", o.resets, o.told)
	}
}
