package geoip

import (
	"net/netip"
	"sync/atomic"

	"github.com/phuslu/iploc"

	"github.com/uploadbroker/uploadbroker/broker"
)

// The sources that a Place names.
const (
	sourceOverride = "override"
	sourceMMDB     = "mmdb"
	sourceEmbedded = "embedded"
)

// Options say what a Locator knows besides the compiled table.
type Options struct {
	// Overrides place networks by the operator's word. Bits of a prefix behind
	// its length are ignored; a v4-mapped prefix counts as the v4 one.
	Overrides map[netip.Prefix]Override
	// MMDB is the path of a MaxMind DB file of cities or countries (GeoLite2 City
	// and others of the same fields); "": the compiled table alone.
	MMDB string
}

// Override places a network. It needs at least one of the two.
type Override struct {
	// Country is ISO 3166-1 alpha-2 in capitals; "": what the tables under the
	// override say of the address, which is nothing for a private one.
	Country string
	// At is where its clients are; nil: the centroid of Country.
	At *broker.Location
}

// Locator tells where addresses are and what is near. Its methods may be called
// at once.
type Locator struct {
	overrides overrides
	centroids map[string]*broker.Location
	mmdb      atomic.Pointer[mmdb] // nil: none, or closed
}

var _ broker.Placer = (*Locator)(nil)

// Open reads what the options name. Its error is CodeInvalid and lists every
// fault at once: of the overrides, and of the file, which may be missing, not a
// MaxMind DB, cut off, or one that knows neither countries nor places.
func Open(o Options) (*Locator, error) {
	l := &Locator{centroids: make(map[string]*broker.Location, len(countries))}
	for code, at := range countries {
		l.centroids[code] = &broker.Location{Lat: at[0], Lon: at[1]}
	}
	var faults faults
	l.overrides = newOverrides(o.Overrides, l.centroids, &faults)
	if o.MMDB != "" {
		db, err := openMMDB(o.MMDB)
		if err != nil {
			faults.add(err)
		} else {
			l.mmdb.Store(db)
		}
	}
	if err := faults.err(); err != nil {
		return nil, err
	}
	return l, nil
}

// Close drops the MaxMind DB. Calls that run still finish with it; later ones
// are answered without it. It repeats safely.
func (l *Locator) Close() error {
	l.mmdb.Store(nil)
	return nil
}

// Place tells where an address is; the zero Place when that is not known. Its
// location is shared and not to be changed.
func (l *Locator) Place(client netip.Addr) broker.Place {
	addr := client.Unmap() // a zone means nothing to what follows
	o, found := l.overrides.find(addr)
	if inner, ok := innerV4(addr); ok {
		addr = inner
		if !found {
			o, found = l.overrides.find(addr)
		}
	}
	if !found {
		return l.lookUp(addr)
	}
	if o.Country == "" {
		o.Country = l.lookUp(addr).Country
	}
	return o
}

// lookUp asks the tables under the overrides.
func (l *Locator) lookUp(addr netip.Addr) broker.Place {
	if placeless(addr) {
		return broker.Place{}
	}
	db := l.mmdb.Load()
	if db == nil {
		return l.embedded(addr)
	}
	country, at := db.find(addr)
	if country != "" && at == nil {
		at = l.centroids[country]
	}
	if country == "" {
		// It lacks the address, or its country (satellites, anycast).
		under := l.embedded(addr)
		if at == nil {
			return under
		}
		country = under.Country
	}
	return broker.Place{Country: country, At: at, Source: sourceMMDB}
}

// embedded asks the compiled table, which says ZZ of what it does not know.
func (l *Locator) embedded(addr netip.Addr) broker.Place {
	country := iploc.IPCountry(addr)
	at := l.centroids[country]
	if at == nil {
		return broker.Place{}
	}
	return broker.Place{Country: country, At: at, Source: sourceEmbedded}
}
