package held

import (
	"strings"
	"testing"
	"time"
)

// A line of a table is what happens, in order: "+a" a tab of the login a opens, "-a" it
// closes, "!a" the login ends, "30" so many seconds pass. What is expected after it
// stands behind the colon: tabs, and left or not.
func TestPresence(t *testing.T) {
	for _, tt := range []struct {
		name, steps string
		tabs        int
		left        bool
	}{
		{"the page has time to load", "59", 0, false},
		{"nobody ever came", "60", 0, true},
		{"watched for hours", "+a 9999", 1, false},
		{"closed", "+a -a 59", 0, false},
		{"closed for the grace time", "+a -a 60", 0, true},
		{"opened again in time", "+a -a 59 +a 3600", 1, false},
		{"opened again, and closed: the whole grace again", "+a -a 59 +a -a 59", 0, false},
		{"two tabs, one closed", "+a +a -a 3600", 1, false},
		{"two tabs, both closed", "+a +a -a -a 60", 0, true},
		{"two logins, one closes", "+a +b -a 3600", 1, false},
		{"signed out with a tab", "+a !a", 0, true},
		{"signed out before the first tab", "!a", 0, true},
		{"signed out within the grace", "+a -a 5 !a", 0, true},
		{"another login ends before the first tab", "!b", 0, false},
		{"another login ends within the grace", "+a -a 5 !b", 0, false},
		{"signed out, another login looks on", "+a +b !a 3600", 1, false},
		{"signed out, and the other closes", "+a +b !a -b 60", 0, true},
		{"both signed out", "+a +b !a !b", 0, true},
		{"a tab of a login that ended closes late", "+a +b !a -a 3600", 1, false},
		{"left is for good", "+a !a +a", 0, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			now := time.Unix(1e9, 0)
			p := newPresence("a", time.Minute, now)
			left := false
			for _, step := range strings.Fields(tt.steps) {
				login := step[1:]
				switch step[0] {
				case '+':
					p.open(login)
				case '-':
					p.close(login, now)
				case '!':
					left = p.logout(login) || left
				default:
					d, err := time.ParseDuration(step + "s")
					if err != nil {
						t.Fatal(err)
					}
					now = now.Add(d)
					left = p.tick(now) || left
				}
			}
			if p.count() != tt.tabs || left != tt.left || p.left != tt.left {
				t.Errorf("%d tabs, left: %v and %v; want %d, %v", p.count(), left, p.left, tt.tabs, tt.left)
			}
			if p.tick(now.Add(time.Hour)) == (tt.left || tt.tabs > 0) {
				t.Error("an hour later it is left twice, or not at all, or though somebody looks at it")
			}
		})
	}
}

// A grace of nothing leaves at the last tab's end, and still lets the first one come.
func TestPresenceWithoutGrace(t *testing.T) {
	now := time.Unix(1e9, 0)
	p := newPresence("a", 0, now)
	if p.tick(now.Add(comes - 1)) {
		t.Error("left before the page could load")
	}
	p.open("a")
	p.close("a", now)
	if !p.tick(now) {
		t.Error("not left at once")
	}
}
