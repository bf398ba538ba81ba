package main

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/geoip"
)

// geoipConfig says where addresses are.
type geoipConfig struct {
	MMDB      string                   `yaml:"mmdb"`      // a MaxMind or DB-IP city database; default: the embedded table, by country
	Overrides map[prefix]overridePlace `yaml:"overrides"` // networks that the operator knows better: LAN, VPN, tests
}

// overridePlace is where a network is.
type overridePlace struct {
	Country string   `yaml:"country"` // ISO 3166-1 alpha-2; default: as without the override
	Lat     *float64 `yaml:"lat"`     // degrees (WGS 84); default: the country's middle
	Lon     *float64 `yaml:"lon"`
}

func (c *config) finishGeoIP(fault func(key, format string, args ...any)) {
	if c.GeoIP.MMDB != "" {
		if _, err := os.Stat(c.GeoIP.MMDB); err != nil {
			fault("geoip.mmdb", "%v", err)
		}
	}
	for network, place := range c.GeoIP.Overrides {
		key := "geoip.overrides." + netip.Prefix(network).String()
		place.Country = strings.ToUpper(place.Country)
		c.GeoIP.Overrides[network] = place
		if place.Country == "" && place.Lat == nil {
			fault(key, "name a country, or lat and lon, or both")
		}
		checkCountry(key, place.Country, fault)
		if (place.Lat == nil) != (place.Lon == nil) {
			fault(key, "lat and lon go together")
		} else if place.Lat != nil {
			checkLocation(key, &location{*place.Lat, *place.Lon}, fault)
		}
	}
}

// options are what package geoip is opened with.
func (g geoipConfig) options() geoip.Options {
	o := geoip.Options{MMDB: g.MMDB, Overrides: map[netip.Prefix]geoip.Override{}}
	for network, place := range g.Overrides {
		override := geoip.Override{Country: place.Country}
		if place.Lat != nil {
			override.At = &broker.Location{Lat: *place.Lat, Lon: *place.Lon}
		}
		o.Overrides[netip.Prefix(network)] = override
	}
	return o
}

// finish checks the rules and puts the countries in capitals.
func (r *countryRules) finish(key string, fault func(key, format string, args ...any)) {
	for _, list := range []struct {
		name      string
		countries []string
	}{{"only", r.Only}, {"except", r.Except}} {
		for i := range list.countries {
			list.countries[i] = strings.ToUpper(list.countries[i])
			checkCountry(fmt.Sprintf("%s.%s.%d", key, list.name, i), list.countries[i], fault)
		}
	}
	for i, country := range r.Except {
		if slices.Contains(r.Only, country) {
			fault(fmt.Sprintf("%s.except.%d", key, i), "%s stands under only as well; keep one of them", country)
		}
	}
	if r.Enforce && len(r.Only) == 0 && len(r.Except) == 0 {
		fault(key+".enforce", "there is nothing to enforce: name countries under only or except")
	}
}

func checkCountry(key, country string, fault func(key, format string, args ...any)) {
	if country != "" && !geoip.IsCountry(country) {
		fault(key, "%q is not a country of ISO 3166-1 alpha-2, such as HK, CN, DE", country)
	}
}

func checkLocation(key string, at *location, fault func(key, format string, args ...any)) {
	if at != nil && (at.Lat < -90 || at.Lat > 90 || at.Lon < -180 || at.Lon > 180 || at.Lat != at.Lat || at.Lon != at.Lon) {
		fault(key, "lat is -90 to 90 degrees, lon -180 to 180")
	}
}
