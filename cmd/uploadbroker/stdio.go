package main

import "io"

// stdio is where a command reads and writes. Results go to Out, what is said
// about the work to Err.
type stdio struct {
	In       io.Reader
	Out, Err io.Writer
}

// exitError ends the program with a code of its own; kong asks for it by
// ExitCode. An empty msg says nothing more than what was printed already.
type exitError struct {
	code int
	msg  string
}

// The exit codes of the client commands.
const (
	exitNotReady    = 1   // it ran, and something is not as it should be
	exitUsage       = 2   // it could not run: arguments, key, connection, files that can't be read
	exitInterrupted = 130 // Ctrl-C, as shells count it
)

func (e *exitError) Error() string { return e.msg }

// ExitCode is the process's exit code.
func (e *exitError) ExitCode() int { return e.code }
