package main

import (
	"context"
	"os"
	"os/signal"
	"reflect"
	"syscall"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/geoip"
)

// onHangup catches SIGHUP from the program's first moment on: before it is ready
// to reload, the signal would end it.
func onHangup() (hangup chan os.Signal, stop func()) {
	hangup = make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	return hangup, func() { signal.Stop(hangup) }
}

// reloadOnHangup reads the configuration again at every SIGHUP, until ctx ends.
func (a *app) reloadOnHangup(ctx context.Context, hangup <-chan os.Signal) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-hangup:
			a.reload(ctx)
		}
	}
}

// reload puts the buckets and the places of a changed configuration in force.
// With a fault in it, all stays as it is. Calls under way end with what they
// began with.
func (a *app) reload(ctx context.Context) {
	c, err := a.load()
	if err != nil {
		a.log.Error("the configuration was not reloaded; all stays as it was", "err", err)
		return
	}
	clouds, err := a.buckets.openClouds(ctx, c)
	if err != nil {
		a.log.Error("the buckets were not reloaded; all stays as it was", "err", err)
		return
	}
	// The former locator is not closed: calls may still be at its file, which
	// goes when the last of them is done with it.
	locator, err := geoip.Open(c.GeoIP.options())
	if err != nil {
		a.log.Error("the places were not reloaded; all stays as it was", "err", err)
		return
	}
	for _, key := range restartKeys(a.config, c) {
		a.log.Warn("this setting changed and needs a restart", "key", key)
	}
	a.buckets.clouds = clouds
	a.config.Buckets, a.config.GeoIP = c.Buckets, c.GeoIP
	a.images.Places.Replace(locator, a.buckets.placements()...)
	a.worker.SetBuckets(a.buckets.all())
	if a.graphql != nil {
		a.graphql.Reload()
	}
	select {
	case a.probeNow <- struct{}{}:
	default: // it is at it
	}
	a.log.Info("configuration reloaded", "buckets", len(a.buckets.open()))
}

// restartKeys names the settings that differ and that only a restart changes.
func restartKeys(was, is config) (keys []string) {
	old, now := reflect.ValueOf(was), reflect.ValueOf(is)
	for i := range old.NumField() {
		key := old.Type().Field(i).Tag.Get("yaml")
		switch key {
		case "", "buckets", "geoip", "database_url_file":
			continue
		}
		if !reflect.DeepEqual(old.Field(i).Interface(), now.Field(i).Interface()) {
			keys = append(keys, key)
		}
	}
	return keys
}

// How often a bucket is asked again that could not be probed.
const (
	probeFirst = 2 * time.Second
	probeMost  = 5 * time.Minute
)

// probe finds out, for each bucket of which it is not known, whether it heeds
// what a grant binds. Until it is known, grants say that they are unbound.
func (a *app) probe(ctx context.Context) error {
	pause := probeFirst
	for {
		unknown := 0
		for _, b := range a.images.Places.Buckets() {
			if b.Drain {
				continue
			}
			if !a.probeOne(ctx, b.Symbol) {
				unknown++
			}
		}
		if unknown == 0 {
			pause = probeMost
		}
		select {
		case <-ctx.Done():
			return nil
		case <-a.probeNow:
			pause = probeFirst
		case <-time.After(pause):
			pause = min(2*pause, probeMost)
		}
	}
}

// probeOne reports whether nothing is left to find out about a bucket.
func (a *app) probeOne(ctx context.Context, symbol string) bool {
	b, ok := a.worker.Bucket(symbol)
	if !ok {
		return true
	}
	if _, known := b.Bound(); known {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	err := b.Probe(ctx)
	bound, known := b.Bound()
	switch {
	case broker.CodeOf(err) == broker.CodeNotSupported:
		return true
	case err != nil:
		if ctx.Err() == nil {
			a.log.Warn("could not try whether the bucket refuses other bytes than declared; grants say unbound until then", "bucket", symbol, "err", err)
		}
		return false
	case known && !bound:
		a.log.Warn("this bucket takes other bytes than declared: its grants are marked unbound, and wrong bytes are found by the validation alone", "bucket", symbol)
	case known:
		a.log.Info("the bucket refuses other bytes than declared", "bucket", symbol)
	}
	return known
}
