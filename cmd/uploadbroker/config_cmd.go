package main

import (
	"cmp"
	"context"
	_ "embed"
	"fmt"
	"os"
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
func (c *configCheckCmd) Run(ctx context.Context, io stdio) error {
	config, err := (configFlags{ConfigFile: c.File}).load(func(c *config) {
		c.PublicURL = cmp.Or(c.PublicURL, os.Getenv("UPLOADBROKER_PUBLIC_URL"))
		c.drives = true
	})
	if err != nil {
		return &exitError{exitNotReady, err.Error()}
	}
	engine, err := config.describeEngine(ctx)
	if err != nil {
		return &exitError{exitNotReady, fmt.Sprintf("%s: reconstruction: %v", c.File, err)}
	}
	fmt.Fprintf(io.Out, "%s is good.\n", c.File)
	if engine != "" {
		fmt.Fprintf(io.Out, "The engine of reconstruction: %s.\n", engine)
	}
	return nil
}

type configExampleCmd struct{}

// Run prints it.
func (configExampleCmd) Run(io stdio) error {
	_, err := fmt.Fprint(io.Out, exampleConfig)
	return err
}
