package validate

import (
	"bytes"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/uploadbroker/uploadbroker/broker"
)

const (
	maxXMPBytes = 1 << 20 // of a packet that is read
	// What DJI's drones write their attitude under.
	djiNamespace = "http://www.dji.com/drone-dji/1.0/"
)

// xmpValues are properties of DJI's namespace, by their names without prefix; of
// a name that comes twice, the first.
type xmpValues map[string]string

// readXMP takes from an XMP packet (ISO 16684-1) what DJI wrote, as attributes or
// as elements. It scans the tags in one pass without building anything, knows no
// entities and no document type, and takes what it can't read for absent: no
// packet can make it slow or fail.
func readXMP(p []byte) xmpValues {
	if len(p) > maxXMPBytes || !bytes.Contains(p, []byte(djiNamespace)) {
		return nil
	}
	found := xmpValues{}
	var prefixes []string
	keep := func(name, value string) {
		prefix, local, ok := strings.Cut(name, ":")
		if !ok || !slices.Contains(prefixes, prefix) || len(value) > 64 {
			return
		}
		switch local {
		case "GimbalPitchDegree", "GimbalRollDegree", "GimbalYawDegree", "RelativeAltitude", "AbsoluteAltitude":
			if _, ok := found[local]; !ok {
				found[local] = strings.TrimSpace(value)
			}
		}
	}
	for {
		at := bytes.IndexByte(p, '<')
		if at < 0 {
			return found
		}
		p = p[at+1:]
		ends := ""
		switch {
		case bytes.HasPrefix(p, []byte("!--")):
			ends = "-->"
		case bytes.HasPrefix(p, []byte("![CDATA[")):
			ends = "]]>"
		case len(p) > 0 && (p[0] == '?' || p[0] == '!' || p[0] == '/'):
			ends = ">"
		}
		if ends != "" {
			_, rest, ok := bytes.Cut(p, []byte(ends))
			if !ok {
				return found
			}
			p = rest
			continue
		}
		var tag xmlTag
		tag, p = cutTag(p)
		for _, a := range tag.attributes { // a prefix may be bound behind its first use
			if prefix, ok := strings.CutPrefix(a[0], "xmlns:"); ok && a[1] == djiNamespace && len(prefixes) < 8 {
				prefixes = append(prefixes, prefix)
			}
		}
		for _, a := range tag.attributes {
			keep(a[0], a[1])
		}
		if text, _, ok := bytes.Cut(p[:min(len(p), 80)], []byte("<")); ok && !tag.empty {
			keep(tag.name, string(text))
		}
	}
}

// xmlTag is a start tag.
type xmlTag struct {
	name       string
	attributes [][2]string
	empty      bool // it ends itself
}

// cutTag reads the start tag that p is at, behind its angle bracket, and gives
// what follows it.
func cutTag(p []byte) (xmlTag, []byte) {
	const space, most = " \t\r\n", 200 // attributes
	end := bytes.IndexAny(p, space+"/>")
	if end < 0 {
		return xmlTag{}, nil
	}
	t := xmlTag{name: string(p[:min(end, 100)])}
	p = p[end:]
	for {
		p = bytes.TrimLeft(p, space)
		switch {
		case len(p) == 0:
			return t, nil
		case p[0] == '>':
			return t, p[1:]
		case p[0] == '/':
			t.empty = true
			p = p[1:]
			continue
		}
		end := bytes.IndexAny(p, "=<>")
		if end < 0 || p[end] != '=' {
			return t, p[max(end, 0):] // no XML: go on where a tag may begin
		}
		name := bytes.TrimRight(p[:end], space)
		p = bytes.TrimLeft(p[end+1:], space)
		if len(p) == 0 || p[0] != '"' && p[0] != '\'' {
			return t, p
		}
		value, rest, ok := bytes.Cut(p[1:], p[:1])
		if !ok {
			return t, nil
		}
		p = rest
		if len(t.attributes) < most && len(name) <= 100 && len(value) <= 100 {
			t.attributes = append(t.attributes, [2]string{string(name), string(value)})
		}
	}
}

func (v xmpValues) number(name string, most float64) (float64, bool) {
	n, err := strconv.ParseFloat(v[name], 64)
	return n, err == nil && math.Abs(n) <= most // which NaN is not
}

// fill completes the facts, of which EXIF's come first.
func (v xmpValues) fill(f *broker.Facts) {
	const degrees, metres = 360, 1e5
	pitch, okPitch := v.number("GimbalPitchDegree", degrees)
	roll, okRoll := v.number("GimbalRollDegree", degrees)
	yaw, okYaw := v.number("GimbalYawDegree", degrees)
	if okPitch && okRoll && okYaw && f.Gimbal == nil {
		f.Gimbal = &broker.Gimbal{Pitch: pitch, Roll: roll, Yaw: yaw}
	}
	if alt, ok := v.number("RelativeAltitude", metres); ok && f.RelAltM == nil {
		f.RelAltM = &alt
	}
	if alt, ok := v.number("AbsoluteAltitude", metres); ok && f.GPS != nil && f.GPS.Alt == nil {
		f.GPS.Alt = &alt
	}
}
