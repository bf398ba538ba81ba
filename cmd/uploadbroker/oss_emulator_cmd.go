package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/uploadbroker/uploadbroker/storage/ossemu"
)

// ossEmulatorCmd runs the emulator of OSS and STS by itself.
type ossEmulatorCmd struct {
	Dir             string        `required:"" placeholder:"DIR" help:"Folder of the objects; its first-level folders are buckets."`
	Listen          string        `default:"127.0.0.1:8090" placeholder:"ADDR" help:"Address and port (${default})."`
	Bucket          []string      `placeholder:"NAME" help:"Bucket to make when there is none; may be given again."`
	AccessKeyID     string        `required:"" placeholder:"ID" help:"Of the account's one user." env:"UPLOADBROKER_OSS_ACCESS_KEY_ID"`
	AccessKeySecret string        `required:"" placeholder:"SECRET" help:"Of the same user." env:"UPLOADBROKER_OSS_ACCESS_KEY_SECRET"`
	RoleARN         string        `name:"role-arn" default:"acs:ram::1:role/uploader" placeholder:"ARN" help:"The role that sessions assume (${default})."`
	Region          string        `default:"cn-hangzhou" help:"What signatures of version 4 name (${default})."`
	MaxSession      time.Duration `default:"1h" help:"The role's longest session (${default})."`
	Quiet           bool          `help:"Don't log refused requests."`
}

// Run serves until ctx ends.
func (c *ossEmulatorCmd) Run(ctx context.Context, io stdio) error {
	o := ossemu.Options{
		Dir: c.Dir, Buckets: c.Bucket, AccessKeyID: c.AccessKeyID, AccessKeySecret: c.AccessKeySecret,
		RoleARN: c.RoleARN, Region: c.Region, MaxSession: c.MaxSession,
	}
	if !c.Quiet {
		o.Log = slog.New(slog.NewTextHandler(io.Err, nil))
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", c.Listen)
	if err != nil {
		return &exitError{exitUsage, fmt.Sprintf("can't listen on %s: %v; choose another with --listen", c.Listen, cause(err))}
	}
	defer l.Close()
	e, err := ossemu.New(o)
	if err != nil {
		return &exitError{exitUsage, err.Error()}
	}
	here := "http://" + reachable(l.Addr())
	fmt.Fprintf(io.Out, "An emulator of OSS and STS, for tests and development.\n\n  OSS at %s\n  STS at %s/sts\n", here, here)
	if len(c.Bucket) > 0 {
		fmt.Fprintf(io.Out, `
As a bucket of uploadbroker's configuration:

  - symbol: Emulator
    cloud: OSS
    bucket: %s
    region: %s
    endpoint: %s
    access_key_id: %s
    access_key_secret: …
    oss: {role_arn: %q, sts_endpoint: %s/sts}
`, c.Bucket[0], c.Region, here, c.AccessKeyID, c.RoleARN, here)
	}
	if len(c.Bucket) > 1 {
		fmt.Fprintf(io.Out, "\nFurther buckets: %s\n", strings.Join(c.Bucket[1:], ", "))
	}
	fmt.Fprintln(io.Out, "\nCtrl-C ends it.")
	return serveEmulator(ctx, l, e)
}
