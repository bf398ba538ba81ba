package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"testing"

	"github.com/alecthomas/kong"
)

// asProgram is set for a process of the test binary that is to be the program
// with the client commands, for tests that kill it or need its exit code.
const asProgram = "UPLOADBROKER_TEST_AS_PROGRAM"

// TestAsProgram is no test: it is the program when asProgram is set. The
// arguments follow "--".
func TestAsProgram(t *testing.T) {
	if os.Getenv(asProgram) == "" {
		t.Skip("only of use to other tests")
	}
	args := os.Args
	for i, a := range args {
		if a == "--" {
			args = args[i+1:]
			break
		}
	}
	os.Exit(runProgram(args))
}

func runProgram(args []string) int {
	var cli struct {
		Upload uploadCmd `cmd:""`
		Check  checkCmd  `cmd:""`
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	parser, err := kong.New(&cli, kong.Name("uploadbroker"), kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(stdio{os.Stdin, os.Stdout, os.Stderr}))
	if err == nil {
		var k *kong.Context
		if k, err = parser.Parse(args); err == nil {
			err = k.Run()
		}
	}
	if err == nil {
		return 0
	}
	if msg := err.Error(); msg != "" {
		fmt.Fprintln(os.Stderr, "uploadbroker: "+msg)
	}
	if e, ok := err.(*exitError); ok {
		return e.ExitCode()
	}
	return exitUsage
}

// program is a command line of the client commands in a process of its own, with
// an environment of its own.
func program(t *testing.T, env []string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], append([]string{"-test.run=^TestAsProgram$", "--"}, args...)...)
	cmd.Env = append([]string{asProgram + "=1", "LANG=C.UTF-8", "HOME=" + t.TempDir(), "PATH=" + os.Getenv("PATH")}, env...)
	return cmd
}
