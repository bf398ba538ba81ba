package geoip_test

import (
	"math"
	"net/netip"
	"strings"
	"testing"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/geoip"
)

// everywhere is a database that has a country for every address, so that only
// the Locator's own rules can tell which have no place.
func everywhere(t *testing.T) *geoip.Locator {
	t.Helper()
	return open(t, geoip.Options{MMDB: write(t, database(t, mmdbwriter.Options{
		DatabaseType: "Test-Country", IncludeReservedNetworks: true, DisableIPv4Aliasing: true,
	}, map[string]mmdbtype.DataType{"::/0": country("US")}))})
}

func TestAddressesWithoutAPlace(t *testing.T) {
	l, alone := everywhere(t), open(t, geoip.Options{})
	for _, addr := range []string{
		"0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.127.255.255", "127.0.0.1", "169.254.169.254",
		"172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.2.1", "192.31.196.1", "192.52.193.1", "192.88.99.1", "192.168.0.1",
		"192.175.48.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255",
		"240.0.0.1", "255.255.255.255",
		"::", "::1", "::2", "100::1", "64:ff9b:1::1", "2001::1", "2001:1ff:ffff::1", "2001:db8::1", "2620:4f:8000::1", "3fff::1",
		"3fff:fff::1", "4000::1", "5f00::1", "fc00::1", "fd12::1", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1",
		"::ffff:192.168.0.1", "::ffff:127.0.0.1", "64:ff9b::10.0.0.1", "2002:c0a8:1::1",
	} {
		if got := l.Place(netip.MustParseAddr(addr)); got != (broker.Place{}) {
			t.Errorf("%s has the place %+v", addr, got)
		}
		if got := alone.Place(netip.MustParseAddr(addr)); got != (broker.Place{}) {
			t.Errorf("%s has the place %+v in the embedded table", addr, got)
		}
	}
	if got := l.Place(netip.Addr{}); got != (broker.Place{}) {
		t.Errorf("the zero address has the place %+v", got)
	}
}

// Next to a special network there are people.
func TestTheirNeighboursHaveOne(t *testing.T) {
	l := everywhere(t)
	for _, addr := range []string{
		"1.0.0.0", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0", "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0",
		"191.255.255.255", "192.0.1.0", "192.0.3.0", "192.31.195.255", "192.31.197.0", "192.52.192.255", "192.52.194.0", "192.88.98.255", "192.88.100.0",
		"192.167.255.255", "192.169.0.0", "192.175.47.255", "192.175.49.0", "198.17.255.255", "198.20.0.0", "198.51.99.255", "198.51.101.0",
		"203.0.112.255", "203.0.114.0", "223.255.255.255",
		"2000::", "2001:200::", "2001:db7:ffff::", "2001:db9::", "2003::", "2620:4e::", "2620:4f:7fff::", "2620:4f:8001::", "3ffe::", "3fff:1000::", "3fff:ffff::",
	} {
		if got := l.Place(netip.MustParseAddr(addr)); got.Country == "" || got.At == nil {
			t.Errorf("%s has no place", addr)
		}
	}
}

// Forms that carry a v4 address are looked up by it: ETH's 129.132.0.1.
func TestFormsOfOneAddress(t *testing.T) {
	l := open(t, geoip.Options{})
	want := l.Place(netip.MustParseAddr("129.132.0.1"))
	if want.Country != "CH" {
		t.Fatalf("%+v", want)
	}
	for _, addr := range []string{"::ffff:129.132.0.1", "::ffff:129.132.0.1%eth0", "64:ff9b::129.132.0.1", "64:ff9b::8184:1%1", "2002:8184:0001::1", "2002:8184:1:ffff:ffff::"} {
		if got := l.Place(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s is at %+v, want %+v", addr, got, want)
		}
	}
	if got := l.Place(netip.MustParseAddr("2001:620::1%en0")); got.Country != "CH" {
		t.Errorf("with a zone: %+v", got)
	}
}

func TestOverrides(t *testing.T) {
	office := &broker.Location{Lat: 47.4, Lon: 8.5}
	given := map[netip.Prefix]geoip.Override{
		netip.MustParsePrefix("10.0.0.0/8"):               {Country: "DE"},
		netip.MustParsePrefix("10.1.0.0/16"):              {Country: "HK", At: &broker.Location{Lat: 22.3, Lon: 114.2}},
		netip.MustParsePrefix("10.1.2.3/32"):              {Country: "TW"},
		netip.MustParsePrefix("192.168.0.0/16"):           {At: office},
		netip.MustParsePrefix("129.132.77.9/16"):          {At: &broker.Location{Lat: 46, Lon: 9}}, // host bits are ignored
		netip.MustParsePrefix("fd00::/8"):                 {Country: "JP"},
		netip.MustParsePrefix("fd00:1::/32"):              {Country: "KR"},
		netip.MustParsePrefix("2001:620::/32"):            {Country: "LI"},
		netip.MustParsePrefix("::ffff:203.0.113.0/120"):   {Country: "SG"},
		netip.MustParsePrefix("2002::/16"):                {Country: "NL"},
		netip.MustParsePrefix("64:ff9b::203.0.113.9/128"): {Country: "SE"},
	}
	l := open(t, geoip.Options{Overrides: given})
	office.Lat = 0 // the caller's own, from here on
	for _, c := range []struct {
		addr, country string
		lat           float64 // NaN: the country's centroid, which is not told here
	}{
		{"10.9.9.9", "DE", math.NaN()},
		{"10.1.9.9", "HK", 22.3},
		{"10.1.2.3", "TW", math.NaN()},
		{"::ffff:10.1.2.3", "TW", math.NaN()},
		{"10.1.2.4", "HK", 22.3},
		{"192.168.4.4", "", 47.4},  // no table knows a country for it
		{"129.132.4.4", "CH", 46},  // the country of the tables
		{"129.133.4.4", "US", 200}, // beside it: 200 is "not overridden"
		{"fd99::1", "JP", math.NaN()},
		{"fd00:1::1%wg0", "KR", math.NaN()},
		{"2001:620::1", "LI", math.NaN()},
		{"2001:621::1", "", 200},
		{"203.0.113.200", "SG", math.NaN()},
		{"::ffff:203.0.113.9", "SG", math.NaN()},
		{"2002:0a01:0203::1", "NL", math.NaN()},    // of the outer form
		{"64:ff9b::203.0.113.9", "SE", math.NaN()}, // of the outer form
		{"64:ff9b::203.0.113.8", "SG", math.NaN()}, // of the inner one
	} {
		got := l.Place(netip.MustParseAddr(c.addr))
		if c.lat == 200 {
			if got.Source == "override" {
				t.Errorf("%s is overridden: %+v", c.addr, got)
			}
			continue
		}
		if got.Country != c.country || got.Source != "override" || got.At == nil {
			t.Errorf("%s is at %+v, want %q by override", c.addr, got, c.country)
		} else if !math.IsNaN(c.lat) && got.At.Lat != c.lat {
			t.Errorf("%s is at %+v, want latitude %v", c.addr, *got.At, c.lat)
		}
	}
	if got := l.Place(netip.MustParseAddr("10.9.9.9")); *got.At != *l.Place(netip.MustParseAddr("130.149.0.1")).At {
		t.Errorf("an override by country is not at its centroid: %+v", *got.At)
	}
}

// 0.0.0.0/0 and ::/0 are overrides for whatever is left.
func TestOverrideOfAll(t *testing.T) {
	l := open(t, geoip.Options{Overrides: map[netip.Prefix]geoip.Override{
		netip.MustParsePrefix("0.0.0.0/0"): {Country: "BR"}, netip.MustParsePrefix("::/0"): {Country: "AR"},
	}})
	for addr, want := range map[string]string{"127.0.0.1": "BR", "::ffff:1.2.3.4": "BR", "::1": "AR", "64:ff9b::1.2.3.4": "AR"} {
		if got := l.Place(netip.MustParseAddr(addr)); got.Country != want {
			t.Errorf("%s: %+v, want %s", addr, got, want)
		}
	}
	if got := l.Place(netip.Addr{}); got != (broker.Place{}) {
		t.Errorf("the zero address: %+v", got)
	}
}

func TestBadOverridesAreToldTogether(t *testing.T) {
	_, err := geoip.Open(geoip.Options{MMDB: t.TempDir() + "/none.mmdb", Overrides: map[netip.Prefix]geoip.Override{
		{}:                                        {Country: "DE"},
		netip.MustParsePrefix("10.0.0.0/8"):       {},
		netip.MustParsePrefix("10.0.0.0/9"):       {Country: "UK"},
		netip.MustParsePrefix("10.0.0.0/10"):      {Country: "de"},
		netip.MustParsePrefix("10.0.0.0/11"):      {At: &broker.Location{Lat: 91}},
		netip.MustParsePrefix("10.0.0.0/12"):      {At: &broker.Location{Lon: math.NaN()}},
		netip.MustParsePrefix("10.0.0.0/13"):      {Country: "DE", At: &broker.Location{Lon: -180.5}},
		netip.MustParsePrefix("::ffff:0:0/90"):    {Country: "DE"},
		netip.MustParsePrefix("10.0.0.1/16"):      {Country: "DE"},
		netip.MustParsePrefix("10.0.0.2/16"):      {Country: "FR"},
		netip.MustParsePrefix("2001:db8::/32"):    {Country: "DE"}, // sound
		netip.MustParsePrefix("203.0.113.0/24"):   {Country: "TW"}, // sound
		netip.MustParsePrefix("198.51.100.0/24"):  {Country: "HK"}, // sound
		netip.MustParsePrefix("198.51.100.0/25"):  {At: &broker.Location{Lat: -90, Lon: 180}},
		netip.MustParsePrefix("198.51.100.64/26"): {Country: "AQ", At: &broker.Location{}}, // 0, 0 is a place if an operator says so
	}})
	if broker.CodeOf(err) != broker.CodeInvalid {
		t.Fatalf("Open: %v", err)
	}
	told := err.Error()
	for _, want := range []string{
		"override invalid Prefix: it is no network", "override 10.0.0.0/8: it names neither", `override 10.0.0.0/9: "UK" is no country`,
		`override 10.0.0.0/10: "de"`, "override 10.0.0.0/11: lat 91", "override 10.0.0.0/12: lat 0, lon NaN", "override 10.0.0.0/13: lat 0, lon -180.5",
		"/90: it is no network", "the network 10.0.0.0/16 is given twice", "none.mmdb: there is no such file",
	} {
		if !strings.Contains(told, want) {
			t.Errorf("the error lacks %q:\n%s", want, told)
		}
	}
	for _, sound := range []string{"2001:db8", "203.0.113", "198.51.100"} {
		if strings.Contains(told, "override "+sound) {
			t.Errorf("the error blames %s:\n%s", sound, told)
		}
	}
}
