package broker

import (
	"mime"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits of a file name, in bytes.
const (
	maxNameBytes    = 1024
	maxSegmentBytes = 255
)

// CheckName refuses names that can't be kept safely in a bucket, a zip and a
// file system: the name is UTF-8, with "/" between segments, no empty, "." or
// ".." segment, no backslash or control character, at most 255 bytes a segment
// and 1,024 in all.
func CheckName(name string) error {
	switch {
	case name == "":
		return Errorf(CodeInvalidName, "the name is empty; give the file's name")
	case len(name) > maxNameBytes:
		return Errorf(CodeInvalidName, "the name has %d bytes; %d are the most", len(name), maxNameBytes)
	case !utf8.ValidString(name):
		return Errorf(CodeInvalidName, "the name is not valid UTF-8")
	}
	for _, r := range name {
		if r == '\\' {
			return Errorf(CodeInvalidName, "the name has a backslash; put / between folders")
		}
		if unicode.IsControl(r) {
			return Errorf(CodeInvalidName, "the name has a control character (U+%04X)", r)
		}
	}
	for segment := range strings.SplitSeq(name, "/") {
		switch {
		case segment == "":
			return Errorf(CodeInvalidName, "the name has an empty segment; / may neither begin nor end it nor be doubled")
		case segment == "." || segment == "..":
			return Errorf(CodeInvalidName, "the name has the segment %q", segment)
		case len(segment) > maxSegmentBytes:
			return Errorf(CodeInvalidName, "a segment of the name has %d bytes; %d are the most", len(segment), maxSegmentBytes)
		}
	}
	return nil
}

// checkTitle is for the names of projects and keys: what a person reads on one line.
func checkTitle(what, s string) error {
	if s == "" || len(s) > maxSegmentBytes || !utf8.ValidString(s) || strings.TrimSpace(s) == "" {
		return Errorf(CodeInvalidName, "the %s's name must have 1 to %d bytes of UTF-8", what, maxSegmentBytes)
	}
	for _, r := range s {
		if unicode.IsControl(r) {
			return Errorf(CodeInvalidName, "the %s's name has a control character (U+%04X)", what, r)
		}
	}
	return nil
}

// knownTypes pairs the extensions and MIME types of images, the preferred
// extension of a type first. The system's own table is not asked: keys must be
// the same on every machine.
func knownTypes() [][2]string {
	return [][2]string{
		{"jpg", "image/jpeg"}, {"jpeg", "image/jpeg"}, {"jpe", "image/jpeg"},
		{"png", "image/png"}, {"tif", "image/tiff"}, {"tiff", "image/tiff"},
		{"webp", "image/webp"}, {"heic", "image/heic"}, {"heif", "image/heif"}, {"avif", "image/avif"},
		{"dng", "image/x-adobe-dng"}, {"cr2", "image/x-canon-cr2"}, {"cr3", "image/x-canon-cr3"},
		{"nef", "image/x-nikon-nef"}, {"arw", "image/x-sony-arw"}, {"raf", "image/x-fuji-raf"},
		{"orf", "image/x-olympus-orf"}, {"rw2", "image/x-panasonic-rw2"},
		{"gif", "image/gif"}, {"bmp", "image/bmp"}, {"pdf", "application/pdf"}, {"txt", "text/plain"},
		{"csv", "text/csv"}, {"json", "application/json"}, {"zip", "application/zip"}, {"mp4", "video/mp4"},
	}
}

// extOf returns the user's extension without its dot, lower-cased, when it is
// [a-z0-9]{1,8}; otherwise that of the type; otherwise "".
func extOf(name, contentType string) string {
	if i := strings.LastIndexByte(name, '.'); i >= 0 {
		ext := strings.ToLower(name[i+1:])
		if isExt(ext) {
			return ext
		}
	}
	// A type may be in capitals and have parameters.
	t, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return ""
	}
	for _, kt := range knownTypes() {
		if kt[1] == t {
			return kt[0]
		}
	}
	return ""
}

func isExt(s string) bool {
	if len(s) < 1 || len(s) > 8 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}

// TypeOf returns the MIME type that a name's extension stands for,
// application/octet-stream when it is not known.
func TypeOf(name string) string {
	if i := strings.LastIndexByte(name, '.'); i >= 0 {
		ext := strings.ToLower(name[i+1:])
		for _, kt := range knownTypes() {
			if kt[0] == ext {
				return kt[1]
			}
		}
	}
	return unknownType
}

// unknownType is the type of a name whose extension says nothing.
const unknownType = "application/octet-stream"

// checkType accepts a MIME type (RFC 9110, section 8.3.1) that can be a header's
// value as it stands: spaces around it, or two together, would be trimmed on the
// way, and the bucket would find another type than was signed.
func checkType(s string) error {
	if len(s) > 127 {
		return Errorf(CodeInvalidType, "the type has %d bytes; 127 are the most", len(s))
	}
	t, _, err := mime.ParseMediaType(s)
	switch {
	case err != nil, !strings.Contains(t, "/"), strings.TrimSpace(s) != s, strings.Contains(s, "  "),
		strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' }):
		return Errorf(CodeInvalidType, "the type is not a MIME type; image/jpeg is one")
	}
	return nil
}
