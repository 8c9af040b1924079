package control

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/gateway/control/internal/api"
	"github.com/boothwire/boothwire/gateway/control/internal/auth"
	"github.com/boothwire/boothwire/gateway/control/internal/store"
	"github.com/boothwire/boothwire/keys"
)

// Devices implements api.Backend.
func (b backend) Devices(_ context.Context, u auth.User, q api.Query) ([]client.Device, string, error) {
	if err := b.may(u, auth.View); err != nil {
		return nil, "", err
	}
	c := b.c
	ids, next := cut(c.matching(u, q), q, func(id string) string { return id })
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.cfg.Now()
	var list []client.Device
	for _, id := range ids {
		if v, _, ok := c.shows(id, now); ok && u.InGroup(v.Group) { // which may be another by now
			list = append(list, v)
		}
	}
	return list, next, nil
}

// matching are the ids, in order, of all devices that u sees and q asks for: of a fleet
// a page is shown, and nobody waits for the rest.
func (c *Control) matching(u auth.User, q api.Query) []string {
	match := func(id, group string) bool {
		return u.InGroup(group) && (q.Group == "" || q.Group == group) && (q.Device == "" || q.Device == id) && strings.Contains(id, q.Text)
	}
	var ids []string
	c.mu.Lock()
	for id, d := range c.devices {
		if match(id, d.row.Group) {
			ids = append(ids, id)
		}
	}
	for id := range c.strangers.seen {
		if match(id, "") {
			ids = append(ids, id)
		}
	}
	c.mu.Unlock()
	slices.Sort(ids)
	return ids
}

// Device implements api.Backend.
func (b backend) Device(_ context.Context, u auth.User, id string) (client.Device, error) {
	c := b.c
	c.mu.Lock()
	defer c.mu.Unlock()
	d, group := c.devices[id], ""
	if d != nil {
		group = d.row.Group
	}
	if err := c.policy().Authorise(u, auth.Request{Action: auth.View, Device: id, Group: group}); err != nil {
		return client.Device{}, err
	}
	v, _, ok := c.shows(id, c.cfg.Now())
	if !ok {
		return client.Device{}, errNotFound
	}
	if d != nil {
		v.Preflight = checksOf(d.row.Checks)
	}
	return v, nil
}

// WatchDevices implements api.Backend.
func (b backend) WatchDevices(ctx context.Context, u auth.User, after uint64) ([][]byte, uint64, error) {
	if err := b.MayView(u); err != nil {
		return nil, after, err
	}
	return b.c.watchDevices(ctx, u.Groups, after)
}

// MayView implements api.Backend.
func (b backend) MayView(u auth.User) error { return b.may(u, auth.View) }

// PutDevice implements api.Backend.
func (b backend) PutDevice(ctx context.Context, u auth.User, id string, r client.DeviceRequest) (client.Device, error) {
	if err := b.may(u, auth.Manage); err != nil {
		return client.Device{}, err
	}
	if err := checkDevice(id, r.Key.String(), r.Group); err != nil {
		return client.Device{}, fail(http.StatusUnprocessableEntity, err.code, err.text)
	}
	if _, err := b.c.register(ctx, u, []entry{{id, r.Key, r.Group}}); err != nil {
		return client.Device{}, err
	}
	return b.Device(ctx, u, id)
}

// entry is a device to be registered.
type entry struct {
	id    string
	key   keys.IdentityKey
	group string
}

// register registers devices, or changes them: all or none. A device whose key
// changes is another machine: what was known of the old one is forgotten, and its
// session closed.
func (c *Control) register(ctx context.Context, u User, list []entry) (client.Import, error) {
	now := c.cfg.Now()
	var done client.Import
	var rows []store.Device
	var replaced []string
	c.mu.Lock()
	for _, e := range list {
		d := c.devices[e.id]
		switch {
		case d == nil:
			done.Added++
		case d.key != e.key:
			done.Changed++
			replaced = append(replaced, e.id)
		case d.row.Group != e.group:
			done.Changed++
		default:
			done.Same++
			continue
		}
		row := store.Device{ID: e.id, Created: now, Gen: 3}
		if d != nil {
			row.Created = d.row.Created
			if d.key == e.key {
				row = d.row
				for _, k := range d.prekeys {
					row.Prekeys = append(row.Prekeys, k.String())
				}
			}
		}
		row.Key, row.Group = e.key.String(), e.group
		rows = append(rows, row)
	}
	c.mu.Unlock()
	err := c.store.Do(ctx, func(tx *store.Tx) error {
		for _, id := range replaced {
			if err := tx.DeleteDevice(id); err != nil {
				return err
			}
		}
		return tx.PutDevices(rows)
	})
	if err != nil {
		return client.Import{}, err
	}
	// What a device said before it was registered counts from now on, if it holds:
	// it need not say it again for a quarter of an hour.
	var before []heard
	defer func() {
		for _, h := range before {
			c.deliver(h.line, h.msg)
		}
	}()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range rows {
		d, err := readDevice(r)
		if err != nil {
			return client.Import{}, err
		}
		switch old := c.devices[r.ID]; {
		case old == nil:
			c.devices[r.ID] = d
			if h := c.strangers.forget(r.ID); h.line != nil {
				before = append(before, h)
			}
		case old.key == d.key:
			old.row.Group = r.Group
		default:
			c.drop(old, "replaced")
			c.devices[r.ID] = d
		}
		c.feed.touch(r.ID)
		if len(rows) <= 100 {
			c.note(store.Audit{Who: u.Name, What: auditDevice, Device: r.ID, Code: "registered", Detail: r.Key})
		}
	}
	if len(rows) > 100 {
		c.note(store.Audit{Who: u.Name, What: auditDevice, Code: "imported", Count: len(rows)})
	}
	return done, nil
}

// drop closes what a device has open; mu is held.
func (c *Control) drop(d *device, code string) {
	if s := d.session; s != nil {
		now := c.cfg.Now()
		s.m.Close(now, code, "")
		c.act(s, now)
	}
}

// DeleteDevice implements api.Backend.
func (b backend) DeleteDevice(ctx context.Context, u auth.User, id string) error {
	if err := b.may(u, auth.Manage); err != nil {
		return err
	}
	c := b.c
	c.mu.Lock()
	d := c.devices[id]
	if d == nil {
		c.mu.Unlock()
		return errNotFound
	}
	c.drop(d, "deleted")
	delete(c.devices, id)
	c.feed.touch(id)
	c.mu.Unlock()
	c.note(store.Audit{Who: u.Name, What: auditDevice, Device: id, Code: "deleted"})
	return c.store.Do(ctx, func(tx *store.Tx) error { return tx.DeleteDevice(id) })
}
