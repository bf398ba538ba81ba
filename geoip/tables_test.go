package geoip_test

import (
	"encoding/binary"
	"math"
	"net/netip"
	"testing"

	"github.com/phuslu/iploc"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/geoip"
)

func TestIsCountry(t *testing.T) {
	for _, code := range []string{"CH", "US", "CN", "HK", "MO", "TW", "AX", "BQ", "SS", "TF", "EH", "ZW"} {
		if !geoip.IsCountry(code) {
			t.Errorf("%s is none", code)
		}
	}
	for _, code := range []string{"", "ch", "Ch", "C", "CHE", "UK", "EU", "AP", "XK", "ZZ", "XX", "AN", "SU", "YU", "A1", " CH", "CH "} {
		if geoip.IsCountry(code) {
			t.Errorf("%q is one", code)
		}
	}
	n := 0
	for a := 'A'; a <= 'Z'; a++ {
		for b := 'A'; b <= 'Z'; b++ {
			if code := string([]rune{a, b}); geoip.IsCountry(code) {
				n++
				if at := centroid(t, code); math.Abs(at.Lat) > 90 || math.Abs(at.Lon) > 180 || *at == (broker.Location{}) {
					t.Errorf("%s is at %+v", code, at)
				}
			}
		}
	}
	if n != 249 {
		t.Errorf("%d countries, want the 249 of ISO 3166-1", n)
	}
}

// Every country that the embedded table names, over a sample of the networks
// that registries give out.
func TestEveryCountryOfTheTableHasACentroid(t *testing.T) {
	l := open(t, geoip.Options{})
	seen := map[string]int{}
	look := func(addr netip.Addr) {
		code := iploc.IPCountry(addr)
		seen[code]++
		if seen[code] > 3 && code != "ZZ" {
			return
		}
		switch p := l.Place(addr); {
		case code == "ZZ":
			if p != (broker.Place{}) {
				t.Fatalf("%s: %+v, where the table knows nothing", addr, p)
			}
		case p == (broker.Place{}) && geoip.IsCountry(code): // no place for a reason of its own
			seen[code]--
		case p.Country != code || p.At == nil:
			t.Fatalf("%s: %+v, want %s", addr, p, code)
		}
	}
	for n := range uint32(1 << 20) { // each /20
		look(netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, n<<12|1))))
	}
	var b [16]byte
	for _, block := range []uint32{0x2001_0000, 0x2400_0000, 0x2600_0000, 0x2800_0000, 0x2a00_0000, 0x2c00_0000} {
		for n := uint32(0); n < 1<<20; n += 7 { // every seventh /32 of a /12
			if (block+n)>>16 == 0x2002 {
				continue // 6to4 is looked up by the v4 inside
			}
			binary.BigEndian.PutUint32(b[:], block+n)
			look(netip.AddrFrom16(b))
		}
	}
	delete(seen, "ZZ")
	t.Logf("%d countries in the sample", len(seen))
	if len(seen) < 225 {
		t.Errorf("only %d countries: the sample is not broad", len(seen))
	}
}

// A region lies in its country: its distance to where the people live is less
// than the country is wide.
func TestRegions(t *testing.T) {
	widthKm := map[string]float64{"US": 3000, "CA": 3500, "CN": 1700, "AU": 900, "IN": 1000, "BR": 500, "MX": 500, "SA": 400, "ZA": 1200, "DE": 450, "ES": 400, "IT": 450}
	regions := map[broker.Cloud]map[string][]string{
		broker.CloudS3: { // those of the AWS SDK's partitions that stand on the open network
			"US": {"us-east-1", "us-east-2", "us-west-1", "us-west-2", "us-gov-east-1", "us-gov-west-1"},
			"CA": {"ca-central-1", "ca-west-1"}, "MX": {"mx-central-1"}, "BR": {"sa-east-1"}, "ZA": {"af-south-1"},
			"HK": {"ap-east-1"}, "TW": {"ap-east-2"}, "JP": {"ap-northeast-1", "ap-northeast-3"}, "KR": {"ap-northeast-2"}, "IN": {"ap-south-1", "ap-south-2"},
			"SG": {"ap-southeast-1"}, "AU": {"ap-southeast-2", "ap-southeast-4"}, "ID": {"ap-southeast-3"}, "MY": {"ap-southeast-5"}, "NZ": {"ap-southeast-6"}, "TH": {"ap-southeast-7"},
			"DE": {"eu-central-1", "eusc-de-east-1"}, "CH": {"eu-central-2"}, "SE": {"eu-north-1"}, "IT": {"eu-south-1"}, "ES": {"eu-south-2"}, "IE": {"eu-west-1"}, "GB": {"eu-west-2"}, "FR": {"eu-west-3"},
			"IL": {"il-central-1"}, "AE": {"me-central-1"}, "BH": {"me-south-1"}, "CN": {"cn-north-1", "cn-northwest-1"},
		},
		broker.CloudOSS: { // those of Aliyun's list of endpoints, and its regions without OSS
			"CN": {"cn-hangzhou", "cn-shanghai", "cn-nanjing", "cn-fuzhou", "cn-wuhan-lr", "cn-zhengzhou-jva", "cn-qingdao", "cn-beijing", "cn-zhangjiakou", "cn-huhehaote", "cn-wulanchabu", "cn-shenzhen", "cn-heyuan", "cn-guangzhou", "cn-chengdu", "cn-zhongwei",
				"cn-hangzhou-finance", "cn-hzjbp", "cn-hzjbp-a", "cn-hzjbp-b", "cn-hzfinance", "cn-shanghai-finance-1", "cn-shanghai-finance-1-pub", "cn-shenzhen-finance-1", "cn-szfinance", "cn-beijing-finance-1", "cn-beijing-finance-1-pub", "cn-north-2-gov-1"},
			"HK": {"cn-hongkong"}, "JP": {"ap-northeast-1"}, "KR": {"ap-northeast-2"}, "SG": {"ap-southeast-1"}, "AU": {"ap-southeast-2"}, "MY": {"ap-southeast-3", "ap-southeast-8"}, "ID": {"ap-southeast-5"}, "PH": {"ap-southeast-6"}, "TH": {"ap-southeast-7"}, "IN": {"ap-south-1"},
			"DE": {"eu-central-1"}, "GB": {"eu-west-1"}, "FR": {"eu-west-2"}, "US": {"us-east-1", "us-west-1", "us-southeast-1"}, "MX": {"na-south-1"}, "AE": {"me-east-1"}, "SA": {"me-central-1"},
		},
	}
	for cloud, countries := range regions {
		for country, names := range countries {
			width := widthKm[country]
			if width == 0 {
				width = 350
			}
			for _, name := range names {
				spellings := []string{name}
				if cloud == broker.CloudOSS {
					spellings = append(spellings, "oss-"+name, "oss-"+name+"-internal")
				}
				for _, s := range spellings {
					at, ok := geoip.Region(cloud, s)
					if !ok {
						t.Errorf("%s has no region %s", cloud, s)
						continue
					}
					if km := 2 * 6371 * math.Asin(chord(at, *centroid(t, country))/2); km > width || math.IsNaN(km) {
						t.Errorf("%s of %s is %.0f km from the people of %s", s, cloud, km, country)
					}
				}
			}
		}
	}
}

func TestNoRegions(t *testing.T) {
	for _, c := range []struct {
		cloud  broker.Cloud
		region string
	}{
		{broker.CloudMinIO, "us-east-1"}, {broker.CloudMinIO, ""}, {"", "us-east-1"}, {broker.CloudS3, ""}, {broker.CloudS3, "auto"}, {broker.CloudS3, "US-EAST-1"},
		{broker.CloudS3, "oss-us-east-1"}, {broker.CloudS3, "cn-hangzhou"}, {broker.CloudS3, "aws-global"}, {broker.CloudS3, "us-iso-east-1"},
		{broker.CloudOSS, ""}, {broker.CloudOSS, "oss-"}, {broker.CloudOSS, "oss-oss-cn-hangzhou"}, {broker.CloudOSS, "cn-north-1"}, {broker.CloudOSS, "rg-china-mainland"},
	} {
		if at, ok := geoip.Region(c.cloud, c.region); ok || at != (broker.Location{}) {
			t.Errorf("%s %q is at %+v, %v", c.cloud, c.region, at, ok)
		}
	}
	aws, _ := geoip.Region(broker.CloudS3, "us-west-1")
	virginia, _ := geoip.Region(broker.CloudOSS, "us-east-1")
	london, _ := geoip.Region(broker.CloudOSS, "eu-west-1")
	if dublin, _ := geoip.Region(broker.CloudS3, "eu-west-1"); dublin == london || aws == virginia {
		t.Error("the clouds share a region's name, not its place")
	}
}
