package broker

import (
	"net/netip"
	"slices"
	"sync/atomic"
)

// Location is a point on the earth, in degrees (WGS 84).
type Location struct{ Lat, Lon float64 }

// Place is where a client is. The zero Place says that this is not known.
type Place struct {
	Country string    // ISO 3166-1 alpha-2 in capitals; "" unknown
	At      *Location // nil: not known
	Source  string    // what told so: override, mmdb or embedded; "" unknown
}

// CountryRules say to clients of which countries a bucket is offered.
type CountryRules struct {
	Only    []string // ISO 3166-1 alpha-2 in capitals; empty: all
	Except  []string
	Enforce bool // refuse grants by the same rules, too
}

// Admit reports whether clients of a country are offered the bucket. A client
// whose country is not known ("") is, unless an enforced rule names the only
// countries: then not knowing is no permission.
func (r CountryRules) Admit(country string) bool {
	if country == "" {
		return len(r.Only) == 0 || !r.Enforce
	}
	return !slices.Contains(r.Except, country) && (len(r.Only) == 0 || slices.Contains(r.Only, country))
}

// Placer tells where clients are, and what is near.
type Placer interface {
	// Place tells where an address is; the zero Place when that is not known.
	Place(client netip.Addr) Place
	// Order returns the buckets by their distance from a place, nearest first;
	// those without a location come behind, and equals stay as they were. From
	// an unknown place it is the order given. The argument is not changed.
	Order(from Place, buckets []Bucket) []Bucket
}

// ConfiguredOrder is the Placer that knows no places: the operator's order holds.
type ConfiguredOrder struct{}

// Place knows nothing.
func (ConfiguredOrder) Place(netip.Addr) Place { return Place{} }

// Order returns the buckets as they are.
func (ConfiguredOrder) Order(_ Place, buckets []Bucket) []Bucket { return buckets }

// Places are the operator's buckets with what is known of places. They may be
// replaced while calls run; a call keeps those that it began with.
type Places struct{ now atomic.Pointer[placesNow] }

type placesNow struct {
	buckets []Bucket
	placer  Placer
}

// NewPlaces begins with these buckets, in the configured order.
func NewPlaces(placer Placer, buckets ...Bucket) *Places {
	p := &Places{}
	p.Replace(placer, buckets...)
	return p
}

// Replace puts others in their place.
func (p *Places) Replace(placer Placer, buckets ...Bucket) {
	p.now.Store(&placesNow{buckets: slices.Clone(buckets), placer: placer})
}

// Buckets lists all, in the configured order; drained ones too. It is not to be
// changed.
func (p *Places) Buckets() []Bucket { return p.now.Load().buckets }

// Place tells where a client is.
func (p *Places) Place(client netip.Addr) Place { return p.now.Load().placer.Place(client) }

// find returns the bucket of a symbol.
func (n *placesNow) find(symbol string) (Bucket, bool) {
	i := slices.IndexFunc(n.buckets, func(b Bucket) bool { return b.Symbol == symbol })
	if i < 0 {
		return Bucket{}, false
	}
	return n.buckets[i], true
}
