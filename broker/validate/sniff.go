package validate

import (
	"bytes"
	"mime"
	"net/http"
	"strings"
)

// sniffBytes is how much of the head decides what a file is.
const sniffBytes = 4096

// taken names the formats for those whose file is refused.
const taken = "JPEG, PNG, TIFF, WebP, HEIC, AVIF, DNG and other raw photos"

// format is a kind of file.
type format struct {
	mime  string
	words string               // for people
	check func(c *check) error // nil: not a picture that is taken
	raw   bool                 // a camera's raw photo that is made like a TIFF
	big   bool                 // BigTIFF
}

// sniff tells a file's kind by its first bytes, never by its name.
func sniff(head []byte) format {
	has := func(magic string) bool { return bytes.HasPrefix(head, []byte(magic)) }
	at := func(off int, magic string) bool {
		return len(head) >= off+len(magic) && string(head[off:off+len(magic)]) == magic
	}
	switch {
	case has("\xFF\xD8\xFF"):
		return format{mime: "image/jpeg", words: "JPEG", check: (*check).jpeg}
	case has("\x89PNG\r\n\x1a\n"):
		return format{mime: "image/png", words: "PNG", check: (*check).png}
	case has("RIFF") && at(8, "WEBP"):
		return format{mime: "image/webp", words: "WebP", check: (*check).webp}
	case has("II*\x00") && at(8, "CR"):
		return format{mime: "image/x-canon-cr2", words: "CR2", check: (*check).tiff, raw: true}
	case has("II+\x00"), has("MM\x00+"):
		return format{mime: "image/tiff", words: "BigTIFF", check: (*check).tiff, big: true}
	case has("II*\x00"), has("MM\x00*"):
		return format{mime: "image/tiff", words: "TIFF", check: (*check).tiff}
	case has("IIRO"), has("IIRS"), has("MMOR"):
		return format{mime: "image/x-olympus-orf", words: "ORF", check: (*check).tiff, raw: true}
	case has("IIU\x00"):
		return format{mime: "image/x-panasonic-rw2", words: "RW2", check: (*check).tiff, raw: true}
	case has(rafMagic):
		return format{mime: "image/x-fuji-raf", words: "RAF", check: (*check).raf}
	case at(4, "ftyp"):
		return sniffBrand(head)
	}
	return guess(head, has)
}

// guess names what is not taken. It may be wrong about it: only the fact that
// none of the formats above begins so is certain.
func guess(head []byte, has func(string) bool) format {
	for _, known := range []struct{ magic, mime, words string }{
		{"\x00\x00\x00\x0cJXL ", "image/jxl", "a JPEG XL picture"},
		{"\xFF\x0A", "image/jxl", "a JPEG XL picture"},
		{"\x00\x00\x00\x0cjP  ", "image/jp2", "a JPEG 2000 picture"},
		{"\xFF\x4F\xFF\x51", "image/jp2", "a JPEG 2000 picture"},
		{"8BPS", "image/vnd.adobe.photoshop", "a Photoshop document"},
		{"FOVb", "image/x-sigma-x3f", "a Sigma raw photo"},
		{"\x7fELF", "application/x-elf", "a program"},
		{"MZ", "application/vnd.microsoft.portable-executable", "a program"},
		{"7z\xBC\xAF\x27\x1C", "application/x-7z-compressed", "a 7z archive"},
	} {
		if has(known.magic) {
			return format{mime: known.mime, words: known.words}
		}
	}
	if len(head) > 0 && len(bytes.TrimLeft(head, "\x00")) == 0 {
		return format{mime: "application/octet-stream", words: "zeros at its beginning"}
	}
	kind := plainType(http.DetectContentType(head))
	words := "of no known kind"
	for _, known := range []struct{ prefix, words string }{
		{"text/html", "a web page"},
		{"text/", "text"},
		{"application/pdf", "a PDF document"},
		{"application/postscript", "a PostScript document"},
		{"application/zip", "a zip archive (or a document made as one)"},
		{"application/x-gzip", "a gzip archive"},
		{"application/x-rar", "a rar archive"},
		{"image/gif", "a GIF picture"},
		{"image/bmp", "a BMP picture"},
		{"image/x-icon", "an icon"},
		{"video/", "a video"},
		{"audio/", "sound"},
		{"application/ogg", "sound or a video"},
		{"font/", "a font"},
	} {
		if strings.HasPrefix(kind, known.prefix) {
			words = known.words
			break
		}
	}
	return format{mime: kind, words: words}
}

// plainType is a MIME type without parameters, in the one spelling used here.
func plainType(s string) string {
	kind, _, err := mime.ParseMediaType(s)
	if err != nil {
		kind = strings.ToLower(strings.TrimSpace(s))
	}
	switch kind {
	case "image/jpg", "image/pjpeg":
		return "image/jpeg"
	case "image/x-png":
		return "image/png"
	case "image/tif", "image/x-tiff":
		return "image/tiff"
	case "image/dng":
		return "image/x-adobe-dng"
	}
	return kind
}

// extensionType is the type that an extension claims, "" when it claims none.
func extensionType(ext string) string {
	switch ext {
	case "jpg", "jpeg", "jpe", "jfif":
		return "image/jpeg"
	case "tif", "tiff":
		return "image/tiff"
	case "png", "webp", "heic", "heif", "avif", "gif", "bmp":
		return "image/" + ext
	case "dng":
		return "image/x-adobe-dng"
	case "cr2", "cr3":
		return "image/x-canon-" + ext
	case "nef", "nrw":
		return "image/x-nikon-nef"
	case "arw", "sr2":
		return "image/x-sony-arw"
	case "orf":
		return "image/x-olympus-orf"
	case "raf":
		return "image/x-fuji-raf"
	case "rw2":
		return "image/x-panasonic-rw2"
	case "pef":
		return "image/x-pentax-pef"
	case "srw":
		return "image/x-samsung-srw"
	}
	return ""
}
