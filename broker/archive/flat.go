package archive

import (
	"slices"
	"strconv"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"github.com/uploadbroker/uploadbroker/broker"
)

// maxFlatBytes is the longest name that an engine is given.
const maxFlatBytes = 100

// FlatNames gives names for engines: without folders, of letters, digits, points,
// underscores and hyphens of ASCII, with the ending of their true type, no two
// equal in whatever case. None ends in .txt, which NodeODM takes for ground control
// points. Equal calls in an equal order give equal names.
type FlatNames struct{ teller teller }

// NewFlatNames begins with no name given.
func NewFlatNames() *FlatNames { return &FlatNames{teller: newTeller()} }

// Name gives the name of an image of the user's name and of a MIME type ("": not
// known).
func (f *FlatNames) Name(name, contentType string) string {
	stem, ext := flatParts(name[strings.LastIndexByte(name, '/')+1:], contentType)
	ext = "." + ext
	stem = flatStem(stem)
	if reserved(stem) {
		stem = "_" + stem
	}
	return f.teller.tell(newHash(), cutBytes(stem, maxFlatBytes-len(ext)), ext, maxFlatBytes, func(n uint32) string {
		return "_" + strconv.FormatUint(uint64(n), 10)
	})
}

// unknownExt is the ending of what has none that says something.
const unknownExt = "bin"

// flatParts parts a name and finds the ending that fits its type.
func flatParts(base, contentType string) (stem, ext string) {
	stem, ext = base, ""
	if i := strings.LastIndexByte(base, '.'); i > 0 {
		stem, ext = base[:i], base[i+1:]
	}
	fits := broker.ExtensionsOf(contentType)
	switch lower := strings.ToLower(ext); {
	case slices.Contains(fits, lower):
	case len(fits) > 0:
		if ext != "" && !isKnownExt(lower) { // IMG.0001 is all a name
			stem = base
		}
		ext = fits[0]
	case !isFlatExt(ext):
		stem, ext = base, unknownExt
	}
	if strings.EqualFold(ext, "txt") {
		ext = unknownExt
	}
	return stem, ext
}

func isKnownExt(ext string) bool {
	return broker.TypeOf("."+ext) != broker.TypeOf("")
}

func isFlatExt(ext string) bool {
	return len(ext) >= 1 && len(ext) <= 8 && !strings.ContainsFunc(ext, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9')
	})
}

// flatStem keeps what an engine's tools take as it is; letters lose their accents.
func flatStem(s string) string {
	if !isASCII(s) {
		s = norm.NFD.String(s)
	}
	s = strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '_', r == '-':
			return r
		case unicode.Is(unicode.Mn, r):
			return -1
		}
		return '_'
	}, s)
	// Tools take a hyphen for an option, a point for something hidden.
	if kept := strings.TrimLeft(s, ".-"); len(kept) < len(s) || s == "" {
		s = "_" + kept
	}
	return s
}
