package agent

import (
	"testing"
	"time"

	"github.com/boothwire/boothwire/keys"
)

// What a grant says of the time: for sure that it is not earlier, and that it is not
// later while the host's clock goes as the monotonic one does.
func TestReference(t *testing.T) {
	var r reference
	if least, most := r.bounds(); !most.IsZero() || !least.IsZero() {
		t.Errorf("without a grant %v, %v", least, most)
	}
	opened := time.Now().Add(5 * time.Hour).Truncate(time.Second) // this host is behind
	r.opening(&keys.Grant{Rev: 2, Lifetime: time.Hour, End: opened.Add(time.Hour)})
	r.opening(&keys.Grant{Rev: 1, Lifetime: time.Hour})
	if !r.opened.IsZero() {
		t.Error("a later revision, or one without an end, says what time it is")
	}
	r.opening(&keys.Grant{Rev: 1, Lifetime: time.Hour, End: opened.Add(time.Hour)})
	least, most := r.bounds()
	if least.Before(opened) || least.After(opened.Add(time.Minute)) || most != least {
		t.Errorf("%v to %v, opened at %v", least, most, opened)
	}
	r.at = r.at.Add(-time.Hour) // both clocks went on
	if least, most := r.bounds(); least.Before(opened.Add(time.Hour)) || most != least {
		t.Errorf("an hour later %v to %v", least, most)
	}
}
