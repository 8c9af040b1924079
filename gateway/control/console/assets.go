package console

import (
	"bytes"
	"embed"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"regexp"
	"strings"
	"sync"
	"time"
)

//go:embed web/static
var static embed.FS

// engines are other people's programs for a browser, where they were fetched.
//
//go:embed web/engines
var engines embed.FS

// assets are the static files. Their folder has a version, so that browsers keep all
// of it and modules can name each other by relative paths.
type assets struct {
	files   map[string][]byte // by path below web/static
	version string
}

func readAssets() (assets, error) {
	a := assets{files: make(map[string][]byte)}
	var all bytes.Buffer
	err := fs.WalkDir(static, "web/static", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := static.ReadFile(name)
		name = strings.TrimPrefix(name, "web/static/")
		a.files[name] = data
		all.WriteString(name)
		all.Write(data)
		return err
	})
	a.version = digest(all.Bytes())
	return a, err
}

// imports finds what a module names at its beginning; ours are written one a line.
var imports = regexp.MustCompile(`(?m)^(?:import|export) .*from "(\./[a-z0-9_-]+\.js)";$`)

// needs are the addresses of what a module imports, and what that imports.
func (a assets) needs(module string) []string {
	var list []string
	seen := map[string]bool{module: true}
	for todo := []string{module}; len(todo) > 0; todo = todo[1:] {
		for _, m := range imports.FindAllSubmatch(a.files[todo[0]], -1) {
			name := path.Join(path.Dir(todo[0]), string(m[1]))
			if _, ok := a.files[name]; ok && !seen[name] {
				seen[name] = true
				list, todo = append(list, a.url(name)), append(todo, name)
			}
		}
	}
	return list
}

// url is where browsers find a file of this version.
func (a assets) url(name string) string { return "/console/static/" + a.version + "/" + name }

// serveStatic serves /console/static/{path...}, with the version or without.
func (c *Console) serveStatic(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("path")
	name, kept := strings.CutPrefix(name, c.assets.version+"/")
	data, ok := c.assets.files[name]
	if !ok {
		refuse(w, http.StatusNotFound, "not_found", "no such file")
		return
	}
	w.Header().Set("Content-Type", mime.TypeByExtension(path.Ext(name)))
	serveKept(w, r, bytes.NewReader(data), c.assets.version, kept)
}

// hasEngine reports whether a file of an engine was there at build time.
func hasEngine(name string) bool {
	_, err := fs.Stat(engines, "web/engines/"+name)
	return err == nil
}

// engineTags name the versions of the engines' files, read once.
var engineTags = sync.OnceValue(func() map[string]string {
	tags := make(map[string]string)
	_ = fs.WalkDir(engines, "web/engines", func(name string, d fs.DirEntry, err error) error {
		if data, err := engines.ReadFile(name); err == nil && !strings.HasPrefix(d.Name(), ".") {
			tags[name] = digest(data)
		}
		return err
	})
	return tags
})

// serveEngine serves /console/engines/{path...}.
func (c *Console) serveEngine(w http.ResponseWriter, r *http.Request) {
	name := "web/engines" + path.Clean("/"+r.PathValue("path"))
	tag, ok := engineTags()[name]
	f, err := engines.Open(name)
	if !ok || err != nil {
		refuse(w, http.StatusNotFound, "not_found", "not built in: make assets fetches it")
		return
	}
	defer f.Close()
	w.Header().Set("Content-Type", mime.TypeByExtension(path.Ext(name)))
	serveKept(w, r, f.(io.ReadSeeker), tag, false) // a copy for each stranger who asks would be his to hold
}

// serveKept serves data that a browser may keep: for good under an address that
// changes with it, else until it asks whether it changed.
func serveKept(w http.ResponseWriter, r *http.Request, data io.ReadSeeker, version string, forGood bool) {
	h := w.Header()
	h.Set("Cache-Control", "no-cache")
	if forGood {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	h.Set("ETag", `"`+version+`"`)
	rc := http.NewResponseController(w)
	defer rc.SetWriteDeadline(time.Time{})
	http.ServeContent(&limited{w, rc}, r, "", time.Time{}, data)
}
