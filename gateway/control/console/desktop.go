package console

import (
	"net/http"
	"slices"

	"github.com/boothwire/boothwire/gateway/control/console/internal/desktop"
	"github.com/boothwire/boothwire/gateway/control/console/internal/held"
)

// Desktop is how desktops come into a browser. Its zero value is strict, and uses the
// browser's own engine.
type Desktop struct {
	Plain    bool   // RDP servers without NLA too: this process then sees the password
	FirstUse bool   // a device that signed no RDP certificate is known by the first that it shows
	Remember string // file that keeps those; default in memory
	Record   bool   // none that is not recorded, which needs Guacd with a folder
	Guacd    *Guacd // nil: none
	Most     int    // at once; default 200
}

// Guacd is a guacd that draws desktops, and records them.
type Guacd = desktop.Guacd

// DesktopStats count since the start.
type DesktopStats = desktop.Stats

// desktops are those of this console.
func (c *Console) newDesktops(cfg Desktop) (*desktop.Server, error) {
	first, err := remembered(cfg.FirstUse, cfg.Remember)
	if err != nil {
		return nil, err
	}
	return desktop.New(&desktop.Config{
		Redeem: c.redeemDesktop, SameOrigin: SameOrigin, First: first, Guacd: cfg.Guacd, Most: cfg.Most, Logger: c.log,
		Policy: desktop.Policy{Plain: cfg.Plain, Record: cfg.Record},
	}), nil
}

// DesktopStats is a snapshot.
func (c *Console) DesktopStats() DesktopStats { return c.desktops.Stats() }

// redeemDesktop takes a connect code, and finds what the device signed.
func (c *Console) redeemDesktop(r *http.Request, code string) (*desktop.Target, error) {
	who := whoOf(r)
	tab, err := c.held.Redeem(r.Context(), code, who, held.RDP)
	if err != nil {
		return nil, err
	}
	device, err := c.apiOf(r).Device(r.Context(), tab.Session.Device)
	if err != nil {
		tab.Close()
		return nil, err
	}
	return &desktop.Target{Tab: tab, User: who.User, Session: tab.Session.ID, Device: tab.Session.Device, RDP: device.RDP, SSH: device.SSH}, nil
}

// desktopShown is what a page needs to know before it asks anybody to sign in.
type desktopShown struct {
	Device   string   `json:"device"`
	Engines  []string `json:"engines"`  // that may be used at present, the preferred first
	Embedded []string `json:"embedded"` // that are built in
	Drive    bool     `json:"drive"`
	Recorded bool     `json:"recorded"`
}

// engineFiles are what each engine's part in the browser begins with.
var engineFiles = map[string]string{
	desktop.EngineIron:  "web/engines/iron/iron-remote-desktop-rdp.js",
	desktop.EngineGuacd: "web/engines/guacamole/guacamole.js",
}

// showDesktop serves GET /console/held/{id}/desktop.
func (c *Console) showDesktop(w http.ResponseWriter, r *http.Request, s *held.Session) {
	v := desktopShown{Device: s.Device, Engines: c.desktops.Engines(r.Context()), Embedded: []string{}}
	if v.Engines == nil {
		v.Engines = []string{}
	}
	for engine, file := range engineFiles {
		if _, err := engines.Open(file); err == nil {
			v.Embedded = append(v.Embedded, engine)
		}
	}
	slices.Sort(v.Embedded)
	if g := c.cfg.Desktop.Guacd; g != nil {
		v.Drive, v.Recorded = g.Drive, g.Recordings != ""
	}
	answer(w, http.StatusOK, v)
}

// makeGuacCode serves POST /console/held/{id}/guac: it takes what somebody typed for the
// device, and answers with the code that stands for it, once.
func (c *Console) makeGuacCode(w http.ResponseWriter, r *http.Request, s *held.Session) {
	var wish desktop.Wish
	if !read(w, r, &wish) {
		return
	}
	who := whoOf(r)
	code, err := s.Code(who, held.RDP)
	if err == nil {
		err = c.desktops.Offer(who.User, code, wish)
	}
	if err != nil {
		c.refuseWith(w, r, err)
		return
	}
	answer(w, http.StatusCreated, map[string]any{"code": code, "expires_s": int(held.CodeLife.Seconds())})
}
