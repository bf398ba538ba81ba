package local

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/pkg/xattr"
	"github.com/versity/versitygw/backend/meta"
)

// Where the gateway keeps an object's ETag, type and checksums.
const (
	inXattr   = "xattr"   // in extended attributes of its file
	inSidecar = "sidecar" // in a folder of small files beside
)

// formatFile remembers the choice: a folder that was written one way has no
// ETags when it is read the other way.
const formatFile = ".uploadbroker-format"

type format struct {
	Version  int    `json:"version"`
	Metadata string `json:"metadata"`
}

// sidecarDir is the metadata folder of an objects folder. The gateway wants it
// outside.
func sidecarDir(dir string) string { return dir + "-meta" }

// openMetadata finds where metadata is, and decides it for a new folder.
func openMetadata(dir string, hasXattr func(dir string) bool) (_ meta.MetadataStorer, kind string, err error) {
	path := filepath.Join(dir, formatFile)
	kind, err = readFormat(path)
	if errors.Is(err, fs.ErrNotExist) {
		kind = inSidecar
		if hasXattr(dir) {
			kind = inXattr
		}
		data, _ := json.Marshal(format{Version: 1, Metadata: kind})
		if err = createWhole(path, append(data, '\n'), 0o600); err == nil {
			kind, err = readFormat(path) // another process may have been faster
		}
	}
	if err != nil {
		return nil, "", fmt.Errorf("local: the format of %s: %w", dir, err)
	}
	if kind == inXattr {
		if !hasXattr(dir) {
			return nil, "", fmt.Errorf("local: %s was written with extended attributes, which this file system lacks; "+
				"move it to one that has them, with a tool that copies them (cp -a, rsync -X)", dir)
		}
		return meta.XattrMeta{}, kind, nil
	}
	side := sidecarDir(dir)
	if err := os.MkdirAll(side, 0o700); err != nil {
		return nil, "", fmt.Errorf("local: make the metadata folder: %w", err)
	}
	store, err := meta.NewSideCar(side)
	if err != nil {
		return nil, "", fmt.Errorf("local: open the metadata folder: %w", err)
	}
	return absMeta{MetadataStorer: store, dir: side, root: dir}, kind, nil
}

func readFormat(path string) (string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	var f format
	if err := json.Unmarshal(data, &f); err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	if f.Version != 1 || f.Metadata != inXattr && f.Metadata != inSidecar {
		return "", fmt.Errorf("%s was written by a newer version of this program", path)
	}
	return f.Metadata, nil
}

// fileSystemHasXattr tries it: reading alone succeeds on some file systems that
// can't write.
func fileSystemHasXattr(dir string) bool {
	f, err := os.CreateTemp(dir, ".xattr-probe-*")
	if err != nil {
		return false
	}
	defer os.Remove(f.Name())
	defer f.Close()
	// As large as an object's own may become, since some have a small limit.
	value := make([]byte, 512)
	if err := xattr.FSet(f, "user.uploadbroker-probe", value); err != nil {
		return false
	}
	got, err := xattr.FGet(f, "user.uploadbroker-probe")
	return err == nil && len(got) == len(value)
}
