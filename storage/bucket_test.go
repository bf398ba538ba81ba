package storage

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
)

// fake is a driver that answers what a test tells it to.
type fake struct {
	err  error
	obj  Object
	ttl  time.Duration
	bind broker.Binding
}

func (f *fake) Stat(context.Context, string) (Object, error) { return f.obj, f.err }
func (f *fake) Open(context.Context, string, Range, string) (io.ReadCloser, Object, error) {
	if f.err != nil {
		return nil, Object{}, f.err
	}
	return io.NopCloser(strings.NewReader("body")), f.obj, nil
}
func (f *fake) List(context.Context, string, string, int) ([]Object, error) { return nil, f.err }
func (f *fake) Put(_ context.Context, _ string, body io.Reader, _ PutOptions) (Object, error) {
	if _, err := io.Copy(io.Discard, body); err != nil {
		return Object{}, err
	}
	return f.obj, f.err
}
func (f *fake) Delete(context.Context, string) error { return f.err }
func (f *fake) Code(error) broker.Code               { return broker.CodeDenied }

type fakeSigner struct{ fake }

func (f *fakeSigner) SignPut(_ context.Context, _ string, bind broker.Binding, ttl time.Duration) (broker.Request, error) {
	f.ttl, f.bind = ttl, bind
	return broker.Request{}, f.err
}
func (f *fakeSigner) SignGet(_ context.Context, _ string, _ GetOptions, ttl time.Duration) (string, error) {
	f.ttl = ttl
	return "", f.err
}

func newTest(t *testing.T, info Info, d Driver, opts ...Option) *Bucket {
	t.Helper()
	info.Symbol, info.Cloud = "HongKong", broker.CloudS3
	b, err := New(info, d, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestNewRefuses(t *testing.T) {
	for name, info := range map[string]Info{
		"no symbol":  {Cloud: broker.CloudS3},
		"no cloud":   {Symbol: "A"},
		"odd cloud":  {Symbol: "A", Cloud: "s3"},
		"short life": {Symbol: "A", Cloud: broker.CloudS3, GrantTTL: time.Millisecond},
		"long life":  {Symbol: "A", Cloud: broker.CloudS3, GrantTTL: MaxTTL + 1},
	} {
		if _, err := New(info, &fake{}); broker.CodeOf(err) != broker.CodeInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := New(Info{Symbol: "A", Cloud: broker.CloudS3}, nil); err == nil {
		t.Error("no driver was taken")
	}
}

func TestClamp(t *testing.T) {
	for _, c := range []struct{ grant, ask, want time.Duration }{
		{0, time.Hour, time.Hour},
		{0, 0, time.Second},
		{0, -time.Hour, time.Second},
		{0, 24 * time.Hour, DefaultGrantTTL},
		{MaxTTL, 1000 * time.Hour, MaxTTL},
		{time.Minute, time.Hour, time.Minute},
	} {
		d := &fakeSigner{}
		b := newTest(t, Info{GrantTTL: c.grant}, d)
		if _, err := b.SignPut(t.Context(), "k", broker.Binding{}, c.ask); err != nil || d.ttl != c.want {
			t.Errorf("%+v: put signed for %v, %v", c, d.ttl, err)
		}
		d.ttl = 0
		if _, err := b.SignGet(t.Context(), "k", GetOptions{}, c.ask); err != nil || d.ttl != c.want {
			t.Errorf("%+v: get signed for %v, %v", c, d.ttl, err)
		}
	}
}

func TestNotSupported(t *testing.T) {
	b := newTest(t, Info{}, &fake{})
	if b.CanSignPut() || b.CanSignGet() || b.CanCopy() || b.CanProbe() || b.CanSweepMultiparts() || b.NeedsSync() {
		t.Error("it claims what its driver lacks")
	}
	_, err := b.SignPut(t.Context(), "k", broker.Binding{}, time.Minute)
	wantCode(t, err, broker.CodeNotSupported)
	_, err = b.SignGet(t.Context(), "k", GetOptions{}, time.Minute)
	wantCode(t, err, broker.CodeNotSupported)
	_, err = b.SweepMultiparts(t.Context(), "", time.Now())
	wantCode(t, err, broker.CodeNotSupported)
	_, err = b.Multiparts(t.Context(), "")
	wantCode(t, err, broker.CodeNotSupported)
	wantCode(t, b.AbortMultipart(t.Context(), "k", "id"), broker.CodeNotSupported)
	if n, err := b.Clean(t.Context(), "", time.Now()); n != 0 || err != nil {
		t.Errorf("cleaned %d, %v where nothing is left", n, err)
	}
	_, err = b.Copy(t.Context(), "a", "etag", "b")
	wantCode(t, err, broker.CodeNotSupported)
	_, err = b.Link(t.Context(), "k", "etag", "name", time.Minute)
	wantCode(t, err, broker.CodeNotSupported)
	wantCode(t, b.Probe(t.Context()), broker.CodeNotSupported)
	if err := b.Sync(t.Context(), "k"); err != nil {
		t.Errorf("sync where none is needed: %v", err)
	}
}

func wantCode(t *testing.T, err error, code broker.Code) {
	t.Helper()
	if broker.CodeOf(err) != code {
		t.Errorf("code of %v is not %s", err, code)
	}
}

func TestErrors(t *testing.T) {
	cause := errors.New("403 from https://bucket/k?X-Amz-Signature=abc")
	d := &fake{err: cause}
	b := newTest(t, Info{}, d)
	_, err := b.Stat(t.Context(), "pid/k")
	var e *broker.Error
	if !errors.As(err, &e) || e.Code != broker.CodeDenied || !errors.Is(err, cause) {
		t.Fatalf("%v", err)
	}
	// Once: the error's own text has one operation, the message no secret.
	if got := e.Err.Error(); got != "stat HongKong/pid/k: "+cause.Error() {
		t.Errorf("for the log: %s", got)
	}
	if strings.Contains(e.Msg, "Signature") || strings.Contains(e.Msg, "pid") || !strings.Contains(e.Msg, "HongKong") {
		t.Errorf("for callers: %s", e.Msg)
	}

	// A cancelled context shows, also where the driver hides it.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.Stat(ctx, "k"); !errors.Is(err, context.Canceled) || !errors.Is(err, cause) {
		t.Errorf("%v", err)
	}
	wantCode(t, b.Delete(ctx, "k"), broker.CodeUnavailable)

	// The body's own code stays.
	d.err = nil
	_, err = b.Put(t.Context(), "k", failing{broker.Errorf(broker.CodeTooLarge, "over the quota")}, PutOptions{})
	if !errors.As(err, &e) || e.Code != broker.CodeTooLarge || e.Msg != "over the quota" {
		t.Errorf("%v", err)
	}

	// What would not survive a header is refused before it is signed.
	s := newTest(t, Info{}, &fakeSigner{})
	for _, contentType := range []string{"a\r\nb", " image/jpeg", "image/jpeg ", "a  b", "é", strings.Repeat("x", 256)} {
		_, err := s.SignPut(t.Context(), "k", broker.Binding{ContentType: contentType}, time.Minute)
		wantCode(t, err, broker.CodeInvalidType)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// A server that does not heed If-Match is found out.
func TestOpenLooksAtTheETag(t *testing.T) {
	b := newTest(t, Info{}, &fake{obj: Object{ETag: "new"}})
	_, _, err := b.Open(t.Context(), "k", Range{}, "old")
	wantCode(t, err, broker.CodeChanged)
	if rc, _, err := b.Open(t.Context(), "k", Range{}, "new"); err != nil {
		t.Error(err)
	} else {
		rc.Close()
	}
}

func TestObserver(t *testing.T) {
	var got []string
	d := &fakeSigner{}
	b := newTest(t, Info{}, d, WithObserver(func(symbol, op string, took time.Duration, code broker.Code) {
		if took < 0 {
			t.Errorf("%s took %v", op, took)
		}
		got = append(got, symbol+" "+op+" "+string(code))
	}))
	_, _ = b.Stat(t.Context(), "k")
	_, _ = b.SignPut(t.Context(), "k", broker.Binding{}, time.Minute)
	d.err = errors.New("x")
	_ = b.Delete(t.Context(), "k")
	_, _ = b.List(t.Context(), "", "", 0)
	_, _ = b.Stat(t.Context(), "..")
	want := "HongKong stat ,HongKong sign_put ,HongKong delete denied,HongKong list denied,HongKong stat invalid_name"
	if s := strings.Join(got, ","); s != want {
		t.Errorf("observed %s", s)
	}
}

func FuzzCheckKey(f *testing.F) {
	for _, key := range []string{"a", "a/b", "../a", "a//b", "é", "a\x00", `a\b`, strings.Repeat("x", 1025)} {
		f.Add(key)
	}
	f.Fuzz(func(t *testing.T, key string) {
		if CheckKey(key) != nil {
			return
		}
		if len(key) == 0 || len(key) > MaxKeyBytes || strings.ContainsAny(key, "\x00\r\n\\\x7f") || strings.HasPrefix(key, "/") {
			t.Errorf("%q passed", key)
		}
		for _, segment := range strings.Split(key, "/") {
			if segment == "" || segment == "." || segment == ".." {
				t.Errorf("%q passed", key)
			}
		}
	})
}
