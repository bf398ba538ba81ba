package main

import (
	"context"
	"os"
	"os/exec"
	"os/signal"
	"testing"
)

// asProgram is set for a process of the test binary that is to be the program,
// for tests that kill or interrupt it.
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
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	os.Exit(run(ctx, args, stdio{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
}

// program is a command line of the program in a process of its own, with an
// environment of its own.
func program(t *testing.T, env []string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], append([]string{"-test.run=^TestAsProgram$", "--"}, args...)...)
	cmd.Env = append([]string{asProgram + "=1", "LANG=C.UTF-8", "PATH=" + os.Getenv("PATH")}, env...)
	return cmd
}
