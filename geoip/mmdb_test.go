package geoip_test

import (
	"bytes"
	"compress/gzip"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/geoip"
)

func country(code string) mmdbtype.Map {
	return mmdbtype.Map{"country": mmdbtype.Map{"iso_code": mmdbtype.String(code), "names": mmdbtype.Map{"en": mmdbtype.String("a name")}}}
}

func city(code string, lat, lon float64) mmdbtype.Map {
	m := country(code)
	m["location"] = mmdbtype.Map{"latitude": mmdbtype.Float64(lat), "longitude": mmdbtype.Float64(lon), "accuracy_radius": mmdbtype.Uint16(10)}
	return m
}

// database builds a MaxMind DB file and returns its bytes.
func database(t *testing.T, o mmdbwriter.Options, entries map[string]mmdbtype.DataType) []byte {
	t.Helper()
	tree, err := mmdbwriter.New(o)
	if err != nil {
		t.Fatal(err)
	}
	for network, entry := range entries {
		_, n, err := net.ParseCIDR(network)
		if err != nil {
			t.Fatal(err)
		}
		if err := tree.Insert(n, entry); err != nil {
			t.Fatal(err)
		}
	}
	var b bytes.Buffer
	if _, err := tree.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func write(t *testing.T, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "geo.mmdb")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func cities(t *testing.T) []byte {
	located := mmdbtype.Map{"location": city("", -33.5, 18.5)["location"]}
	return database(t, mmdbwriter.Options{DatabaseType: "Test-City", RecordSize: 28, IncludeReservedNetworks: true}, map[string]mmdbtype.DataType{
		"129.132.0.0/17":     city("CH", 47.38, 8.54),
		"129.132.128.0/17":   country("IT"),
		"2001:620::/33":      city("LI", 47.14, 9.52),
		"2001:620:8000::/33": country("AT"),
		"131.111.0.0/16":     located,
		"130.149.0.0/16":     city("XK", 42.6, 21.2),
		"141.20.0.0/16":      city("GB", 0, 0),
		"141.23.0.0/16":      city("GB", 91, 0),
		"133.11.0.0/16":      city("JP", 35.7, 0), // on Greenwich's meridian there are people
		"143.107.0.0/16":     mmdbtype.Map{"registered_country": country("US")["country"]},
		"10.0.0.0/8":         city("US", 1, 1),
		"203.0.113.0/24":     city("US", 1, 1),
	})
}

func TestMMDB(t *testing.T) {
	path := write(t, cities(t))
	l := open(t, geoip.Options{MMDB: path, Overrides: map[netip.Prefix]geoip.Override{
		netip.MustParsePrefix("129.132.1.0/24"):   {Country: "SE"},
		netip.MustParsePrefix("129.132.2.0/24"):   {At: &broker.Location{Lat: 1, Lon: 2}},
		netip.MustParsePrefix("129.132.130.0/24"): {At: &broker.Location{Lat: 1, Lon: 2}},
	}})
	for _, c := range []struct {
		addr, country, source string
		at                    *broker.Location // nil: the country's centroid
	}{
		{"129.132.0.1", "CH", "mmdb", &broker.Location{Lat: 47.38, Lon: 8.54}},
		{"::ffff:129.132.0.1", "CH", "mmdb", &broker.Location{Lat: 47.38, Lon: 8.54}},
		{"64:ff9b::129.132.0.1", "CH", "mmdb", &broker.Location{Lat: 47.38, Lon: 8.54}},
		{"2002:8184:1::1", "CH", "mmdb", &broker.Location{Lat: 47.38, Lon: 8.54}},
		{"129.132.200.1", "IT", "mmdb", nil},
		{"129.132.1.1", "SE", "override", nil},
		{"129.132.2.1", "CH", "override", &broker.Location{Lat: 1, Lon: 2}},
		{"129.132.130.1", "IT", "override", &broker.Location{Lat: 1, Lon: 2}}, // the mmdb's country, not the embedded table's CH
		{"2001:620::1", "LI", "mmdb", &broker.Location{Lat: 47.14, Lon: 9.52}},
		{"2001:620:8000::1", "AT", "mmdb", nil},
		{"131.111.0.1", "GB", "mmdb", &broker.Location{Lat: -33.5, Lon: 18.5}}, // the country is of the embedded table
		{"130.149.0.1", "DE", "mmdb", &broker.Location{Lat: 42.6, Lon: 21.2}},  // XK is no country of ISO 3166-1
		{"141.20.0.1", "GB", "mmdb", nil},
		{"141.23.0.1", "GB", "mmdb", nil},
		{"133.11.0.1", "JP", "mmdb", &broker.Location{Lat: 35.7}},
		{"143.107.0.1", "BR", "embedded", nil},
		{"143.89.0.1", "HK", "embedded", nil}, // not in it
		{"2001:250::1", "CN", "embedded", nil},
		{"10.0.0.1", "", "", nil}, // whatever a database says of it
		{"203.0.113.1", "", "", nil},
	} {
		got := l.Place(netip.MustParseAddr(c.addr))
		if got.Country != c.country || got.Source != c.source {
			t.Errorf("%s is at %+v, want %q of %q", c.addr, got, c.country, c.source)
			continue
		}
		want := c.at
		if want == nil && c.country != "" {
			want = centroid(t, c.country)
		}
		if (got.At == nil) != (want == nil) || want != nil && *got.At != *want {
			t.Errorf("%s is at %+v, want %+v", c.addr, got.At, want)
		}
	}
}

// centroid is where an override by country stands.
func centroid(t *testing.T, code string) *broker.Location {
	t.Helper()
	l := open(t, geoip.Options{Overrides: map[netip.Prefix]geoip.Override{netip.MustParsePrefix("10.0.0.1/32"): {Country: code}}})
	return l.Place(netip.MustParseAddr("10.0.0.1")).At
}

// A database of v4 alone has no answer for v6, and that is no fault.
func TestMMDBOfV4(t *testing.T) {
	l := open(t, geoip.Options{MMDB: write(t, database(t, mmdbwriter.Options{DatabaseType: "Test-Country", IPVersion: 4}, map[string]mmdbtype.DataType{
		"129.132.0.0/16": country("IT"),
	}))})
	if got := l.Place(netip.MustParseAddr("129.132.0.1")); got.Country != "IT" || got.Source != "mmdb" {
		t.Errorf("v4: %+v", got)
	}
	if got := l.Place(netip.MustParseAddr("2001:620::1")); got.Country != "CH" || got.Source != "embedded" {
		t.Errorf("v6: %+v", got)
	}
}

// What happens to the file later is no matter, and Close may come at any time.
func TestMMDBIsHeldUntilClose(t *testing.T) {
	path := write(t, cities(t))
	l := open(t, geoip.Options{MMDB: path})
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	eth := netip.MustParseAddr("129.132.200.1")
	if got := l.Place(eth); got.Country != "IT" {
		t.Errorf("after the file was cut: %+v", got)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 1000 {
			if got := l.Place(eth); got.Country != "IT" && got.Country != "CH" {
				t.Errorf("while it closes: %+v", got)
			}
		}
	}()
	for range 2 {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
	<-done
	if got := l.Place(eth); got.Country != "CH" || got.Source != "embedded" {
		t.Errorf("after Close: %+v", got)
	}
}

func TestOpenRefuses(t *testing.T) {
	whole := cities(t)
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(whole); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	// The tree and the data of a database, with a part lost before its metadata.
	marker := bytes.LastIndex(whole, []byte("\xab\xcd\xefMaxMind.com"))
	holed := append(bytes.Clone(whole[:64]), whole[marker:]...)
	asn := database(t, mmdbwriter.Options{DatabaseType: "Test-ASN"}, map[string]mmdbtype.DataType{
		"129.132.0.0/16": mmdbtype.Map{"autonomous_system_number": mmdbtype.Uint32(559), "autonomous_system_organization": mmdbtype.String("SWITCH")},
		"2001:620::/32":  mmdbtype.Map{"autonomous_system_number": mmdbtype.Uint32(559)},
	})
	// Fields of other meaning under the same names.
	flat := database(t, mmdbwriter.Options{DatabaseType: "Test-Flat"}, map[string]mmdbtype.DataType{
		"129.132.0.0/16": mmdbtype.Map{"country": mmdbtype.String("CH")},
	})
	empty := database(t, mmdbwriter.Options{DatabaseType: "Test-Empty"}, nil)
	folder := t.TempDir()
	for _, c := range []struct{ name, path, want string }{
		{"missing", filepath.Join(folder, "none.mmdb"), "there is no such file"},
		{"a folder", folder, "it is no file"},
		{"empty", write(t, nil), "is empty"},
		{"text", write(t, []byte(strings.Repeat("start,end,country\n", 1000))), "no MaxMind DB, or is damaged or cut off"},
		{"packed", write(t, packed.Bytes()), "compressed"},
		{"cut in its metadata", write(t, whole[:len(whole)-20]), "no MaxMind DB, or is damaged or cut off"},
		{"cut in its data", write(t, whole[:len(whole)/2]), "no MaxMind DB, or is damaged or cut off"},
		{"with a hole", write(t, holed), "damaged or cut off"},
		{"of networks' numbers", write(t, asn), `"Test-ASN"`},
		{"of another layout", write(t, flat), `"Test-Flat"`},
		{"without entries", write(t, empty), `"Test-Empty"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, err := geoip.Open(geoip.Options{MMDB: c.path})
			if err == nil || l != nil || broker.CodeOf(err) != broker.CodeInvalid {
				t.Fatalf("Open: %v, %v", l, err)
			}
			if got := err.Error(); !strings.Contains(got, c.want) || !strings.Contains(got, c.path) {
				t.Errorf("the error is %q; it lacks %q or the path", got, c.want)
			}
		})
	}
}

// No damage may end the program: every byte of a small database is flipped.
func TestDamagedMMDB(t *testing.T) {
	whole := cities(t)
	addrs := []netip.Addr{netip.MustParseAddr("129.132.0.1"), netip.MustParseAddr("131.111.0.1"), netip.MustParseAddr("2001:620::1")}
	path := filepath.Join(t.TempDir(), "geo.mmdb")
	opened := 0
	for i := range whole {
		damaged := bytes.Clone(whole)
		damaged[i] ^= 0xff
		if err := os.WriteFile(path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		l, err := geoip.Open(geoip.Options{MMDB: path})
		if err != nil {
			continue
		}
		opened++
		for _, addr := range addrs {
			if got := l.Place(addr); !geoip.IsCountry(got.Country) || got.At == nil {
				t.Errorf("byte %d: %s is at %+v", i, addr, got)
			}
		}
	}
	if opened == 0 {
		t.Error("no damaged file was opened: nothing was tried")
	}
}
