package reconstruct

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/uploadbroker/uploadbroker/broker"
)

// knownOption is an option as a node describes it.
type knownOption struct {
	Name   string          `json:"name"`
	Type   string          `json:"type"`   // int, float, bool, enum, string, path
	Domain json.RawMessage `json:"domain"` // what values it takes: words, or a list of them for an enum
}

// sentOption is an option as a node takes it.
type sentOption struct {
	Name  string `json:"name"`
	Value any    `json:"value"`
}

// checked gives the options in their types, or says all that is wrong with them. A
// node passes over the names that it does not know without a word, and takes 3.7
// for an integer: neither is what the operator meant.
func (n *NodeODM) checked(ctx context.Context, options []NodeOption) ([]sentOption, error) {
	sent := []sentOption{}
	if len(options) == 0 {
		return sent, nil
	}
	var known []knownOption
	if err := n.get(ctx, "/options", nil, &known); err != nil {
		return nil, err
	}
	var faults []string
	for _, o := range options {
		i := slices.IndexFunc(known, func(k knownOption) bool { return k.Name == o.Name })
		if i < 0 {
			faults = append(faults, fmt.Sprintf("it knows no option %q", o.Name))
			continue
		}
		value, fault := known[i].take(o.Value)
		if fault != "" {
			faults = append(faults, fmt.Sprintf("%s can't be %v: %s", o.Name, o.Value, fault))
			continue
		}
		sent = append(sent, sentOption{o.Name, value})
	}
	if len(faults) > 0 {
		return nil, broker.Errorf(broker.CodeInvalid, "the engine can't work with reconstruction.options: %s", strings.Join(faults, "; "))
	}
	return sent, nil
}

// take brings a value into the option's type, or says what it takes instead.
func (k knownOption) take(value any) (any, string) {
	text := fmt.Sprint(value)
	switch k.Type {
	case "bool":
		switch text {
		case "true", "1":
			return true, ""
		case "false", "0":
			return false, ""
		}
		return nil, "true and false are possible"
	case "int":
		whole, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil, "it has to be a whole number"
		}
		return whole, k.refuses(text, float64(whole))
	case "float":
		number, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsInf(number, 0) || math.IsNaN(number) {
			return nil, "it has to be a number"
		}
		return number, k.refuses(text, number)
	}
	return text, k.refuses(text, math.NaN())
}

// The words for what an option takes (NodeODM's odmInfo.js, filterOptions).
var (
	betweenDomain = regexp.MustCompile(`^(?:float|integer): ([-+.\d]+) <= x <= ([-+.\d]+)$`)
	boundDomain   = regexp.MustCompile(`^(?:float|integer) (>=|>|<=|<) ([-+.\d]+)$`)
)

// refuses says what is wrong with a value. Of words that are not known here the node
// has to judge.
func (k knownOption) refuses(text string, number float64) string {
	var choices []any
	if json.Unmarshal(k.Domain, &choices) == nil && choices != nil {
		var names []string
		for _, c := range choices {
			names = append(names, fmt.Sprint(c))
		}
		if !slices.Contains(names, text) {
			return "possible are " + strings.Join(names, ", ")
		}
		return ""
	}
	var words string
	if json.Unmarshal(k.Domain, &words) != nil {
		return ""
	}
	bad := false
	bound := func(s string) float64 {
		b, err := strconv.ParseFloat(s, 64)
		if err != nil {
			return math.NaN() // compares with nothing
		}
		return b
	}
	switch {
	case words == "json":
		bad = !json.Valid([]byte(text))
	case words == "percent":
		bad = number < 0 || number > 100
	case strings.HasPrefix(words, "positive "):
		bad = number < 0
	case strings.HasPrefix(words, "negative "):
		bad = number > 0
	default:
		if m := betweenDomain.FindStringSubmatch(words); m != nil {
			bad = number < bound(m[1]) || number > bound(m[2])
		} else if m := boundDomain.FindStringSubmatch(words); m != nil {
			b := bound(m[2])
			bad = m[1] == ">=" && number < b || m[1] == ">" && number <= b || m[1] == "<=" && number > b || m[1] == "<" && number >= b
		}
	}
	if bad {
		return "it takes " + words
	}
	return ""
}
