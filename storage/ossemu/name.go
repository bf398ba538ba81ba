package ossemu

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Keys become paths of files that a person can read and write by hand: the key
// a/b.jpg of the bucket photos is the file photos/a/b.jpg. What a file can't be
// called is escaped with a percent sign:
//
//	%2E             a byte in hex: the percent sign itself, the backslash, control
//	                characters, and the dots of the segments "." and ".."
//	%_              the empty segment: a// is a/%_/%_
//	<name>%o        an object whose plain name is a folder: a, beside a/b
//	<begin>%+/<end> a segment that is too long for one name
//
// After a percent sign these letters are no hex digits, so nothing is ambiguous.
const (
	emptyName   = "%_"
	asideSuffix = "%o"
	cutSuffix   = "%+"

	longestName = 240 // bytes; with a suffix still below the 255 of file systems
	cutAt       = 200 // bytes
)

// namer makes names of files out of keys.
type namer struct {
	// fold is set where the file system takes "A" and "a" for the same name:
	// capitals and what is not ASCII are escaped too.
	fold bool
}

// path is where the object's file lies, below its bucket's folder.
func (n namer) path(key string) string {
	segments := strings.Split(key, "/")
	names := make([]string, 0, len(segments))
	for _, s := range segments {
		names = n.appendNames(names, s)
	}
	return filepath.Join(names...)
}

// folder is where the objects lie whose keys begin with prefix, which is empty
// or ends with a slash.
func (n namer) folder(prefix string) string {
	if prefix == "" {
		return "."
	}
	return n.path(strings.TrimSuffix(prefix, "/"))
}

func (n namer) appendNames(names []string, segment string) []string {
	for {
		name := n.escape(segment)
		if len(name) <= longestName {
			return append(names, name)
		}
		cut, length := 0, 0
		for cut < len(segment) {
			_, size := utf8.DecodeRuneInString(segment[cut:])
			grow := len(n.escapeBytes(segment[cut : cut+size]))
			if length+grow > cutAt {
				break
			}
			cut, length = cut+size, length+grow
		}
		names = append(names, n.escapeBytes(segment[:cut])+cutSuffix)
		segment = segment[cut:]
	}
}

// escape makes a segment, or the end of one, a name.
func (n namer) escape(segment string) string {
	switch segment {
	case "":
		return emptyName
	case ".":
		return "%2E"
	case "..":
		return "%2E%2E"
	}
	return n.escapeBytes(segment)
}

func (n namer) escapeBytes(s string) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		switch {
		case c < ' ', c == 0x7f, c == '%', c == '\\', c == '/',
			n.fold && (c >= 0x80 || 'A' <= c && c <= 'Z'):
			fmt.Fprintf(&b, "%%%02X", c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// kind tells what a name in a bucket's folder stands for.
type kind int

const (
	plain kind = iota
	aside
	cut
)

// parse reads a name back; false for one that path never makes, which was put
// there by hand and has no key.
func (n namer) parse(name string) (segment string, k kind, ok bool) {
	rest := name
	if s, found := strings.CutSuffix(name, asideSuffix); found {
		rest, k = s, aside
	} else if s, found := strings.CutSuffix(name, cutSuffix); found {
		rest, k = s, cut
	}
	if rest == emptyName {
		return "", k, k != cut
	}
	var b strings.Builder
	for i := 0; i < len(rest); i++ {
		if rest[i] != '%' {
			b.WriteByte(rest[i])
			continue
		}
		if i+3 > len(rest) {
			return "", k, false
		}
		c, err := strconv.ParseUint(rest[i+1:i+3], 16, 8)
		if err != nil {
			return "", k, false
		}
		b.WriteByte(byte(c))
		i += 2
	}
	segment = b.String()
	if !utf8.ValidString(segment) {
		return "", k, false
	}
	if k == cut {
		return segment, k, n.escapeBytes(segment) == rest && segment != ""
	}
	return segment, k, n.escape(segment) == rest && len(rest) <= longestName
}
