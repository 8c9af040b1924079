package console

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/boothwire/boothwire/gateway/control"
)

// Every page is told what it may load, and has no script or style of its own in it.
func TestPolicies(t *testing.T) {
	d := newDesk(t, nil)
	b := d.as(t, control.User{Name: "ann", Role: control.Admin})
	paths := []string{"/console/nowhere"}
	for _, s := range sheets {
		paths = append(paths, strings.NewReplacer("{$}", "", "{id}", "a").Replace(s.Pattern))
	}
	for _, path := range paths {
		_, head, text := ask(t, b, "GET", d.url+path, nil)
		want := policyStrict
		if i := slices.IndexFunc(sheets, func(s sheet) bool { return strings.NewReplacer("{$}", "", "{id}", "a").Replace(s.Pattern) == path }); i >= 0 && sheets[i].Policy != "" {
			want = sheets[i].Policy
		}
		for name, want := range map[string]string{
			"Content-Security-Policy": want, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
			"Cross-Origin-Opener-Policy": "same-origin", "Cache-Control": "no-store", "X-Frame-Options": "DENY",
		} {
			if got := head.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", path, name, got, want)
			}
		}
		low := strings.ToLower(text)
		for _, bad := range []string{"<style", " style=", " onclick=", " onload=", "javascript:"} {
			if strings.Contains(low, bad) {
				t.Errorf("%s has %q in it", path, bad)
			}
		}
		for _, tag := range strings.SplitAfter(low, "<script")[1:] {
			if tag, _, _ = strings.Cut(tag, ">"); !strings.Contains(tag, ` src="/console/static/`) {
				t.Errorf("%s has a script of its own: %s", path, tag)
			}
		}
	}
	for _, policy := range []string{policyStrict, policyTerminal, policyEngine} {
		if strings.Contains(policy, "'unsafe-eval'") || strings.Contains(policy, "script-src 'self' 'unsafe-inline'") {
			t.Errorf("%s lets in too much", policy)
		}
	}
	if strings.Contains(policyStrict, "unsafe") {
		t.Error("the policy of ordinary pages is not strict")
	}
}

// Whatever stands in an address or a user's name becomes text.
func TestPagesEscape(t *testing.T) {
	d := newDesk(t, nil)
	const evil = `"><img src=x onerror=alert(1)>`
	b := d.as(t, control.User{Name: evil, Role: control.Admin})
	for _, path := range []string{"/console/devices/%22%3E%3Cimg%20src=x%20onerror=alert(1)%3E", "/console/devices/x'%3Cscript%3E", "/console/?q=%22%3E%3Cscript%3E"} {
		status, _, text := ask(t, b, "GET", d.url+path, nil)
		if status != http.StatusOK || strings.Contains(text, "<img") || strings.Contains(text, "<script>") {
			t.Errorf("%s: %d\n%s", path, status, text)
		}
	}
	_, _, text := ask(t, d.browser(t), "GET", d.url+`/console/signin?next=/console/%22%3E%3Cscript%3E`, nil)
	if strings.Contains(text, "<script>") {
		t.Errorf("sign-in: %s", text)
	}
}

// Who may see which page.
func TestPageRoles(t *testing.T) {
	d := newDesk(t, nil)
	for _, s := range sheets {
		path := strings.NewReplacer("{$}", "", "{id}", "a").Replace(s.Pattern)
		if status, _, _ := ask(t, d.browser(t), "GET", d.url+path, nil); status != http.StatusSeeOther {
			t.Errorf("%s shows itself to strangers: %d", path, status)
		}
		for i, role := range []control.Role{control.Viewer, control.Operator, control.Approver, control.Admin} {
			low := slices.Index([]control.Role{control.Viewer, control.Operator, control.Approver, control.Admin}, s.Role)
			for _, groups := range [][]string{nil, {"mall-7"}} {
				want := http.StatusOK
				if i < low || s.Everywhere && groups != nil {
					want = http.StatusForbidden
				}
				b := d.as(t, control.User{Name: string(role), Role: role, Groups: groups})
				if status, _, _ := ask(t, b, "GET", d.url+path, nil); status != want {
					t.Errorf("%s for a %s of %v: %d, want %d", path, role, groups, status, want)
				}
			}
		}
	}
}

// The language is the one chosen, else the browser's.
func TestLanguages(t *testing.T) {
	d := newDesk(t, nil)
	for _, tt := range []struct{ accept, cookie, want string }{
		{"", "", "en"}, {"fr", "", "en"}, {"zh", "", "zh-CN"}, {"zh-TW,en;q=0.5", "", "zh-CN"}, {"de,en;q=0.9,zh;q=0.1", "", "en"},
		{"en", "zh-CN", "zh-CN"}, {"zh", "en", "en"}, {"zh", "../x", "zh-CN"},
	} {
		_, head, text := ask(t, d.browser(t), "GET", d.url+signInPath, nil, "Accept-Language", tt.accept, "Cookie", languageCookie+"="+tt.cookie)
		if head.Get("Content-Language") != tt.want || !strings.Contains(text, `<html lang="`+tt.want+`"`) {
			t.Errorf("%+v: got %s", tt, head.Get("Content-Language"))
		}
	}
}

// A page's modules and words are there, and kept under addresses that change with them.
func TestAssetsAreThere(t *testing.T) {
	d := newDesk(t, nil)
	b := d.as(t, control.User{Name: "ann", Role: control.Admin})
	_, _, text := ask(t, b, "GET", d.url+"/console/", nil)
	n := 0
	for _, part := range strings.FieldsFunc(text, func(r rune) bool { return r == '"' }) {
		part, _, _ = strings.Cut(part, "#")
		if !strings.HasPrefix(part, "/console/static/") && !strings.HasPrefix(part, "/console/i18n/") {
			continue
		}
		n++
		if status, head, _ := ask(t, d.browser(t), "GET", d.url+part, nil); status != http.StatusOK || !strings.Contains(head.Get("Cache-Control"), "immutable") {
			t.Errorf("%s: %d, %s", part, status, head.Get("Cache-Control"))
		}
	}
	if n < 10 {
		t.Errorf("the page names only %d files:\n%s", n, text)
	}
	for path, want := range map[string]int{
		"/console/static/console.css":   http.StatusOK,
		"/console/static/x/console.css": http.StatusNotFound, "/console/i18n/en.json": http.StatusOK, "/console/i18n/fr.json": http.StatusNotFound,
		"/console/engines/none.js": http.StatusNotFound,
	} {
		if status, _, _ := ask(t, d.browser(t), "GET", d.url+path, nil); status != want {
			t.Errorf("%s: %d, want %d", path, status, want)
		}
	}
}
