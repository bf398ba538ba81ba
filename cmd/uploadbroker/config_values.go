package main

import (
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// The types below are how values of the configuration are written. Their faults
// are yaml.TypeErrors, which the decoder collects instead of stopping.

func valueFault(n *yaml.Node, format string, args ...any) error {
	return &yaml.TypeError{Errors: []string{fmt.Sprintf("line %d: ", n.Line) + fmt.Sprintf(format, args...)}}
}

// matches tells whether a value has the form of a regular expression, which is
// compiled here: at the start of the program every command would wait for it.
func matches(pattern, value string) bool {
	return regexp.MustCompile(pattern).MatchString(value)
}

// duration is a time as Go writes it: 90s, 15m, 3h.
type duration time.Duration

// UnmarshalYAML reads it.
func (d *duration) UnmarshalYAML(n *yaml.Node) error {
	v, err := time.ParseDuration(n.Value)
	if err != nil {
		return valueFault(n, "%q is not a duration; 90s, 15m and 3h are", n.Value)
	}
	*d = duration(v)
	return nil
}

// byteSize is a number of bytes: 512, 64KiB, 2GB, 5GiB.
type byteSize int64

// UnmarshalYAML reads it.
func (s *byteSize) UnmarshalYAML(n *yaml.Node) error {
	units := []struct {
		suffix string
		bytes  float64
	}{
		{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
		{"kB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"B", 1}, {"", 1},
	}
	text := strings.TrimSpace(n.Value)
	for _, u := range units {
		number, ok := strings.CutSuffix(text, u.suffix)
		if !ok {
			continue
		}
		v, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if err != nil || v < 0 || v*u.bytes > 1<<60 {
			break
		}
		*s = byteSize(v * u.bytes)
		return nil
	}
	return valueFault(n, "%q is not a size; 512KiB, 2GB and 5GiB are", n.Value)
}

// prefix is a network: 10.0.0.0/8, or one address.
type prefix netip.Prefix

// UnmarshalYAML reads it.
func (p *prefix) UnmarshalYAML(n *yaml.Node) error {
	if v, err := netip.ParsePrefix(n.Value); err == nil {
		*p = prefix(v.Masked())
		return nil
	}
	addr, err := netip.ParseAddr(n.Value)
	if err != nil {
		return valueFault(n, "%q is not a network; 10.0.0.0/8 and 192.0.2.7 are", n.Value)
	}
	*p = prefix(netip.PrefixFrom(addr.Unmap(), addr.Unmap().BitLen()))
	return nil
}
