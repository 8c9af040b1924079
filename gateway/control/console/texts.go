package console

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"path"
	"strings"
)

//go:embed web/i18n/*.json
var dictionaries embed.FS

// languages are those that the console speaks, the default first. Each calls itself by
// its own name.
var languages = []language{{"en", "English"}, {"zh-CN", "简体中文"}}

type language struct{ Tag, Name string }

// languageCookie holds what a user chose; pages are rendered in it.
const languageCookie = "boothwire-language"

// texts are the words of each language by key.
type texts map[string]*dictionary

type dictionary struct {
	words map[string]string
	json  []byte
	tag   string // of these very words
}

func readTexts() (texts, error) {
	t := make(texts)
	for _, l := range languages {
		data, err := dictionaries.ReadFile("web/i18n/" + l.Tag + ".json")
		if err != nil {
			return nil, err
		}
		d := &dictionary{json: data, tag: digest(data)}
		if err := json.Unmarshal(data, &d.words); err != nil {
			return nil, fmt.Errorf("console: words of %s: %w", l.Tag, err)
		}
		t[l.Tag] = d
	}
	return t, nil
}

// digest names a version of data.
func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return base64.RawURLEncoding.EncodeToString(sum[:9])
}

// t returns the words of a key. A key without words shows itself; a test looks for those.
func (d *dictionary) t(key string) string {
	if s, ok := d.words[key]; ok {
		return s
	}
	return key
}

// languageOf is what a browser's user reads: as he chose, else as his browser prefers.
func languageOf(r *http.Request) string {
	if c, err := r.Cookie(languageCookie); err == nil {
		for _, l := range languages {
			if c.Value == l.Tag {
				return l.Tag
			}
		}
	}
	for _, want := range strings.Split(r.Header.Get("Accept-Language"), ",") {
		want, _, _ = strings.Cut(strings.TrimSpace(want), ";")
		want, _, _ = strings.Cut(strings.ToLower(want), "-")
		for _, l := range languages {
			if base, _, _ := strings.Cut(l.Tag, "-"); base == want {
				return l.Tag
			}
		}
	}
	return languages[0].Tag
}

// serveText serves /console/i18n/{file}. Pages ask for a version by its name, so that
// it can be kept.
func (c *Console) serveText(w http.ResponseWriter, r *http.Request) {
	d, ok := c.texts[strings.TrimSuffix(path.Base(r.PathValue("file")), ".json")]
	if !ok {
		refuse(w, http.StatusNotFound, "not_found", "no such language")
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	serveKept(w, r, bytes.NewReader(d.json), d.tag, r.URL.Query().Get("v") == d.tag)
}
