package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/storage/ossemu"
)

// Names of the demonstration's bucket.
const (
	demoSymbol = "DemoOSS"
	demoBucket = "demo"
	demoRole   = "acs:ram::1:role/uploader"
)

// demoOSS is an OSS emulator inside the server, on a port of its own: clients of
// OSS sign for an address, and none of them knows one with a path. It listens on
// this machine alone. Its secret lives as long as the process.
type demoOSS struct {
	listener net.Listener
	secret   string
	emulator *ossemu.Server
}

// listenDemoOSS takes the port after the API's, or any when that is taken.
func listenDemoOSS(ctx context.Context, api net.Addr) (*demoOSS, error) {
	var config net.ListenConfig
	_, port, _ := net.SplitHostPort(api.String())
	next := "0"
	if n, err := strconv.Atoi(port); err == nil && n < 65535 {
		next = strconv.Itoa(n + 1)
	}
	l, err := config.Listen(ctx, "tcp", "127.0.0.1:"+next)
	if err != nil {
		if l, err = config.Listen(ctx, "tcp", "127.0.0.1:0"); err != nil {
			return nil, fmt.Errorf("listen for the OSS emulator: %w", err)
		}
	}
	return &demoOSS{listener: l, secret: rand.Text()}, nil
}

// add puts the bucket into a configuration. Of a local bucket the operator
// decides as if this one were not there.
func (d *demoOSS) add(c *config) {
	if d == nil {
		return
	}
	if c.LocalBucket.Enabled == nil {
		enabled := len(c.Buckets) == 0
		c.LocalBucket.Enabled = &enabled
	}
	here := "http://" + d.listener.Addr().String()
	c.Buckets = append(c.Buckets, bucketConfig{
		Symbol: demoSymbol, Display: "OSS emulator", Cloud: string(broker.CloudOSS), Bucket: demoBucket, Region: "cn-hangzhou",
		Endpoint: here, AccessKeyID: "demo", AccessKeySecret: d.secret,
		OSS: ossConfig{RoleARN: demoRole, STSEndpoint: here + "/sts"},
	})
}

// open makes the emulator over a folder of the data folder.
func (d *demoOSS) open(dataDir string, log *slog.Logger) (err error) {
	d.emulator, err = ossemu.New(ossemu.Options{
		Dir: filepath.Join(dataDir, "demo-oss"), Buckets: []string{demoBucket},
		AccessKeyID: "demo", AccessKeySecret: d.secret, RoleARN: demoRole, Log: log,
	})
	return err
}

// serve answers until ctx ends.
func (d *demoOSS) serve(ctx context.Context) error {
	return serveEmulator(ctx, d.listener, d.emulator)
}

// serveEmulator serves an emulator on a listener until ctx ends.
func serveEmulator(ctx context.Context, l net.Listener, e *ossemu.Server) error {
	server := &http.Server{Handler: e, ReadHeaderTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute}
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
		defer cancel()
		if server.Shutdown(stop) != nil {
			_ = server.Close() // long uploads: their clients try again
		}
	})
	err := server.Serve(l)
	if stop() { // it ended by itself
		return fmt.Errorf("serve the OSS emulator: %w", err)
	}
	<-stopped
	if !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve the OSS emulator: %w", err)
	}
	return nil
}
