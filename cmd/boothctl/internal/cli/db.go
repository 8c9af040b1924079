package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/boothwire/boothwire/gateway/control/database"
)

func (a *app) db() *cobra.Command {
	db := &cobra.Command{
		Use:   "db",
		Short: "look after control's database, without control",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	db.AddCommand(&cobra.Command{
		Use:   "migrate FILE postgres://USER@HOST/NAME",
		Short: "copy control's SQLite file into an empty PostgreSQL database",
		Long: `migrate copies everything that control knows from its SQLite file into an empty
PostgreSQL database: all of it, or, if it is interrupted or fails, nothing. It
compares the counts of rows before it keeps them, and leaves the file as it is.

Stop control first, and start it with the new database = "postgres://..."
afterwards. A password is better in PGPASSWORD or ~/.pgpass than in the URL.`,
		Example: `  systemctl stop boothwire-control
  boothctl db migrate /var/lib/boothwire/control/control.db postgres://boothwire@db.example.com/boothwire`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			var rows int64
			err := database.Move(cmd.Context(), args[0], args[1], func(p database.Progress) {
				if p.Done == p.Rows {
					rows += p.Rows
				}
				if !a.quiet {
					fmt.Fprintf(a.err, "%-10s %d of %d\n", p.Table, p.Done, p.Rows)
				}
			})
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.out, "%d rows copied; their counts agree\n", rows)
			return err
		},
	})
	return db
}
