package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/uploadbroker/uploadbroker/broker"
	"github.com/uploadbroker/uploadbroker/broker/fetch"
	"github.com/uploadbroker/uploadbroker/broker/hook"
	"github.com/uploadbroker/uploadbroker/broker/worker"
)

// webhookConfig is an address that is told what happens.
type webhookConfig struct {
	URL         string   `yaml:"url"`          // http or https
	Secrets     []string `yaml:"secrets"`      // one or, while one replaces the other, two: whsec_ and base64
	SecretsFile string   `yaml:"secrets_file"` // a file that holds them, one a line
	Events      []string `yaml:"events"`       // what it is told; default: everything

	secrets []hook.Secret
}

// Bounds of the configuration.
const (
	maxWebhooks       = 20
	maxWebhookSecrets = 2
)

func (c *config) finishWebhooks(fault func(key, format string, args ...any)) {
	if len(c.Webhooks) > maxWebhooks {
		fault("webhooks", "%d are configured; %d are the most", len(c.Webhooks), maxWebhooks)
	}
	taken := map[string]int{}
	for i := range c.Webhooks {
		w := &c.Webhooks[i]
		at := func(key string) string { return fmt.Sprintf("webhooks.%d.%s", i, key) }
		if c.checkHookURL(at("url"), w.URL, fault) {
			if first, ok := taken[w.URL]; ok {
				fault(at("url"), "webhooks.%d has this url already; name all its events there", first)
			}
			taken[w.URL] = i
		}
		w.secrets = hookSecrets(at("secrets"), w.Secrets, at("secrets_file"), w.SecretsFile, fault)
		if len(w.Events) == 0 {
			w.Events = broker.AllNotices()
		}
		for j, e := range w.Events {
			switch {
			case !slices.Contains(broker.AllNotices(), e):
				fault(fmt.Sprintf("webhooks.%d.events.%d", i, j), "%q is no event; there are %s", e, strings.Join(broker.AllNotices(), ", "))
			case slices.Index(w.Events, e) < j:
				fault(fmt.Sprintf("webhooks.%d.events.%d", i, j), "%s stands here twice", e)
			}
		}
	}
}

// checkHookURL finds fault with an address that webhooks can't be sent to, as far as
// that can be told without asking for its name.
func (c *config) checkHookURL(key, url string, fault func(key, format string, args ...any)) bool {
	if url == "" {
		fault(key, "name the address that webhooks are sent to")
		return false
	}
	err := fetch.New(fetch.Options{AllowNetworks: prefixes(c.Fetch.AllowNetworks)}).CheckPost(url)
	if err != nil {
		fault(key, "%s", strings.TrimPrefix(err.Error(), string(broker.CodeOf(err))+": "))
	}
	return err == nil
}

// hookSecrets reads the secrets that stand in the configuration or in a file.
func hookSecrets(key string, secrets []string, fileKey, file string, fault func(key, format string, args ...any)) (parsed []hook.Secret) {
	if file != "" {
		if len(secrets) > 0 {
			fault(fileKey, "secrets are set as well; keep one of them")
			return nil
		}
		text, err := readSecret(file)
		if err != nil {
			fault(fileKey, "%v", err)
			return nil
		}
		key, secrets = fileKey, strings.Fields(text)
	}
	if len(secrets) < 1 || len(secrets) > maxWebhookSecrets {
		fault(key, "give one secret or, while one replaces the other, two; make one with: echo whsec_$(openssl rand -base64 32)")
	}
	for i, s := range secrets {
		p, err := hook.ParseSecret(s)
		if err != nil {
			where := key
			if file == "" {
				where = fmt.Sprintf("%s.%d", key, i)
			}
			fault(where, "%v", err)
			continue
		}
		parsed = append(parsed, p)
	}
	return parsed
}

// endpoints are the webhooks as a worker knows them.
func (c *config) endpoints() []worker.Endpoint {
	out := make([]worker.Endpoint, len(c.Webhooks))
	for i, w := range c.Webhooks {
		out[i] = worker.Endpoint{URL: w.URL, Secrets: w.secrets, Events: w.Events}
	}
	return out
}
