package oss

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/auth/credentials"
	sdk "github.com/aliyun/aliyun-oss-go-sdk/oss"
)

// When credentials that end are replaced. A grant ends with the credentials that
// sign it, so their last minutes give grants that nobody can finish an upload by.
const (
	renewBefore = 15 * time.Minute // of their life left
	renewPause  = 30 * time.Second // between two tries
	renewWait   = 5 * time.Second  // that a caller who has live ones waits for others
)

// errCredentials says that there are no credentials to sign with. Code knows it.
var errCredentials = errors.New("oss: no credentials")

// credential is a right to sign, of a user or, with a token, of a session.
type credential struct {
	id, secret, token string
	expires           time.Time // zero: never, or nobody knows
}

// credentialSource gives what signs requests to OSS and STS.
type credentialSource interface {
	get(ctx context.Context) (credential, error)
}

// fixed is a source that the configuration gives.
type fixed credential

func (f fixed) get(context.Context) (credential, error) { return credential(f), nil }

// sdkCredentials shows a source to the OSS SDK, which has no context there: do
// asks the source before, within its caller's.
type sdkCredentials struct{ source credentialSource }

var _ sdk.CredentialsProviderE = sdkCredentials{}

func (s sdkCredentials) GetCredentialsE() (sdk.Credentials, error) {
	c, err := s.source.get(context.Background())
	return sdkCredential{c}, err
}

func (s sdkCredentials) GetCredentials() sdk.Credentials {
	c, _ := s.GetCredentialsE()
	return c
}

type sdkCredential struct{ credential }

func (c sdkCredential) GetAccessKeyID() string     { return c.id }
func (c sdkCredential) GetAccessKeySecret() string { return c.secret }
func (c sdkCredential) GetSecurityToken() string   { return c.token }

// renewing keeps what find gave, and looks for later ones while they still live.
// find may be slow and knows no context, so it runs beside the callers, once at a
// time; they wait no longer than they want to.
type renewing struct {
	now  func() time.Time
	find func() (credential, error)

	mu      sync.Mutex
	current credential // zero: none yet
	err     error      // of the last try
	nextTry time.Time  // of a renewal
	finding chan struct{}
}

func newRenewing(now func() time.Time, find func() (credential, error)) *renewing {
	return &renewing{now: now, find: find}
}

// get never fails because of a renewal: those that live are then used on.
func (r *renewing) get(ctx context.Context) (credential, error) {
	c, wait := r.present()
	if wait == nil {
		return c, nil
	}
	if c.id != "" {
		enough := time.NewTimer(renewWait)
		defer enough.Stop()
		select {
		case <-wait:
			c, _ = r.held()
		case <-enough.C:
		case <-ctx.Done():
			return credential{}, ctx.Err()
		}
		return c, nil
	}
	select {
	case <-wait:
		return r.held()
	case <-ctx.Done():
		return credential{}, ctx.Err()
	}
}

// present gives the credentials while they live, and a channel when there is a
// search to wait for.
func (r *renewing) present() (credential, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	live := r.live(now)
	if live.id != "" && (live.expires.IsZero() || live.expires.Sub(now) >= renewBefore) {
		return live, nil
	}
	if r.finding == nil {
		if live.id != "" && now.Before(r.nextTry) {
			return live, nil
		}
		r.nextTry = now.Add(renewPause)
		r.finding = make(chan struct{})
		go r.search()
	}
	return live, r.finding
}

func (r *renewing) search() {
	found, err := r.find()
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	switch {
	case err != nil:
		r.err = err
	case !found.expires.IsZero() && !found.expires.After(now):
		r.err = fmt.Errorf("%w: those found ended at %v", errCredentials, found.expires.Format(time.RFC3339))
	case r.live(now).id == "" || found.expires.IsZero() || found.expires.After(r.current.expires):
		r.current, r.err = found, nil
	}
	close(r.finding)
	r.finding = nil
}

func (r *renewing) live(now time.Time) credential {
	if !r.current.expires.IsZero() && !r.current.expires.After(now) {
		return credential{}
	}
	return r.current
}

// held is what a search left behind.
func (r *renewing) held() (credential, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c := r.live(r.now()); c.id != "" {
		return c, nil
	}
	if r.err != nil {
		return credential{}, r.err
	}
	return credential{}, errCredentials
}

// findCredential goes through the environment and the SDK's providers, each made
// anew so that it remembers nothing. Their order is that of the SDK's own chain,
// which can't be used at once, nor asked when its credentials end.
func findCredential() (credential, error) {
	if c := fromEnvironment(); c.id != "" {
		return c, nil
	}
	var tried []string
	for _, p := range []struct {
		name string
		make func() (credentials.CredentialsProvider, error)
	}{
		{"OIDC", func() (credentials.CredentialsProvider, error) {
			return credentials.NewOIDCCredentialsProviderBuilder().Build()
		}},
		{"the CLI's profile", func() (credentials.CredentialsProvider, error) {
			return credentials.NewCLIProfileCredentialsProviderBuilder().Build(), nil
		}},
		{"the SDK's profile", func() (credentials.CredentialsProvider, error) {
			return credentials.NewProfileCredentialsProviderBuilder().Build(), nil
		}},
		{"a credentials URI", func() (credentials.CredentialsProvider, error) {
			return credentials.NewURLCredentialsProviderBuilderBuilder().Build()
		}},
		// Last, since where there is none it takes seconds to find out.
		{"the instance's RAM role", func() (credentials.CredentialsProvider, error) {
			return credentials.NewECSRAMRoleCredentialsProviderBuilder().Build()
		}},
	} {
		if c := fromProvider(p.make); c.id != "" && c.secret != "" {
			return c, nil
		}
		tried = append(tried, p.name)
	}
	// The providers' own errors quote whole files and answers.
	return credential{}, fmt.Errorf("%w: none in ALIBABA_CLOUD_ACCESS_KEY_ID and …_SECRET, nor by %s", errCredentials, strings.Join(tried, ", "))
}

func fromEnvironment() credential {
	c := credential{
		id: os.Getenv("ALIBABA_CLOUD_ACCESS_KEY_ID"), secret: os.Getenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET"),
		token: os.Getenv("ALIBABA_CLOUD_SECURITY_TOKEN"),
	}
	if c.secret == "" {
		return credential{}
	}
	return c
}

// fromProvider asks one of the SDK's providers; zero when it has nothing. Some of
// them panic at answers that lack a field.
func fromProvider(build func() (credentials.CredentialsProvider, error)) (c credential) {
	defer func() {
		if recover() != nil {
			c = credential{}
		}
	}()
	p, err := build()
	if err != nil {
		return credential{}
	}
	found, err := p.GetCredentials()
	if err != nil || found == nil {
		return credential{}
	}
	return credential{id: found.AccessKeyId, secret: found.AccessKeySecret, token: found.SecurityToken, expires: expiry(p)}
}

// expiry is when a provider's credentials end, zero when they do not or it does
// not know. The SDK keeps it to itself, so it is read out of the provider's
// fields; a test holds the SDK to their names.
func expiry(p credentials.CredentialsProvider) time.Time {
	v := reflect.ValueOf(p)
	for {
		for v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface {
			v = v.Elem()
		}
		if v.Kind() != reflect.Struct {
			return time.Time{}
		}
		if at := v.FieldByName("expirationTimestamp"); at.Kind() == reflect.Int64 {
			if at.Int() == 0 {
				return time.Time{}
			}
			return time.Unix(at.Int(), 0)
		}
		v = v.FieldByName("innerProvider") // of a profile
	}
}
