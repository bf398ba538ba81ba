package tags

import (
	"fmt"
	"io"
	"mime"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/encoding/simplifiedchinese"
)

// queryName is the file's name of ?filename=…. Old programs put there what they have and
// escape little of it: what net/url drops is kept, and the key is known however it is
// written. Of several the first counts.
func queryName(rawQuery string) string {
	pairs := strings.Split(rawQuery, "&")
	for i, pair := range pairs {
		key, name, _ := strings.Cut(pair, "=")
		if name == "" || !strings.EqualFold(unescape(key), "filename") {
			continue
		}
		// Tom&Jerry.jpg: what has no = and ends with a dot's part is no pair of its own. A
		// number is what some add against caches.
		more := ""
		for _, next := range pairs[i+1:] {
			if strings.Contains(next, "=") || isNumber(next) || hasExtension(name) {
				break
			}
			if more += "&" + next; strings.Contains(next, ".") {
				name, more = name+more, ""
			}
		}
		return inUTF8(unescape(name))
	}
	return ""
}

// hasExtension reports whether a name ends as files' do: 1.5 and Dr. Who don't.
func hasExtension(name string) bool {
	at := strings.LastIndexByte(name, '.')
	ext := name[at+1:]
	return at >= 0 && ext != "" && !isNumber(ext) && !strings.ContainsFunc(ext, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r)
	})
}

func isNumber(s string) bool { return s != "" && strings.Trim(s, "0123456789.") == "" }

// unescape reads a part of a query. What is no escape stays as it is.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '+':
			b.WriteByte(' ')
		case s[i] == '%' && i+2 < len(s):
			if one, err := url.PathUnescape(s[i : i+3]); err == nil {
				b.WriteString(one)
				i += 2
				continue
			}
			b.WriteByte('%')
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

// inUTF8 reads what is not UTF-8 as GB 18030, with GBK and GB 2312 in it, where it can be
// that: programs on Chinese Windows send names in it. All else stays as it is.
func inUTF8(name string) string {
	if utf8.ValidString(name) {
		return name
	}
	if plain, err := simplifiedchinese.GB18030.NewDecoder().String(name); err == nil && !strings.ContainsRune(plain, utf8.RuneError) {
		return plain
	}
	return name
}

// dispositionName is the file's name of a Content-Disposition (RFC 6266, RFC 7578),
// with its folders.
func dispositionName(header string) string { return inUTF8(decodeWords(rawDispositionName(header))) }

// decodeWords reads the encoded words of RFC 2047, by which .NET and JavaMail write names
// in other scripts though no form should have them.
func decodeWords(name string) string {
	if !strings.Contains(name, "=?") {
		return name
	}
	d := mime.WordDecoder{CharsetReader: func(charset string, r io.Reader) (io.Reader, error) {
		switch strings.ToLower(charset) {
		case "gb2312", "gbk", "gb18030":
			return simplifiedchinese.GB18030.NewDecoder().Reader(r), nil
		}
		return nil, fmt.Errorf("the charset %q is not read", charset)
	}}
	plain, err := d.DecodeHeader(name)
	if err != nil {
		return name
	}
	return plain
}

func rawDispositionName(header string) string {
	_, params, err := mime.ParseMediaType(header)
	if err == nil {
		return params["filename"]
	}
	// Old programs write names with spaces and other scripts without quotes.
	const key = "filename="
	at := strings.Index(strings.ToLower(header), key)
	if at < 0 || at+len(key) > len(header) {
		return ""
	}
	name := header[at+len(key):]
	if quoted, ok := strings.CutPrefix(name, `"`); ok {
		name, _, _ = strings.Cut(quoted, `"`)
	} else {
		name, _, _ = strings.Cut(name, ";")
	}
	return strings.TrimSpace(name)
}

func lastSegment(name string) string { return name[strings.LastIndexByte(name, '/')+1:] }
