package geoip

import (
	"strings"

	"github.com/uploadbroker/uploadbroker/broker"
)

// Region returns the location of a cloud's region, to the letter: every public,
// government and Chinese region of AWS for S3, and every region of Aliyun for
// OSS, as cn-hangzhou, oss-cn-hangzhou or oss-cn-hangzhou-internal. It is the
// city or state that the vendor names; where the halls stand is a secret of his.
// MINIO has no regions of its own, the regions of AWS's closed partitions
// (us-iso…) are on no map, and rg-china-mainland is no one place.
//
// A bucket of another vendor's S3 often bears one of these names by habit
// (us-east-1): with an endpoint of its own, a region says nothing of its place.
func Region(cloud broker.Cloud, region string) (broker.Location, bool) {
	var at broker.Location
	var ok bool
	switch cloud {
	case broker.CloudS3:
		at, ok = awsRegions[region]
	case broker.CloudOSS:
		at, ok = aliyunRegions[strings.TrimSuffix(strings.TrimPrefix(region, "oss-"), "-internal")]
	}
	return at, ok
}

// awsRegions are those of https://docs.aws.amazon.com/general/latest/gr/s3.html
// and of the partitions of China, GovCloud and the European Sovereign Cloud.
// Read only.
var awsRegions = map[string]broker.Location{
	"af-south-1":     {Lat: -33.93, Lon: 18.42},  // Cape Town
	"ap-east-1":      {Lat: 22.30, Lon: 114.17},  // Hong Kong
	"ap-east-2":      {Lat: 25.04, Lon: 121.56},  // Taipei
	"ap-northeast-1": {Lat: 35.68, Lon: 139.69},  // Tokyo
	"ap-northeast-2": {Lat: 37.57, Lon: 126.98},  // Seoul
	"ap-northeast-3": {Lat: 34.69, Lon: 135.50},  // Osaka
	"ap-south-1":     {Lat: 19.08, Lon: 72.88},   // Mumbai
	"ap-south-2":     {Lat: 17.39, Lon: 78.49},   // Hyderabad
	"ap-southeast-1": {Lat: 1.35, Lon: 103.82},   // Singapore
	"ap-southeast-2": {Lat: -33.87, Lon: 151.21}, // Sydney
	"ap-southeast-3": {Lat: -6.21, Lon: 106.85},  // Jakarta
	"ap-southeast-4": {Lat: -37.81, Lon: 144.96}, // Melbourne
	"ap-southeast-5": {Lat: 3.14, Lon: 101.69},   // Malaysia: Kuala Lumpur
	"ap-southeast-6": {Lat: -36.85, Lon: 174.76}, // New Zealand: Auckland
	"ap-southeast-7": {Lat: 13.76, Lon: 100.50},  // Thailand: Bangkok
	"ca-central-1":   {Lat: 45.50, Lon: -73.57},  // Montreal
	"ca-west-1":      {Lat: 51.05, Lon: -114.07}, // Calgary
	"eu-central-1":   {Lat: 50.11, Lon: 8.68},    // Frankfurt
	"eu-central-2":   {Lat: 47.37, Lon: 8.54},    // Zurich
	"eu-north-1":     {Lat: 59.33, Lon: 18.07},   // Stockholm
	"eu-south-1":     {Lat: 45.46, Lon: 9.19},    // Milan
	"eu-south-2":     {Lat: 41.65, Lon: -0.89},   // Spain: Aragon
	"eu-west-1":      {Lat: 53.35, Lon: -6.26},   // Dublin
	"eu-west-2":      {Lat: 51.51, Lon: -0.13},   // London
	"eu-west-3":      {Lat: 48.86, Lon: 2.35},    // Paris
	"il-central-1":   {Lat: 32.08, Lon: 34.78},   // Tel Aviv
	"me-central-1":   {Lat: 24.8, Lon: 54.9},     // UAE
	"me-south-1":     {Lat: 26.07, Lon: 50.55},   // Bahrain
	"mx-central-1":   {Lat: 20.59, Lon: -100.39}, // Querétaro
	"sa-east-1":      {Lat: -23.55, Lon: -46.63}, // São Paulo
	"us-east-1":      {Lat: 39.04, Lon: -77.49},  // Northern Virginia
	"us-east-2":      {Lat: 39.96, Lon: -83.00},  // Ohio
	"us-west-1":      {Lat: 37.35, Lon: -121.96}, // Northern California
	"us-west-2":      {Lat: 45.84, Lon: -119.70}, // Oregon

	"us-gov-east-1":  {Lat: 39.96, Lon: -83.00},  // Ohio
	"us-gov-west-1":  {Lat: 45.84, Lon: -119.70}, // the north-west
	"cn-north-1":     {Lat: 39.90, Lon: 116.40},  // Beijing
	"cn-northwest-1": {Lat: 37.50, Lon: 105.20},  // Ningxia: Zhongwei
	"eusc-de-east-1": {Lat: 52.40, Lon: 13.06},   // Brandenburg
}

// aliyunRegions are those of
// https://help.aliyun.com/zh/oss/user-guide/regions-and-endpoints, with the names
// that OSS has for the financial ones, and the regions of
// https://help.aliyun.com/zh/ecs/regions-and-zones that are closed or not yet of
// OSS: a bucket's place is known on its first day. Read only.
var aliyunRegions = map[string]broker.Location{
	"cn-hangzhou":      {Lat: 30.27, Lon: 120.16},
	"cn-shanghai":      {Lat: 31.23, Lon: 121.47},
	"cn-nanjing":       {Lat: 32.06, Lon: 118.80},
	"cn-fuzhou":        {Lat: 26.07, Lon: 119.30},
	"cn-wuhan-lr":      {Lat: 30.59, Lon: 114.31},
	"cn-zhengzhou-jva": {Lat: 34.75, Lon: 113.63},
	"cn-qingdao":       {Lat: 36.07, Lon: 120.38},
	"cn-beijing":       {Lat: 39.90, Lon: 116.40},
	"cn-zhangjiakou":   {Lat: 40.77, Lon: 114.89},
	"cn-huhehaote":     {Lat: 40.84, Lon: 111.75},
	"cn-wulanchabu":    {Lat: 40.99, Lon: 113.13},
	"cn-shenzhen":      {Lat: 22.54, Lon: 114.06},
	"cn-heyuan":        {Lat: 23.74, Lon: 114.70},
	"cn-guangzhou":     {Lat: 23.13, Lon: 113.26},
	"cn-chengdu":       {Lat: 30.57, Lon: 104.07},
	"cn-zhongwei":      {Lat: 37.50, Lon: 105.20},
	"cn-hongkong":      {Lat: 22.30, Lon: 114.17},

	"ap-northeast-1": {Lat: 35.68, Lon: 139.69},  // Tokyo
	"ap-northeast-2": {Lat: 37.57, Lon: 126.98},  // Seoul
	"ap-southeast-1": {Lat: 1.35, Lon: 103.82},   // Singapore
	"ap-southeast-2": {Lat: -33.87, Lon: 151.21}, // Sydney
	"ap-southeast-3": {Lat: 3.14, Lon: 101.69},   // Kuala Lumpur
	"ap-southeast-5": {Lat: -6.21, Lon: 106.85},  // Jakarta
	"ap-southeast-6": {Lat: 14.60, Lon: 120.98},  // Manila
	"ap-southeast-7": {Lat: 13.76, Lon: 100.50},  // Bangkok
	"ap-southeast-8": {Lat: 1.49, Lon: 103.74},   // Johor
	"ap-south-1":     {Lat: 19.08, Lon: 72.88},   // Mumbai
	"eu-central-1":   {Lat: 50.11, Lon: 8.68},    // Frankfurt
	"eu-west-1":      {Lat: 51.51, Lon: -0.13},   // London
	"eu-west-2":      {Lat: 48.86, Lon: 2.35},    // Paris
	"us-east-1":      {Lat: 39.04, Lon: -77.49},  // Virginia
	"us-west-1":      {Lat: 37.35, Lon: -121.96}, // Silicon Valley
	"us-southeast-1": {Lat: 33.75, Lon: -84.39},  // Atlanta
	"na-south-1":     {Lat: 20.59, Lon: -100.39}, // Mexico: Querétaro
	"me-east-1":      {Lat: 25.20, Lon: 55.27},   // Dubai
	"me-central-1":   {Lat: 24.71, Lon: 46.68},   // Riyadh

	"cn-hangzhou-finance":       {Lat: 30.27, Lon: 120.16},
	"cn-hzjbp":                  {Lat: 30.27, Lon: 120.16},
	"cn-hzjbp-a":                {Lat: 30.27, Lon: 120.16},
	"cn-hzjbp-b":                {Lat: 30.27, Lon: 120.16},
	"cn-hzfinance":              {Lat: 30.27, Lon: 120.16},
	"cn-shanghai-finance-1":     {Lat: 31.23, Lon: 121.47},
	"cn-shanghai-finance-1-pub": {Lat: 31.23, Lon: 121.47},
	"cn-shenzhen-finance-1":     {Lat: 22.54, Lon: 114.06},
	"cn-szfinance":              {Lat: 22.54, Lon: 114.06},
	"cn-beijing-finance-1":      {Lat: 39.90, Lon: 116.40},
	"cn-beijing-finance-1-pub":  {Lat: 39.90, Lon: 116.40},
	"cn-north-2-gov-1":          {Lat: 39.90, Lon: 116.40}, // Beijing
}
