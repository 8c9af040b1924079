package hostile

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/boothwire/boothwire/gateway/control"
	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/signaling"
	"github.com/boothwire/boothwire/signaling/signalingtest"
)

// TestRefusalsAreCountedByTheMinute: what a device refuses in a minute is one row
// and one count at control, though most of it is told at the minute's end; the next
// minute is another row.
func TestRefusalsAreCountedByTheMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := must(control.Open(t.Context(), ":memory:", &control.Config{Store: keys.NewMemory()}))
		defer c.Close()
		admin := c.Client(control.User{Name: "admin", Role: control.Admin})
		broker := signalingtest.New()
		d := must(keys.OpenDevice(victim, keys.NewMemory(), keys.Trust{Roots: c.Roots()}))
		must(admin.AddDevice(t.Context(), victim, d.Key()))
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 2)
		defer func() { cancel(); <-ended; <-ended }()
		go func() { ended <- c.Run(ctx, broker.Fleet("control")) }()
		time.Sleep(time.Second)
		logged := 0
		go func() {
			ended <- signaling.Serve(ctx, broker.Device(victim), d, func(context.Context, *signaling.Session) error { return nil },
				&signaling.Config{Observe: func(n signaling.Notice) {
					if n.Kind == signaling.NoticeRefused {
						logged++
					}
				}})
		}()
		time.Sleep(time.Second)
		const minutes = 3
		for range minutes {
			for i := range 1000 {
				broker.Publish("iot/"+victim+"/cmd", fmt.Appendf(nil, `{"id":"c%d","action":"vpn_down"}`, i), false)
				time.Sleep(time.Millisecond)
			}
			time.Sleep(2*time.Minute - time.Second)
		}
		rows := make(map[string][]int)
		total := 0
		for a, err := range admin.Audit(t.Context(), client.Filter{Device: victim}) {
			if err != nil {
				t.Fatal(err)
			}
			if a.What == "command_refused" {
				rows[a.Code] = append(rows[a.Code], a.Count)
				total += a.Count
			}
		}
		if len(rows) != 2 || len(rows["flood"]) != minutes || len(rows["unsigned"]) != minutes || total != minutes*1000 {
			t.Errorf("counted %v, %d in all", rows, total)
		}
		if logged != 2*2*minutes {
			t.Errorf("%d log lines for two codes in %d minutes", logged, minutes)
		}
	})
}
