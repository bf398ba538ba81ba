package web

import (
	"cmp"
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/uploadbroker/uploadbroker/api"
	"github.com/uploadbroker/uploadbroker/broker"
)

const (
	// sessionEvery is how often the session of a viewer is looked at.
	sessionEvery = 5 * time.Second
	// writeFor is how long one event may take to get away.
	writeFor = 30 * time.Second
	// retryMS is after how many milliseconds a browser comes again.
	retryMS = 2000
)

// events streams what happens in a project: images that changed, as the API tells
// them, the counts, and the newest reconstruction. It ends with the session, and who
// comes again with the number of the last event is told what he missed, or, where that
// is very much, to read the lists anew.
func (f *face) events(c echo.Context) error {
	if f.Live == nil {
		return echo.ErrNotFound
	}
	r := c.Request()
	if !f.fromPage(r) {
		return broker.Errorf(broker.CodeNotAllowed, "this must be asked by the page itself")
	}
	pid := c.Param("pid")
	session, err := f.session(c)
	if err != nil && broker.CodeOf(err) != broker.CodeUnauthenticated {
		return err
	}
	leave, full := f.seats.take(session, api.Client(r.Context()))
	if full != nil {
		return full
	}
	defer leave()
	by, err := f.viewerOf(r.Context(), session, err, pid)
	if err != nil {
		return err
	}
	// A page that comes again by itself can't set the header.
	since, err := strconv.ParseInt(cmp.Or(r.Header.Get("Last-Event-ID"), c.QueryParam("last")), 10, 64)
	if err != nil {
		since = -1
	}
	// Refused here, it is a problem document and no stream that ends at once.
	behind, err := f.Live.Behind(r.Context(), by, pid, since)
	if err != nil {
		return err
	}
	begin := "retry: " + strconv.Itoa(retryMS) + "\n\n"
	if behind {
		since = -1
		begin += "event: reload\ndata: {}\n\n"
	}
	ctx := api.AsPage(r).Context()
	v := &viewer{by: by, base: context.WithoutCancel(ctx), since: since, send: make(chan []byte, backlog)}
	in := f.rooms.join(v, pid)
	defer f.rooms.leave(v, pid)

	f.headers(c)
	h := c.Response().Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // nginx would keep it back
	c.Response().WriteHeader(http.StatusOK)
	out := http.NewResponseController(c.Response())
	// The connection may serve other requests afterwards.
	defer func() { _ = out.SetWriteDeadline(time.Time{}) }()
	write := func(data []byte) error {
		if err := out.SetWriteDeadline(time.Now().Add(writeFor)); err != nil {
			return err
		}
		if _, err := c.Response().Write(data); err != nil {
			return err
		}
		return out.Flush()
	}
	if write([]byte(begin)) != nil {
		return nil // he is gone
	}
	alive := time.NewTicker(cmp.Or(f.Ping, pingEvery))
	defer alive.Stop()
	check := time.NewTicker(f.every())
	defer check.Stop()
	for {
		var data []byte
		select {
		case <-r.Context().Done():
			return nil
		case <-f.Done:
			return nil
		case event, ok := <-v.send:
			if !ok {
				return nil // the project could not be looked at
			}
			data = event
		case <-alive.C:
			data = []byte(": here\n\n")
		case <-check.C:
			var err error
			if session.Known() {
				err = f.stillThere(c, pid, by)
			} else {
				_, err = in.strangers.ask(r.Context(), f.every(), func(ctx context.Context) (bool, error) {
					_, _, err := f.Tags.ReaderOf(ctx, broker.Caller{}, pid)
					return err == nil, err
				})
			}
			switch broker.CodeOf(err) {
			case broker.CodeUnauthenticated, broker.CodeNotFound, broker.CodeNotAllowed:
				// The browser would come again for ever: tell it not to.
				_ = write([]byte("event: end\ndata: {}\n\n"))
				return nil
			}
			continue
		}
		if write(data) != nil {
			return nil
		}
	}
}

// every is how often it is looked at whether who was let in may still be.
func (f *face) every() time.Duration { return min(sessionEvery, cmp.Or(f.Ping, pingEvery)) }

// stillThere refuses a viewer whose session has ended, be the project a public tag: what
// he is told is for whom he was. His page comes again as a stranger's.
func (f *face) stillThere(c echo.Context, pid string, was broker.Caller) error {
	session, err := f.session(c)
	if err != nil {
		return err
	}
	now, err := f.viewerOf(c.Request().Context(), session, nil, pid)
	if err == nil && now.Key.ID != was.Key.ID {
		return broker.Errorf(broker.CodeNotAllowed, "the project is read as another now")
	}
	return err
}

// viewerOf is as whom a visitor reads a project at this moment. err is why he has no
// session.
func (f *face) viewerOf(ctx context.Context, by broker.Caller, err error, pid string) (broker.Caller, error) {
	if f.Tags != nil && (err == nil || broker.CodeOf(err) == broker.CodeUnauthenticated) {
		_, reader, readErr := f.Tags.ReaderOf(ctx, by, pid)
		if readErr == nil {
			return reader, nil
		}
		if code := broker.CodeOf(readErr); code != broker.CodeNotFound && code != broker.CodeUnauthenticated {
			return broker.Caller{}, readErr
		}
	}
	if err != nil {
		return broker.Caller{}, err
	}
	_, _, err = f.Projects.Get(ctx, by, pid)
	return by, err
}
