package rest

import (
	"encoding/json"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// text is a string that keeps what is not Unicode as bytes that are not UTF-8, so
// that the rules of names see it. encoding/json would put U+FFFD in its place and
// store a name that no file has; Python's json writes file names of that kind as
// lone surrogates.
type text string

// UnmarshalJSON reads a JSON string.
func (s *text) UnmarshalJSON(data []byte) error {
	var plain string
	if err := json.Unmarshal(data, &plain); err != nil {
		return err
	}
	if !utf8.Valid(data) || hasLoneSurrogate(data) {
		plain += "\xff"
	}
	*s = text(plain)
	return nil
}

// hasLoneSurrogate looks for an escape that is half of a UTF-16 pair, in the text
// of a sound JSON string.
func hasLoneSurrogate(data []byte) bool {
	high := false // the escape just before was the first half of a pair
	for i := 0; i < len(data); i++ {
		unit := -1
		if data[i] == '\\' {
			i++
			if data[i] == 'u' {
				n, err := strconv.ParseUint(string(data[i+1:i+5]), 16, 16)
				if err != nil {
					return true
				}
				unit = int(n)
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
