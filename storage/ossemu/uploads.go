package ossemu

import (
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"time"
)

// upload is one in parts that has begun.
type upload struct {
	Key    string            `json:"key"`
	Begun  time.Time         `json:"begun"`
	Header map[string]string `json:"header,omitempty"`

	id, dir string
}

func (u upload) lockName() string { return "upload " + u.dir }

// part is one that lies whole in its upload's folder, under
// <number>/<MD5>-<CRC-64>.
type part struct {
	number    int
	path      string
	etag      string
	crc64     uint64
	sizeBytes int64
	modified  time.Time
}

func (d *disk) beginUpload(bucket, key string, header map[string]string) (upload, error) {
	u := upload{Key: key, Begun: d.now().UTC(), Header: header, id: newID(16)}
	u.dir = d.own("uploads", bucket, u.id)
	return u, d.writeJSON(filepath.Join(u.dir, "upload.json"), u)
}

// upload answers fs.ErrNotExist for an id that is none.
func (d *disk) upload(bucket, id string) (upload, error) {
	u := upload{id: id, dir: d.own("uploads", bucket, id)}
	if len(id) != 32 || strings.Trim(id, "0123456789ABCDEF") != "" {
		return u, fs.ErrNotExist
	}
	return u, readJSON(filepath.Join(u.dir, "upload.json"), &u)
}

// uploads are those of a bucket that are neither completed nor aborted, by key
// and then by id.
func (d *disk) uploads(bucket string) ([]upload, error) {
	entries, err := os.ReadDir(d.own("uploads", bucket))
	if err != nil && !absent(err) {
		return nil, err
	}
	var all []upload
	for _, e := range entries {
		u, err := d.upload(bucket, e.Name())
		if err != nil {
			if absent(err) {
				continue // it ended meanwhile
			}
			return nil, err
		}
		all = append(all, u)
	}
	sort.Slice(all, func(i, j int) bool {
		if all[i].Key != all[j].Key {
			return all[i].Key < all[j].Key
		}
		return all[i].id < all[j].id
	})
	return all, nil
}

// savePart gives a part its place; the one before it with its number goes. The
// temporary file is gone afterwards, also on an error.
func (d *disk) savePart(u upload, number int, tmp spooled) error {
	defer os.Remove(tmp.path)
	defer d.locks.write(u.lockName())()
	now := d.now()
	if err := os.Chtimes(tmp.path, now, now); err != nil {
		return err
	}
	dir := filepath.Join(u.dir, fmt.Sprintf("%05d", number))
	if err := os.Mkdir(dir, 0o755); err != nil && !os.IsExist(err) {
		return err
	}
	name := fmt.Sprintf("%s-%016x", hex.EncodeToString(tmp.md5), tmp.crc64)
	older, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	if err := os.Rename(tmp.path, filepath.Join(dir, name)); err != nil {
		return err
	}
	for _, e := range older {
		if e.Name() != name {
			os.Remove(filepath.Join(dir, e.Name()))
		}
	}
	return nil
}

// parts are those of an upload, by number.
func (d *disk) parts(u upload) ([]part, error) {
	entries, err := os.ReadDir(u.dir)
	if err != nil {
		return nil, err
	}
	var all []part
	for _, e := range entries {
		number, err := strconv.Atoi(e.Name())
		if err != nil || !e.IsDir() {
			continue
		}
		files, err := os.ReadDir(filepath.Join(u.dir, e.Name()))
		if err != nil {
			return nil, err
		}
		var newest *part
		for _, f := range files {
			// Two files are there after a kill between the two steps of savePart.
			if p, ok := readPart(filepath.Join(u.dir, e.Name()), f); ok && (newest == nil || p.modified.After(newest.modified)) {
				p.number, newest = number, &p
			}
		}
		if newest != nil {
			all = append(all, *newest)
		}
	}
	return all, nil // ReadDir sorts, and the numbers have leading zeros
}

func readPart(dir string, f os.DirEntry) (part, bool) {
	fi, err := f.Info()
	if err != nil {
		return part{}, false
	}
	sum, crc, _ := strings.Cut(f.Name(), "-")
	p := part{path: filepath.Join(dir, f.Name()), etag: strings.ToUpper(sum), sizeBytes: fi.Size(), modified: fi.ModTime()}
	b, err := hex.DecodeString(sum)
	if err != nil || len(b) != md5.Size {
		return part{}, false
	}
	p.crc64, err = strconv.ParseUint(crc, 16, 64)
	return p, err == nil
}
