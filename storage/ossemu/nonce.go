package ossemu

import (
	"crypto/sha256"
	"sync"
	"time"
)

const (
	// A request is good for 15 minutes before and after its own time, so that its
	// nonce must be known for both.
	nonceLife = 2 * maxSkew
	// maxNonces is half of what is kept: 100,000 are about 5 MB. At STS's 100
	// calls a second a half fills in 16 minutes.
	maxNonces = 100_000
)

// nonces remembers which were used, in bounded memory: two halves, the older of
// which is forgotten when the younger is old or full. The zero value is empty.
type nonces struct {
	mu           sync.Mutex
	young, older map[[16]byte]struct{}
	since        time.Time // of young
}

// use answers false when the key used the nonce before.
func (n *nonces) use(keyID, nonce string, now time.Time) bool {
	sum := sha256.Sum256([]byte(keyID + "\n" + nonce))
	id := [16]byte(sum[:16])
	n.mu.Lock()
	defer n.mu.Unlock()
	if age := now.Sub(n.since); n.young == nil || age >= nonceLife || len(n.young) >= maxNonces {
		n.older, n.young, n.since = n.young, map[[16]byte]struct{}{}, now
		if age >= 2*nonceLife {
			n.older = nil
		}
	}
	_, young := n.young[id]
	_, older := n.older[id]
	if young || older {
		return false
	}
	n.young[id] = struct{}{}
	return true
}

// perSecond counts calls by the clock's seconds.
type perSecond struct {
	limit int

	mu     sync.Mutex
	second int64
	calls  int
}

// take answers false when this second has had its calls.
func (p *perSecond) take(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := now.Unix(); s != p.second {
		p.second, p.calls = s, 0
	}
	if p.calls >= p.limit {
		return false
	}
	p.calls++
	return true
}
