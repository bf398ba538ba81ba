// Command uploadbroker lets people move thousands of photos straight into cloud
// storage: it says what is there already, which bucket is nearest, and hands out
// short-lived rights to write exactly one place.
//
// `uploadbroker serve` with no configuration is a whole product on one port: a
// private Postgres, a bucket on the local disk, and the workers. The other
// commands operate an installation or are its clients.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/uploadbroker/uploadbroker/broker"
)

// cli is the whole command line.
type cli struct {
	Serve  serveCmd  `cmd:"" help:"Run the broker: API, workers, and where nothing is configured a database and a bucket of its own."`
	Worker workerCmd `cmd:"" help:"Run only the workers, beside other machines' brokers. Needs database_url."`

	Upload uploadCmd `cmd:"" help:"Upload a folder of photos and wait for their verdicts."`
	Zip    zipCmd    `cmd:"" help:"Download a project's images as one zip; it goes on where it broke off."`
	Tasks  tasksCmd  `cmd:"" help:"Reconstructions: list them, follow one, stop one."`
	Check  checkCmd  `cmd:"" help:"Judge local files with the worker's validator."`

	Owners      ownersCmd      `cmd:"" help:"People who have projects and keys."`
	Keys        keysCmd        `cmd:"" help:"Keys: what they may do, for whom, until when."`
	Buckets     bucketsCmd     `cmd:"" help:"The configured buckets."`
	Jobs        jobsCmd        `cmd:"" help:"Validations that wait, run or fail."`
	OSSEmulator ossEmulatorCmd `cmd:"" name:"oss-emulator" help:"A stand-in for Aliyun's OSS and STS on a folder, for tests and development."`
	Migrate     migrateCmd     `cmd:"" help:"The database's schema."`
	Config      configCmd      `cmd:"" help:"The configuration file."`
	Version     versionCmd     `cmd:"" help:"Print the version."`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	os.Exit(run(ctx, os.Args[1:], stdio{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
}

// run is main with its inputs named, for tests. It returns the exit code.
func run(ctx context.Context, args []string, std stdio) int {
	code := -1
	parser, err := kong.New(&cli{},
		kong.Name("uploadbroker"),
		kong.Description("Photos into cloud storage, at the speed of your own line."),
		kong.UsageOnError(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.Writers(std.Out, std.Err),
		kong.Exit(func(c int) { code = c }),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(std),
	)
	if err != nil {
		fmt.Fprintln(std.Err, "uploadbroker:", err)
		return exitUsage
	}
	k, err := parse(parser, args)
	if code >= 0 { // --help was asked for
		return code
	}
	if err != nil {
		fmt.Fprintf(std.Err, "uploadbroker: %v\n", err)
		fmt.Fprintln(std.Err, "`uploadbroker --help` tells the commands, `uploadbroker COMMAND --help` their flags.")
		return exitUsage
	}
	if err := k.Run(); err != nil {
		return fail(std.Err, err)
	}
	return 0
}

// parse keeps a panic of --help's exit away from our own errors: kong goes on
// after Exit returns.
func parse(p *kong.Kong, args []string) (*kong.Context, error) {
	if len(args) == 0 {
		args = []string{"--help"}
	}
	return p.Parse(args)
}

// fail says what went wrong and returns the exit code.
func fail(w io.Writer, err error) int {
	var coded *exitError
	if errors.As(err, &coded) {
		if coded.msg != "" {
			fmt.Fprintln(w, "uploadbroker:", coded.msg)
		}
		return coded.code
	}
	if errors.Is(err, context.Canceled) {
		return exitInterrupted
	}
	var known *broker.Error
	if errors.As(err, &known) && known.Msg != "" {
		fmt.Fprintln(w, "uploadbroker:", known.Msg)
		if known.Err != nil {
			fmt.Fprintln(w, "  cause:", known.Err)
		}
		return exitNotReady
	}
	fmt.Fprintln(w, "uploadbroker:", err)
	return exitNotReady
}
