package console

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/boothwire/boothwire/gateway/control"
	"github.com/boothwire/boothwire/gateway/control/console/internal/login"
)

//go:embed web/pages/*.html
var templates embed.FS

// A section is one line of the menu. Its words have the key nav.NAME.
type section struct {
	Name, Path string
	Role       control.Role // lowest that sees it
	Everywhere bool         // only for users of all device groups
}

// A sheet is one page: a template in the frame that all share, and a module.
type sheet struct {
	Pattern    string
	Name       string
	Section    string
	Role       control.Role
	Everywhere bool   // only for users of all device groups
	Policy     string // of what it may load; default policyStrict
	Status     int    // default 200
}

// themeCookie holds dark or light; without it the system decides.
const themeCookie = "boothwire-theme"

// view is what a template shows.
type view struct {
	*dictionary
	Lang      string
	Languages []language
	Theme     string
	Sheet     sheet
	Menu      []section
	User      control.User
	ID        string // of what the page is about
	Path      string
	Data      any
	assets    assets
}

// Asset is the address of a static file.
func (v view) Asset(name string) string { return v.assets.url(name) }

// Engine reports whether a file of an engine, such as "xterm/xterm.js", is built in.
func (v view) Engine(name string) bool { return hasEngine(name) }

// Dictionary is the address of the page's words.
func (v view) Dictionary() string { return "/console/i18n/" + v.Lang + ".json?v=" + v.tag }

// Module is the page's own; empty: it has none.
func (v view) Module() string {
	if _, ok := v.assets.files["js/"+v.Sheet.Name+".js"]; !ok {
		return ""
	}
	return v.Asset("js/" + v.Sheet.Name + ".js")
}

// Modules are those that the page's own needs, for a browser to fetch at once.
func (v view) Modules() []string { return v.assets.needs("js/" + v.Sheet.Name + ".js") }

// Title is that of the window.
func (v view) Title() string {
	title := v.t(v.Sheet.Name + ".title")
	if v.ID != "" {
		title = v.ID + " · " + title
	}
	return title + " · boothwire"
}

// May reports whether the user has a role.
func (v view) May(role string) bool { return login.Includes(v.User.Role, control.Role(role)) }

// Everywhere reports whether the user sees all device groups.
func (v view) Everywhere() bool { return len(v.User.Groups) == 0 }

// pages are the templates, each in the frame and in a language.
type pages struct {
	by     map[string]*template.Template // language/name
	texts  texts
	assets assets
}

func readPages(words texts, files assets) (pages, error) {
	p := pages{by: make(map[string]*template.Template), texts: words, assets: files}
	names, err := fs.Glob(templates, "web/pages/*.html")
	if err != nil {
		return p, err
	}
	for _, l := range languages {
		funcs := template.FuncMap{"t": words[l.Tag].t}
		for _, file := range names {
			name := strings.TrimSuffix(path.Base(file), ".html")
			t, err := template.New("frame.html").Funcs(funcs).ParseFS(templates, "web/pages/frame.html", file)
			if err != nil {
				return p, fmt.Errorf("console: page %s: %w", name, err)
			}
			p.by[l.Tag+"/"+name] = t
		}
	}
	return p, nil
}

// page serves a sheet to those who may see it.
func (c *Console) page(s sheet) http.Handler {
	return c.signedIn(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		l := login.From(r.Context())
		if wantsPage(r) && c.logins.Renew(l) {
			http.Redirect(w, r, startPath+"?next="+url.QueryEscape(r.URL.RequestURI()), http.StatusSeeOther)
			return
		}
		u := l.User
		if !wantsPage(r) && s.Status == http.StatusNotFound {
			refuse(w, http.StatusNotFound, "not_found", "no such page")
			return
		}
		shown := s
		if !may(u, s.Role, s.Everywhere) {
			shown = sheet{Name: "forbidden", Section: s.Section, Status: http.StatusForbidden}
		}
		c.pages.show(w, r, shown, &u, nil)
	}))
}

// show renders a sheet in the language of its reader; u is nil before a sign-in.
func (p pages) show(w http.ResponseWriter, r *http.Request, s sheet, u *control.User, data any) {
	v := view{Lang: languageOf(r), Languages: languages, Sheet: s, ID: r.PathValue("id"), Path: r.URL.RequestURI(), Data: data, assets: p.assets}
	v.dictionary = p.texts[v.Lang]
	if c, err := r.Cookie(themeCookie); err == nil && slices.Contains([]string{"dark", "light"}, c.Value) {
		v.Theme = c.Value
	}
	if u != nil {
		v.User = *u
		for _, s := range sections {
			if may(*u, s.Role, s.Everywhere) {
				v.Menu = append(v.Menu, s)
			}
		}
	}
	var text bytes.Buffer
	if err := p.by[v.Lang+"/"+s.Name].ExecuteTemplate(&text, "frame.html", v); err != nil {
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Language", v.Lang)
	h.Set("Vary", "Cookie, Accept-Language")
	if s.Policy != "" {
		h.Set("Content-Security-Policy", s.Policy)
	}
	w.WriteHeader(max(s.Status, http.StatusOK))
	_, _ = text.WriteTo(w)
}
