package main

import (
	_ "embed"
	"fmt"
)

//go:embed example.yaml
var exampleConfig string

// configCmd looks at configuration files.
type configCmd struct {
	Check   configCheckCmd   `cmd:"" help:"Read a configuration file and tell every fault, each with its line."`
	Example configExampleCmd `cmd:"" help:"Print an example with every setting and its default."`
}

type configCheckCmd struct {
	File string `arg:"" help:"Configuration file."`
}

// Run checks the file.
func (c *configCheckCmd) Run(io stdio) error {
	if _, err := (configFlags{ConfigFile: c.File}).load(nil); err != nil {
		return &exitError{exitNotReady, err.Error()}
	}
	fmt.Fprintf(io.Out, "%s is good.\n", c.File)
	return nil
}

type configExampleCmd struct{}

// Run prints it.
func (configExampleCmd) Run(io stdio) error {
	_, err := fmt.Fprint(io.Out, exampleConfig)
	return err
}
