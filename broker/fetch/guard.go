package fetch

import (
	"net/netip"
	"slices"
)

// Guard says which addresses may be dialed for a client: public unicast ones, and
// those of the networks that the operator allows.
type Guard struct {
	AllowNetworks []netip.Prefix // whatever else is said of them
}

// Permit reports whether an address may be dialed. An IPv6 address that carries an
// IPv4 one (mapped, compatible, NAT64, 6to4) is judged by that one.
func (g Guard) Permit(addr netip.Addr) bool {
	addr, zone := addr.Unmap(), addr.Zone()
	plain := addr.WithZone("")
	switch {
	case g.allows(plain):
		return true
	case zone != "": // means something on this machine's links only
		return false
	case plain.Is4():
		return !inAny(plain, notPublic4())
	case !plain.Is6():
		return false
	}
	if inner, ok := carried4(plain); ok {
		return g.Permit(inner)
	}
	return global6().Contains(plain) && !inAny(plain, notPublic6())
}

func (g Guard) allows(addr netip.Addr) bool { return inAny(addr, g.AllowNetworks) }

func inAny(addr netip.Addr, networks []netip.Prefix) bool {
	return slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// notPublic4 are the IPv4 networks that are not the public's: those which the IANA
// IPv4 Special-Purpose Address Registry (RFC 6890) does not call globally
// reachable, multicast, and one that a cloud took for itself.
func notPublic4() []netip.Prefix {
	return []netip.Prefix{
		net4(0, 0, 0, 0, 8),        // this network; Linux dials itself
		net4(10, 0, 0, 0, 8),       // private
		net4(100, 64, 0, 0, 10),    // carriers' NAT; Aliyun's metadata at 100.100.100.200
		net4(127, 0, 0, 0, 8),      // loopback
		net4(169, 254, 0, 0, 16),   // link-local; the clouds' metadata
		net4(172, 16, 0, 0, 12),    // private
		net4(192, 0, 0, 0, 24),     // protocol assignments; Oracle's metadata at 192.0.0.192
		net4(192, 0, 2, 0, 24),     // documentation
		net4(192, 88, 99, 0, 24),   // 6to4 relays (RFC 7526: given up)
		net4(192, 168, 0, 0, 16),   // private
		net4(198, 18, 0, 0, 15),    // benchmarks
		net4(198, 51, 100, 0, 24),  // documentation
		net4(203, 0, 113, 0, 24),   // documentation
		net4(224, 0, 0, 0, 4),      // multicast
		net4(240, 0, 0, 0, 4),      // reserved, and broadcast
		net4(168, 63, 129, 16, 32), // Azure's own services, inside public space
	}
}

func net4(a, b, c, d byte, bits int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{a, b, c, d}), bits)
}

// global6 is all of IPv6 that IANA has given out as global unicast. Private
// (fc00::/7), link-local, site-local, multicast, NAT64 of one's own
// (64:ff9b:1::/48), discard-only (100::/64) and translated addresses lie outside.
func global6() netip.Prefix { return net6(0x20, 0, 0, 0, 3) }

// notPublic6 are the networks within global6 that are not the public's, by the
// IANA IPv6 Special-Purpose Address Registry.
func notPublic6() []netip.Prefix {
	return []netip.Prefix{
		net6(0x20, 0x01, 0, 0, 23),       // protocol assignments: Teredo, benchmarks, ORCHID
		net6(0x20, 0x01, 0x0d, 0xb8, 32), // documentation
		net6(0x3f, 0xff, 0, 0, 20),       // documentation (RFC 9637)
	}
}

// net6 makes a prefix of at most 32 bits.
func net6(a, b, c, d byte, bits int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom16([16]byte{a, b, c, d}), bits)
}

// carried4 returns the IPv4 address at which what is sent to an IPv6 address may
// come out.
func carried4(addr netip.Addr) (netip.Addr, bool) {
	b := addr.As16()
	var inner []byte
	switch {
	case [12]byte(b[:12]) == [12]byte{}: // ::/96, compatible (RFC 4291, section 2.5.5.1)
		inner = b[12:]
	case [12]byte(b[:12]) == [12]byte{0, 0x64, 0xff, 0x9b}: // 64:ff9b::/96, NAT64 (RFC 6052)
		inner = b[12:]
	case b[0] == 0x20 && b[1] == 0x02: // 2002::/16, 6to4 (RFC 3056)
		inner = b[2:6]
	default:
		return netip.Addr{}, false
	}
	return netip.AddrFrom4([4]byte(inner)), true
}
