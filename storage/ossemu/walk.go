package ossemu

import (
	"os"
	"path/filepath"
	"sort"
	"strings"
)

// walk goes through the keys of a bucket in the order of their bytes. It reads
// only the folders that can hold keys it is asked for.
type walk struct {
	disk   *disk
	bucket string
	prefix string // of the keys to visit
	after  string // only keys beyond this one
	// skip leaves out the keys that begin with it; "": none. visit may set it.
	skip string
	// visit is called for each key until it answers false.
	visit func(key string) (more bool)
}

func (w *walk) run() error {
	base := w.prefix[:strings.LastIndexByte(w.prefix, '/')+1]
	dir := filepath.Join(w.disk.dir, w.bucket, w.disk.names.folder(base))
	_, err := w.folder(dir, base)
	return err
}

// folder visits the keys below a folder, which all begin with base.
func (w *walk) folder(dir, base string) (more bool, err error) {
	entries, err := w.read(dir, "")
	if err != nil {
		return false, err
	}
	// Below the folder a, keys go on with a slash; "a-b" comes before them.
	sort.Slice(entries, func(i, j int) bool { return entries[i].part < entries[j].part })
	last := ""
	for _, e := range entries {
		key := base + e.part
		if w.skip != "" && strings.HasPrefix(key, w.skip) {
			continue
		}
		if e.folder {
			related := strings.HasPrefix(key, w.prefix) || strings.HasPrefix(w.prefix, key)
			behind := key < w.after && !strings.HasPrefix(w.after, key)
			if !related || behind {
				continue
			}
			if more, err := w.folder(e.path, key); err != nil || !more {
				return false, err
			}
			continue
		}
		if key <= w.after || !strings.HasPrefix(key, w.prefix) || key == "" || key == last {
			continue
		}
		last = key // one aside may lie beside its plain name for a moment
		if !w.visit(key) {
			return false, nil
		}
	}
	return true, nil
}

// entry is a file or a folder with the part of the key that its name stands for.
type entry struct {
	part   string // ends with a slash when it is a folder
	path   string
	folder bool
}

// read lists a folder. Names that were cut in two are put together: begin is
// what the folder's own name holds of them.
func (w *walk) read(dir, begin string) ([]entry, error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		if absent(err) {
			return nil, nil // it went meanwhile
		}
		return nil, err
	}
	entries := make([]entry, 0, len(files))
	for _, f := range files {
		part, k, ok := w.disk.names.parse(f.Name())
		part = begin + part
		path := filepath.Join(dir, f.Name())
		switch {
		case !ok:
		case f.IsDir() && k == cut:
			rest, err := w.read(path, part)
			if err != nil {
				return nil, err
			}
			entries = append(entries, rest...)
		case f.IsDir() && k == plain:
			entries = append(entries, entry{part: part + "/", path: path, folder: true})
		case f.Type().IsRegular() && k != cut:
			entries = append(entries, entry{part: part, path: path})
		}
	}
	return entries, nil
}
