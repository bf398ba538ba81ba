package geoip

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"

	"github.com/uploadbroker/uploadbroker/broker"
)

// overrides find the longest prefix of an address by one look into a map for
// each length that occurs, which is fast for a thousand networks as well.
type overrides struct {
	places       map[netip.Prefix]broker.Place // Country "": ask the tables
	bits4, bits6 []int                         // lengths that occur, the longest first
}

// newOverrides adds to faults what can't be meant. The map's order is random, so
// the prefixes are sorted: the same faults read the same each time.
func newOverrides(given map[netip.Prefix]Override, centroids map[string]*broker.Location, faults *faults) overrides {
	o := overrides{places: make(map[netip.Prefix]broker.Place, len(given))}
	for _, p := range slices.SortedFunc(maps.Keys(given), netip.Prefix.Compare) {
		network, ok := plain(p)
		if !ok {
			faults.add(broker.Errorf(broker.CodeInvalid, "override %s: it is no network; write one as 203.0.113.0/24 or 2001:db8::/32", p))
			continue
		}
		if _, twice := o.places[network]; twice {
			faults.add(broker.Errorf(broker.CodeInvalid, "override %s: the network %s is given twice; keep one", p, network))
			continue
		}
		place, err := given[p].place(centroids)
		if err != nil {
			faults.add(broker.Errorf(broker.CodeInvalid, "override %s: %s", p, err.Msg))
			continue
		}
		o.places[network] = place
		if bits := network.Bits(); network.Addr().Is4() {
			o.bits4 = append(o.bits4, bits)
		} else {
			o.bits6 = append(o.bits6, bits)
		}
	}
	o.bits4, o.bits6 = longestFirst(o.bits4), longestFirst(o.bits6)
	return o
}

// plain returns the network that a prefix means: masked, and of v4 where it is
// v4-mapped. A mapped prefix of fewer than 96 bits is more than v4 and no network.
func plain(p netip.Prefix) (netip.Prefix, bool) {
	if !p.IsValid() {
		return p, false
	}
	if p.Addr().Is4In6() {
		if p.Bits() < 96 {
			return p, false
		}
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p.Masked(), true
}

func longestFirst(bits []int) []int {
	slices.SortFunc(bits, func(a, b int) int { return cmp.Compare(b, a) })
	return slices.Compact(bits)
}

// place is what a Locator answers; the country is "" where the tables decide.
func (o Override) place(centroids map[string]*broker.Location) (broker.Place, *broker.Error) {
	switch {
	case o.Country == "" && o.At == nil:
		return broker.Place{}, broker.Errorf(broker.CodeInvalid, "it names neither a country nor a location; give one")
	case o.Country != "" && !IsCountry(o.Country):
		return broker.Place{}, broker.Errorf(broker.CodeInvalid, "%q is no country; give its ISO 3166-1 code of two capitals, such as HK", o.Country)
	case o.At == nil:
		return broker.Place{Country: o.Country, At: centroids[o.Country], Source: sourceOverride}, nil
	case !onEarth(*o.At):
		return broker.Place{}, broker.Errorf(broker.CodeInvalid, "lat %v, lon %v is not on earth; lat goes from -90 to 90 and lon from -180 to 180", o.At.Lat, o.At.Lon)
	}
	at := *o.At // the caller may change his
	return broker.Place{Country: o.Country, At: &at, Source: sourceOverride}, nil
}

// find returns the place of the longest network that holds the address.
func (o *overrides) find(addr netip.Addr) (broker.Place, bool) {
	lengths := o.bits6
	if addr.Is4() {
		lengths = o.bits4
	}
	for _, bits := range lengths {
		network, err := addr.Prefix(bits)
		if err != nil {
			return broker.Place{}, false // the zero Addr
		}
		if place, ok := o.places[network]; ok {
			return place, true
		}
	}
	return broker.Place{}, false
}
