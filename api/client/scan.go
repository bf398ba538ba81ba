package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// File is one file to upload.
type File struct {
	Path string // on disk
	Name string // in the project: relative, "/" between segments
}

// Listing is what Scan found, in a deterministic order.
type Listing struct {
	Files   []File
	LeftOut int          // regular files that look like no image
	Unread  []FileReport // what could not be looked at, with Err; folders end in "/"
}

// ScanOptions say what Scan takes.
type ScanOptions struct {
	All bool // every regular file, not only those that look like images
}

// Scan lists the files of a folder and of the folders below it. Names are the
// paths relative to dir, byte for byte as the disk has them. A dir that is a file
// is listed alone.
//
// It takes regular files that look like images, by their extension or by their
// first bytes. Hidden files and folders are passed over, and so is what systems
// leave behind (Thumbs.db, __MACOSX, @eaDir and the like). A symbolic link to a
// file counts as that file; links to folders are not followed, since they may
// lead in circles.
//
// It fails only when dir itself can't be read.
func Scan(ctx context.Context, dir string, opts ScanOptions) (Listing, error) {
	var out Listing
	fi, err := os.Stat(dir)
	if err != nil {
		return out, err
	}
	if fi.Mode().IsRegular() {
		out.Files = []File{{Path: dir, Name: filepath.Base(dir)}}
		return out, nil
	}
	if !fi.IsDir() {
		return out, &fs.PathError{Op: "scan", Path: dir, Err: errors.New("neither a folder nor a file")}
	}
	// WalkDir does not follow a link at its root, unless the name ends in a slash;
	// the folder that was named is meant.
	root := dir
	if !os.IsPathSeparator(root[len(root)-1]) {
		root += string(filepath.Separator)
	}
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if path == root {
			return err
		}
		rel, relErr := filepath.Rel(root, path)
		if relErr != nil {
			return relErr
		}
		f := File{Path: path, Name: filepath.ToSlash(rel)}
		if junk(d.Name()) {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if err != nil { // WalkDir could not list this folder
			f.Name += "/"
			out.Unread = append(out.Unread, FileReport{File: f, Err: brief(err)})
			return fs.SkipDir
		}
		if d.IsDir() {
			return nil
		}
		out.take(f, d, opts)
		return nil
	})
	return out, err
}

// take adds one entry of a folder if it is to be uploaded.
func (l *Listing) take(f File, d fs.DirEntry, opts ScanOptions) {
	if d.Type()&fs.ModeSymlink != 0 {
		fi, err := os.Stat(f.Path)
		if err != nil {
			l.Unread = append(l.Unread, FileReport{File: f, Err: fmt.Errorf("a link that leads nowhere: %w", brief(err))})
			return
		}
		if fi.IsDir() {
			return
		}
		d = fs.FileInfoToDirEntry(fi)
	}
	if !d.Type().IsRegular() { // a pipe or device would block or never end
		return
	}
	if !opts.All && !imageExt(f.Name) {
		image, err := startsLikeImage(f.Path)
		if err != nil || !image {
			l.LeftOut++
			return
		}
	}
	l.Files = append(l.Files, f)
}

// junk reports names that no one means to upload.
func junk(name string) bool {
	if strings.HasPrefix(name, ".") {
		return true
	}
	switch strings.ToLower(name) {
	case "thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "@eadir", "#recycle", "$recycle.bin", "system volume information":
		return true
	}
	return false
}

// imageExt reports whether a name ends like an image of a camera or a program.
func imageExt(name string) bool {
	ext := strings.ToLower(strings.TrimPrefix(filepath.Ext(name), "."))
	return slices.Contains([]string{
		"jpg", "jpeg", "jpe", "jfif", "png", "tif", "tiff", "webp", "heic", "heif", "hif", "avif", "jxl", "jp2", "bmp", "gif",
		"dng", "cr2", "cr3", "crw", "nef", "nrw", "arw", "srf", "sr2", "raf", "rw2", "raw", "rwl", "orf", "pef", "srw",
		"3fr", "fff", "iiq", "mef", "mos", "x3f", "erf", "kdc", "dcr", "mrw", "gpr",
	}, ext)
}

// startsLikeImage looks at the first bytes of a file whose name says nothing.
func startsLikeImage(path string) (bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	b := make([]byte, 16)
	n, err := io.ReadFull(f, b)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return false, err
	}
	s := string(b[:n])
	for _, magic := range []string{
		"\xff\xd8\xff",       // JPEG
		"\x89PNG\r\n\x1a\n",  // PNG
		"II*\x00", "MM\x00*", // TIFF, and the raw formats built on it
		"II+\x00", "MM\x00+", // BigTIFF
		"GIF87a", "GIF89a", // GIF
		"FUJIFILMCCD-RAW",        // RAF
		"\xff\x0a",               // JPEG XL codestream
		"\x00\x00\x00\x0cJXL ",   // JPEG XL container
		"\x00\x00\x00\x0cjP  \r", // JPEG 2000
	} {
		if strings.HasPrefix(s, magic) {
			return true, nil
		}
	}
	if len(s) >= 12 && s[:4] == "RIFF" && s[8:12] == "WEBP" {
		return true, nil
	}
	if len(s) >= 12 && s[4:8] == "ftyp" { // ISO base media: only the brands of stills
		return slices.Contains([]string{"heic", "heix", "heim", "heis", "mif1", "msf1", "avif", "avis", "crx "}, s[8:12]), nil
	}
	return false, nil
}

// brief takes the path out of a file error: reports name the file already.
func brief(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}
