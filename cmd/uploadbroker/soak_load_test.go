package main

import (
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"image"
	"image/png"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/api/client"
	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/validate"
)

// soakFile is what a file must become.
type soakFile struct {
	name    string
	state   broker.State
	reasons []broker.ReasonCode
}

// soakRound is a project with its files.
type soakRound struct {
	name string
	pid  string
	want map[string]soakFile // by sha1
	sets map[string][]fileSet
}

// fileSet is what one client brings to one bucket. A silent one neither says that
// it begins nor that it is done, and goes away: the broker has to look.
type fileSet struct {
	bucket string
	silent bool
	files  []client.File
}

// newSoakRound makes n files, no two alike nor like those of another round, and
// shares them out to two clients. A fifth of them both bring, half of these to
// different buckets; of the others every eighth comes silently.
func newSoakRound(t testing.TB, seed uint64, number, n int) *soakRound {
	t.Helper()
	round := &soakRound{name: fmt.Sprintf("soak %d", number), want: map[string]soakFile{}, sets: map[string][]fileSet{}}
	dir := t.TempDir()
	type share struct {
		who, bucket string
		silent      bool
	}
	shares := map[share][]client.File{}
	buckets := []string{"Local", "East"}
	for i := range n {
		name, text, sound := soakBytes(seed, number, i)
		path := filepath.Join(dir, filepath.FromSlash(name))
		write(t, path, text)
		round.expect(t, name, path, text, sound)
		file := client.File{Path: path, Name: name}
		bucket := buckets[i/3%2]
		both := sound && i%5 == 4
		silent := sound && !both && i/2%8 == 0
		if both || i%2 == 0 {
			s := share{"left", bucket, silent}
			shares[s] = append(shares[s], file)
		}
		if both && i%10 == 4 {
			bucket = buckets[(i/3+1)%2]
		}
		if both || i%2 == 1 {
			s := share{"right", bucket, silent}
			shares[s] = append(shares[s], file)
		}
	}
	for s, files := range shares {
		round.sets[s.who] = append(round.sets[s.who], fileSet{s.bucket, s.silent, files})
	}
	return round
}

// soakBytes makes one file: a small picture, or one of the kinds of damage.
func soakBytes(seed uint64, round, i int) (name string, text []byte, sound bool) {
	r := rand.New(rand.NewPCG(seed, uint64(round)<<32|uint64(i)))
	name = fmt.Sprintf("%03dMEDIA/DJI_%04d.JPG", 100+i/500, i)
	width, height := 24+r.IntN(120), 16+r.IntN(80)
	if i%4 == 3 {
		img := image.NewGray(image.Rect(0, 0, width, height))
		for p := range img.Pix {
			img.Pix[p] = uint8(r.Uint32())
		}
		var b bytes.Buffer
		if err := png.Encode(&b, img); err != nil {
			panic(err)
		}
		name, text = name[:len(name)-3]+"PNG", b.Bytes()
	} else {
		text = photo(r.Uint64(), width, height)
	}
	switch i % 40 {
	case 7: // a PNG with a hole
		clear(text[len(text)/2 : len(text)/2+16])
	case 17: // half a JPEG
		text = text[:len(text)*2/3]
	case 27:
		text = fmt.Appendf(nil, "not an image at all, %d %d %d", seed, round, i)
	case 38:
		text = nil // all of these are one image
	default:
		return name, text, true
	}
	return name, text, false
}

// expect notes the verdict that the bytes deserve: that of the worker's own check
// on the local file, which must agree with how the file was made.
func (s *soakRound) expect(t testing.TB, name, path string, text []byte, sound bool) {
	t.Helper()
	src, err := validate.FromFile(path)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha1.Sum(text)
	v, err := validate.Image(t.Context(), src, validate.Want{
		Kind: broker.KindRecon, Name: name, SHA1: broker.SHA1(sum), Size: int64(len(text)), MaxObject: 5 << 30, MaxPixels: 500_000_000,
	})
	if err != nil {
		t.Fatal(err)
	}
	if v.Sound() != sound {
		t.Fatalf("%s was made sound: %v; the check says %v", name, sound, v.Reasons)
	}
	f := soakFile{name: name, state: broker.StateReady}
	for _, reason := range v.Reasons {
		f.state, f.reasons = broker.StateInvalid, append(f.reasons, reason.Code)
	}
	s.want[hex.EncodeToString(sum[:])] = f
}

// soakClients are two clients, each at a broker of its own.
type soakClients struct {
	left, right *client.Client

	mu     sync.Mutex
	faults soakTally // what went wrong, though it was tried again
}

// upload brings a round's files from both sides and returns when all are
// registered and put; verdicts may still be missing.
func (c *soakClients) upload(ctx context.Context, round *soakRound) error {
	for round.pid == "" {
		p, _, err := c.left.ProjectNamed(ctx, round.name, "")
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			c.note(err)
			time.Sleep(200 * time.Millisecond)
			continue
		}
		round.pid = p.ID
	}
	var wg sync.WaitGroup
	for who, cl := range map[string]*client.Client{"left": c.left, "right": c.right} {
		for _, set := range round.sets[who] {
			wg.Go(func() {
				if set.silent {
					c.drop(ctx, cl, round.pid, set)
				} else {
					c.bring(ctx, cl, round.pid, set)
				}
			})
		}
	}
	wg.Wait()
	return context.Cause(ctx)
}

// bring uploads files, and again those that failed, as a person would.
func (c *soakClients) bring(ctx context.Context, cl *client.Client, pid string, set fileSet) {
	todo := set.files
	for {
		report, err := cl.Upload(ctx, pid, todo, client.UploadOptions{
			Bucket: set.bucket, NoCache: true, Concurrency: 4, HashWorkers: 1, VerdictWait: 2 * time.Second,
		})
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			c.note(fmt.Errorf("the run ended: %w", err))
		}
		todo = nil
		for _, f := range report.Files {
			switch {
			case f.Err == nil, errors.Is(f.Err, client.ErrUnjudged):
				continue
			case !errors.Is(f.Err, client.ErrStopped):
				c.note(f.Err)
			}
			todo = append(todo, f.File)
		}
		if len(todo) == 0 {
			return
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// drop registers files, puts them by their grants and says no more.
func (c *soakClients) drop(ctx context.Context, cl *client.Client, pid string, set fileSet) {
	entries := make([]client.Entry, len(set.files))
	texts := make([][]byte, len(set.files))
	for i, f := range set.files {
		var err error
		if texts[i], err = os.ReadFile(f.Path); err != nil {
			c.note(err) // the image will be missing
			return
		}
		sum := sha1.Sum(texts[i])
		entries[i] = client.Entry{Name: f.Name, SHA1: hex.EncodeToString(sum[:]), Size: int64(len(texts[i]))}
	}
	var results []client.Result
	again := func(call func() error) {
		for ctx.Err() == nil {
			err := call()
			if err == nil {
				return
			}
			c.note(err)
			pause(ctx, 200*time.Millisecond)
		}
	}
	again(func() (err error) {
		results, err = cl.Register(ctx, pid, set.bucket, entries)
		for _, r := range results {
			if r.Status == client.StatusProblem {
				return fmt.Errorf("registered silently: %v", r.Problem)
			}
		}
		return err
	})
	for i, r := range results {
		if r.Grant != nil { // else it is there
			again(func() error { return putOnce(ctx, r.Grant, texts[i]) })
		}
	}
}

// putOnce sends bytes by a grant. Bytes that are there already are taken for ours.
func putOnce(ctx context.Context, g *client.Grant, text []byte) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, g.Method, g.URL, bytes.NewReader(text))
	if err != nil {
		return err
	}
	for k, v := range g.Headers {
		if http.CanonicalHeaderKey(k) != "Content-Length" { // it has that already
			req.Header.Set(k, v)
		}
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err // without the signed URL
		}
		return fmt.Errorf("a silent put: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode/100 != 2 && res.StatusCode != http.StatusPreconditionFailed {
		return fmt.Errorf("a silent put answers %s", res.Status)
	}
	return nil
}

func (c *soakClients) note(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults.add(err.Error())
}

func (c *soakClients) told() soakTally {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.faults)
}
