// Package geoip tells where the client behind an address is, and orders buckets
// by their distance from there. Its Locator is the broker.Placer of a broker
// that serves more than one bucket.
//
// # Sources
//
// An address is looked up in this order, and the first that knows it decides:
//
//   - the operator's overrides, the longest prefix first. They alone also serve
//     addresses that have no place by themselves (LAN, VPN, tests).
//   - addresses that have no place: private, shared (CGNAT), loopback, link-local,
//     multicast, documentation, benchmarking, reserved ones, and the networks of
//     services that answer from everywhere (AS112). They get the zero Place, so
//     the configured order of buckets holds for them.
//   - a MaxMind DB file of cities or countries, if the operator names one. A
//     record without a location stands at the centroid of its country.
//   - the table of countries compiled into the program, with the centroids of
//     this package.
//
// A v4-mapped address counts as its v4 address; so does an address of NAT64
// (64:ff9b::/96, RFC 6052) and of 6to4 (2002::/16, RFC 3056), after an override
// of its own. Zones are dropped.
//
// The compiled table is IP2Location LITE's, by way of github.com/phuslu/iploc;
// the file NOTICE carries the attribution that its licence asks for.
//
// # What is not precise
//
// The compiled table knows countries only, is as old as the program, and places
// an anycast address where its operator is registered. A country's centroid is
// roughly where its people are and not its geometric middle: that of Canada is
// in Ontario, that of Russia in Europe. Within a large country the nearest
// bucket may therefore be another than the nearest to its centroid; a file of
// cities or an override helps. A great circle is not a network's path.
//
// # Permissions and side effects
//
// Open reads the MaxMind DB file, whole, into memory, and opens nothing else; so
// a file that is replaced or cut while the program runs does no harm, and is
// read at the next Open. The compiled v6 table is unpacked into about 11 MB of
// memory at the first v6 address. If the environment variable IPLOC_IPV4ONLY is
// set, that table stays packed and v6 addresses have no place in it. The network
// is never asked.
package geoip
