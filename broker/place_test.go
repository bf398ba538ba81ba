package broker_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/uploadbroker/uploadbroker/broker"
)

func TestCountryRules(t *testing.T) {
	type rules = broker.CountryRules
	for _, c := range []struct {
		name    string
		rules   rules
		country string
		admit   bool
	}{
		{"no rules", rules{}, "CN", true},
		{"no rules, unknown", rules{}, "", true},
		{"only, of it", rules{Only: []string{"CN", "HK"}}, "HK", true},
		{"only, another", rules{Only: []string{"CN"}}, "HK", false},
		{"only, unknown", rules{Only: []string{"CN"}}, "", true},
		{"only, unknown, enforced", rules{Only: []string{"CN"}, Enforce: true}, "", false},
		{"except, of it", rules{Except: []string{"CN"}}, "CN", false},
		{"except, another", rules{Except: []string{"CN"}}, "DE", true},
		{"except, unknown", rules{Except: []string{"CN"}}, "", true},
		{"except, unknown, enforced", rules{Except: []string{"CN"}, Enforce: true}, "", true},
		{"only and except", rules{Only: []string{"CN", "HK"}, Except: []string{"CN"}}, "CN", false},
	} {
		if got := c.rules.Admit(c.country); got != c.admit {
			t.Errorf("%s: admitted %t", c.name, got)
		}
	}
}

// atlas is a Placer that knows three addresses and orders by distance on a line.
type atlas struct{}

func (atlas) Place(client netip.Addr) broker.Place {
	switch client.String() {
	case "192.0.2.1":
		return broker.Place{Country: "CN", At: &broker.Location{Lon: 100}}
	case "192.0.2.2":
		return broker.Place{Country: "DE", At: &broker.Location{Lon: 10}}
	}
	return broker.Place{}
}

func (atlas) Order(from broker.Place, buckets []broker.Bucket) []broker.Bucket {
	if from.At == nil {
		return buckets
	}
	far := func(b broker.Bucket) float64 { return max(b.Location.Lon-from.At.Lon, from.At.Lon-b.Location.Lon) }
	return slices.SortedStableFunc(slices.Values(buckets), func(a, b broker.Bucket) int { return int(far(a) - far(b)) })
}

// TestRulesOfCountries: nearest offers by the rules; writing elsewhere is allowed
// unless they are enforced.
func TestRulesOfCountries(t *testing.T) {
	w := newWorld(t)
	p := w.project(t)
	bucket := func(symbol string, lon float64, rules broker.CountryRules) broker.Bucket {
		return broker.Bucket{Symbol: symbol, Cloud: broker.CloudS3, GrantTTL: 1e12, Signer: w.signer, Location: &broker.Location{Lon: lon}, Countries: rules}
	}
	w.images.Places.Replace(atlas{},
		bucket("Virginia", -77, broker.CountryRules{Except: []string{"CN"}}),
		bucket("Frankfurt", 8, broker.CountryRules{Except: []string{"CN"}, Enforce: true}),
		bucket("Beijing", 116, broker.CountryRules{Only: []string{"CN"}, Enforce: true}),
		bucket("Shanghai", 121, broker.CountryRules{Only: []string{"CN"}}),
	)
	china, germany, nowhere := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("192.0.2.3")
	for _, c := range []struct {
		client netip.Addr
		near   string
	}{
		{china, "Beijing Shanghai"}, {germany, "Frankfurt Virginia"}, {nowhere, "Virginia Frankfurt Shanghai"},
	} {
		var symbols []string
		for _, b := range w.images.Nearest(w.by, c.client) {
			symbols = append(symbols, b.Symbol)
		}
		if got := strings.Join(symbols, " "); got != c.near {
			t.Errorf("%s is offered %s, want %s", c.client, got, c.near)
		}
	}
	for _, c := range []struct {
		client netip.Addr
		bucket string
		code   broker.Code
		chosen string
	}{
		{china, "", "", "Beijing"}, {germany, "", "", "Frankfurt"}, {nowhere, "", "", "Virginia"},
		{china, "Virginia", "", "Virginia"}, // not offered, yet not refused
		{germany, "Shanghai", "", "Shanghai"},
		{china, "Frankfurt", broker.CodeNotAllowed, ""},
		{germany, "Beijing", broker.CodeNotAllowed, ""},
		{nowhere, "Beijing", broker.CodeNotAllowed, ""}, // not knowing is no permission
		{nowhere, "Frankfurt", "", "Frankfurt"},
	} {
		r, err := w.images.Register(t.Context(), w.by, p.ID, broker.Target{Bucket: c.bucket, Client: c.client}, []broker.Entry{entry("a.jpg", "a")})
		wantCode(t, err, c.code)
		if err == nil && (r[0].Grant == nil || r[0].Grant.Bucket != c.chosen) {
			t.Errorf("%s to %q: %+v, want a grant in %s", c.client, c.bucket, r[0], c.chosen)
		}
	}
}

// TestReplacedPlacesHoldAtOnce: a bucket that goes takes no more grants, one that
// comes does.
func TestReplacedPlacesHoldAtOnce(t *testing.T) {
	w := newWorld(t)
	p := w.project(t)
	one := broker.Bucket{Symbol: "One", Cloud: broker.CloudS3, GrantTTL: 1e12, Signer: w.signer}
	two := one
	two.Symbol = "Two"
	list := []broker.Bucket{one}
	w.images.Places.Replace(broker.ConfiguredOrder{}, list...)
	list[0] = two // the list is the caller's
	if r := w.register(t, p, "One", entry("a.jpg", "a")); r[0].Status != broker.StatusGranted {
		t.Errorf("One: %+v", r[0])
	}
	w.images.Places.Replace(broker.ConfiguredOrder{}, two)
	_, err := w.images.Register(t.Context(), w.by, p.ID, broker.Target{Bucket: "One", Client: client}, []broker.Entry{entry("a.jpg", "a")})
	wantCode(t, err, broker.CodeUnknownBucket)
	if r := w.register(t, p, "", entry("a.jpg", "a")); r[0].Grant == nil || r[0].Grant.Bucket != "Two" {
		t.Errorf("nearest: %+v", r[0])
	}
}
