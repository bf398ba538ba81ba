package graphql

import (
	"context"
	"slices"
	"strings"

	"github.com/uploadbroker/uploadbroker/api"
	"github.com/uploadbroker/uploadbroker/api/graphql/schema"
	"github.com/uploadbroker/uploadbroker/broker"
)

// open lists the buckets that a caller may be granted, nearest first.
func (f *Face) open(ctx context.Context) ([]broker.Bucket, error) {
	by, err := visitor(ctx)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(slices.Clone(f.Images.Nearest(by, api.Client(ctx))), func(b broker.Bucket) bool {
		if b.Cloud == broker.CloudOSS {
			return !b.Gives(broker.GrantSession)
		}
		return !b.Gives(broker.GrantRequest)
	}), nil
}

// GetGeoIPInfo lists only buckets that a mutation here can upload to: scripts take
// the first, whatever it is.
func (q query) GetGeoIPInfo(ctx context.Context) (*schema.GeoIPInfo, error) {
	open, err := q.open(ctx)
	if err != nil {
		return nil, err
	}
	info := &schema.GeoIPInfo{
		NearestBuckets: make([]*schema.NearBucket, len(open)), NearestMetaBuckets: []*schema.NearBucket{}, NearestModelBuckets: []*schema.NearBucket{},
	}
	for i, b := range open {
		info.NearestBuckets[i] = &schema.NearBucket{Bucket: b.Symbol, Display: b.Display, Cloud: schema.Cloud(b.Cloud)}
	}
	return info, nil
}

func (q query) Versions(context.Context) (*schema.Versions, error) {
	return &schema.Versions{API: q.Version}, nil
}

func (q query) Bank(context.Context) (*schema.Bank, error) { return &schema.Bank{}, nil }

// bank knows no money.
type bank struct{}

func (bank) CoinsToMoney(context.Context, *schema.Bank, *float64, *schema.Currency) (float64, error) {
	return 0, nil
}

func (bank) MoneyToCoins(context.Context, *schema.Bank, *float64, *schema.Currency) (float64, error) {
	return 0, nil
}

func (q query) Support(ctx context.Context) (*schema.Support, error) {
	web := strings.TrimSuffix(api.Absolute(ctx, "/"), "/")
	own := web + path
	return &schema.Support{
		SystemMode: schema.SystemModeNormal, Endpoints: &schema.Endpoints{API: &own, Web: &web},
	}, nil
}

type support struct{ *Face }

// SupportedCloud lists each cloud once, the nearest first. Only images are taken.
func (s support) SupportedCloud(ctx context.Context, _ *schema.Support, kind *schema.UploadType) ([]schema.Cloud, error) {
	clouds := []schema.Cloud{}
	if kind != nil && *kind != schema.UploadTypeImage {
		return clouds, nil
	}
	open, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	for _, b := range open {
		if !slices.Contains(clouds, schema.Cloud(b.Cloud)) {
			clouds = append(clouds, schema.Cloud(b.Cloud))
		}
	}
	return clouds, nil
}

// NetworkTest tells whether this server reaches the caller's own machine. Nobody
// may make it try any other.
func (s support) NetworkTest(ctx context.Context, _ *schema.Support, url string) (schema.NetworkTestResult, error) {
	own, known := api.Own(ctx)
	switch {
	case s.Face.NetworkTest == nil:
		return "", broker.Errorf(broker.CodeNotSupported, "this installation fetches no URLs; upload the files instead")
	case !known:
		return "", broker.Errorf(broker.CodeNotSupported, "your own address is not known here, so nothing can be tried there; upload the files instead")
	}
	if err := s.tests.Allow(own); err != nil {
		return "", err
	}
	select {
	case s.testing <- struct{}{}:
		defer func() { <-s.testing }()
	default:
		return "", &broker.Error{Code: broker.CodeTooManyRequests, Msg: "others are testing their network; try again in a moment", RetryAfter: testEvery}
	}
	ctx, cancel := context.WithTimeout(ctx, testTime)
	defer cancel()
	if err := s.Face.NetworkTest(ctx, url, own); err != nil {
		s.Log.DebugContext(ctx, "a network test failed", "err", err)
		return schema.NetworkTestResultFail, nil
	}
	return schema.NetworkTestResultSuccess, nil
}

// ErrorCodeInfo explains a code, in English unless another language is asked for.
func (s support) ErrorCodeInfo(_ context.Context, _ *schema.Support, code *schema.ProjectErrorCode, lang *schema.LocaleType) (*schema.ErrorCodeInfo, error) {
	if code == nil {
		return nil, nil
	}
	locale := schema.LocaleTypeEn
	if lang != nil {
		locale = *lang
	}
	text := explain(*code, locale)
	return &schema.ErrorCodeInfo{Code: *code, Description: &text.description, Solution: &text.solution}, nil
}
