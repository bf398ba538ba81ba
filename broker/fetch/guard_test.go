package fetch_test

import (
	"net/netip"
	"testing"

	"github.com/uploadbroker/uploadbroker/broker/fetch"
)

func TestPermit(t *testing.T) {
	var none fetch.Guard
	for _, addr := range []string{
		"8.8.8.8", "1.1.1.1", "100.63.255.255", "100.128.0.0", "172.15.255.255", "172.32.0.0", "192.0.1.0", "192.169.0.0",
		"198.17.255.255", "198.20.0.0", "223.255.255.255", "168.63.129.15", "168.63.129.17", "11.0.0.0", "126.255.255.255", "128.0.0.0",
		"2606:4700::1111", "2001:200::1", "2001:db7:ffff::1", "2001:db9::1", "2400:3200::1", "2000::1", "3fff:1000::1", "2003::1",
		"::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::1", "::8.8.8.8",
	} {
		if !none.Permit(netip.MustParseAddr(addr)) {
			t.Errorf("%s is refused", addr)
		}
	}
	refused := []string{
		"0.0.0.0", "0.0.0.1", "0.255.255.255", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.100.100.200", "100.127.255.255",
		"127.0.0.1", "127.255.255.254", "169.254.169.254", "169.254.170.2", "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.0.192",
		"192.0.2.1", "192.88.99.1", "192.168.0.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1",
		"239.255.255.250", "240.0.0.1", "255.255.255.255", "168.63.129.16",
		"::", "::1", "fe80::1", "fec0::1", "fc00::1", "fd00:ec2::254", "fd20:ce::254", "ff02::1", "100::1", "2001::1", "2001:0:1::1",
		"2001:2::1", "2001:10::1", "2001:20::1", "2001:db8::1", "3fff::1", "5f00::1", "64:ff9b:1::1", "64:ff9b:1::808:808", "4000::1",
		"::ffff:0:127.0.0.1", "::ffff:0:8.8.8.8", "::1:8.8.8.8",
		"fe80::1%eth0", "2606:4700::1111%eth0",
	}
	// The same IPv4 addresses, carried by IPv6 ones.
	for _, v4 := range []string{"127.0.0.1", "10.0.0.1", "169.254.169.254", "0.0.0.0", "255.255.255.255", "168.63.129.16"} {
		b := netip.MustParseAddr(v4).As4()
		to6 := [16]byte{0x20, 0x02, b[0], b[1], b[2], b[3], 15: 1}
		refused = append(refused, "::ffff:"+v4, "64:ff9b::"+v4, "::"+v4, netip.AddrFrom16(to6).String())
	}
	for _, addr := range refused {
		if none.Permit(netip.MustParseAddr(addr)) {
			t.Errorf("%s is permitted", addr)
		}
	}
	if none.Permit(netip.Addr{}) {
		t.Error("no address is permitted")
	}
}

func TestPermitAllowedNetworks(t *testing.T) {
	g := fetch.Guard{AllowNetworks: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("fd00:1::/32"), netip.MustParsePrefix("fe80::/10")}}
	for addr, want := range map[string]bool{
		"10.1.2.3": true, "::ffff:10.1.2.3": true, "64:ff9b::10.1.2.3": true, "2002:a01:203::1": true,
		"fd00:1::1": true, "fe80::1": true, "fe80::1%eth0": true, "8.8.8.8": true,
		"10.2.0.1": false, "fd00:2::1": false, "127.0.0.1": false, "64:ff9b::10.2.0.1": false,
	} {
		if got := g.Permit(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %v", addr, got)
		}
	}
	// All of IPv6 is not all of IPv4, however it is written.
	all6 := fetch.Guard{AllowNetworks: []netip.Prefix{netip.MustParsePrefix("::/0")}}
	if all6.Permit(netip.MustParseAddr("::ffff:127.0.0.1")) || all6.Permit(netip.MustParseAddr("127.0.0.1")) {
		t.Error("::/0 allows IPv4's loopback")
	}
}
