package cli

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/boothwire/boothwire/gateway/control/client"
)

func (a *app) audit() *cobra.Command {
	var f client.Filter
	var since, until, export string
	c := &cobra.Command{
		Use:   "audit",
		Short: "list who did what, the latest first, or export it",
		Example: `  boothctl audit --who ann --since 24h
  boothctl audit --what ended --since 2026-11-01 --until 2026-12-01 --export csv > november.csv`,
		Args: cobra.NoArgs,
		RunE: a.with(func(cmd *cobra.Command, ctl *client.Client, _ []string) error {
			if err := parseMoments(&f, since, until); err != nil {
				return err
			}
			switch export {
			case client.CSV, client.NDJSON:
				return ctl.ExportAudit(cmd.Context(), f, export, a.out)
			case "":
			default:
				return usageError{fmt.Errorf("--export is csv or ndjson, not %q", export)}
			}
			return list(a, ctl.Audit(cmd.Context(), f), "AT WHO WHAT DEVICE SESSION NODE CODE COUNT RECEIVED SENT DETAIL", func(r client.Audit) []any {
				return []any{r.At.Local().Format(time.DateTime), r.Who, r.What, r.Device, r.Session, r.Node, r.Code, r.Count, carried(r.Rx), carried(r.Tx), r.Detail}
			})
		}),
	}
	c.Flags().StringVar(&f.Device, "device", "", "only of this device")
	c.Flags().StringVar(&f.Session, "session", "", "only of this session")
	c.Flags().StringVar(&f.Who, "who", "", "only what this user, device or node did")
	c.Flags().StringVar(&f.What, "what", "", "only this, such as open, ended, carried")
	c.Flags().StringVar(&f.Text, "text", "", "only where this stands in one of the texts, in whatever case")
	c.Flags().StringVar(&since, "since", "", "not before this time, or so long ago: 2026-11-29, 2026-11-29 14:00:00, 24h")
	c.Flags().StringVar(&until, "until", "", "before this time, likewise")
	c.Flags().StringVar(&export, "export", "", "all of it to stdout: csv or ndjson")
	return c
}

// carried are bytes, where there are any.
func carried(n uint64) string {
	if n == 0 {
		return ""
	}
	return size(n)
}

func parseMoments(f *client.Filter, since, until string) (err error) {
	now := time.Now()
	if f.Since, err = moment("since", since, now); err != nil {
		return err
	}
	f.Until, err = moment("until", until, now)
	return err
}

// moment reads a time, of this machine's zone unless it names one, or how long ago it
// was; nothing is the zero time.
func moment(flag, text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if ago, err := time.ParseDuration(text); err == nil && ago >= 0 {
		return now.Add(-ago), nil
	}
	for _, layout := range []string{time.RFC3339Nano, time.DateTime, time.DateOnly} {
		if t, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, usageError{fmt.Errorf("--%s is a time such as 2026-11-29, 2026-11-29 14:00:00 or 24h, not %q", flag, text)}
}
