package ossemu

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"sync"
	"syscall"
	"time"
)

// hidden is the emulator's own folder beside the buckets. No bucket can have its
// name. In it lie:
//
//	buckets/<bucket>.json            when it was made, its CORS rules
//	meta/<bucket>/<xx>/<hash>.json   what is known of an object besides its bytes
//	uploads/<bucket>/<id>/           an upload in parts: upload.json, 00001/<file>
//	tmp/                             what is being written
const hidden = ".ossemu"

// abandoned is how long nothing was written to a temporary file until it counts
// as left behind by an emulator that was killed.
const abandoned = time.Hour

// disk keeps buckets and objects in folders. A file comes to its name by a
// rename when it is whole, so readers see the old object or the new one, and a
// kill leaves nothing but temporary files. It does not fsync: after a power cut
// the last objects may be missing or empty.
type disk struct {
	dir   string
	names namer
	now   func() time.Time
	locks locks // by bucket/key, and by upload

	mu        sync.Mutex
	lastStamp int64
}

func openDisk(dir string, now func() time.Time) (*disk, error) {
	d := &disk{dir: dir, now: now}
	for _, sub := range []string{"buckets", "meta", "uploads", "tmp"} {
		if err := os.MkdirAll(d.own(sub), 0o700); err != nil {
			return nil, err
		}
	}
	d.sweep()
	var err error
	d.names.fold, err = foldsCase(d.own("tmp"))
	return d, err
}

// own is a path in the hidden folder.
func (d *disk) own(names ...string) string {
	return filepath.Join(append([]string{d.dir, hidden}, names...)...)
}

// sweep removes what a killed emulator was writing.
func (d *disk) sweep() {
	entries, err := os.ReadDir(d.own("tmp"))
	if err != nil {
		return
	}
	for _, e := range entries {
		if fi, err := e.Info(); err == nil && time.Since(fi.ModTime()) > abandoned {
			os.RemoveAll(d.own("tmp", e.Name()))
		}
	}
}

// foldsCase tries whether the file system tells capitals from small letters.
func foldsCase(dir string) (bool, error) {
	f, err := os.CreateTemp(dir, "Case-*")
	if err != nil {
		return false, err
	}
	defer os.Remove(f.Name())
	f.Close()
	base := filepath.Base(f.Name())
	_, err = os.Lstat(filepath.Join(dir, "cASE"+base[len("Case"):]))
	return err == nil, nil
}

// stamp is a time for a file that no other file of this emulator has. Whole
// microseconds survive most copying tools.
func (d *disk) stamp() time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lastStamp = max(d.lastStamp+1, time.Now().UnixMicro())
	return time.UnixMicro(d.lastStamp)
}

// modified is the time that an object written now shows: OSS's have whole seconds.
func (d *disk) modified() time.Time { return d.now().UTC().Truncate(time.Second) }

// bucketInfo is what is kept of a bucket besides its objects.
type bucketInfo struct {
	Created time.Time  `json:"created"`
	CORS    *corsRules `json:"cors,omitempty"` // nil: the emulator's default
}

// validBucket tells whether OSS allows the name.
func validBucket(name string) bool {
	if len(name) < 3 || len(name) > 63 || name[0] == '-' || name[len(name)-1] == '-' {
		return false
	}
	for _, c := range []byte(name) {
		if !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-') {
			return false
		}
	}
	return true
}

func (d *disk) makeBucket(name string) error {
	if !validBucket(name) {
		return fmt.Errorf("the bucket name %q is not 3 to 63 lower-case letters, digits and hyphens, with no hyphen at either end", name)
	}
	return os.MkdirAll(filepath.Join(d.dir, name), 0o755)
}

// bucket answers what is known of a bucket, which is there when its folder is.
func (d *disk) bucket(name string) (bucketInfo, error) {
	var info bucketInfo
	if !validBucket(name) {
		return info, fs.ErrNotExist
	}
	fi, err := os.Stat(filepath.Join(d.dir, name))
	if err != nil {
		return info, err
	}
	if !fi.IsDir() {
		return info, fs.ErrNotExist
	}
	if err := readJSON(d.own("buckets", name+".json"), &info); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return info, err
	}
	info.Created = d.modified()
	return info, d.saveBucket(name, info)
}

func (d *disk) saveBucket(name string, info bucketInfo) error {
	return d.writeJSON(d.own("buckets", name+".json"), info)
}

// buckets are the names of all buckets, sorted.
func (d *disk) buckets() ([]string, error) {
	entries, err := os.ReadDir(d.dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if _, err := d.bucket(e.Name()); err == nil {
			names = append(names, e.Name())
		}
	}
	sort.Strings(names)
	return names, nil
}

func readJSON(path string, into any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, into); err != nil {
		return fmt.Errorf("%s is damaged: %w", path, err)
	}
	return nil
}

// writeJSON replaces a file whole.
func (d *disk) writeJSON(path string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	tmp := d.own("tmp", "json-"+rand.Text())
	if err := os.WriteFile(tmp, b, 0o644); err != nil {
		os.Remove(tmp)
		return err
	}
	err = os.Rename(tmp, path)
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.MkdirAll(filepath.Dir(path), 0o755); err == nil {
			err = os.Rename(tmp, path)
		}
	}
	if err != nil {
		os.Remove(tmp)
	}
	return err
}

// discard removes a folder of the emulator's own, at once for all who look.
func (d *disk) discard(path string) error {
	tmp := d.own("tmp", "gone-"+rand.Text())
	if err := os.Rename(path, tmp); err != nil {
		return err
	}
	return os.RemoveAll(tmp)
}

// full tells whether an error says that there is no room.
func full(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
