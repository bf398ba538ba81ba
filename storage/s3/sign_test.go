package s3

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"net/http"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/storage"
	"github.com/uploadbroker/uploadbroker/storage/presign"
)

// site is one way to reach a bucket.
type site struct {
	bucket, region, endpoint string
	pathStyle                bool
}

func sites() []site {
	return []site{
		{bucket: "photos-hk", region: "ap-east-1"},
		{bucket: "photos-hk", region: "us-east-1", pathStyle: true},
		{bucket: "photos.hk", region: "eu-central-1"},
		{bucket: "photos-cn", region: "cn-north-1"},
		{bucket: "photos", region: "us-east-1", endpoint: "http://127.0.0.1:9000"},
		{bucket: "photos", region: "hk", endpoint: "https://s3.example.com"},
		{bucket: "photos", region: "hk", endpoint: "https://s3.example.com:8443/base-path", pathStyle: true},
		{bucket: "photos", region: "hk", endpoint: "https://s3.example.com:443", pathStyle: true},
	}
}

// sdkSigner is the SDK's presigner with a fixed clock.
func sdkSigner(t testing.TB, s site, creds aws.Credentials, now time.Time) *awss3.PresignClient {
	t.Helper()
	client := awss3.New(awss3.Options{
		Region:                     s.region,
		UsePathStyle:               s.pathStyle,
		Credentials:                staticCredentials(creds),
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenRequired,
		ResponseChecksumValidation: aws.ResponseChecksumValidationWhenRequired,
	}, func(o *awss3.Options) {
		if s.endpoint != "" {
			o.BaseEndpoint = aws.String(s.endpoint)
		}
	})
	return awss3.NewPresignClient(client, func(o *awss3.PresignOptions) {
		o.Presigner = clockedSigner{now, v4.NewSigner(func(so *v4.SignerOptions) { so.DisableURIPathEscaping = true })}
	})
}

type clockedSigner struct {
	now time.Time
	*v4.Signer
}

func (c clockedSigner) PresignHTTP(ctx context.Context, creds aws.Credentials, r *http.Request, hash, service, region string, _ time.Time, opts ...func(*v4.SignerOptions)) (string, http.Header, error) {
	return c.Signer.PresignHTTP(ctx, creds, r, hash, service, region, c.now, opts...)
}

func staticCredentials(creds aws.Credentials) aws.CredentialsProvider {
	return aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return creds, nil })
}

func ownSigner(t testing.TB, s site, creds aws.Credentials, now func() time.Time) *presigner {
	t.Helper()
	p, err := newPresigner(t.Context(), aws.Config{Region: s.region, Credentials: staticCredentials(creds)},
		s.bucket, s.endpoint, s.pathStyle, now)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// samePut fails unless both presigners make the same URL and ask for the same
// headers.
func samePut(t *testing.T, s site, creds aws.Credentials, now time.Time, key string, bind broker.Binding, ttl time.Duration) {
	t.Helper()
	in := &awss3.PutObjectInput{Bucket: &s.bucket, Key: &key}
	if bind.SizeBytes > 0 {
		in.ContentLength = &bind.SizeBytes
	}
	if bind.ContentType != "" {
		in.ContentType = &bind.ContentType
	}
	if !bind.SHA1.IsZero() {
		in.ChecksumSHA1 = aws.String(bind.SHA1.Base64())
	}
	want, err := sdkSigner(t, s, creds, now).PresignPutObject(t.Context(), in, awss3.WithPresignExpires(ttl))
	if err != nil {
		t.Fatal(err)
	}
	b := &Bucket{sign: ownSigner(t, s, creds, func() time.Time { return now })}
	got, err := b.SignPut(t.Context(), key, bind, ttl)
	if err != nil {
		t.Fatal(err)
	}
	if got.URL != want.URL {
		t.Fatalf("key %q, %+v:\n got %s\nwant %s", key, bind, got.URL, want.URL)
	}
	if got.Method != want.Method || !got.ExpiresAt.Equal(now.Truncate(time.Second).Add(ttl.Truncate(time.Second))) {
		t.Fatalf("got method %s until %v", got.Method, got.ExpiresAt)
	}
	for name, values := range want.SignedHeader {
		switch strings.ToLower(name) {
		case "host", "content-length":
			continue
		}
		if got.Headers[strings.ToLower(name)] != values[0] {
			t.Fatalf("header %s: got %q, want %q", name, got.Headers[strings.ToLower(name)], values[0])
		}
	}
}

func sameGet(t *testing.T, s site, creds aws.Credentials, now time.Time, key string, opts storage.GetOptions, ttl time.Duration) {
	t.Helper()
	in := &awss3.GetObjectInput{Bucket: &s.bucket, Key: &key,
		VersionId: optional(opts.Version), ResponseContentType: optional(opts.ContentType)}
	if opts.Filename != "" {
		in.ResponseContentDisposition = aws.String(presign.Attachment(opts.Filename))
	}
	want, err := sdkSigner(t, s, creds, now).PresignGetObject(t.Context(), in, awss3.WithPresignExpires(ttl))
	if err != nil {
		t.Fatal(err)
	}
	got, err := ownSigner(t, s, creds, func() time.Time { return now }).get(t.Context(), key, opts, ttl)
	if err != nil {
		t.Fatal(err)
	}
	if got != want.URL {
		t.Fatalf("key %q, %+v:\n got %s\nwant %s", key, opts, got, want.URL)
	}
}

// randomKey draws from what trips signers.
func randomKey(r *rand.Rand) string {
	alphabet := []rune("abzAZ019-_.~ +%&=?#'\"()*!@$,;:[]{}<>|^`/é中文😀\u00a0ß")
	var sb strings.Builder
	for n := 1 + r.IntN(40); n > 0; n-- {
		sb.WriteRune(alphabet[r.IntN(len(alphabet))])
	}
	var segments []string
	for segment := range strings.SplitSeq(sb.String(), "/") {
		if segment != "" && segment != "." && segment != ".." {
			segments = append(segments, segment)
		}
	}
	if len(segments) == 0 {
		return "%2e%2e"
	}
	return strings.Join(segments, "/")
}

func TestSignEqualsSDK(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	types := []string{"", "image/jpeg", "text/plain; charset=utf-8", `multipart/form-data; boundary="a b+c"`}
	tokens := []string{"", "TOKEN+abc/def==", strings.Repeat("x/+=", 300)}
	for _, s := range sites() {
		t.Run(fmt.Sprint(s), func(t *testing.T) {
			for range 150 {
				creds := aws.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: strings.Repeat("s/+", 1+r.IntN(30)), SessionToken: tokens[r.IntN(len(tokens))]}
				now := time.Unix(r.Int64N(4e9), r.Int64N(1e9))
				bind := broker.Binding{SizeBytes: r.Int64N(1<<40) - 1, ContentType: types[r.IntN(len(types))]}
				switch r.IntN(3) {
				case 0:
					bind.SizeBytes = -1
				case 1:
					bind.SizeBytes = 1 + r.Int64N(20)
				}
				if bind.SizeBytes == 0 {
					bind.SizeBytes = 1 // the SDK drops 0
				}
				if r.IntN(2) == 0 {
					for i := range bind.SHA1 {
						bind.SHA1[i] = byte(r.Uint32())
					}
				}
				key, ttl := randomKey(r), time.Second+time.Duration(r.Int64N(int64(storage.MaxTTL-time.Second)))
				samePut(t, s, creds, now, key, bind, ttl)
				opts := storage.GetOptions{ContentType: types[r.IntN(len(types))]}
				if r.IntN(2) == 0 {
					opts.Filename = randomKey(r)
				}
				if r.IntN(2) == 0 {
					opts.Version = "v+/=" + randomKey(r)
				}
				sameGet(t, s, creds, now, key, opts, ttl)
			}
		})
	}
}

func FuzzSignEqualsSDK(f *testing.F) {
	f.Add("pid/a b+c%~'\".jpg", "image/jpeg", "", "secret", int64(5), int64(1_900_000_000))
	f.Add("pid/中/é", "", "TOKEN+/=", "s", int64(-1), int64(0))
	f.Fuzz(func(t *testing.T, key, contentType, token, secret string, size, unix int64) {
		d, err := storage.New(storage.Info{Symbol: "F", Cloud: broker.CloudS3}, &Bucket{sign: ownSigner(t, sites()[0], aws.Credentials{AccessKeyID: "A", SecretAccessKey: "S"}, time.Now)})
		if err != nil {
			t.Fatal(err)
		}
		// The portable type says what may reach the signer.
		if _, err := d.SignPut(t.Context(), key, broker.Binding{ContentType: contentType}, time.Minute); err != nil {
			return
		}
		unix &= 1<<32 - 1
		if size == 0 || secret == "" {
			return
		}
		if size < 0 {
			size = -1
		}
		creds := aws.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: secret, SessionToken: token}
		for _, s := range []site{sites()[0], sites()[4]} {
			samePut(t, s, creds, time.Unix(unix, 0), key, broker.Binding{SizeBytes: size, ContentType: contentType}, time.Hour)
			sameGet(t, s, creds, time.Unix(unix, 0), key, storage.GetOptions{Filename: key, ContentType: contentType}, time.Hour)
		}
	})
}

// The cached key must follow the day and the credentials.
func TestSignFollowsDayAndCredentials(t *testing.T) {
	s := sites()[0]
	now := time.Date(2030, 1, 1, 23, 59, 58, 0, time.UTC)
	creds := aws.Credentials{AccessKeyID: "A", SecretAccessKey: "one"}
	p := ownSigner(t, s, creds, func() time.Time { return now })
	p.creds = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return creds, nil })
	for i := range 6 {
		if i%2 == 1 {
			creds = aws.Credentials{AccessKeyID: "A", SecretAccessKey: fmt.Sprint("two", i), SessionToken: fmt.Sprint("token", i)}
		}
		got, _, err := p.put(t.Context(), "k", broker.Binding{SizeBytes: 7}, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		want, err := sdkSigner(t, s, creds, now).PresignPutObject(t.Context(),
			&awss3.PutObjectInput{Bucket: &s.bucket, Key: aws.String("k"), ContentLength: aws.Int64(7)}, awss3.WithPresignExpires(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		if got != want.URL {
			t.Fatalf("step %d:\n got %s\nwant %s", i, got, want.URL)
		}
		now = now.Add(time.Second)
	}
}

func TestSignEndsWithItsCredentials(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 5e8, time.UTC)
	creds := aws.Credentials{AccessKeyID: "ASIA", SecretAccessKey: "s", SessionToken: "t", CanExpire: true, Expires: now.Add(90 * time.Second)}
	b := &Bucket{sign: ownSigner(t, sites()[0], creds, func() time.Time { return now })}
	req, err := b.SignPut(t.Context(), "k", broker.Binding{SizeBytes: -1}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if req.ExpiresAt.After(creds.Expires) || !strings.Contains(req.URL, "&X-Amz-Expires=90&") {
		t.Errorf("the grant lives until %v, its credentials until %v: %s", req.ExpiresAt, creds.Expires, req.URL)
	}
	now = now.Add(2 * time.Minute)
	_, err = b.SignPut(t.Context(), "k", broker.Binding{SizeBytes: -1}, time.Hour)
	if !errors.Is(err, errCredentials) || b.Code(err) != broker.CodeDenied {
		t.Errorf("signing with ended credentials: %v, code %s", err, b.Code(err))
	}
}

func TestSignAtOnce(t *testing.T) {
	s, now := sites()[0], time.Unix(1.8e9, 0)
	p := ownSigner(t, s, aws.Credentials{AccessKeyID: "A", SecretAccessKey: "s"}, func() time.Time { return now })
	want := map[string]string{}
	keys := []string{"a", "b/c d", strings.Repeat("long/", 150) + "x"}
	for _, key := range keys {
		url, _, err := p.put(t.Context(), key, broker.Binding{SizeBytes: 1}, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		want[key] = url
	}
	done := make(chan string)
	for range 4 {
		go func() {
			for i := range 500 {
				key := keys[i%len(keys)]
				if url, _, err := p.put(context.Background(), key, broker.Binding{SizeBytes: 1}, time.Hour); err != nil || url != want[key] {
					done <- fmt.Sprintf("key %q: %s, %v", key, url, err)
					return
				}
			}
			done <- ""
		}()
	}
	for range 4 {
		if fault := <-done; fault != "" {
			t.Error(fault)
		}
	}
}

func TestAttachment(t *testing.T) {
	for name, want := range map[string]string{
		"a b.jpg":   `attachment; filename="a b.jpg"`,
		`a"b\c%.x`:  `attachment; filename="a_b_c_.x"; filename*=UTF-8''a%22b%5Cc%25.x`,
		"é中.jpg":    `attachment; filename="__.jpg"; filename*=UTF-8''%C3%A9%E4%B8%AD.jpg`,
		"a\r\nb: c": `attachment; filename="a__b: c"; filename*=UTF-8''a%0D%0Ab%3A%20c`,
	} {
		if got := presign.Attachment(name); got != want {
			t.Errorf("%q:\n got %s\nwant %s", name, got, want)
		}
	}
}

func benchmarkBinding() broker.Binding {
	sha1, _ := broker.ParseSHA1("0123456789abcdef0123456789abcdef01234567")
	return broker.Binding{SizeBytes: 5_700_000, SHA1: sha1, ContentType: "image/jpeg"}
}

const benchmarkKey = "01ARZ3NDEKTSV4RRFFQ69G5FAV/0123456789abcdef0123456789abcdef01234567.jpg"

func BenchmarkSignPut(b *testing.B) {
	bucket := &Bucket{sign: ownSigner(b, sites()[0], aws.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "secret"}, time.Now)}
	bind := benchmarkBinding()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := bucket.SignPut(b.Context(), benchmarkKey, bind, time.Hour); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSignPutSDK(b *testing.B) {
	s, bind := sites()[0], benchmarkBinding()
	client := awss3.NewPresignClient(awss3.New(awss3.Options{
		Region:      s.region,
		Credentials: staticCredentials(aws.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "secret"}),
	}))
	b.ReportAllocs()
	for b.Loop() {
		_, err := client.PresignPutObject(b.Context(), &awss3.PutObjectInput{
			Bucket: &s.bucket, Key: aws.String(benchmarkKey), ContentLength: &bind.SizeBytes,
			ContentType: &bind.ContentType, ChecksumSHA1: aws.String(bind.SHA1.Base64()),
		}, awss3.WithPresignExpires(time.Hour))
		if err != nil {
			b.Fatal(err)
		}
	}
}
