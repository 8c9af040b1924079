package console

import (
	"net/http"

	"github.com/boothwire/boothwire/gateway/control"
	"github.com/boothwire/boothwire/gateway/control/console/internal/login"
)

// sections are the menu. Keys, roll-out and jobs will stand between nodes and audit.
var sections = []section{
	{Name: "devices", Path: "/console/", Role: control.Viewer},
	{Name: "sessions", Path: "/console/sessions", Role: control.Viewer},
	{Name: "nodes", Path: "/console/nodes", Role: control.Viewer},
	{Name: "audit", Path: "/console/audit", Role: control.Approver, Everywhere: true},
}

// sheets are the pages. The template has the page's name, its module is js/NAME.js, and
// the words of its title have the key NAME.title.
var sheets = []sheet{
	{Pattern: "/console/{$}", Name: "devices", Section: "devices", Role: control.Viewer},
	{Pattern: "/console/devices/{id}", Name: "device", Section: "devices", Role: control.Viewer},
	{Pattern: "/console/sessions", Name: "sessions", Section: "sessions", Role: control.Viewer},
	{Pattern: "/console/sessions/{id}", Name: "session", Section: "sessions", Role: control.Viewer},
	{Pattern: "/console/sessions/{id}/desktop", Name: "desktop", Section: "sessions", Role: control.Operator, Policy: policyEngine},
	{Pattern: "/console/sessions/{id}/terminal", Name: "terminal", Section: "sessions", Role: control.Operator, Policy: policyTerminal},
	{Pattern: "/console/sessions/{id}/files", Name: "files", Section: "sessions", Role: control.Operator},
	{Pattern: "/console/nodes", Name: "nodes", Section: "nodes", Role: control.Viewer},
	{Pattern: "/console/audit", Name: "audit", Section: "audit", Role: control.Approver, Everywhere: true},
}

// routes is everything that the console serves.
func (c *Console) routes() http.Handler {
	mux := http.NewServeMux()

	// For everybody.
	mux.HandleFunc("GET /console/static/{path...}", c.serveStatic)
	mux.HandleFunc("GET /console/engines/{path...}", c.serveEngine)
	mux.HandleFunc("GET /console/i18n/{file}", c.serveText)
	mux.HandleFunc("GET "+signInPath, c.showSignIn)
	mux.HandleFunc("POST "+signInPath, c.signIn)
	mux.HandleFunc("GET "+startPath, c.startOIDC)
	mux.HandleFunc("GET "+login.CallbackPath, c.finishOIDC)
	mux.HandleFunc("POST /console/signout", c.signOut)

	// For who is signed in.
	for _, s := range sheets {
		mux.Handle("GET "+s.Pattern, c.page(s))
	}
	mux.Handle("/console/api/v1/", c.signedIn(c.passThrough()))
	mux.Handle("GET /console/policy", c.signedIn(http.HandlerFunc(c.showPolicy)))
	mux.Handle("POST /console/connect", c.signedIn(http.HandlerFunc(c.connect)))
	c.heldRoutes(mux)
	mux.Handle("GET /console/desktop", c.signedIn(http.HandlerFunc(c.desktops.Iron)))
	mux.Handle("GET /console/guac", c.signedIn(http.HandlerFunc(c.desktops.Guac)))
	c.sshRoutes(mux)
	mux.Handle("POST /console/awake", c.signedIn(http.HandlerFunc(awake)))

	mux.Handle("/console/", c.page(sheet{Name: "lost", Role: control.Viewer, Status: http.StatusNotFound}))
	return mux
}
