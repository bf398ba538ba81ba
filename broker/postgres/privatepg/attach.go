package privatepg

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5"
)

// Attach finds the server that another process runs on a data folder, for
// commands that work beside it. It makes and changes nothing. running is false
// when there is none or it is going down; one that is coming up is waited for,
// as long as ctx allows.
//
// The server ends with the process that started it, not with the caller's.
func Attach(ctx context.Context, opts Options) (_ string, running bool, err error) {
	abs, err := filepath.Abs(opts.DataDir)
	if err != nil {
		return "", false, fmt.Errorf("the data folder: %w", err)
	}
	data, err := filepath.EvalSymlinks(abs)
	if errors.Is(err, fs.ErrNotExist) {
		return "", false, nil
	}
	if err != nil {
		return "", false, fmt.Errorf("the data folder: %w", err)
	}
	pg, _, known, err := locate(data)
	if err != nil || !known {
		return "", false, err
	}
	if _, err := pickAccount(pg); err != nil {
		return "", false, err
	}
	deaf := time.Time{}
	for {
		// The socket's folder is taken from the server itself: this process may
		// have another XDG_RUNTIME_DIR.
		p, err := readPidFile(pg)
		if errors.Is(err, fs.ErrPermission) {
			return "", false, fmt.Errorf("look for the running database: %w", err)
		}
		if err != nil || !alive(p.pid) {
			return "", false, nil
		}
		if ours, known := isPostmaster(p.pid, pg); known && !ours || p.status == "stopping" {
			return "", false, nil
		}
		if p.status == "ready" {
			there, err := answers(ctx, dsn(p.socketDir, databaseName))
			if there || err != nil {
				return dsn(p.socketDir, databaseName), there, err
			}
			if deaf.IsZero() {
				deaf = time.Now()
			}
			if time.Since(deaf) > 15*time.Second {
				return "", false, fmt.Errorf("the database in %s runs (pid %d) but does not answer", pg, p.pid)
			}
		}
		select {
		case <-ctx.Done():
			return "", false, fmt.Errorf("wait for the running database: %w", context.Cause(ctx))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// answers tells whether the program's database is there; a first start takes a
// moment from the server's being ready to that.
func answers(ctx context.Context, dsn string) (bool, error) {
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		return false, err
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return false, nil // the pid file says in the next round whether it still runs
	}
	return true, conn.Close(ctx)
}
