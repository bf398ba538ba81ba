package geoip

import "net/netip"

// v4 is a network of v4 addresses as numbers.
type v4 struct {
	network uint32
	bits    uint8
}

// placelessV4 are the networks of v4 that stand for no place: those of IANA's
// IPv4 Special-Purpose Address Registry (RFC 6890 and its updates), multicast
// (RFC 5771) and what is reserved behind it (RFC 1112).
var placelessV4 = [...]v4{
	{0x00_00_00_00, 8},  // 0.0.0.0/8 this network; the unspecified address
	{0x0a_00_00_00, 8},  // 10.0.0.0/8 private
	{0x64_40_00_00, 10}, // 100.64.0.0/10 shared, of carriers' NAT
	{0x7f_00_00_00, 8},  // 127.0.0.0/8 loopback
	{0xa9_fe_00_00, 16}, // 169.254.0.0/16 link-local
	{0xac_10_00_00, 12}, // 172.16.0.0/12 private
	{0xc0_00_00_00, 24}, // 192.0.0.0/24 protocol assignments
	{0xc0_00_02_00, 24}, // 192.0.2.0/24 documentation
	{0xc0_1f_c4_00, 24}, // 192.31.196.0/24 AS112, anycast
	{0xc0_34_c1_00, 24}, // 192.52.193.0/24 AMT, anycast
	{0xc0_58_63_00, 24}, // 192.88.99.0/24 6to4 relays, anycast and gone
	{0xc0_a8_00_00, 16}, // 192.168.0.0/16 private
	{0xc0_af_30_00, 24}, // 192.175.48.0/24 AS112, anycast
	{0xc6_12_00_00, 15}, // 198.18.0.0/15 benchmarking
	{0xc6_33_64_00, 24}, // 198.51.100.0/24 documentation
	{0xcb_00_71_00, 24}, // 203.0.113.0/24 documentation
	{0xe0_00_00_00, 4},  // 224.0.0.0/4 multicast
	{0xf0_00_00_00, 4},  // 240.0.0.0/4 reserved; broadcast
}

// placeless reports whether an address stands for no place whatever a table
// says; tables give nonsense for some of them. The zero Addr is one.
func placeless(addr netip.Addr) bool {
	if addr.Is4() {
		b := addr.As4()
		n := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
		for _, w := range placelessV4 {
			if n>>(32-w.bits) == w.network>>(32-w.bits) {
				return true
			}
		}
		return false
	}
	if !addr.IsValid() {
		return true
	}
	b := addr.As16()
	first, second := uint16(b[0])<<8|uint16(b[1]), uint16(b[2])<<8|uint16(b[3])
	switch {
	case first>>13 != 1: // outside 2000::/3, all the global unicast there is (RFC 4291)
		return true
	case first == 0x2001 && second < 0x0200: // 2001::/23 protocol assignments: Teredo, benchmarking, ORCHID
		return true
	case first == 0x2001 && second == 0x0db8, first == 0x3fff && second < 0x1000: // 2001:db8::/32, 3fff::/20 documentation
		return true
	case first == 0x2002: // 6to4; innerV4 comes before
		return true
	case first == 0x2620 && second == 0x004f && b[4] == 0x80 && b[5] == 0: // 2620:4f:8000::/48 AS112, anycast
		return true
	}
	return false
}

// innerV4 returns the v4 address that an address of NAT64's well-known prefix
// 64:ff9b::/96 (RFC 6052) or of 6to4 (RFC 3056) carries.
func innerV4(addr netip.Addr) (netip.Addr, bool) {
	if !addr.Is6() {
		return netip.Addr{}, false
	}
	b := addr.As16()
	if b[0] == 0x20 && b[1] == 0x02 {
		return netip.AddrFrom4([4]byte(b[2:6])), true
	}
	if [12]byte(b[:12]) == [12]byte{0, 0x64, 0xff, 0x9b} {
		return netip.AddrFrom4([4]byte(b[12:])), true
	}
	return netip.Addr{}, false
}
