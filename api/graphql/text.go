package graphql

import (
	"errors"
	"strconv"
	"strings"
	"unicode/utf16"
)

// errLoneSurrogate is for an escape that is half of a UTF-16 pair. Python writes
// bytes of a file name that are not UTF-8 so.
func errLoneSurrogate() error {
	return errors.New("a string has half of a surrogate pair (such as \\ud800), which is no character; a file whose name is not UTF-8 can't be named here")
}

// hasLoneSurrogate looks for an escape that is half of a UTF-16 pair, in sound
// JSON. Backslashes stand in strings only, so it may be a whole document.
func hasLoneSurrogate(data []byte) bool {
	high := false // the escape just before was the first half of a pair
	for i := 0; i < len(data); i++ {
		unit := -1
		if data[i] == '\\' && i+1 < len(data) {
			i++
			if data[i] == 'u' {
				n, ok := hexUnit(string(data[i+1 : min(i+5, len(data))]))
				if !ok {
					return true
				}
				unit = n
				i += 4
			}
		}
		surrogate := unit >= 0 && utf16.IsSurrogate(rune(unit))
		low := surrogate && unit >= 0xDC00
		if high != low {
			return true
		}
		high = surrogate && !low
	}
	return high
}

// hexUnit reads the four digits of an escape.
func hexUnit(s string) (int, bool) {
	if len(s) < 4 {
		return 0, false
	}
	n, err := strconv.ParseUint(s[:4], 16, 16)
	return int(n), err == nil
}

// plainStrings writes the surrogate pairs in the strings of a query as the
// characters that they stand for, since the lexer reads each half for itself and
// makes two U+FFFD of them. Half a pair is an error. Comments and block strings
// know no escapes and stay as they are.
func plainStrings(query string) (string, error) {
	if !strings.Contains(query, `\u`) {
		return query, nil
	}
	var out strings.Builder
	for i := 0; i < len(query); {
		n := 1
		switch rest := query[i:]; {
		case rest[0] == '#':
			if n = strings.IndexAny(rest, "\r\n"); n < 0 {
				n = len(rest)
			}
		case strings.HasPrefix(rest, `"""`):
			n = blockString(rest)
		case rest[0] == '"':
			text, end, err := plainString(rest)
			if err != nil {
				return "", err
			}
			out.WriteString(text)
			i += end
			continue
		}
		out.WriteString(query[i : i+n])
		i += n
	}
	return out.String(), nil
}

// blockString returns the length of the block string that s begins with.
func blockString(s string) int {
	for i := 3; i < len(s); i++ {
		switch {
		case strings.HasPrefix(s[i:], `\"""`):
			i += 3
		case strings.HasPrefix(s[i:], `"""`):
			return i + 3
		}
	}
	return len(s)
}

// plainString reads the string that s begins with and returns it with its pairs
// as characters, and how much of s it was. What is malformed otherwise is left
// for the parser to tell.
func plainString(s string) (text string, end int, err error) {
	var out strings.Builder
	out.WriteByte('"')
	for i := 1; i < len(s); {
		if s[i] != '\\' || i+1 == len(s) {
			out.WriteByte(s[i])
			i++
			if s[i-1] == '"' || s[i-1] == '\n' || s[i-1] == '\r' {
				return out.String(), i, nil
			}
			continue
		}
		first, ok := escapedUnit(s[i:])
		if !ok {
			out.WriteString(s[i : i+2])
			i += 2
			continue
		}
		if !utf16.IsSurrogate(rune(first)) {
			out.WriteString(s[i : i+6])
			i += 6
			continue
		}
		second, ok := escapedUnit(s[i+6:])
		if r := utf16.DecodeRune(rune(first), rune(second)); ok && r != '\uFFFD' {
			out.WriteRune(r)
			i += 12
			continue
		}
		return "", 0, errLoneSurrogate()
	}
	return out.String(), len(s), nil
}

// escapedUnit reads the \uXXXX that s may begin with.
func escapedUnit(s string) (int, bool) {
	if !strings.HasPrefix(s, `\u`) {
		return 0, false
	}
	return hexUnit(s[2:])
}
