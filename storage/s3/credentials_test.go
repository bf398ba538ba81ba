package s3

import (
	"crypto/sha1"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/storage"
)

// instanceRole is the role's name in the stand-in below.
const instanceRole = "uploader"

// metadataService is a stand-in for the metadata service of EC2, version 2
// (Amazon EC2 User Guide, "Use the Instance Metadata Service to access instance
// metadata"): a session token by PUT, then with it the role's name and its
// credentials. Version 1, which asks for no token, is refused.
type metadataService struct {
	*httptest.Server
	mu     sync.Mutex
	now    aws.Credentials
	asked  int // for credentials
	faults []string
}

// startMetadataService runs the stand-in and leaves it, of all that the SDK's
// chain looks at, as the only source of credentials.
func startMetadataService(t *testing.T, first aws.Credentials) *metadataService {
	t.Helper()
	m := &metadataService{now: first}
	m.Server = httptest.NewServer(http.HandlerFunc(m.serve)) // on loopback
	t.Cleanup(m.Close)
	clearAmbient(t)
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", m.URL)
	return m
}

// clearAmbient takes away what the SDK would find on the machine of the test.
func clearAmbient(t *testing.T) {
	t.Helper()
	for _, pair := range os.Environ() {
		if name, _, _ := strings.Cut(pair, "="); strings.HasPrefix(name, "AWS_") {
			t.Setenv(name, "") // so that it is put back
			os.Unsetenv(name)
		}
	}
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(home, "none"))
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(home, "none"))
}

func (m *metadataService) serve(w http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	defer m.mu.Unlock()
	const session = "metadata-session"
	if r.Method == http.MethodPut && r.URL.Path == "/latest/api/token" {
		if r.Header.Get("X-Aws-Ec2-Metadata-Token-Ttl-Seconds") == "" {
			m.faults = append(m.faults, "a session without a life")
		}
		w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "21600")
		w.Write([]byte(session))
		return
	}
	if r.Header.Get("X-Aws-Ec2-Metadata-Token") != session {
		m.faults = append(m.faults, "no session for "+r.URL.Path)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	switch r.URL.Path {
	case "/latest/meta-data/iam/security-credentials/":
		w.Write([]byte(instanceRole))
	case "/latest/meta-data/iam/security-credentials/" + instanceRole:
		m.asked++
		json.NewEncoder(w).Encode(map[string]string{
			"Code": "Success", "Type": "AWS-HMAC", "LastUpdated": time.Now().UTC().Format(time.RFC3339),
			"AccessKeyId": m.now.AccessKeyID, "SecretAccessKey": m.now.SecretAccessKey, "Token": m.now.SessionToken,
			"Expiration": m.now.Expires.UTC().Format(time.RFC3339),
		})
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

// turn makes the service give other credentials, and tells how often it was
// asked for the ones before.
func (m *metadataService) turn(next aws.Credentials) (asked int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	asked, m.asked, m.now = m.asked, 0, next
	return asked
}

func (m *metadataService) check(t *testing.T) {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, fault := range m.faults {
		t.Errorf("the metadata service was asked wrongly: %s", fault)
	}
}

// TestInstanceRole signs with the credentials of an instance's role.
func TestInstanceRole(t *testing.T) {
	end := time.Now().Add(20 * time.Minute).Truncate(time.Second)
	role := aws.Credentials{AccessKeyID: "ASIAROLE1", SecretAccessKey: "one+/", SessionToken: "TOKEN/one+==", Expires: end}
	service := startMetadataService(t, role)
	d, err := Open(t.Context(), Options{Bucket: "photos", Region: "ap-east-1"})
	if err != nil {
		t.Fatal(err)
	}
	b, err := storage.New(storage.Info{Symbol: "HongKong", Cloud: broker.CloudS3}, d)
	if err != nil {
		t.Fatal(err)
	}
	bind := broker.Binding{SizeBytes: 4, SHA1: sha1.Sum([]byte("body")), ContentType: "image/jpeg"}
	req, err := b.SignPut(t.Context(), "pid/a b.jpg", bind, 3*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	service.check(t)
	signed, err := url.Parse(req.URL)
	if err != nil {
		t.Fatal(err)
	}
	query := signed.Query()
	if query.Get("X-Amz-Security-Token") != role.SessionToken || !strings.HasPrefix(query.Get("X-Amz-Credential"), "ASIAROLE1/") {
		t.Errorf("signed by others: %s", req.URL)
	}
	// It ends with its credentials, not when it was asked to.
	date, err := time.Parse("20060102T150405Z", query.Get("X-Amz-Date"))
	if err != nil {
		t.Fatal(err)
	}
	life, err := time.ParseDuration(query.Get("X-Amz-Expires") + "s")
	if err != nil {
		t.Fatal(err)
	}
	if !req.ExpiresAt.Equal(date.Add(life)) || req.ExpiresAt.After(end) || req.ExpiresAt.Before(end.Add(-time.Minute)) {
		t.Errorf("it says that it ends at %v, its URL at %v, its credentials at %v", req.ExpiresAt, date.Add(life), end)
	}
	// The SDK's presigner makes the same of the same credentials.
	want, err := awss3.NewPresignClient(awss3.New(awss3.Options{Region: "ap-east-1", Credentials: staticCredentials(role)}),
		func(o *awss3.PresignOptions) {
			o.Presigner = clockedSigner{date, v4.NewSigner(func(so *v4.SignerOptions) { so.DisableURIPathEscaping = true })}
		}).PresignPutObject(t.Context(), &awss3.PutObjectInput{
		Bucket: aws.String("photos"), Key: aws.String("pid/a b.jpg"), ContentLength: aws.Int64(4),
		ContentType: &bind.ContentType, ChecksumSHA1: aws.String(bind.SHA1.Base64()),
	}, awss3.WithPresignExpires(life))
	if err != nil {
		t.Fatal(err)
	}
	if req.URL != want.URL {
		t.Errorf("signed\n %s, the SDK\n %s", req.URL, want.URL)
	}
	// They are kept while they are good.
	for range 10 {
		if _, err := b.SignPut(t.Context(), "k", bind, time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	if asked := service.turn(role); asked != 1 {
		t.Errorf("the service was asked for credentials %d times", asked)
	}
}

// TestInstanceRoleRefresh: credentials that are near their end are asked for
// anew before it, a grant never outlives those that signed it, and a metadata
// service that has no later ones, or is down, is no reason to give none.
func TestInstanceRoleRefresh(t *testing.T) {
	// Under an hour, which is the most that the SDK believes a role's credentials.
	end := time.Now().Add(30 * time.Minute)
	first := aws.Credentials{AccessKeyID: "ASIAROLE1", SecretAccessKey: "one", SessionToken: "TOKEN1", Expires: end}
	second := aws.Credentials{AccessKeyID: "ASIAROLE2", SecretAccessKey: "two", SessionToken: "TOKEN2", Expires: end.Add(25 * time.Minute)}
	service := startMetadataService(t, first)
	now := time.Now()
	d, err := Open(t.Context(), Options{Bucket: "photos", Region: "ap-east-1", Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	sign := func(token string, atLeast time.Duration) {
		t.Helper()
		req, err := d.SignPut(t.Context(), "k", broker.Binding{SizeBytes: -1}, 20*time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(req.URL, "X-Amz-Security-Token="+token+"&") {
			t.Errorf("not signed with %s: %s", token, req.URL)
		}
		if left := req.ExpiresAt.Sub(now); left < atLeast || token == "TOKEN1" && req.ExpiresAt.After(end) || req.ExpiresAt.After(second.Expires) {
			t.Errorf("with %s until %v, for %v", token, req.ExpiresAt, left)
		}
	}
	sign("TOKEN1", 20*time.Minute-time.Second)
	// By its grants' clock, not by the SDK's, the first ones are about to end.
	now = end.Add(-8 * time.Minute)
	sign("TOKEN1", 2*time.Minute)
	if asked := service.turn(first); asked != 2 {
		t.Errorf("the service was asked %d times, once at the start and once near the end", asked)
	}
	sign("TOKEN1", 2*time.Minute)
	if asked := service.turn(second); asked != 0 {
		t.Errorf("it was asked again at once, %d times", asked)
	}
	now = now.Add(renewPause)
	sign("TOKEN2", 20*time.Minute-time.Second)
	now = now.Add(10 * time.Minute)
	sign("TOKEN2", 20*time.Minute-time.Second)
	if asked := service.turn(first); asked != 1 {
		t.Errorf("the service was asked %d times for the second ones", asked)
	}
	service.check(t)

	// Near the end of the second ones it gives older ones, then nothing at all.
	now = second.Expires.Add(-9 * time.Minute)
	sign("TOKEN2", time.Minute)
	service.Close()
	now = now.Add(renewPause)
	sign("TOKEN2", time.Minute)
}

// TestNoCredentials says denied where the chain finds none.
func TestNoCredentials(t *testing.T) {
	clearAmbient(t)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	d, err := Open(t.Context(), Options{Bucket: "photos", Region: "ap-east-1"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.SignPut(t.Context(), "k", broker.Binding{SizeBytes: -1}, time.Hour); d.Code(err) != broker.CodeDenied {
		t.Errorf("%v has code %s", err, d.Code(err))
	}
}

// testMinIOInstanceRole lets the role have credentials that MinIO's own STS
// gave: what the chain's credentials sign is really taken.
func testMinIOInstanceRole(t *testing.T, m *minioServer) {
	role := m.assumeRole(t)
	m.open(t, m.options("role"))
	startMetadataService(t, role)
	o := m.options("role")
	o.AccessKeyID, o.AccessKeySecret = "", ""
	b := portable(t, openOnly(t, o))
	req, err := b.SignPut(t.Context(), "p/x", broker.Binding{SizeBytes: 4, SHA1: sha1.Sum([]byte("body"))}, 3*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(req.URL, "X-Amz-Security-Token=") || req.ExpiresAt.After(role.Expires) {
		t.Errorf("until %v, credentials until %v: %s", req.ExpiresAt, role.Expires, req.URL)
	}
	if status, answer := clientPut(t, m.client(), req, "BODY"); status != http.StatusBadRequest {
		t.Errorf("other bytes: %d: %s", status, answer)
	}
	if status, answer := clientPut(t, m.client(), req, "body"); status != http.StatusOK {
		t.Errorf("%d: %s", status, answer)
	}
	obj, err := b.Stat(t.Context(), "p/x")
	if err != nil {
		t.Fatal(err)
	}
	link, err := b.Link(t.Context(), "p/x", obj.ETag, "x", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if status, body := clientGet(t, m.client(), link); status != http.StatusOK || body != "body" {
		t.Errorf("%d: %s", status, body)
	}
	if err := b.Probe(t.Context()); err != nil {
		t.Error(err)
	}
	// Without the token the same credentials are none.
	at := strings.Index(req.URL, "&X-Amz-Security-Token=")
	rest := req.URL[at+1:]
	req.URL = req.URL[:at] + rest[strings.IndexByte(rest, '&'):]
	if status, answer := clientPut(t, m.client(), req, "body"); status != http.StatusForbidden {
		t.Errorf("without the token: %d: %s", status, answer)
	}
}
