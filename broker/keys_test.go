package broker_test

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
)

func TestAuthenticate(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	key, secret, err := w.keys.Create(ctx, w.ada, broker.NewKey{Name: "cam", TTL: time.Hour, Clouds: []broker.Cloud{broker.CloudOSS}})
	if err != nil {
		t.Fatal(err)
	}
	if len(secret) < 32 || !strings.HasPrefix(secret, "ub_") {
		t.Errorf("a secret is %d characters long", len(secret))
	}
	c, err := w.keys.Authenticate(ctx, secret)
	if err != nil {
		t.Fatal(err)
	}
	if c.Key.ID != key.ID || c.Owner != w.adaStored(t) || !c.Can(broker.ScopeRead) || !c.Can(broker.ScopeUpload) ||
		c.Can(broker.ScopeManage) || c.Can(broker.ScopeAdmin) || c.MayUse(broker.CloudS3) {
		t.Errorf("the caller is %+v", c)
	}
	if !strings.HasPrefix(secret, c.Key.Hint) || len(c.Key.Hint) > 8 {
		t.Errorf("the hint is %q", c.Key.Hint)
	}
	for _, bad := range []string{
		"", secret[1:], secret + "x", strings.ToUpper(secret), " " + secret, key.ID, c.Key.Hint, strings.Repeat("x", 513), "\x00", "\xff",
	} {
		_, err := w.keys.Authenticate(ctx, bad)
		wantCode(t, err, broker.CodeUnauthenticated)
	}

	w.pass(time.Hour - 1)
	if _, err := w.keys.Authenticate(ctx, secret); err != nil {
		t.Errorf("just before its end: %v", err)
	}
	w.pass(1)
	_, expired := w.keys.Authenticate(ctx, secret)
	wantCode(t, expired, broker.CodeUnauthenticated)

	_, secret, err = w.keys.Create(ctx, w.ada, broker.NewKey{})
	if err != nil {
		t.Fatal(err)
	}
	c, err = w.keys.Authenticate(ctx, secret)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.store.RevokeKey(ctx, c.Key.ID, w.time()); err != nil {
		t.Fatal(err)
	}
	_, revoked := w.keys.Authenticate(ctx, secret)
	_, unknown := w.keys.Authenticate(ctx, "ub_"+strings.Repeat("a", 32))
	if revoked.Error() != unknown.Error() || expired.Error() != unknown.Error() {
		t.Errorf("one can tell a key that was good once: %q, %q, %q", revoked, expired, unknown)
	}
}

func (w *world) adaStored(t *testing.T) broker.Owner {
	t.Helper()
	o, err := w.store.OwnerByEmail(t.Context(), "ada@example.com")
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestLastUse(t *testing.T) {
	w := newWorld(t)
	key, secret, err := w.keys.Create(t.Context(), w.ada, broker.NewKey{})
	if err != nil {
		t.Fatal(err)
	}
	used := func() time.Time {
		t.Helper()
		if _, err := w.keys.Authenticate(t.Context(), secret); err != nil {
			t.Fatal(err)
		}
		keys, err := w.store.ListKeys(t.Context(), w.ada.ID)
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(keys, func(k broker.Key) bool { return k.ID == key.ID })
		if i < 0 || keys[i].LastUsed == nil {
			t.Fatal("no use was noted")
		}
		return keys[i].LastUsed.UTC()
	}
	first := w.time()
	if got := used(); !got.Equal(first) {
		t.Errorf("used at %v, want %v", got, first)
	}
	w.pass(time.Minute)
	if got := used(); !got.Equal(first) {
		t.Errorf("noted again within a minute: %v", got)
	}
	w.pass(time.Second)
	if got := used(); !got.Equal(w.time()) {
		t.Errorf("used at %v, want %v", got, w.time())
	}
}

func TestCreateRefuses(t *testing.T) {
	w := newWorld(t)
	for name, n := range map[string]broker.NewKey{
		"a short secret":         {Secret: "fifteen-letters"},
		"a long secret":          {Secret: strings.Repeat("x", 513)},
		"an end in the past":     {TTL: -1},
		"a space at its end":     {Secret: "sixteen-letters-it-is "},
		"a secret with a tab":    {Secret: "sixteen\tletters it is"},
		"no header takes it":     {Secret: "aпароль-пароль-пароль"},
		"a secret with a NUL":    {Secret: "sixteen-letters\x00x"},
		"a secret with a line":   {Secret: "sixteen-letters-\n"},
		"a secret that is bytes": {Secret: "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"},
	} {
		t.Run(name, func(t *testing.T) {
			_, secret, err := w.keys.Create(t.Context(), w.ada, n)
			wantCode(t, err, broker.CodeInvalid)
			if secret != "" {
				t.Error("a secret came with the error")
			}
		})
	}
	_, _, err := w.keys.Create(t.Context(), w.ada, broker.NewKey{Name: "a\nb"})
	wantCode(t, err, broker.CodeInvalidName)
	if _, _, err := w.keys.Create(t.Context(), w.ada, broker.NewKey{Secret: "sixteen letters!"}); err != nil {
		t.Errorf("16 characters: %v", err)
	}
}

func TestOwners(t *testing.T) {
	w := newWorld(t)
	o, err := w.keys.CreateOwner(t.Context(), "  Bob@Example.COM\n", "")
	if err != nil || o.Email != "bob@example.com" {
		t.Errorf("CreateOwner = %+v, %v", o, err)
	}
	_, err = w.keys.CreateOwner(t.Context(), "BOB@example.com", "")
	wantCode(t, err, broker.CodeConflict)
	for _, bad := range []string{
		"", "bob", "@x", "bob@", "a@b@c", "a b@c", "a@b,c", "a@<b>", strings.Repeat("x", 250) + "@b.cd", "a\x00@b", "a@b\x07c", "\xff@b",
	} {
		_, err := w.keys.CreateOwner(t.Context(), bad, "")
		if broker.CodeOf(err) != broker.CodeInvalid {
			t.Errorf("CreateOwner(%q): %v", bad, err)
		}
	}
	owners, err := w.store.ListOwners(t.Context())
	if err != nil || len(owners) != 2 {
		t.Errorf("there are %d owners, %v", len(owners), err)
	}
}

func TestBootstrapWithoutASecret(t *testing.T) {
	w := newEmptyWorld(t)
	first, err := w.keys.Bootstrap(t.Context(), "")
	if err != nil || first.Secret == "" || first.Owner.Email != "owner@localhost" {
		t.Fatalf("the first start gave %+v, %v", first.Owner, err)
	}
	c, err := w.keys.Authenticate(t.Context(), first.Secret)
	if err != nil || c.Key.ID != first.Key.ID {
		t.Fatalf("its key is no good: %v", err)
	}
	for _, s := range broker.AllScopes() {
		if !c.Can(s) {
			t.Errorf("it lacks %s", s)
		}
	}
	second, err := w.keys.Bootstrap(t.Context(), "")
	if err != nil || second.Secret != "" || second.Key.ID != "" {
		t.Errorf("a further start made another key: %v", err)
	}
	// Also when the only key was revoked: keys are made by the operator then.
	if _, err := w.store.RevokeKey(t.Context(), first.Key.ID, w.time()); err != nil {
		t.Fatal(err)
	}
	if again, err := w.keys.Bootstrap(t.Context(), ""); err != nil || again.Secret != "" {
		t.Errorf("a start made a key beside a revoked one: %v", err)
	}
}

func TestBootstrapWithAChosenSecret(t *testing.T) {
	const chosen = "correct-horse-battery"
	w := newEmptyWorld(t)
	ctx := t.Context()
	var id string
	start := func(when string) {
		t.Helper()
		b, err := w.keys.Bootstrap(ctx, chosen)
		if err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		if b.Secret != "" {
			t.Errorf("%s: the operator's secret would be printed", when)
		}
		c, err := w.keys.Authenticate(ctx, chosen)
		if err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		if id == "" {
			id = c.Key.ID
		}
		if c.Key.ID != id || b.Key.ID != id {
			t.Errorf("%s: the key is %s and told as %s, want %s", when, c.Key.ID, b.Key.ID, id)
		}
		for _, s := range broker.AllScopes() {
			if !c.Can(s) {
				t.Errorf("%s: it lacks %s", when, s)
			}
		}
		// What the server prints is a sign-in link for this key.
		code, err := w.keys.NewSignInCode(ctx, b.Key.ID)
		if err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		if _, _, err := w.keys.TradeCode(ctx, code); err != nil {
			t.Errorf("%s: %v", when, err)
		}
	}
	start("the first start")
	w.pass(time.Hour)
	start("a further start")
	if _, err := w.store.RevokeKey(ctx, id, w.time()); err != nil {
		t.Fatal(err)
	}
	start("after a revocation")
	if keys, err := w.store.ListKeys(ctx, ""); err != nil || len(keys) != 1 {
		t.Errorf("there are %d keys, %v", len(keys), err)
	}
	if b, err := w.keys.Bootstrap(ctx, "another-horse-battery"); err != nil || b.Key.ID == id {
		t.Errorf("another secret is another key: %v", err)
	}
	_, err := w.keys.Bootstrap(ctx, "fifteen-letters")
	wantCode(t, err, broker.CodeInvalid)
}

// TestBootstrapTakesNoOnesKey: a secret that is another owner's key stays his.
func TestBootstrapTakesNoOnesKey(t *testing.T) {
	w := newWorld(t)
	const chosen = "correct-horse-battery"
	if _, _, err := w.keys.Create(t.Context(), w.ada, broker.NewKey{Secret: chosen, Scopes: []broker.Scope{broker.ScopeRead}}); err != nil {
		t.Fatal(err)
	}
	_, err := w.keys.Bootstrap(t.Context(), chosen)
	wantCode(t, err, broker.CodeConflict)
	c, err := w.keys.Authenticate(t.Context(), chosen)
	if err != nil || c.Owner.ID != w.ada.ID || c.Can(broker.ScopeAdmin) {
		t.Errorf("it became %+v, %v", c, err)
	}
}

func TestManyStartersBootstrap(t *testing.T) {
	w := newEmptyWorld(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := w.keys.Bootstrap(t.Context(), "correct-horse-battery"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	owners, err := w.store.ListOwners(t.Context())
	keys, err2 := w.store.ListKeys(t.Context(), "")
	if err != nil || err2 != nil || len(owners) != 1 || len(keys) != 1 {
		t.Errorf("%d owners, %d keys, %v, %v", len(owners), len(keys), err, err2)
	}
}

func TestSignIn(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	_, secret, err := w.keys.Create(ctx, w.ada, broker.NewKey{})
	if err != nil {
		t.Fatal(err)
	}
	session, ttl, err := w.keys.SignIn(ctx, secret)
	if err != nil || ttl != 30*24*time.Hour {
		t.Fatal(ttl, err)
	}
	c, err := w.keys.BySession(ctx, session)
	if err != nil || c.Owner.ID != w.ada.ID {
		t.Fatalf("signed in as %+v, %v", c, err)
	}
	// A session is no key, a key no session.
	_, err = w.keys.Authenticate(ctx, session)
	wantCode(t, err, broker.CodeUnauthenticated)
	_, err = w.keys.BySession(ctx, secret)
	wantCode(t, err, broker.CodeUnauthenticated)
	_, _, err = w.keys.SignIn(ctx, session)
	wantCode(t, err, broker.CodeUnauthenticated)

	// It ends by itself …
	w.pass(ttl - 1)
	if _, err := w.keys.BySession(ctx, session); err != nil {
		t.Errorf("just before its end: %v", err)
	}
	w.pass(1)
	_, err = w.keys.BySession(ctx, session)
	wantCode(t, err, broker.CodeUnauthenticated)

	// … by signing out, of this browser only …
	one, _, err := w.keys.SignIn(ctx, secret)
	if err != nil {
		t.Fatal(err)
	}
	two, _, err := w.keys.SignIn(ctx, secret)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // twice is no error
		if err := w.keys.SignOut(ctx, one); err != nil {
			t.Fatal(err)
		}
	}
	_, err = w.keys.BySession(ctx, one)
	wantCode(t, err, broker.CodeUnauthenticated)
	if c, err = w.keys.BySession(ctx, two); err != nil {
		t.Errorf("the other browser: %v", err)
	}

	// … and with its key.
	if _, err := w.store.RevokeKey(ctx, c.Key.ID, w.time()); err != nil {
		t.Fatal(err)
	}
	_, err = w.keys.BySession(ctx, two)
	wantCode(t, err, broker.CodeUnauthenticated)
	_, _, err = w.keys.SignIn(ctx, secret)
	wantCode(t, err, broker.CodeUnauthenticated)
}

func TestSessionsDieWithAnExpiredKey(t *testing.T) {
	w := newWorld(t)
	_, secret, err := w.keys.Create(t.Context(), w.ada, broker.NewKey{TTL: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	session, _, err := w.keys.SignIn(t.Context(), secret)
	if err != nil {
		t.Fatal(err)
	}
	w.pass(time.Hour)
	_, err = w.keys.BySession(t.Context(), session)
	wantCode(t, err, broker.CodeUnauthenticated)
}

func TestSignInCodes(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	code, err := w.keys.NewSignInCode(ctx, w.by.Key.ID)
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.keys.BySession(ctx, code)
	wantCode(t, err, broker.CodeUnauthenticated) // a code is no session

	// Of many who trade it at once, one wins.
	var won atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			session, _, err := w.keys.TradeCode(ctx, code)
			switch broker.CodeOf(err) {
			case "":
				won.Add(1)
				if c, err := w.keys.BySession(ctx, session); err != nil || c.Key.ID != w.by.Key.ID {
					t.Errorf("the session is %+v, %v", c, err)
				}
			case broker.CodeUnauthenticated:
			default:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 {
		t.Errorf("the code was traded %d times", won.Load())
	}

	late, err := w.keys.NewSignInCode(ctx, w.by.Key.ID)
	if err != nil {
		t.Fatal(err)
	}
	session, _, err := w.keys.SignIn(ctx, "unknown")
	wantCode(t, err, broker.CodeUnauthenticated)
	_, _, err = w.keys.TradeCode(ctx, session) // "", which nobody was given
	wantCode(t, err, broker.CodeUnauthenticated)
	w.pass(15 * time.Minute)
	_, _, err = w.keys.TradeCode(ctx, late)
	wantCode(t, err, broker.CodeUnauthenticated)
}

func newEmptyWorld(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	// The audit has no foreign keys; everything else goes with its owner.
	if _, err := w.store.Pool().Exec(t.Context(), `TRUNCATE owners CASCADE`); err != nil {
		t.Fatal(err)
	}
	return w
}

// TestRevokeOwnReach: a key ends none that may more than itself, but itself always.
func TestRevokeOwnReach(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	p := w.project(t)
	clerk := w.caller(t, w.ada, broker.NewKey{Name: "clerk", Scopes: []broker.Scope{broker.ScopeManage, broker.ScopeRead}})
	tied := w.caller(t, w.ada, broker.NewKey{Name: "tied", Scopes: broker.AllScopes(), ProjectID: p.ID})
	few := w.caller(t, w.ada, broker.NewKey{Scopes: []broker.Scope{broker.ScopeRead}})
	upload := w.caller(t, w.ada, broker.NewKey{Scopes: []broker.Scope{broker.ScopeRead, broker.ScopeUpload}, ProjectID: p.ID})
	_, err := w.keys.RevokeOwn(ctx, clerk, w.by.Key.ID)
	if broker.CodeOf(err) != broker.CodeNotAllowed || !strings.Contains(err.Error(), "upload, admin") {
		t.Errorf("the owner's first key: %v", err)
	}
	if _, err := w.keys.RevokeOwn(ctx, clerk, upload.Key.ID); broker.CodeOf(err) != broker.CodeNotAllowed || strings.Contains(err.Error(), "admin") {
		t.Errorf("one that may upload: %v", err)
	}
	if _, err := w.keys.RevokeOwn(ctx, tied, w.by.Key.ID); broker.CodeOf(err) != broker.CodeNotFound {
		t.Errorf("one for all projects by one for a project: %v", err)
	}
	for _, c := range []struct{ by, ends broker.Caller }{{clerk, few}, {tied, upload}, {clerk, clerk}, {w.by, tied}} {
		if k, err := w.keys.RevokeOwn(ctx, c.by, c.ends.Key.ID); err != nil || k.RevokedAt == nil {
			t.Errorf("%s: %+v %v", c.ends.Key.Name, k, err)
		}
	}
	// What has ended already stays as it is, whoever asks.
	again := w.caller(t, w.ada, broker.NewKey{Scopes: []broker.Scope{broker.ScopeManage}})
	if _, err := w.keys.RevokeOwn(ctx, again, tied.Key.ID); err != nil {
		t.Errorf("again: %v", err)
	}
}
