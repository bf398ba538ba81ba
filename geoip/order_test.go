package geoip_test

import (
	"fmt"
	"math"
	"net/netip"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/geoip"
)

// Few points, so that many buckets stand at equal distance; nil is no location.
func points() *rapid.Generator[*broker.Location] {
	return rapid.OneOf(
		rapid.SampledFrom([]*broker.Location{nil, {}, {Lat: 90}, {Lat: 90, Lon: 77}, {Lat: -90}, {Lon: 180}, {Lon: -180}, {Lat: 22.3, Lon: 114.2}}),
		rapid.Custom(func(t *rapid.T) *broker.Location {
			return &broker.Location{Lat: rapid.Float64Range(-90, 90).Draw(t, "lat"), Lon: rapid.Float64Range(-180, 180).Draw(t, "lon")}
		}),
	)
}

func TestOrderProperties(t *testing.T) {
	l := open(t, geoip.Options{})
	rapid.Check(t, func(t *rapid.T) {
		at := rapid.SliceOfN(points(), 0, 25).Draw(t, "buckets")
		buckets := make([]broker.Bucket, len(at))
		for i := range at {
			buckets[i] = broker.Bucket{Symbol: fmt.Sprint(i), Location: at[i]}
		}
		before := slices.Clone(buckets)
		from := broker.Place{Country: "CH", At: points().Draw(t, "from")}
		got := l.Order(from, buckets)

		if !reflect.DeepEqual(buckets, before) {
			t.Fatal("the argument was changed")
		}
		seen := map[string]bool{}
		for _, b := range got {
			seen[b.Symbol] = true
		}
		if len(got) != len(buckets) || len(seen) != len(buckets) {
			t.Fatalf("%v is no permutation", symbols(got))
		}
		if from.At == nil {
			if !slices.Equal(symbols(got), symbols(buckets)) {
				t.Fatalf("from nowhere it is %v", symbols(got))
			}
			return
		}
		for i := 1; i < len(got); i++ {
			a, b := got[i-1], got[i]
			switch {
			case a.Location == nil && b.Location != nil:
				t.Fatalf("%s without a location comes before %s", a.Symbol, b.Symbol)
			case a.Location == nil || b.Location != nil && *a.Location == *b.Location:
				if slices.Index(symbols(before), a.Symbol) > slices.Index(symbols(before), b.Symbol) {
					t.Fatalf("equals %s and %s changed places", a.Symbol, b.Symbol)
				}
			case b.Location != nil && chord(*from.At, *a.Location) > chord(*from.At, *b.Location)+1e-7:
				t.Fatalf("%s is farther than %s behind it", a.Symbol, b.Symbol)
			}
		}
		if len(got) > 0 {
			got[0].Symbol = "changed"
			if !reflect.DeepEqual(buckets, before) {
				t.Fatal("the answer shares the argument's memory")
			}
		}
	})
}

// chord is the straight way through the earth, in radii: another formula, of the
// same order.
func chord(a, b broker.Location) float64 {
	point := func(l broker.Location) (x, y, z float64) {
		lat, lon := l.Lat*math.Pi/180, l.Lon*math.Pi/180
		return math.Cos(lat) * math.Cos(lon), math.Cos(lat) * math.Sin(lon), math.Sin(lat)
	}
	ax, ay, az := point(a)
	bx, by, bz := point(b)
	return math.Sqrt((ax-bx)*(ax-bx) + (ay-by)*(ay-by) + (az-bz)*(az-bz))
}

// A location that is none must not disturb the rest: NaN compares with nothing.
func TestOrderWithImpossibleLocations(t *testing.T) {
	l := open(t, geoip.Options{})
	buckets := []broker.Bucket{
		{Symbol: "NaN", Location: &broker.Location{Lat: math.NaN()}},
		{Symbol: "far", Location: &broker.Location{Lat: -40}},
		{Symbol: "none"},
		{Symbol: "off", Location: &broker.Location{Lat: 5, Lon: 400}},
		{Symbol: "near", Location: &broker.Location{Lat: 1}},
	}
	if got, want := symbols(l.Order(broker.Place{At: &broker.Location{}}, buckets)), []string{"near", "far", "NaN", "none", "off"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if got := symbols(l.Order(broker.Place{At: &broker.Location{Lon: math.Inf(1)}}, buckets)); !slices.Equal(got, symbols(buckets)) {
		t.Errorf("from an impossible place: %v", got)
	}
	if got := l.Order(broker.Place{}, nil); got != nil {
		t.Errorf("of none: %v", got)
	}
}

// The nearest across the date line and over the pole.
func TestOrderAroundTheGlobe(t *testing.T) {
	l := open(t, geoip.Options{})
	for _, c := range []struct {
		name       string
		from       broker.Location
		near, back broker.Location
	}{
		{"date line", broker.Location{Lat: -18, Lon: 179}, broker.Location{Lat: -18, Lon: -175}, broker.Location{Lat: -18, Lon: 170}},
		{"pole", broker.Location{Lat: 85, Lon: 0}, broker.Location{Lat: 85, Lon: 180}, broker.Location{Lat: 70, Lon: 0}},
	} {
		got := l.Order(broker.Place{At: &c.from}, []broker.Bucket{{Symbol: "back", Location: &c.back}, {Symbol: "near", Location: &c.near}})
		if got[0].Symbol != "near" {
			t.Errorf("%s: %v", c.name, symbols(got))
		}
	}
}

func BenchmarkPlace(b *testing.B) {
	l := open(b, geoip.Options{Overrides: map[netip.Prefix]geoip.Override{
		netip.MustParsePrefix("10.0.0.0/8"): {Country: "DE"}, netip.MustParsePrefix("192.168.0.0/16"): {Country: "FR"}, netip.MustParsePrefix("fd00::/8"): {Country: "CH"},
	}})
	for _, c := range []struct{ name, addr string }{{"v4", "129.132.0.1"}, {"v6", "2001:620::1"}, {"override", "10.1.2.3"}, {"placeless", "203.0.113.1"}} {
		addr := netip.MustParseAddr(c.addr)
		l.Place(addr) // unpacks the v6 table
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				l.Place(addr)
			}
		})
	}
}

func BenchmarkOrder(b *testing.B) {
	l := open(b, geoip.Options{})
	buckets := make([]broker.Bucket, 20)
	for i := range buckets {
		buckets[i].Location = &broker.Location{Lat: float64(i*37%180 - 90), Lon: float64(i*101%360 - 180)}
	}
	from := l.Place(netip.MustParseAddr("129.132.0.1"))
	b.ReportAllocs()
	for b.Loop() {
		l.Order(from, buckets)
	}
}

// Places are asked for with each call of nearest.
func TestPlaceDoesNotAllocate(t *testing.T) {
	l := open(t, geoip.Options{Overrides: map[netip.Prefix]geoip.Override{netip.MustParsePrefix("10.0.0.0/8"): {Country: "DE"}}})
	for _, a := range []string{"129.132.0.1", "2001:620::1", "::ffff:129.132.0.1", "64:ff9b::129.132.0.1", "10.1.1.1", "127.0.0.1"} {
		addr := netip.MustParseAddr(a)
		if n := testing.AllocsPerRun(100, func() { l.Place(addr) }); n != 0 {
			t.Errorf("%s: %v allocations", a, n)
		}
	}
}
