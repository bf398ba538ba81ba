package rest

import (
	"encoding/json"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
)

// backwards is a Placer of whom everybody is in Hong Kong, and the last bucket nearest.
type backwards struct{}

func (backwards) Place(netip.Addr) broker.Place {
	return broker.Place{Country: "HK", Source: "override"}
}

func (backwards) Order(_ broker.Place, buckets []broker.Bucket) (out []broker.Bucket) {
	for _, b := range buckets {
		out = append([]broker.Bucket{b}, out...)
	}
	return out
}

// TestListBuckets: an operator sees all buckets, in which order he is offered them, why
// not, and how they do.
func TestListBuckets(t *testing.T) {
	f := open(t)
	f.images.Places.Replace(backwards{},
		broker.Bucket{Symbol: "Drained", Cloud: broker.CloudS3, Drain: true}, broker.Bucket{Symbol: "Second", Display: "The second", Cloud: broker.CloudS3},
		broker.Bucket{Symbol: "Abroad", Cloud: broker.CloudOSS, Countries: broker.CountryRules{Only: []string{"CN"}, Enforce: true}},
		broker.Bucket{Symbol: "First", Cloud: broker.CloudS3}, broker.Bucket{Symbol: "Pinned", Cloud: broker.CloudMinIO})
	pid, other := f.newProject(t), f.newProject(t)
	for _, w := range []struct {
		pid, bucket, fault, ago string
	}{
		{pid, "First", "an old fault", "1 h"}, {other, "First", "", "1 min"},
		{pid, "Drained", "", "1 h"}, {other, "Drained", "no answer from https://up.example/?signature=secret", "1 min"},
	} {
		f.exec(t, "INSERT INTO watches (project_id, bucket, looks, looked_at, fault) VALUES ($1, $2, 1, now() - $3::interval, $4)", w.pid, w.bucket, w.ago, w.fault)
	}
	_, secret := f.newKey(t, f.owner, broker.NewKey{Scopes: []broker.Scope{broker.ScopeAdmin}, Clouds: []broker.Cloud{broker.CloudS3, broker.CloudOSS}})
	a := f.call(t, secret, http.MethodGet, "/v1/buckets", nil)
	var got BucketStates
	if err := json.Unmarshal(a.body, &got); err != nil || a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	}
	want := []struct {
		symbol string
		rank   int
		not    string
		fault  string
	}{
		{"First", 1, "", ""}, {"Second", 2, "", ""}, {"Drained", 0, "drained", "no answer from https://up.example/…"}, {"Abroad", 0, "abroad", ""}, {"Pinned", 0, "pinned", ""},
	}
	if len(got.Buckets) != len(want) || got.From.Country != "HK" {
		t.Fatalf("%s", a.body)
	}
	for i, w := range want {
		b := got.Buckets[i]
		not := ""
		for _, why := range b.Not {
			not += why
		}
		if b.Symbol != w.symbol || b.Rank != w.rank || not != w.not || b.Fault != w.fault {
			t.Errorf("%d: %+v, want %+v", i, b, w)
		}
		if looked := w.symbol == "First" || w.symbol == "Drained"; (b.LastLook != nil) != looked || looked && time.Since(*b.LastLook) > 30*time.Minute {
			t.Errorf("%s: the last look was at %v", b.Symbol, b.LastLook)
		}
	}
	if r := got.Buckets[3].Countries; len(r.Only) != 1 || !r.Enforce {
		t.Errorf("%+v", r)
	}
	_, owner := f.newKey(t, f.owner, broker.NewKey{Scopes: []broker.Scope{broker.ScopeRead, broker.ScopeUpload, broker.ScopeManage}})
	if a := f.call(t, owner, http.MethodGet, "/v1/buckets", nil); a.status != http.StatusForbidden {
		t.Errorf("an owner: %d %s", a.status, a.body)
	}
}
