package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/uploadbroker/uploadbroker/storage"
)

// config is everything that an operator can set. Flags and environment win over
// the file, the file over the defaults.
type config struct {
	Listen         string         `yaml:"listen"`            // address and port; default 127.0.0.1:8080
	PublicURL      string         `yaml:"public_url"`        // how clients reach us; default: as each request says
	DataDir        string         `yaml:"data_dir"`          // default ./data
	DatabaseURL    string         `yaml:"database_url"`      // default: the private Postgres
	DatabaseFile   string         `yaml:"database_url_file"` // a file that holds database_url
	PostgresBin    string         `yaml:"postgres_bin"`      // the private Postgres's binaries; default: looked for
	TrustedProxies []prefix       `yaml:"trusted_proxies"`   // only from these are X-Forwarded-* believed; default none
	CORSOrigins    []string       `yaml:"cors_origins"`      // default any
	GeoIP          geoipConfig    `yaml:"geoip"`
	LocalBucket    localBucket    `yaml:"local_bucket"`
	Buckets        []bucketConfig `yaml:"buckets"`
	Limits         limits         `yaml:"limits"`
	Worker         workerConfig   `yaml:"worker"`
	Retention      retention      `yaml:"retention"`
	Tags           tagsConfig     `yaml:"tags"`
	Fetch          fetchConfig    `yaml:"fetch"`

	Webhooks []webhookConfig `yaml:"webhooks"` // who is told what happens; default nobody

	Reconstruction reconstructionConfig `yaml:"reconstruction"` // what runs reconstructions; default nothing

	drives bool   // whoever reads this serves or works: what they need must be there
	file   string // where this was read, absolute; "": no file
}

// limits bound what callers may ask for.
type limits struct {
	MaxObject byteSize `yaml:"max_object"` // default 5GiB, which is also S3's limit of one PUT
	MaxPixels int64    `yaml:"max_pixels"` // default 500,000,000
	MaxBatch  int      `yaml:"max_batch"`  // default 1,000
}

// workerConfig bounds the workers.
type workerConfig struct {
	Concurrency int      `yaml:"concurrency"` // validations at once; 0: one per core
	Memory      byteSize `yaml:"memory"`      // for decoders that hold a bitmap; default 1GiB
}

// retention is for how long objects are kept that serve no image any more.
type retention struct {
	Invalid duration `yaml:"invalid"` // of an Invalid image, since its verdict; default 168h
	Orphans duration `yaml:"orphans"` // of ended attempts, unfinished uploads and strays; default 24h
}

// fetchConfig is about addresses that clients name.
type fetchConfig struct {
	AllowNetworks []prefix `yaml:"allow_networks"` // private networks that clients' URLs may name; default none
}

// defaults are the values of a configuration that says nothing.
func defaults() config {
	return config{
		Listen: "127.0.0.1:8080", DataDir: "data", CORSOrigins: []string{"*"},
		LocalBucket: localBucket{Symbol: "Local", Display: "This machine", GrantTTL: duration(storage.DefaultGrantTTL)},
		Limits:      limits{MaxObject: 5 << 30, MaxPixels: 500_000_000, MaxBatch: 1000},
		Worker:      workerConfig{Memory: 1 << 30},
		Retention:   retention{Invalid: duration(7 * 24 * time.Hour), Orphans: duration(24 * time.Hour)},

		Reconstruction: reconstructionConfig{Poll: duration(5 * time.Second), Patience: duration(time.Hour)},
	}
}

// configFlags are the settings that flags and environment can name.
type configFlags struct {
	ConfigFile  string `name:"config" short:"c" placeholder:"FILE" help:"Configuration file; see 'config example'." env:"UPLOADBROKER_CONFIG"`
	DataDir     string `placeholder:"DIR" help:"Folder of the private database and the local bucket. Default: data." env:"UPLOADBROKER_DATA_DIR"`
	DatabaseURL string `placeholder:"URL" help:"PostgreSQL to use instead of the private one." env:"UPLOADBROKER_DATABASE_URL"`
}

// load reads the file that the flags name and puts the flags over it.
func (f configFlags) load(over func(*config)) (config, error) {
	c := defaults()
	lines := lineIndex{}
	if f.ConfigFile != "" {
		var err error
		if c, lines, err = readConfig(f.ConfigFile); err != nil {
			return config{}, err
		}
		c.file = mustAbs(f.ConfigFile)
	}
	if f.DataDir != "" {
		c.DataDir = f.DataDir
	}
	if f.DatabaseURL != "" {
		c.DatabaseURL, c.DatabaseFile = f.DatabaseURL, ""
	}
	if over != nil {
		over(&c)
	}
	return c, c.finish(lines, f.ConfigFile)
}

// readConfig reads a file over the defaults. All that YAML finds wrong is told at
// once, each fault with its line.
func readConfig(path string) (config, lineIndex, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return config{}, nil, fmt.Errorf("read the configuration: %w", err)
	}
	c := defaults()
	dec := yaml.NewDecoder(strings.NewReader(string(text)))
	dec.KnownFields(true)
	if err := dec.Decode(&c); err != nil && !errors.Is(err, io.EOF) {
		return config{}, nil, yamlFaults(path, err)
	}
	lines := lineIndex{}
	var root yaml.Node
	if yaml.Unmarshal(text, &root) == nil {
		lines.add(&root, "")
	}
	return c, lines, nil
}

// yamlFaults rewrites YAML's errors in an operator's words.
func yamlFaults(path string, err error) error {
	var te *yaml.TypeError
	if !errors.As(err, &te) {
		return fmt.Errorf("%s: %s", path, strings.TrimPrefix(err.Error(), "yaml: "))
	}
	unknown := regexp.MustCompile(`field (\S+) not found in type \S+`)
	var faults []string
	for _, e := range te.Errors {
		faults = append(faults, path+": "+unknown.ReplaceAllString(e, "unknown key $1"))
	}
	return errors.New(strings.Join(faults, "\n"))
}

// lineIndex knows the line of each key, by its path: buckets.0.symbol.
type lineIndex map[string]int

func (l lineIndex) add(n *yaml.Node, path string) {
	join := func(k string) string { return strings.TrimPrefix(path+"."+k, ".") }
	switch n.Kind {
	case yaml.DocumentNode:
		for _, child := range n.Content {
			l.add(child, path)
		}
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := join(n.Content[i].Value)
			l[key] = n.Content[i].Line
			l.add(n.Content[i+1], key)
		}
	case yaml.SequenceNode:
		for i, child := range n.Content {
			key := join(strconv.Itoa(i))
			l[key] = child.Line
			l.add(child, key)
		}
	}
}

// finish reads secrets from their files, fills in what depends on other values,
// and checks everything; all faults are told at once.
func (c *config) finish(lines lineIndex, path string) error {
	var faults []string
	fault := func(key, format string, args ...any) {
		where := key
		for at := key; at != ""; at = at[:max(strings.LastIndexByte(at, '.'), 0)] {
			if line, ok := lines[at]; ok { // a key that is missing: where it should stand
				where = fmt.Sprintf("%s: line %d: %s", path, line, key)
				break
			}
		}
		faults = append(faults, where+": "+fmt.Sprintf(format, args...))
	}

	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		fault("listen", "%q is not host:port; 127.0.0.1:8080 is one, :8080 listens everywhere", c.Listen)
	}
	if c.PublicURL != "" {
		c.PublicURL = strings.TrimRight(c.PublicURL, "/")
		if !isBaseURL(c.PublicURL) {
			fault("public_url", "%q is not http://host or https://host, without a path", c.PublicURL)
		}
	}
	if abs, err := filepath.Abs(c.DataDir); err != nil {
		fault("data_dir", "%v", err)
	} else {
		c.DataDir = abs
	}
	if c.DatabaseFile != "" {
		if c.DatabaseURL != "" {
			fault("database_url_file", "database_url is set as well; keep one of them")
		} else if secret, err := readSecret(c.DatabaseFile); err != nil {
			fault("database_url_file", "%v", err)
		} else {
			c.DatabaseURL = secret
		}
	}
	for i, o := range c.CORSOrigins {
		if o != "*" && !isBaseURL(o) {
			fault(fmt.Sprintf("cors_origins.%d", i), "%q is neither * nor an origin such as https://app.example.com", o)
		}
	}
	if c.Limits.MaxObject < 1 || c.Limits.MaxObject > 5<<30 {
		fault("limits.max_object", "must be 1B to 5GiB, the most that one PUT can carry")
	}
	if c.Limits.MaxPixels < 1 {
		fault("limits.max_pixels", "must be positive")
	}
	if c.Limits.MaxBatch < 1 || c.Limits.MaxBatch > 1000 {
		fault("limits.max_batch", "must be 1 to 1000")
	}
	if c.Worker.Concurrency < 0 {
		fault("worker.concurrency", "must be 0 (one per core) or more")
	}
	if c.Worker.Memory < 64<<20 {
		fault("worker.memory", "must be 64MiB or more")
	}
	if c.Retention.Invalid <= 0 {
		fault("retention.invalid", "must be positive; 168h, a week, is the default")
	}
	if c.Retention.Orphans <= 0 {
		fault("retention.orphans", "must be positive; 24h is the default")
	}
	c.finishGeoIP(fault)
	c.finishBuckets(fault)
	c.finishTags(fault)
	c.finishWebhooks(fault)
	c.finishReconstruction(fault)
	if len(faults) > 0 {
		return errors.New(strings.Join(faults, "\n"))
	}
	return nil
}

func isBaseURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && u.User == nil &&
		strings.Trim(u.Path, "/") == "" && u.RawQuery == "" && u.Fragment == ""
}

func readSecret(path string) (string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	secret := strings.TrimSpace(string(text))
	if secret == "" {
		return "", fmt.Errorf("%s is empty", path)
	}
	return secret, nil
}

// prefixes gives networks as netip knows them.
func prefixes(list []prefix) []netip.Prefix {
	out := make([]netip.Prefix, len(list))
	for i, p := range list {
		out[i] = netip.Prefix(p)
	}
	return out
}
