package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/versity/versitygw/backend/posix"
)

// Sync writes the object's file, its metadata and the folders that lead to it
// through to the disk. The gateway itself leaves that to the kernel.
func (b *Bucket) Sync(ctx context.Context, key string) error {
	name := filepath.FromSlash(key)
	if err := syncPath(b.root, name); err != nil {
		return err
	}
	// The bucket's own entry was synced when it was opened.
	for dir := filepath.Dir(name); ; dir = filepath.Dir(dir) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := syncPath(b.root, dir); err != nil {
			return err
		}
		if dir == "." {
			break
		}
	}
	if b.gateway.metadata == inSidecar {
		return b.syncSidecar(ctx, name)
	}
	return nil
}

// syncSidecar does the same for the metadata folder, where an object has a
// folder of its own with a file for each attribute.
func (b *Bucket) syncSidecar(ctx context.Context, name string) error {
	root, err := os.OpenRoot(sidecarDir(b.gateway.dir))
	if err != nil {
		return err
	}
	defer root.Close()
	dir := filepath.Join(b.name, name, "meta")
	entries, err := fs.ReadDir(root.FS(), filepath.ToSlash(dir))
	if err != nil {
		return err
	}
	for _, e := range entries {
		// Another PUT may replace them meanwhile; it will be synced in turn.
		if err := syncPath(root, filepath.Join(dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	for ; ; dir = filepath.Dir(dir) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := syncPath(root, dir); err != nil {
			return err
		}
		if dir == "." {
			return nil
		}
	}
}

func syncPath(root *os.Root, name string) error {
	f, err := root.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// abandoned is for how long nothing was written to a temporary file of which it is
// not known whose it is, before it counts as left behind.
const abandoned = 15 * time.Minute

// Clean removes what the gateway leaves on the disk: temporary files of
// interrupted uploads, where the file system has no unnamed ones, and empty
// folders.
func (b *Bucket) Clean(ctx context.Context, prefix string, before time.Time) (int, error) {
	files, err := sweepFolder(ctx, b.root, ".", prefix, before)
	if err == nil && b.gateway.metadata == inSidecar {
		var side *os.Root
		if side, err = os.OpenRoot(sidecarDir(b.gateway.dir)); err == nil {
			_, err = sweepFolder(ctx, side, b.name, prefix, before)
			err = errors.Join(err, side.Close())
		}
	}
	if err != nil {
		return files, fmt.Errorf("clear up folders: %w", err)
	}
	return files, nil
}

// sweepFolder removes old temporary files and empty folders below top, whose
// names within it begin with prefix.
func sweepFolder(ctx context.Context, root *os.Root, top, prefix string, before time.Time) (files int, err error) {
	var folders []string
	now := time.Now()
	visit := func(name string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil // it went meanwhile
		case err != nil:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case name == top:
			return nil
		}
		key := name
		if top != "." {
			key = strings.TrimPrefix(name, top+"/")
		}
		inTmp := key == posix.MetaTmpDir || strings.HasPrefix(key, posix.MetaTmpDir+"/")
		if d.IsDir() {
			if key == posix.MetaTmpMultipartDir {
				return fs.SkipDir // the gateway's own
			}
			if !inTmp && strings.HasPrefix(key, prefix) && isOld(d, before) {
				folders = append(folders, name)
			}
			return nil
		}
		old := before
		switch {
		case inTmp:
			// Whose upload a file in the gateway's folder was, its name does not
			// tell: it goes with the first sweep that finds it old, but never
			// while somebody may still write to it.
			if mayWrite := now.Add(-abandoned); mayWrite.Before(old) {
				old = mayWrite
			}
		case !isTemporary(path.Base(key)) || !strings.HasPrefix(key, prefix):
			return nil
		}
		if !isOld(d, old) {
			return nil
		}
		if root.Remove(name) == nil {
			files++
		}
		return nil
	}
	// The folder that holds all of the prefix, and the gateway's own: other
	// projects' are not gone through.
	starts := []string{top}
	if dir := path.Dir(prefix + "x"); dir != "." && fs.ValidPath(dir) {
		starts = []string{path.Join(top, dir), path.Join(top, posix.MetaTmpDir)}
	}
	for _, start := range starts {
		if err = fs.WalkDir(root.FS(), start, visit); err != nil {
			break
		}
	}
	// Inner ones first; one that is not empty stays. An upload that needs a
	// folder at this instant makes it again.
	for i := len(folders) - 1; i >= 0 && err == nil; i-- {
		_ = root.Remove(folders[i])
	}
	return files, err
}

func isOld(d fs.DirEntry, before time.Time) bool {
	info, err := d.Info()
	return err == nil && info.ModTime().Before(before)
}
