package geoip

import (
	"cmp"
	"math"
	"slices"

	"github.com/uploadbroker/uploadbroker/broker"
)

// earthRadiusKm is the mean radius (IUGG). A sphere errs by up to 0.6%, which is
// less than what is known of where a client is.
const earthRadiusKm = 6371.0088

// Order returns the buckets by their great-circle distance from a place, nearest
// first; those without a location come behind, and equals stay as they were.
// From an unknown place it is the order given. The argument is not changed, and
// the answer is the caller's own.
func (l *Locator) Order(from broker.Place, buckets []broker.Bucket) []broker.Bucket {
	ordered := slices.Clone(buckets)
	if from.At == nil || !onEarth(*from.At) || len(buckets) < 2 {
		return ordered
	}
	// A Bucket is large: the ranks are sorted, and each bucket is moved once.
	type rank struct {
		distanceKm float64
		index      int
	}
	ranks := make([]rank, len(buckets))
	for i := range buckets {
		ranks[i] = rank{math.Inf(1), i}
		if at := buckets[i].Location; at != nil && onEarth(*at) {
			ranks[i].distanceKm = distanceKm(*from.At, *at)
		}
	}
	slices.SortFunc(ranks, func(a, b rank) int {
		return cmp.Or(cmp.Compare(a.distanceKm, b.distanceKm), cmp.Compare(a.index, b.index))
	})
	for i, r := range ranks {
		ordered[i] = buckets[r.index]
	}
	return ordered
}

// distanceKm is the length of the great circle between two points, by the
// haversine formula, which is exact for near points. Rounding may carry h past 1
// for opposite ones.
func distanceKm(a, b broker.Location) float64 {
	latA, latB := radians(a.Lat), radians(b.Lat)
	sinLat, sinLon := math.Sin((latB-latA)/2), math.Sin(radians(b.Lon-a.Lon)/2)
	h := sinLat*sinLat + math.Cos(latA)*math.Cos(latB)*sinLon*sinLon
	return 2 * earthRadiusKm * math.Asin(math.Sqrt(math.Min(1, h)))
}

func radians(degrees float64) float64 { return degrees * math.Pi / 180 }

// onEarth is false for NaN, too.
func onEarth(at broker.Location) bool {
	return at.Lat >= -90 && at.Lat <= 90 && at.Lon >= -180 && at.Lon <= 180
}
