package hostcheck

import (
	"encoding/json"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/tunnel/preflight"
)

func TestRun(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	cfg := &preflight.Config{Services: map[keys.Port]string{keys.TCP(22): ln.Addr().String()}, Patience: time.Minute}
	var out strings.Builder
	if err := Run(t.Context(), cfg, nil, &out); err != nil || !strings.Contains(out.String(), "It listens. ("+ln.Addr().String()+")") {
		t.Errorf("%v\n%s", err, &out)
	}
	ln.Close()
	out.Reset()
	if err := Run(t.Context(), cfg, []string{"--json"}, &out); err == nil || !strings.HasSuffix(err.Error(), ": ssh") {
		t.Errorf("nothing listens: %v", err)
	}
	var found []result
	if err := json.Unmarshal([]byte(out.String()), &found); err != nil || found[0].State != preflight.Fail || found[0].What == "" || found[0].Todo == "" {
		t.Errorf("%v in %s", err, &out)
	}
	if err := Run(t.Context(), cfg, []string{"now"}, &out); err == nil || !strings.Contains(err.Error(), `"now"`) {
		t.Errorf("an argument: %v", err)
	}
}
