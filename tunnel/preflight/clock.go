package preflight

import (
	"fmt"
	"strings"
	"time"
)

// clockSlack is how wrong a clock may be before it matters: sign-ins by Kerberos, and by
// certificates that are just valid. boothwire itself does not trust it at all.
const clockSlack = 5 * time.Minute

// clock compares the host's time with what somebody else says. It is never earlier than
// the program was made.
func clock(now, made time.Time, by func() (notBefore, notAfter time.Time)) Result {
	least, most := by()
	told := !least.IsZero() && !most.IsZero()
	if made.After(least) {
		least = made
	}
	switch {
	case !least.IsZero() && now.Before(least.Add(-clockSlack)):
		return Result{State: Warn, Code: "behind", Detail: span(least.Sub(now))}
	case !most.IsZero() && now.After(most.Add(clockSlack)):
		return Result{State: Warn, Code: "ahead", Detail: span(now.Sub(most))}
	case told:
		return Result{State: OK, Code: "right"}
	}
	return Result{State: Unknown, Code: "no_reference"}
}

// span is a time as people say it. What is said again and again says the same as long as
// little changes.
func span(d time.Duration) string {
	switch {
	case d < 2*time.Hour:
		return strings.TrimSuffix(d.Truncate(time.Minute).String(), "0s")
	case d < 48*time.Hour:
		return strings.TrimSuffix(d.Truncate(time.Hour).String(), "0m0s")
	}
	return fmt.Sprintf("%dd", d/(24*time.Hour))
}
