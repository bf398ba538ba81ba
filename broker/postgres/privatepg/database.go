package privatepg

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	databaseName = "uploadbroker"
	// superuser is a name of our own: the OS user may be postgres, nobody, or
	// whoever started the program first.
	superuser = "uploadbroker"
	port      = "5432" // part of the socket's file name, nothing more

	stateDiskFull = "53100" // SQLSTATE; PostgreSQL documentation, appendix A
)

// dsn says everything that the environment (PGHOST, PGSSLMODE, …) could
// otherwise say differently.
func dsn(socketDir, database string) string {
	u := url.URL{Scheme: "postgres", User: url.User(superuser), Path: "/" + database}
	u.RawQuery = url.Values{
		"host":                 {socketDir},
		"port":                 {port},
		"sslmode":              {"disable"},
		"target_session_attrs": {"any"},
	}.Encode()
	return u.String()
}

func isFullState(err error) bool {
	var pe *pgconn.PgError
	return errors.As(err, &pe) && pe.Code == stateDiskFull
}

// createDatabase makes the program's database unless it is there.
func createDatabase(ctx context.Context, socketDir string) error {
	conn, err := pgx.Connect(ctx, dsn(socketDir, "postgres"))
	if err != nil {
		return fmt.Errorf("connect to the private Postgres: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var there bool
	err = conn.QueryRow(ctx, `select exists (select from pg_database where datname = $1)`, databaseName).Scan(&there)
	if err != nil {
		return fmt.Errorf("look for the database %s: %w", databaseName, err)
	}
	if there {
		return nil
	}
	if _, err := conn.Exec(ctx, `create database `+databaseName+` template template0 encoding 'UTF8'`); err != nil {
		return fmt.Errorf("create the database %s: %w", databaseName, err)
	}
	return nil
}
