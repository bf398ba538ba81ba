package web

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
)

const (
	pollEvery = time.Second
	pingEvery = 15 * time.Second
	// pollFor is how long one look may take.
	pollFor = 30 * time.Second
	// backlog is how many events wait for a viewer at most. Who is slower is told the
	// rest when he has taken half of them.
	backlog = 32
	// eventImages is how many images one event tells of.
	eventImages = 200
)

// rooms are the projects that somebody watches in this process. Each has one poller,
// which ends when nobody looks any more.
type rooms struct {
	face *face

	mu   sync.Mutex
	open map[string]*room
}

// room is a project with its viewers.
type room struct {
	projectID string
	wake      chan struct{}
	strangers answer // whether they may still read it

	// Under rooms' lock.
	viewers []*viewer
}

// viewer is one browser that watches.
type viewer struct {
	by   broker.Caller
	base context.Context // of his request, for the links that he is told
	send chan []byte     // closed when he is sent off

	// Of the poller alone, once he has joined.
	since int64        // up to where he knows everything; negative: the lists as they were a moment ago
	ahead bool         // he knows all that the others know
	feed  *broker.Feed // while he does not
}

// takes reports whether he has read enough to be told what he missed.
func (v *viewer) takes() bool { return len(v.send) < cap(v.send)/2 }

// join lets somebody watch who may read the project.
func (r *rooms) join(v *viewer, projectID string) *room {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.open == nil {
		r.open = map[string]*room{}
	}
	in := r.open[projectID]
	if in == nil {
		in = &room{projectID: projectID, wake: make(chan struct{}, 1)}
		r.open[projectID] = in
		in.viewers = append(in.viewers, v)
		go r.poll(in)
		return in
	}
	in.viewers = append(in.viewers, v)
	select {
	case in.wake <- struct{}{}:
	default:
	}
	return in
}

// leave is the end of a viewer, once.
func (r *rooms) leave(v *viewer, projectID string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.drop(v, projectID)
}

func (r *rooms) drop(v *viewer, projectID string) {
	in := r.open[projectID]
	if in == nil {
		return
	}
	i := slices.Index(in.viewers, v)
	if i < 0 {
		return
	}
	in.viewers = slices.Delete(in.viewers, i, i+1)
	close(v.send)
	select {
	case in.wake <- struct{}{}:
	default:
	}
}

// present lists a room's viewers; a room without any is closed.
func (r *rooms) present(in *room) []*viewer {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(in.viewers) == 0 {
		delete(r.open, in.projectID)
	}
	return slices.Clone(in.viewers)
}

// tell gives events to a viewer, all or none: false when they are too many for one who
// is slow.
func (r *rooms) tell(in *room, v *viewer, events [][]byte) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.Contains(in.viewers, v) {
		return true
	}
	if len(events) > cap(v.send)-len(v.send) {
		return false
	}
	for _, e := range events {
		v.send <- e // of this goroutine alone
	}
	return true
}

// poll looks for what is new until nobody watches.
func (r *rooms) poll(in *room) {
	every := r.face.Poll
	if every <= 0 {
		every = pollEvery
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	var feed *broker.Feed // of all who have caught up
	for {
		viewers := r.present(in)
		if len(viewers) == 0 {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), pollFor)
		more, err := r.look(ctx, in, viewers, &feed)
		cancel()
		if err != nil {
			// The feed may have noted what nobody was told; all begin anew where they were.
			if broker.CodeOf(err) != broker.CodeNotFound {
				r.face.Log.Warn("could not look for what is new in a project", "project", in.projectID, "err", err)
			}
			for _, v := range viewers {
				r.leave(v, in.projectID)
			}
			feed = nil
			continue
		}
		if more {
			continue
		}
		select {
		case <-tick.C:
		case <-in.wake:
		}
	}
}

// look tells everybody what is new to him. Who knows less than the others, as one who
// has just come or is too slow for them, has a feed of his own until it has told him
// everything, at his own pace: more says whether somebody waits for us, not we for him.
func (r *rooms) look(ctx context.Context, in *room, viewers []*viewer, feed **broker.Feed) (more bool, err error) {
	live := r.face.Live
	if *feed == nil {
		if *feed, err = live.Follow(ctx, viewers[0].by, in.projectID, -1); err != nil {
			return false, err
		}
	}
	news, err := (*feed).News(ctx)
	if err != nil {
		return false, err
	}
	more = news.More
	for _, v := range viewers {
		told := news
		if !v.ahead {
			if !v.takes() {
				continue
			}
			if v.feed == nil {
				if v.feed, err = live.Follow(ctx, v.by, in.projectID, v.since); err != nil {
					r.leave(v, in.projectID) // he may read it no more
					continue
				}
			}
			if told, err = v.feed.News(ctx); err != nil {
				return false, err
			}
		}
		events, err := r.face.eventsOf(v, told)
		if err != nil {
			return false, err
		}
		if !r.tell(in, v, events) {
			v.ahead, v.feed = false, nil // he begins anew where he was
			continue
		}
		v.since = told.Floor
		if !v.ahead && told.More {
			more = more || v.takes()
		} else {
			v.ahead, v.feed = true, nil
		}
	}
	return more, nil
}

// eventsOf writes news as server-sent events (HTML Standard, section 9.2). The last
// one says where to go on: only behind it everything up to there was told.
func (f *face) eventsOf(v *viewer, news broker.News) ([][]byte, error) {
	var out [][]byte
	add := func(name string, data any) error {
		text, err := json.Marshal(data) // JSON has no line ends
		if err == nil {
			out = append(out, fmt.Appendf(nil, "event: %s\ndata: %s\n\n", name, text))
		}
		return err
	}
	for chunk := range slices.Chunk(news.Images, eventImages) {
		list := make([]any, len(chunk))
		for i, img := range chunk {
			list[i] = f.Image(img)
			if img.State == broker.StateRemoved && v.by.Public() { // what it was is its owner's
				list[i] = map[string]string{"id": img.ID, "state": string(img.State)}
			}
		}
		if err := add("images", list); err != nil {
			return nil, err
		}
	}
	if news.Counts != nil {
		counts := map[string]int{}
		for _, s := range []broker.State{broker.StatePending, broker.StateUploading, broker.StateUploaded, broker.StateReady, broker.StateInvalid} {
			counts[string(s)] = news.Counts[s]
		}
		if err := add("counts", counts); err != nil {
			return nil, err
		}
	}
	if news.Task != nil {
		if err := add("task", f.Task(v.base, *news.Task)); err != nil {
			return nil, err
		}
	}
	if n := len(out) - 1; n >= 0 {
		out[n] = append(fmt.Appendf(nil, "id: %d\n", news.Floor), out[n]...)
	}
	return out, nil
}
