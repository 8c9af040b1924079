package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/boothwire/boothwire/gateway/control/client"
)

// follow prints the devices that f names, then each that changes, until ctx ends: a line
// for each, or a JSON document for each event.
func (a *app) follow(ctx context.Context, ctl *client.Client, f client.Filter) error {
	w := watching{a: a, filter: f, known: make(map[string]string)}
	for e, err := range ctl.WatchDevices(ctx) {
		if ctx.Err() != nil {
			return nil // Ctrl-C is how it ends
		}
		if err == nil && a.json {
			err = w.document(e)
		} else if err == nil {
			err = w.lines(e)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// watching is what was printed of the devices.
type watching struct {
	a      *app
	filter client.Filter
	known  map[string]string // the latest line of each
	anew   map[string]bool   // of those, which a list that begins anew has not had yet; nil: none is under way
}

func (w *watching) wants(d client.Device) bool {
	return (w.filter.Group == "" || d.Group == w.filter.Group) && strings.Contains(d.ID, w.filter.Text)
}

// document prints an event, with what is left of it after the filter. That a device of
// another group is gone says nothing wrong.
func (w *watching) document(e client.DeviceEvents) error {
	e.Devices = slices.DeleteFunc(e.Devices, func(d client.Device) bool { return !w.wants(d) })
	e.Gone = slices.DeleteFunc(e.Gone, func(id string) bool { return !strings.Contains(id, w.filter.Text) })
	if len(e.Devices)+len(e.Gone) == 0 && !e.Reset {
		return nil
	}
	b, err := json.Marshal(e)
	if err == nil {
		_, err = fmt.Fprintln(w.a.out, seen(b))
	}
	return err
}

// lines prints what has changed for people: not that a device was heard.
func (w *watching) lines(e client.DeviceEvents) error {
	if e.Reset {
		w.anew = make(map[string]bool)
		for id := range w.known {
			w.anew[id] = true
		}
	}
	gone := slices.Clone(e.Gone)
	for _, d := range e.Devices {
		delete(w.anew, d.ID)
		if !w.wants(d) {
			gone = append(gone, d.ID)
			continue
		}
		text := row(d.Online, d.State, valid(d.Address), d.Group, d.Session, note(d))
		if w.known[d.ID] == text {
			continue
		}
		w.known[d.ID] = text
		if err := w.line(d.ID, text); err != nil {
			return err
		}
	}
	if !e.More {
		for id := range w.anew {
			gone = append(gone, id)
		}
		w.anew = nil
	}
	slices.Sort(gone)
	for _, id := range gone {
		if _, ok := w.known[id]; !ok {
			continue
		}
		delete(w.known, id)
		if err := w.line(id, "gone"); err != nil {
			return err
		}
	}
	return nil
}

func (w *watching) line(id, text string) error {
	_, err := fmt.Fprintf(w.a.out, "%s  %-20s %s\n", time.Now().Format(time.TimeOnly), clean(id), text)
	return err
}

// row is a line's cells: columns cannot be as wide as what comes later needs.
func row(cells ...any) string {
	text := make([]string, len(cells))
	for i, c := range cells {
		if text[i] = clean(fmt.Sprint(c)); text[i] == "" {
			text[i] = "-"
		}
	}
	return strings.Join(text, "  ")
}
