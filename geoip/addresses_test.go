package geoip_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/geoip"
)

// bucket of an operator who serves mainland China from one of its own and all
// others from the rest. The order is not that of any distance.
func bucket(t testing.TB, symbol string, cloud broker.Cloud, region string, rules broker.CountryRules) broker.Bucket {
	t.Helper()
	b := broker.Bucket{Symbol: symbol, Cloud: cloud, Countries: rules}
	if region != "" {
		at, ok := geoip.Region(cloud, region)
		if !ok {
			t.Fatalf("no region %s", region)
		}
		b.Location = &at
	}
	return b
}

func world(t testing.TB) []broker.Bucket {
	notCN, onlyCN := broker.CountryRules{Except: []string{"CN"}}, broker.CountryRules{Only: []string{"CN"}}
	return []broker.Bucket{
		bucket(t, "Anywhere", broker.CloudMinIO, "", broker.CountryRules{}),
		bucket(t, "Sydney", broker.CloudS3, "ap-southeast-2", notCN),
		bucket(t, "Virginia", broker.CloudS3, "us-east-1", notCN),
		bucket(t, "Hangzhou", broker.CloudOSS, "oss-cn-hangzhou", onlyCN),
		bucket(t, "Frankfurt", broker.CloudS3, "eu-central-1", notCN),
		bucket(t, "CapeTown", broker.CloudS3, "af-south-1", notCN),
		bucket(t, "Tokyo", broker.CloudS3, "ap-northeast-1", notCN),
		bucket(t, "Mumbai", broker.CloudS3, "ap-south-1", notCN),
		bucket(t, "Singapore", broker.CloudS3, "ap-southeast-1", notCN),
		bucket(t, "SaoPaulo", broker.CloudS3, "sa-east-1", notCN),
		bucket(t, "HongKong", broker.CloudS3, "ap-east-1", notCN),
	}
}

func symbols(buckets []broker.Bucket) []string {
	var list []string
	for _, b := range buckets {
		list = append(list, b.Symbol)
	}
	return list
}

// realAddresses are of universities, research networks and national providers,
// which hold their blocks for decades and announce them from one country.
var realAddresses = []struct{ holder, addr, country, nearest string }{
	{"MIT", "18.9.22.169", "US", "Virginia"},
	{"Stanford", "171.64.0.1", "US", "Virginia"},
	{"Berkeley", "128.32.0.1", "US", "Virginia"},
	{"Comcast", "73.0.0.1", "US", "Virginia"},
	{"University of Toronto", "128.100.0.1", "CA", "Virginia"},
	{"UBC", "142.103.1.1", "CA", "Virginia"},
	{"UNAM", "132.248.0.1", "MX", "Virginia"},
	{"ETB", "190.24.0.1", "CO", "Virginia"},
	{"USP", "143.107.0.1", "BR", "SaoPaulo"},
	{"NIC.br", "200.160.2.3", "BR", "SaoPaulo"},
	{"Telecom Argentina", "181.0.0.1", "AR", "SaoPaulo"},
	{"REUNA", "146.83.0.1", "CL", "SaoPaulo"},
	{"Cambridge", "131.111.0.1", "GB", "Frankfurt"},
	{"Oxford", "129.67.0.1", "GB", "Frankfurt"},
	{"Deutsche Telekom", "80.128.0.1", "DE", "Frankfurt"},
	{"TU Berlin", "130.149.0.1", "DE", "Frankfurt"},
	{"Free", "82.64.0.1", "FR", "Frankfurt"},
	{"INRIA", "128.93.0.1", "FR", "Frankfurt"},
	{"TU Delft", "130.161.0.1", "NL", "Frankfurt"},
	{"ETH", "129.132.0.1", "CH", "Frankfurt"},
	{"CNR", "146.48.0.1", "IT", "Frankfurt"},
	{"RedIRIS", "130.206.0.1", "ES", "Frankfurt"},
	{"KTH", "130.237.0.1", "SE", "Frankfurt"},
	{"University of Oslo", "129.240.0.1", "NO", "Frankfurt"},
	{"University of Helsinki", "128.214.0.1", "FI", "Frankfurt"},
	{"Orange Polska", "83.0.0.1", "PL", "Frankfurt"},
	{"University of Iceland", "130.208.0.1", "IS", "Frankfurt"},
	{"Moscow State University", "93.180.0.1", "RU", "Frankfurt"},
	{"Kyivstar", "46.211.0.1", "UA", "Frankfurt"},
	{"METU", "144.122.0.1", "TR", "Frankfurt"},
	{"Technion", "132.68.0.1", "IL", "Frankfurt"},
	{"TE Data", "41.32.0.1", "EG", "Frankfurt"},
	{"University of Cape Town", "137.158.0.1", "ZA", "CapeTown"},
	{"Safaricom", "41.90.0.1", "KE", "CapeTown"},
	{"Etisalat", "213.42.20.20", "AE", "Mumbai"},
	{"BSNL", "117.192.0.1", "IN", "Mumbai"},
	{"Jio", "49.32.0.1", "IN", "Mumbai"},
	{"Tsinghua", "166.111.4.1", "CN", "Hangzhou"},
	{"Peking University", "162.105.0.1", "CN", "Hangzhou"},
	{"China Telecom Guangdong", "202.96.128.86", "CN", "Hangzhou"},
	{"China Mobile", "221.130.0.1", "CN", "Hangzhou"},
	{"HKUST", "143.89.0.1", "HK", "HongKong"},
	{"HKU", "147.8.0.1", "HK", "HongKong"},
	{"CTM", "202.175.3.3", "MO", "HongKong"},
	{"University of Macau", "161.64.0.1", "MO", "HongKong"},
	{"HiNet", "168.95.1.1", "TW", "HongKong"},
	{"National Taiwan University", "140.112.0.1", "TW", "HongKong"},
	{"VNPT", "203.162.4.191", "VN", "HongKong"},
	{"PLDT", "124.104.0.1", "PH", "HongKong"},
	{"Chulalongkorn", "161.200.0.1", "TH", "Singapore"},
	{"Telkom Indonesia", "202.134.0.155", "ID", "Singapore"},
	{"Telekom Malaysia", "202.188.0.133", "MY", "Singapore"},
	{"NUS", "137.132.0.1", "SG", "Singapore"},
	{"University of Tokyo", "133.11.0.1", "JP", "Tokyo"},
	{"WIDE", "203.178.128.1", "JP", "Tokyo"},
	{"KAIST", "143.248.0.1", "KR", "Tokyo"},
	{"University of Melbourne", "128.250.0.1", "AU", "Sydney"},
	{"University of Auckland", "130.216.0.1", "NZ", "Sydney"},

	{"Berkeley", "2607:f140::1", "US", "Virginia"},
	{"Internet2", "2001:468::1", "US", "Virginia"},
	{"CANARIE", "2001:410::1", "CA", "Virginia"},
	{"UNAM", "2001:1218::1", "MX", "Virginia"},
	{"RNP", "2001:12f0::1", "BR", "SaoPaulo"},
	{"Deutsche Telekom", "2003::1", "DE", "Frankfurt"},
	{"DFN", "2001:638::1", "DE", "Frankfurt"},
	{"Free", "2a01:e00::1", "FR", "Frankfurt"},
	{"Janet", "2001:630::1", "GB", "Frankfurt"},
	{"SURF", "2001:610::1", "NL", "Frankfurt"},
	{"SWITCH", "2001:620::1", "CH", "Frankfurt"},
	{"GARR", "2001:760::1", "IT", "Frankfurt"},
	{"SUNET", "2001:6b0::1", "SE", "Frankfurt"},
	{"FUNET", "2001:708::1", "FI", "Frankfurt"},
	{"TENET", "2001:4200::1", "ZA", "CapeTown"},
	{"Jio", "2405:200::1", "IN", "Mumbai"},
	{"CERNET", "2001:250::1", "CN", "Hangzhou"},
	{"China Telecom", "240e::1", "CN", "Hangzhou"},
	{"China Mobile", "2409:8000::1", "CN", "Hangzhou"},
	{"HiNet", "2001:b000::1", "TW", "HongKong"},
	{"WIDE", "2001:200::1", "JP", "Tokyo"},
	{"KREONET", "2001:2b8::1", "KR", "Tokyo"},
	{"AARNet", "2001:388::1", "AU", "Sydney"},
	{"REANNZ", "2404:138::1", "NZ", "Sydney"},
}

func TestRealAddressesFindTheirNearestBucket(t *testing.T) {
	l := open(t, geoip.Options{})
	images := broker.Images{Places: broker.NewPlaces(l, world(t)...)}
	for _, c := range realAddresses {
		t.Run(c.holder+" "+c.addr, func(t *testing.T) {
			addr := netip.MustParseAddr(c.addr)
			if got := l.Place(addr); got.Country != c.country || got.At == nil || got.Source != "embedded" {
				t.Fatalf("place is %+v, want %s with a location, from the embedded table", got, c.country)
			}
			near := symbols(images.Nearest(broker.Caller{}, addr))
			if near[0] != c.nearest {
				t.Errorf("nearest are %v, want %s first", near, c.nearest)
			}
			if c.country == "CN" {
				if want := []string{"Hangzhou", "Anywhere"}; !slices.Equal(near, want) {
					t.Errorf("mainland China is offered %v, want exactly %v", near, want)
				}
				return
			}
			if len(near) != 10 || slices.Contains(near, "Hangzhou") || near[9] != "Anywhere" {
				t.Errorf("offered are %v, want all but Hangzhou, the one without a location last", near)
			}
		})
	}
}

// The whole order, once, from two places.
func TestOrderOfTheWorld(t *testing.T) {
	l := open(t, geoip.Options{})
	for addr, want := range map[string]string{
		"129.132.0.1": "Frankfurt Mumbai Virginia CapeTown HongKong SaoPaulo Tokyo Singapore Sydney Anywhere", // Zurich
		"143.89.0.1":  "HongKong Singapore Tokyo Mumbai Sydney Frankfurt CapeTown Virginia SaoPaulo Anywhere", // Hong Kong
		"192.168.1.7": "Anywhere Sydney Virginia Hangzhou Frankfurt CapeTown Tokyo Mumbai Singapore SaoPaulo HongKong",
	} {
		images := broker.Images{Places: broker.NewPlaces(l, world(t)...)}
		if got := strings.Join(symbols(images.Nearest(broker.Caller{}, netip.MustParseAddr(addr))), " "); got != want {
			t.Errorf("from %s\n got %s\nwant %s", addr, got, want)
		}
	}
}

func open(t testing.TB, o geoip.Options) *geoip.Locator {
	t.Helper()
	l, err := geoip.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}
