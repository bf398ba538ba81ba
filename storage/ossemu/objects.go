package ossemu

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc64"
	"io"
	"io/fs"
	"mime"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"
)

// Types of objects, as x-oss-object-type names them.
const (
	typeNormal    = "Normal"
	typeMultipart = "Multipart"
)

// meta is what is known of an object besides its bytes.
type meta struct {
	SizeBytes int64             `json:"size_bytes"`
	ETag      string            `json:"etag"` // upper-case hex, without quotes
	CRC64     uint64            `json:"crc64,string"`
	Type      string            `json:"type"`
	Modified  time.Time         `json:"modified"`
	Header    map[string]string `json:"header,omitempty"` // by canonical name: Content-Type, X-Oss-Meta-…

	// FileTime is the file's own time in nanoseconds. With the size it tells that
	// this is about the file that lies there, and not about one before it, or
	// one put there by hand.
	FileTime int64 `json:"file_time"`
}

func (m meta) isOf(fi fs.FileInfo) bool {
	return m.FileTime == fi.ModTime().UnixNano() && m.SizeBytes == fi.Size()
}

// record is the file with an object's meta. It is written before the object's
// file comes to its name, so it also holds the version that lies there until then.
type record struct {
	Key      string `json:"key"`
	Versions []meta `json:"versions"` // the newest first
}

func (d *disk) recordPath(bucket, key string) string {
	sum := sha256.Sum256([]byte(key))
	name := hex.EncodeToString(sum[:16])
	return d.own("meta", bucket, name[:2], name+".json")
}

func (d *disk) objectPath(bucket, key string) string {
	return filepath.Join(d.dir, bucket, d.names.path(key))
}

func lockName(bucket, key string) string { return bucket + "/" + key }

// open answers an object's bytes and meta, which belong together. Its error is
// fs.ErrNotExist when there is no such object.
func (d *disk) open(bucket, key string) (*os.File, meta, error) {
	unlock := d.locks.read(lockName(bucket, key))
	f, m, known, err := d.openLocked(bucket, key)
	unlock()
	if err != nil || known {
		return f, m, err
	}
	// A file of which nothing is known was put there by hand: its checksums are
	// computed once, and kept.
	f.Close()
	defer d.locks.write(lockName(bucket, key))()
	f, m, known, err = d.openLocked(bucket, key)
	if err != nil || known {
		return f, m, err
	}
	m, err = d.inspect(f, key)
	if err == nil {
		err = d.writeJSON(d.recordPath(bucket, key), record{Key: key, Versions: []meta{m}})
	}
	if err != nil {
		f.Close()
		return nil, m, err
	}
	return f, m, nil
}

func (d *disk) openLocked(bucket, key string) (f *os.File, m meta, known bool, err error) {
	p, err := d.find(bucket, key)
	if err != nil {
		return nil, m, false, err
	}
	if f, err = os.Open(p); err != nil {
		return nil, m, false, err
	}
	fi, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, m, false, err
	}
	var r record
	if err := readJSON(d.recordPath(bucket, key), &r); err == nil {
		for _, v := range r.Versions {
			if v.isOf(fi) {
				return f, v, true, nil
			}
		}
	}
	return f, m, false, nil
}

// find answers the path of the object's file.
func (d *disk) find(bucket, key string) (string, error) {
	p := d.objectPath(bucket, key)
	for _, p := range []string{p, p + asideSuffix} {
		fi, err := os.Lstat(p)
		if err == nil && fi.Mode().IsRegular() {
			return p, nil
		}
		if err != nil && !absent(err) {
			return "", err
		}
	}
	return "", fs.ErrNotExist
}

// absent tells whether an error says that there is no such file, also because a
// folder on the way to it is a file or the way is too long.
func absent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || notFolder(err) || tooLong(err)
}

// inspect reads a file through that was put there by hand.
func (d *disk) inspect(f *os.File, key string) (meta, error) {
	fi, err := f.Stat()
	if err != nil {
		return meta{}, err
	}
	sum, crc := md5.New(), crc64.New(crcTable())
	n, err := io.Copy(io.MultiWriter(sum, crc), f)
	if err != nil {
		return meta{}, err
	}
	after, err := f.Stat()
	if err != nil {
		return meta{}, err
	}
	if n != fi.Size() || !after.ModTime().Equal(fi.ModTime()) {
		return meta{}, fmt.Errorf("%s is being written to by another program", f.Name())
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return meta{}, err
	}
	m := meta{
		SizeBytes: n, ETag: upperHex(sum.Sum(nil)), CRC64: crc.Sum64(), Type: typeNormal,
		Modified: fi.ModTime().UTC().Truncate(time.Second), FileTime: fi.ModTime().UnixNano(),
		Header: map[string]string{"Content-Type": "application/octet-stream"},
	}
	if t := mime.TypeByExtension(path.Ext(key)); t != "" {
		m.Header["Content-Type"] = t
	}
	return m, nil
}

// errExists says that an object that must not be replaced is there.
var errExists = errors.New("the object exists")

// commit gives a whole temporary file its name. The file is gone afterwards,
// also on an error.
func (d *disk) commit(bucket, key, tmp string, m meta, forbidOverwrite bool) (meta, error) {
	defer os.Remove(tmp)
	defer d.locks.write(lockName(bucket, key))()
	if _, err := os.Stat(filepath.Join(d.dir, bucket)); err != nil {
		return m, fmt.Errorf("bucket %s: %w", bucket, err)
	}
	old, oldMeta, known, err := d.openLocked(bucket, key)
	switch {
	case err == nil:
		old.Close()
		if forbidOverwrite {
			return m, errExists
		}
	case !errors.Is(err, fs.ErrNotExist):
		return m, err
	}

	stamp := d.stamp()
	if err := os.Chtimes(tmp, stamp, stamp); err != nil {
		return m, err
	}
	fi, err := os.Stat(tmp)
	if err != nil {
		return m, err
	}
	m.FileTime, m.Modified = fi.ModTime().UnixNano(), d.modified()
	r := record{Key: key, Versions: []meta{m}}
	if known {
		r.Versions = append(r.Versions, oldMeta)
	}
	if err := d.writeJSON(d.recordPath(bucket, key), r); err != nil {
		return m, err
	}
	return m, d.place(bucket, key, tmp)
}

// place renames tmp to the object's name. The caller has the key's lock.
func (d *disk) place(bucket, key, tmp string) error {
	p := d.objectPath(bucket, key)
	var err error
	// Another request may remove an empty folder between the two steps, or make
	// one; each time that costs somebody a turn, so this ends.
	for range 100 {
		if err = d.makeFolders(bucket, key); err != nil {
			return err
		}
		if err = os.Rename(tmp, p); err == nil {
			os.Remove(p + asideSuffix) // an older version
			return nil
		}
		wasFolder := isFolder(err)
		if fi, statErr := os.Lstat(p); statErr == nil && fi.IsDir() {
			wasFolder = false
			if err = os.Rename(tmp, p+asideSuffix); err == nil {
				return nil
			}
		}
		if !wasFolder && !absent(err) {
			return err
		}
	}
	return err
}

// makeFolders makes the folders that lead to a key. An object that lies where a
// folder must be is moved aside.
func (d *disk) makeFolders(bucket, key string) error {
	root := filepath.Join(d.dir, bucket)
	dir := filepath.Dir(d.names.path(key))
	err := os.MkdirAll(filepath.Join(root, dir), 0o755)
	if err == nil || !(notFolder(err) || errors.Is(err, fs.ErrExist)) {
		return err
	}
	for i := range len(key) {
		if key[i] != '/' {
			continue
		}
		if err := d.moveAside(bucket, key[:i]); err != nil {
			return err
		}
	}
	return os.MkdirAll(filepath.Join(root, dir), 0o755)
}

// moveAside makes room for a folder. Who has a key's lock only ever asks for
// those of shorter keys, so nobody waits in a circle.
func (d *disk) moveAside(bucket, key string) error {
	defer d.locks.write(lockName(bucket, key))()
	p := d.objectPath(bucket, key)
	fi, err := os.Lstat(p)
	if err != nil && absent(err) || err == nil && !fi.Mode().IsRegular() {
		return nil
	}
	if err != nil {
		return err
	}
	return os.Rename(p, p+asideSuffix)
}

// remove deletes an object; one that is not there is no error.
func (d *disk) remove(bucket, key string) error {
	defer d.locks.write(lockName(bucket, key))()
	p := d.objectPath(bucket, key)
	// The one aside goes first: alone it would come to light again.
	if err := os.Remove(p + asideSuffix); err != nil && !absent(err) {
		return err
	}
	if fi, err := os.Lstat(p); err == nil && fi.Mode().IsRegular() {
		if err := os.Remove(p); err != nil && !absent(err) {
			return err
		}
	}
	os.Remove(d.recordPath(bucket, key))
	root := filepath.Join(d.dir, bucket)
	for dir := filepath.Dir(p); dir != root && strings.HasPrefix(dir, root); dir = filepath.Dir(dir) {
		if os.Remove(dir) != nil {
			break // not empty
		}
	}
	return nil
}
