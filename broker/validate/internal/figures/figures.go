// Package figures writes numbers the way the sentences of a verdict show them.
package figures

import "strconv"

// Of writes n with its thousands separated: 1,204,332.
func Of[T int | int64 | uint64](n T) string {
	s := strconv.FormatUint(uint64(n), 10)
	if n < 0 {
		s = strconv.FormatInt(int64(n), 10)
	}
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
