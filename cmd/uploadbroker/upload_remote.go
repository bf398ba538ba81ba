package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"

	"github.com/uploadbroker/uploadbroker/api/client"
)

// remote is how a client command reaches its server.
type remote struct {
	Server  string `help:"Address of the server." placeholder:"URL" default:"http://127.0.0.1:8080" env:"UPLOADBROKER_SERVER" group:"Server"`
	Key     string `help:"Key; better in $UPLOADBROKER_KEY, where other users of the machine can't read it." placeholder:"KEY" env:"UPLOADBROKER_KEY" group:"Server"`
	KeyFile string `help:"File that holds the key." placeholder:"FILE" env:"UPLOADBROKER_KEY_FILE" group:"Server"`
}

// client makes the client, or says what is missing and how to get it.
func (r remote) client() (*client.Client, error) {
	key := r.Key
	if key == "" && r.KeyFile != "" {
		b, err := os.ReadFile(r.KeyFile)
		if err != nil {
			return nil, &exitError{exitUsage, "the key's file: " + err.Error()}
		}
		key = strings.TrimSpace(string(b))
	}
	if key == "" {
		return nil, &exitError{exitUsage, `no key given. Make one on the server's machine and put it into the environment:

  export UPLOADBROKER_KEY=$(uploadbroker keys create --owner owner@localhost)

or give it with --key or --key-file.`}
	}
	c, err := client.New(r.Server, key, client.WithUserAgent("uploadbroker"))
	if err != nil {
		return nil, &exitError{exitUsage, err.Error()}
	}
	return c, nil
}

// explain turns an error of a call into what the user can do about it.
func (r remote) explain(err error) error {
	var refused *client.Error
	var none *client.NoProjectError
	var many *client.AmbiguousError
	msg := err.Error()
	switch {
	case errors.Is(err, context.Canceled):
		return &exitError{exitInterrupted, "stopped."}
	case errors.As(err, &none):
		msg += ".\nTo make it: --new " + shellQuote(none.Query)
	case errors.As(err, &many):
		msg = clean(fmt.Sprintf("%q fits %d projects; name one by its id:", many.Query, len(many.Candidates)))
		for _, p := range many.Candidates {
			msg += fmt.Sprintf("\n  %s  %s", clean(p.ID), clean(p.Name))
		}
	case errors.As(err, &refused) && refused.HTTPStatus == http.StatusUnauthorized:
		msg = fmt.Sprintf("%s does not accept this key: it is unknown, revoked or expired.\nA new one: uploadbroker keys create --owner owner@localhost", r.Server)
	case errors.As(err, &refused):
		msg = clean(msg)
	case client.IsUnreachable(err):
		msg = clean(msg) + ".\nIs it running, and is --server right? A server of your own starts with: uploadbroker serve"
	}
	return &exitError{exitUsage, msg}
}

// shellQuote writes s so that a shell reads it as one word.
func shellQuote(s string) string {
	if s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:@%+,", r))
	}) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
