package web

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
)

// signing is a bucket that signs as the test says.
type signing struct {
	put, get string
	fail     error
	wait     chan struct{} // nil: it is quick
}

func (s *signing) SignPut(ctx context.Context, _ string, _ broker.Binding, _ time.Duration) (broker.Request, error) {
	if err := s.ready(ctx); err != nil {
		return broker.Request{}, err
	}
	return broker.Request{URL: s.put + "/key?signature=x"}, nil
}

func (s *signing) LinkOwn(ctx context.Context, _ string, _ time.Duration) (string, error) {
	if err := s.ready(ctx); err != nil {
		return "", err
	}
	return s.get + "/key?signature=x", nil
}

func (s *signing) Link(context.Context, string, string, string, time.Duration) (string, error) {
	return "", errors.New("of no use here")
}

func (s *signing) ready(ctx context.Context) error {
	if s.wait != nil {
		select {
		case <-s.wait:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return s.fail
}

// age lets what is known be old, as time does.
func (o *origins) age() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.at.IsZero() {
		o.at = o.at.Add(-originsAge)
	}
}

// TestOrigins: pages reach buckets where they are written and where they are read.
func TestOrigins(t *testing.T) {
	writer := &signing{put: "https://in.example"}
	both := &signing{put: "http://Put.example:9000", get: "https://get.example"}
	local := &signing{put: "/local-bucket", get: "/local-bucket"}
	six := &signing{put: "http://[::1]:9000", get: "https://[2001:db8::1]"}
	odd := &signing{put: "https://a;b.example", get: "ftp://files.example"}
	o := &origins{places: broker.NewPlaces(broker.ConfiguredOrder{},
		broker.Bucket{Symbol: "Writer", Signer: writer}, broker.Bucket{Symbol: "Both", Signer: both, Linker: both},
		broker.Bucket{Symbol: "Local", Signer: local, Linker: local}, broker.Bucket{Symbol: "Six", Signer: six, Linker: six},
		broker.Bucket{Symbol: "Odd", Signer: odd, Linker: odd}, broker.Bucket{Symbol: "Mute"},
	)}
	is := func(what, wantRead, wantWrite string) {
		t.Helper()
		o.get(t.Context())
		o.mu.Lock()
		busy := o.busy
		o.mu.Unlock()
		if busy != nil {
			<-busy // this machine is slow
		}
		read, write := o.get(t.Context())
		if got := strings.Join(read, " "); got != wantRead {
			t.Errorf("%s: read from %q, want %q", what, got, wantRead)
		}
		slices.Sort(write)
		if got := strings.Join(write, " "); got != wantWrite {
			t.Errorf("%s: written to %q, want %q", what, got, wantWrite)
		}
	}
	const all = "http://*:9000 http://put.example:9000 https://*:443 https://get.example https://in.example"
	is("at first", "https://get.example https://*:443", all)
	writer.fail, both.fail = errors.New("away"), errors.New("away")
	o.age()
	is("while some can't sign", "https://get.example https://*:443", all)
	writer.fail, both.fail, both.get = nil, nil, "https://moved.example"
	o.age()
	is("when one has moved", "https://moved.example https://*:443", "http://*:9000 http://put.example:9000 https://*:443 https://in.example https://moved.example")
	o.places.Replace(broker.ConfiguredOrder{}, broker.Bucket{Symbol: "Writer", Signer: writer})
	is("when others are gone", "", "https://in.example")
}

// TestOriginsDoNotWait: a cloud that is slow to sign keeps neither pages nor the other
// buckets waiting, and is asked once.
func TestOriginsDoNotWait(t *testing.T) {
	slow, quick := &signing{put: "https://slow.example", get: "https://slow.example"}, &signing{put: "https://quick.example"}
	o := &origins{places: broker.NewPlaces(broker.ConfiguredOrder{},
		broker.Bucket{Symbol: "Slow", Signer: slow, Linker: slow}, broker.Bucket{Symbol: "Quick", Signer: quick})}
	if read, write := o.get(t.Context()); len(read) != 1 || len(write) != 2 {
		t.Fatal(read, write)
	}
	slow.wait = make(chan struct{})
	quick.put = "https://new.example"
	o.age()
	o.get(t.Context()) // asks
	o.mu.Lock()
	busy := o.busy
	o.mu.Unlock()
	if busy == nil {
		t.Fatal("nobody asks")
	}
	eventually(t, "the quick one waits for the slow one", func() bool {
		_, write := o.get(t.Context())
		return strings.Join(write, " ") == "https://slow.example https://new.example"
	})
	o.mu.Lock()
	if o.busy != busy {
		t.Error("it is asked again meanwhile")
	}
	o.mu.Unlock()
	close(slow.wait)
	<-busy
}
