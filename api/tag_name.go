package api

import "golang.org/x/text/unicode/norm"

// TagName is the name of a tag in one of the ways in which Unicode writes it, NFC: Macs
// send é as two characters, others as one, and nobody sees the difference.
func TagName(sent string) string { return norm.NFC.String(sent) }
