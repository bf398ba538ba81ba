package privatepg

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

const (
	folderName      = "pg"
	noteName        = "pg-location"
	newSuffix       = ".new" // a database that is being made
	defaultFallback = "/var/lib/uploadbroker/pg"
	// longestFolder leaves Postgres room for its own names below (MAXPGPATH, 1,024).
	longestFolder = 900
)

// home is a database's folder and what runs it.
type home struct {
	pg      string // absolute, no symbolic link in it
	away    bool   // not below the data folder
	isNew   bool   // nothing in it yet
	install install
	account account
}

// makeDataFolder makes the program's data folder and gives its true path: the
// one by which the same folder is always known.
func makeDataFolder(dir string) (string, error) {
	if dir == "" {
		return "", errors.New("no data folder given")
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("the data folder: %w", err)
	}
	if strings.ContainsAny(abs, "\n\r") {
		return "", fmt.Errorf("the data folder's name %q holds a line break, which Postgres can't take", abs)
	}
	mode := fs.FileMode(0o700)
	if os.Geteuid() == 0 {
		mode = 0o711 // the server's user has to pass through
	}
	if err := makeFolders(abs, mode); err != nil {
		return "", fmt.Errorf("make the data folder: %w", err)
	}
	real, err := filepath.EvalSymlinks(abs)
	if err != nil {
		return "", fmt.Errorf("the data folder: %w", err)
	}
	return real, nil
}

// makeFolders is MkdirAll without the umask: root's is often one that would
// keep the server's user out.
func makeFolders(path string, mode fs.FileMode) error {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return nil
	}
	if parent := filepath.Dir(path); parent != path {
		if err := makeFolders(parent, mode); err != nil {
			return err
		}
	}
	if err := os.Mkdir(path, mode); errors.Is(err, fs.ErrExist) {
		return nil // somebody was faster, or it is a file and the next step says so
	} else if err != nil {
		return err
	}
	return os.Chmod(path, mode)
}

// locate finds the database of a data folder: where the note says, else in the
// folder itself. known is false when nothing was chosen yet.
func locate(data string) (pg string, away, known bool, err error) {
	note, err := os.ReadFile(filepath.Join(data, noteName))
	switch {
	case err == nil:
		pg = strings.TrimSpace(strings.SplitN(string(note), "\n", 2)[0])
		if !filepath.IsAbs(pg) {
			return "", false, false, fmt.Errorf("the first line of %s is not the path of the database's folder: put it right; without it the data can't be found", filepath.Join(data, noteName))
		}
		return filepath.Clean(pg), true, true, nil
	case !errors.Is(err, fs.ErrNotExist):
		return "", false, false, fmt.Errorf("read where the database is: %w", err)
	}
	pg = filepath.Join(data, folderName)
	empty, err := isEmpty(pg)
	if err != nil {
		return "", false, false, fmt.Errorf("look at the database's folder: %w", err)
	}
	return pg, false, !empty, nil
}

// prepare decides where the database is, with what and as whom it is run.
// Of all that exists it changes nothing.
func prepare(ctx context.Context, opts Options, data string) (home, error) {
	var h home
	var known bool
	var err error
	if h.pg, h.away, known, err = locate(data); err != nil {
		return h, err
	}
	if h.account, err = pickAccount(h.pg); err != nil {
		return h, err
	}
	major, err := dataMajor(h.pg)
	if err != nil {
		return h, err
	}
	h.isNew = major == ""
	if known && h.isNew && missing(h.pg) {
		return h, fmt.Errorf("the database of this data folder should be in %s (says %s), but it is gone: bring it back, or, to begin with an empty database, remove %s",
			h.pg, filepath.Join(data, noteName), filepath.Join(data, noteName))
	}
	installs, err := findInstalls(ctx, opts.Binaries)
	if err != nil {
		return h, err
	}
	if h.install, err = choose(installs, major, h.pg); err != nil {
		return h, err
	}
	if h.account.switched {
		ok, err := h.account.reaches(ctx, h.install, filepath.Dir(h.pg))
		switch {
		case err != nil:
			return h, err
		case !ok && known:
			return h, fmt.Errorf("the user %s, as whom root runs the database, can't reach its folder %s: give every folder above it the right to pass (chmod o+x), or run uploadbroker as an ordinary user", h.account.name, h.pg)
		case !ok:
			if h.pg, err = moveAway(data, opts.Fallback); err != nil {
				return h, err
			}
			h.away = true
			opts.Log.Info("the database's user can't enter the data folder, so the database goes elsewhere",
				"user", h.account.name, "folder", h.pg)
			if ok, err = h.account.reaches(ctx, h.install, filepath.Dir(h.pg)); err == nil && !ok {
				err = fmt.Errorf("the user %s, as whom root runs the database, can enter neither %s nor %s: choose another data folder, or set database_url", h.account.name, data, filepath.Dir(h.pg))
			}
			if err != nil {
				return h, err
			}
		}
	}
	if len(h.pg) > longestFolder {
		return h, fmt.Errorf("the database's folder %s… has a path of %d bytes, Postgres takes %d: choose a shorter data folder", h.pg[:60], len(h.pg), longestFolder)
	}
	return h, nil
}

// moveAway picks a folder outside the data folder and notes it there before it
// is filled. The note alone decides, so that a data folder which was removed and
// made anew does not wake the old one's database.
func moveAway(data, fallback string) (string, error) {
	if fallback == "" {
		fallback = defaultFallback
	}
	fallback, err := filepath.Abs(fallback)
	if err != nil {
		return "", err
	}
	if err := makeFolders(fallback, 0o711); err != nil {
		return "", fmt.Errorf("make a folder for the database: %w", err)
	}
	if fallback, err = filepath.EvalSymlinks(fallback); err != nil {
		return "", err
	}
	name := filepath.Join(fallback, shortHash(data))
	pg := name
	for n := 2; ; n++ {
		_, err := os.Lstat(pg)
		if errors.Is(err, fs.ErrNotExist) {
			break
		}
		if err != nil {
			return "", err
		}
		pg = name + "-" + strconv.Itoa(n)
	}
	// See missing: from now on a note without a database is no loss.
	if err := os.Mkdir(pg+newSuffix, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("make the database's folder: %w", err)
	}
	text := pg + "\n" +
		"is where the private Postgres of this data folder keeps its files,\n" +
		"since the user who runs it can't enter this folder. Back up both.\n"
	if err := writeDurably(filepath.Join(data, noteName), text); err != nil {
		return "", fmt.Errorf("note where the database is: %w", err)
	}
	return pg, nil
}

// missing tells a database that was lost from one that an interrupted first
// start did not finish.
func missing(pg string) bool {
	if _, err := os.Lstat(pg); err == nil {
		return false
	}
	begun, err := unfinished(pg)
	return err == nil && len(begun) == 0 || errors.Is(err, fs.ErrNotExist)
}

// unfinished lists what first starts began and did not finish.
func unfinished(pg string) (paths []string, err error) {
	dir, name := filepath.Split(pg)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("look for unfinished databases: %w", err)
	}
	for _, e := range entries {
		if e.Name() == name+newSuffix || strings.HasPrefix(e.Name(), name+newSuffix+"-") {
			paths = append(paths, filepath.Join(dir, e.Name()))
		}
	}
	return paths, nil
}

// dataMajor is the major of the Postgres that made the folder, empty when there
// is nothing in it.
func dataMajor(pg string) (string, error) {
	raw, err := os.ReadFile(filepath.Join(pg, "PG_VERSION"))
	if err == nil {
		return strings.TrimSpace(string(raw)), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("read the database's version: %w", err)
	}
	empty, err := isEmpty(pg)
	if err != nil {
		return "", fmt.Errorf("look at the database's folder: %w", err)
	}
	if !empty {
		return "", fmt.Errorf("%s has files in it but no PG_VERSION: it is no Postgres data, or damaged. Restore or move it away; nothing was changed", pg)
	}
	return "", nil
}

// isEmpty counts a missing folder as empty.
func isEmpty(dir string) (bool, error) {
	f, err := os.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if errors.Is(err, fs.ErrPermission) {
		return false, nil // somebody else's; pickAccount says whose
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	_, err = f.ReadDir(1)
	if errors.Is(err, io.EOF) {
		return true, nil
	}
	return false, err
}

// shortHash tells folders apart in a name of 12 characters.
func shortHash(path string) string {
	sum := sha256.Sum256([]byte(path))
	return hex.EncodeToString(sum[:6])
}

func writeDurably(path, text string) error {
	tmp := path + ".new"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|syscall.O_NOFOLLOW, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

func syncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
