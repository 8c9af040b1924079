package postgrestest

import (
	"database/sql"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib"
)

// A server keeps what it has over a crash, and its databases are apart.
func TestServer(t *testing.T) {
	s := Start(t)
	one, two := s.Database(), s.Database()
	run := func(dsn, text string) error {
		t.Helper()
		db, err := sql.Open("pgx", dsn)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		_, err = db.ExecContext(t.Context(), text)
		return err
	}
	if err := run(one, `CREATE TABLE a (n BIGINT)`); err != nil {
		t.Fatal(err)
	}
	s.Restart()
	if err := run(one, `INSERT INTO a VALUES (1)`); err != nil {
		t.Error(err)
	}
	if err := run(two, `INSERT INTO a VALUES (1)`); err == nil {
		t.Error("two databases are one")
	}
}
