package console

import (
	"fmt"
	"mime"
	"net/http"
	"strings"

	"github.com/boothwire/boothwire/gateway/control/console/internal/held"
)

// rdpForward is the local port that the page tells boothctl to open, and the file leads
// to: 3389 is taken where the engineer's own machine has a desktop.
const rdpForward = "127.0.0.1:13389"

// showRDP is a file for the engineer's own remote desktop client. This console's tunnel
// ends in its process, so the file leads to boothctl's: by "boothctl forward" to a local
// port or, with ?to=tunnel, by "boothctl up" to the device's tunnel address.
func (c *Console) showRDP(w http.ResponseWriter, r *http.Request, s *held.Session) {
	address := rdpForward
	if r.URL.Query().Get("to") == "tunnel" {
		if a := s.Status().Session.Address; a.IsValid() {
			address = a.String() + ":3389"
		}
	}
	h := w.Header()
	h.Set("Content-Type", "application/x-rdp")
	h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": s.Device + ".rdp"}))
	fmt.Fprint(w, rdpFile(address))
}

// rdpFile asks for credentials, insists on network level authentication, lets the user
// decide about an unknown certificate, and shares the clipboard but neither drives nor
// printers.
func rdpFile(address string) string {
	lines := []string{
		"full address:s:" + address,
		"prompt for credentials:i:1",
		"enablecredsspsupport:i:1",
		"authentication level:i:2",
		"screen mode id:i:1",
		"dynamic resolution:i:1",
		"redirectclipboard:i:1",
		"redirectprinters:i:0",
		"drivestoredirect:s:",
		"audiomode:i:2",
	}
	return strings.Join(lines, "\r\n") + "\r\n"
}
