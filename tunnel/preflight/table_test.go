package preflight

import (
	"strings"
	"testing"
)

func TestWrite(t *testing.T) {
	var b strings.Builder
	if err := Write(&b, []Result{
		{Check: "ssh", State: OK, Code: "listening", Detail: "127.0.0.1:22"},
		{Check: Clock, State: Warn, Code: "behind"},
		{Check: "printer", State: Unknown, Code: "on_fire"},
	}); err != nil {
		t.Fatal(err)
	}
	want := `
ok       ssh      It listens. (127.0.0.1:22)
warn     clock    The clock is behind.
                  Set it and see why it is not kept: time service, battery.
unknown  printer  on_fire
`
	if got := "\n" + b.String(); got != want {
		t.Errorf("got%s\nwant%s", got, want)
	}
}
