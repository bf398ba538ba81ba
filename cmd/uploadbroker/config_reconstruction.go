package main

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/fetch"
	"github.com/uploadbroker/uploadbroker/broker/hook"
	"github.com/uploadbroker/uploadbroker/broker/reconstruct"
)

// reconstructionConfig says what runs reconstructions.
type reconstructionConfig struct {
	Engine   string   `yaml:"engine"`   // nodeodm or webhook; default: none
	URL      string   `yaml:"url"`      // where it is
	Poll     duration `yaml:"poll"`     // how often it is asked about a run; default 5s
	Patience duration `yaml:"patience"` // for how long one that is away, or that no worker has any more, is waited for; default 1h

	// Of nodeodm.
	Token     string                   `yaml:"token"`      // default: it asks for none
	TokenFile string                   `yaml:"token_file"` // a file that holds it
	Mode      string                   `yaml:"mode"`       // zip: it fetches one; upload: it is sent the images; default zip
	Options   map[string]engineOptions `yaml:"options"`    // by the task's type, native or dense; default: the node's own

	// Of webhook.
	Secrets     []string `yaml:"secrets"`      // one or, while one replaces the other, two
	SecretsFile string   `yaml:"secrets_file"` // a file that holds them, one a line

	secrets []hook.Secret
}

// engineOptions are what a NodeODM is told of a reconstruction.
type engineOptions map[string]engineOption

// engineOption is a string, a number or a bool.
type engineOption struct{ value any }

// UnmarshalYAML reads it.
func (o *engineOption) UnmarshalYAML(n *yaml.Node) error {
	switch n.ShortTag() {
	case "!!int", "!!float", "!!bool":
		return n.Decode(&o.value)
	case "!!map", "!!seq", "!!null":
		return valueFault(n, "an option is a text, a number, true or false")
	}
	o.value = n.Value
	return nil
}

// taskTypes are a task's types as the configuration writes them.
var taskTypes = map[string]string{"native": broker.TaskNative, "dense": broker.TaskDense}

// Bounds of the rhythm in which an engine is asked.
const (
	minPoll     = time.Second
	maxPoll     = 10 * time.Minute
	maxPatience = 30 * 24 * time.Hour
)

func (c *config) finishReconstruction(fault func(key, format string, args ...any)) {
	r := &c.Reconstruction
	at := func(key string) string { return "reconstruction." + key }
	if r.Engine == "" {
		if r.URL+r.Token+r.TokenFile+r.Mode+r.SecretsFile != "" || len(r.Secrets)+len(r.Options) > 0 {
			fault(at("engine"), "name the engine: nodeodm or webhook")
		}
		return
	}
	if d := time.Duration(r.Poll); d < minPoll || d > maxPoll {
		fault(at("poll"), "must be 1s to 10m")
	}
	if d := time.Duration(r.Patience); d < minPoll || d > maxPatience {
		fault(at("patience"), "must be 1s to 720h")
	}
	if c.PublicURL == "" && c.drives {
		fault("reconstruction", "set public_url, too: the engine reads the images and reports through it")
	}
	switch broker.EngineKind(r.Engine) {
	case broker.EngineNodeODM:
		r.finishNodeODM(at, fault)
	case broker.EngineWebhook:
		for _, k := range []struct {
			key string
			set bool
		}{{"token", r.Token != ""}, {"token_file", r.TokenFile != ""}, {"mode", r.Mode != ""}, {"options", len(r.Options) > 0}} {
			if k.set {
				fault(at(k.key), "is for the engine nodeodm")
			}
		}
		c.checkHookURL(at("url"), r.URL, fault)
		r.secrets = hookSecrets(at("secrets"), r.Secrets, at("secrets_file"), r.SecretsFile, fault)
	default:
		fault(at("engine"), "%q is no engine: nodeodm or webhook", r.Engine)
	}
}

func (r *reconstructionConfig) finishNodeODM(at func(string) string, fault func(key, format string, args ...any)) {
	if len(r.Secrets) > 0 {
		fault(at("secrets"), "are for the engine webhook")
	}
	if r.SecretsFile != "" {
		fault(at("secrets_file"), "is for the engine webhook")
	}
	if r.TokenFile != "" {
		if r.Token != "" {
			fault(at("token_file"), "token is set as well; keep one of them")
		} else if secret, err := readSecret(r.TokenFile); err != nil {
			fault(at("token_file"), "%v", err)
		} else {
			r.Token = secret
		}
	}
	if r.Mode != "" && r.Mode != string(reconstruct.ModeZip) && r.Mode != string(reconstruct.ModeUpload) {
		fault(at("mode"), "%q is no mode: zip, or upload (for ClusterODM)", r.Mode)
	}
	if _, err := reconstruct.NewNodeODM(reconstruct.NodeODMOptions{URL: r.URL}); err != nil {
		fault(at("url"), "%s", strings.TrimPrefix(err.Error(), string(broker.CodeOf(err))+": "))
	}
	for kind, options := range r.Options {
		if _, ok := taskTypes[kind]; !ok {
			fault(at("options."+kind), "%q is no type of reconstruction: native or dense", kind)
		}
		for name, o := range options {
			if strings.HasPrefix(name, "-") {
				fault(at("options."+kind+"."+name), "options have no hyphens before them here")
			}
			if o.value == nil { // a bare null never gets to UnmarshalYAML
				fault(at("options."+kind+"."+name), "an option is a text, a number, true or false")
			}
		}
	}
}

// openEngine makes the engine; nil: none is configured. Nothing is reached yet.
func (c *config) openEngine(client *fetch.Client, log *slog.Logger) (broker.Engine, error) {
	r := c.Reconstruction
	switch broker.EngineKind(r.Engine) {
	case broker.EngineNodeODM:
		n, err := c.openNodeODM(log)
		if err != nil {
			return nil, err
		}
		return n, nil
	case broker.EngineWebhook:
		w, err := reconstruct.NewWebhook(reconstruct.WebhookOptions{URL: r.URL, Secrets: r.secrets, Client: client, Now: time.Now})
		if err != nil {
			return nil, err
		}
		return w, nil
	}
	return nil, nil
}

func (c *config) openNodeODM(log *slog.Logger) (*reconstruct.NodeODM, error) {
	r := c.Reconstruction
	options := map[string][]reconstruct.NodeOption{}
	for kind, named := range r.Options {
		for _, name := range slices.Sorted(maps.Keys(named)) {
			options[taskTypes[kind]] = append(options[taskTypes[kind]], reconstruct.NodeOption{Name: name, Value: named[name].value})
		}
	}
	return reconstruct.NewNodeODM(reconstruct.NodeODMOptions{
		URL: r.URL, Token: r.Token, Mode: reconstruct.NodeMode(r.Mode), Options: options, Log: log,
	})
}

// describeEngine says in a line what answers at the engine's address. An error is one
// that the configuration has to be changed for; an engine that is away is told in the
// line. "" for an engine that can't be asked.
func (c *config) describeEngine(ctx context.Context) (string, error) {
	if broker.EngineKind(c.Reconstruction.Engine) != broker.EngineNodeODM {
		return "", nil
	}
	n, err := c.openNodeODM(slog.New(slog.DiscardHandler))
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	line, err := n.Describe(ctx)
	var known *broker.Error
	if broker.CodeOf(err) == broker.CodeUnavailable && errors.As(err, &known) {
		return "not reached now: " + known.Msg, nil
	}
	return line, err
}
