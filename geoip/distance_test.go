package geoip

import (
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/uploadbroker/uploadbroker/broker"
)

func anywhere() *rapid.Generator[broker.Location] {
	return rapid.Custom(func(t *rapid.T) broker.Location {
		return broker.Location{Lat: rapid.Float64Range(-90, 90).Draw(t, "lat"), Lon: rapid.Float64Range(-180, 180).Draw(t, "lon")}
	})
}

func TestDistanceProperties(t *testing.T) {
	halfKm := math.Pi * earthRadiusKm
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := anywhere().Draw(t, "a"), anywhere().Draw(t, "b"), anywhere().Draw(t, "c")
		ab := distanceKm(a, b)
		if back := distanceKm(b, a); math.Abs(ab-back) > 1e-6 {
			t.Errorf("%v there and %v back", ab, back)
		}
		if d := distanceKm(a, a); d != 0 {
			t.Errorf("%v to itself", d)
		}
		opposite := broker.Location{Lat: -a.Lat, Lon: a.Lon + 180}
		if opposite.Lon > 180 {
			opposite.Lon -= 360
		}
		if d := distanceKm(a, opposite); math.Abs(d-halfKm) > 1 {
			t.Errorf("%v km to the antipode, want %v", d, halfKm)
		}
		if ab < 0 || ab > halfKm+1e-6 || math.IsNaN(ab) {
			t.Errorf("%v km is no distance on earth", ab)
		}
		if ac, cb := distanceKm(a, c), distanceKm(c, b); ab > ac+cb+1e-3 {
			t.Errorf("%v km, yet %v by a detour", ab, ac+cb)
		}
	})
}

// Known ways, to 1%.
func TestDistance(t *testing.T) {
	zurich, hongKong := broker.Location{Lat: 47.37, Lon: 8.54}, broker.Location{Lat: 22.3, Lon: 114.17}
	newYork, london := broker.Location{Lat: 40.71, Lon: -74.01}, broker.Location{Lat: 51.51, Lon: -0.13}
	auckland, santiago := broker.Location{Lat: -36.85, Lon: 174.76}, broker.Location{Lat: -33.45, Lon: -70.67}
	for _, c := range []struct {
		a, b   broker.Location
		wantKm float64
	}{{zurich, hongKong, 9300}, {newYork, london, 5570}, {auckland, santiago, 9670}} {
		if got := distanceKm(c.a, c.b); math.Abs(got-c.wantKm) > c.wantKm/100 {
			t.Errorf("%v to %v: %.0f km, want %.0f", c.a, c.b, got, c.wantKm)
		}
	}
}
