package broker

import (
	"context"
	"net/netip"
	"slices"
	"time"
)

// BucketLook is how the last look into a bucket went.
type BucketLook struct {
	At    time.Time
	Fault string // why it failed, for an operator; "" when it did not
}

// BucketState is a bucket as its operator sees it.
type BucketState struct {
	Bucket
	Rank    int         // its place in the order that the caller is offered, from 1 on; 0: he is not offered it
	Drained bool        // it takes no new uploads
	Pinned  bool        // the caller's key is pinned to other clouds
	Abroad  bool        // its rules do not admit the caller's country
	Look    *BucketLook // nil: none yet
}

// Buckets lists all buckets for an operator: those that he is offered in their order,
// then the others as they are configured, with why.
func (s *Images) Buckets(ctx context.Context, by Caller, client netip.Addr) ([]BucketState, error) {
	if err := by.Need(ScopeAdmin); err != nil {
		return nil, err
	}
	looks, err := s.Store.LastLooks(ctx)
	if err != nil {
		return nil, err
	}
	offered := s.Nearest(by, client)
	from := s.Places.Place(client)
	var list []BucketState
	for _, b := range s.Places.Buckets() {
		state := BucketState{
			Bucket: b, Drained: b.Drain, Pinned: !by.MayUse(b.Cloud), Abroad: !b.Countries.Admit(from.Country),
			Rank: 1 + slices.IndexFunc(offered, func(o Bucket) bool { return o.Symbol == b.Symbol }),
		}
		if look, ok := looks[b.Symbol]; ok {
			state.Look = &look
		}
		list = append(list, state)
	}
	place := func(b BucketState) int {
		if b.Rank == 0 {
			return len(list) + 1
		}
		return b.Rank
	}
	slices.SortStableFunc(list, func(a, b BucketState) int { return place(a) - place(b) })
	return list, nil
}
