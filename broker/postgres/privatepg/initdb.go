package privatepg

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

// initialise makes the database's files unless they are there. They come to be
// under another name and get their own in one step: what an interrupted run
// leaves is never taken for a database.
func (h home) initialise(ctx context.Context, opts Options) error {
	if !h.isNew {
		return nil
	}
	if err := checkSpace(h.pg); err != nil {
		return err
	}
	opts.Log.Info("making a private Postgres database", "folder", h.pg, "version", h.install.major, "user", h.account.name)
	fresh, err := h.initdb(ctx, opts, "--locale=C.UTF-8")
	if err != nil && ctx.Err() == nil && !isFull(err) {
		// Older systems don't know that locale. C sorts alike, it only knows
		// no upper and lower case beyond ASCII.
		fresh, err = h.initdb(ctx, opts, "--no-locale")
	}
	if err != nil {
		if h.away {
			return err // what is left says that nothing was lost, see missing
		}
		return errors.Join(err, os.RemoveAll(fresh))
	}
	// An empty folder may be there already; one with anything in it stays.
	if err := os.Remove(h.pg); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("put the new database in its place: %w", err)
	}
	if err := os.Rename(fresh, h.pg); err != nil {
		return fmt.Errorf("put the new database in its place: %w", err)
	}
	return syncFolder(filepath.Dir(h.pg))
}

// initdb fills a folder whose name was never used: the initdb of a killed run
// may still be at work in its own, or clearing it.
func (h home) initdb(ctx context.Context, opts Options, locale string) (dir string, err error) {
	earlier, err := unfinished(h.pg)
	if err != nil {
		return "", err
	}
	dir, err = os.MkdirTemp(filepath.Dir(h.pg), filepath.Base(h.pg)+newSuffix+"-")
	if err != nil {
		return "", fmt.Errorf("make the database's folder: %w", err)
	}
	for _, path := range earlier {
		if err := os.RemoveAll(path); err != nil {
			opts.Log.Warn("can't remove what an interrupted first start left", "folder", path, "error", err)
		}
	}
	if h.account.switched {
		if err := os.Lchown(dir, int(h.account.uid), int(h.account.gid)); err != nil {
			return dir, fmt.Errorf("give the database's folder to the user %s: %w", h.account.name, err)
		}
	}
	args := []string{
		"-D", dir, "-U", superuser, "-E", "UTF8", locale, "--lc-messages=C",
		"--data-checksums", "--auth-local=trust", "--auth-host=reject",
	}
	args = append(args, segmentArgument(dir)...)
	if opts.Settings["fsync"] == "off" {
		args = append(args, "--no-sync")
	}
	out := &output{log: opts.Log}
	cmd := exec.CommandContext(ctx, h.install.initdb(), args...)
	cmd.Dir = "/"
	cmd.Env = environment()
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = h.account.attributes()
	diesWithParent(cmd.SysProcAttr, syscall.SIGTERM)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	runtime.LockOSThread() // see Server.launch
	defer runtime.UnlockOSThread()
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		err = fmt.Errorf("make a private Postgres database in %s: %w%s", dir, err, out.tail())
		if ctx.Err() == nil && out.saidFull() {
			// initdb has cleared its files away: what is free now says nothing.
			err = &fullError{dir: filepath.Dir(dir), free: -1, err: err}
		}
		return dir, err
	}
	return dir, nil
}
