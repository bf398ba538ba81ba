package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/jackc/pgx/v5"
	"go.yaml.in/yaml/v3"

	"github.com/uploadbroker/uploadbroker/api"
)

// The files of deploy/ are for engines that need not be on this machine, so they are
// read here and held against the program: its command line, its configuration, its
// routes, its signals. checkDeployment is a function over their texts, so that
// TestDeployRefuses can change each of them and see it refused.

// deployment is the text of every file that takes part, by its path from the root.
type deployment map[string]string

const (
	dockerfilePath = "deploy/Dockerfile"
	composePath    = "deploy/compose.yaml"
	unitPath       = "deploy/uploadbroker.service"
	unitEnvPath    = "deploy/uploadbroker.env"
	deployReadme   = "deploy/README.md"
	repositoryRoot = "../.."

	// longestShutdown is what the program allows itself after SIGTERM: requests, then the
	// workers (worker.Run), then the private Postgres (database.Close, and privatepg's own
	// 20 s after that).
	longestShutdown = shutdownGrace + 10*time.Second + 30*time.Second + 20*time.Second
)

func readDeployment(t *testing.T) deployment {
	t.Helper()
	d := deployment{}
	add := func(p string) {
		text, err := os.ReadFile(filepath.Join(repositoryRoot, p))
		if err != nil {
			t.Fatal(err)
		}
		d[filepath.ToSlash(p)] = string(text)
	}
	add("go.mod")
	add(".dockerignore")
	root := filepath.Join(repositoryRoot, "deploy")
	if err := filepath.WalkDir(root, func(p string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir() && e.Name() == "secrets":
			return fs.SkipDir
		case !e.IsDir():
			rel, err := filepath.Rel(repositoryRoot, p)
			add(rel)
			return err
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestDeploy(t *testing.T) {
	for _, f := range checkDeployment(t, readProgram(t), readDeployment(t)) {
		t.Error(f)
	}
}

// deployCheck collects what is wrong.
type deployCheck struct {
	t      *testing.T
	p      program
	d      deployment
	faults []string

	listenPort string // what the image listens on
	dockerRuns bool   // the image has a health check
	secrets    string // the folder that make-secrets filled
	compose    composeFile
	minioInit  []string // the commands that minio-init gave to mc
}

func checkDeployment(t *testing.T, p program, d deployment) []string {
	t.Helper()
	c := &deployCheck{t: t, p: p, d: d}
	c.dockerfile()
	c.dockerignore()
	c.composeFile()
	c.unit()
	c.readme()
	return c.faults
}

func (c *deployCheck) fault(file, format string, args ...any) {
	c.faults = append(c.faults, file+": "+fmt.Sprintf(format, args...))
}

// fits reports a fault unless it is so.
func (c *deployCheck) fits(so bool, file, format string, args ...any) {
	if !so {
		c.fault(file, format, args...)
	}
}

// Against the program.

// program is what the files are held against.
type program struct {
	parser    *kong.Kong
	variables []string // of the environment, that it reads
	code      string   // of this package, without its tests
	sources   []string // all Go files that it is built from, from the root
}

func readProgram(t *testing.T) program {
	t.Helper()
	parser, err := kong.New(&cli{}, kong.Name("uploadbroker"), kong.Exit(func(int) {}), kong.Writers(io.Discard, io.Discard),
		kong.BindTo(t.Context(), (*context.Context)(nil)), kong.Bind(stdio{}))
	if err != nil {
		t.Fatal(err)
	}
	p := program{parser: parser, variables: []string{"XDG_RUNTIME_DIR"}} // see the package privatepg
	var walk func(*kong.Node)
	walk = func(n *kong.Node) {
		for _, f := range n.Flags {
			p.variables = append(p.variables, f.Envs...)
		}
		for _, child := range n.Children {
			walk(child)
		}
	}
	walk(parser.Model.Node)
	for _, dir := range []string{"api", "broker", "cmd", "geoip", "storage"} {
		if err := filepath.WalkDir(filepath.Join(repositoryRoot, dir), func(file string, e fs.DirEntry, err error) error {
			if err != nil && !errors.Is(err, fs.ErrNotExist) { // a part that is still to come
				return err
			}
			if strings.HasSuffix(file, ".go") && !strings.HasSuffix(file, "_test.go") {
				rel, err := filepath.Rel(repositoryRoot, file)
				p.sources = append(p.sources, filepath.ToSlash(rel))
				return err
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range p.sources {
		if path.Dir(s) != "cmd/uploadbroker" {
			continue
		}
		text, err := os.ReadFile(filepath.Join(repositoryRoot, s))
		if err != nil {
			t.Fatal(err)
		}
		p.code += string(text)
	}
	return p
}

// command parses a command line with the program's own parser and gives its words.
func (c *deployCheck) command(file string, args []string) string {
	k, err := parse(c.p.parser, args)
	if err != nil {
		c.fault(file, "uploadbroker %s: %v", strings.Join(args, " "), err)
		return ""
	}
	return k.Command()
}

// environment checks the names of variables which the program is given.
func (c *deployCheck) environment(file string, names ...string) {
	for _, n := range names {
		c.fits(slices.Contains(c.p.variables, n), file, "the program reads no variable %s", n)
	}
}

// probe asks the API for the path of a health check.
func (c *deployCheck) probe(file, rawURL string) {
	u, err := url.Parse(rawURL)
	if err != nil {
		c.fault(file, "%v", err)
		return
	}
	e := api.New(api.Options{Log: slog.New(slog.DiscardHandler), Ready: func(context.Context) error { return nil }})
	answer := httptest.NewRecorder()
	e.ServeHTTP(answer, httptest.NewRequestWithContext(c.t.Context(), http.MethodGet, u.Path, nil))
	c.fits(answer.Code == http.StatusOK, file, "the health check asks for %s, which the API answers with %d", u.Path, answer.Code)
	c.fits(u.Port() == c.listenPort, file, "the health check asks port %s, the program listens on %s", u.Port(), c.listenPort)
}

// handlesSignal looks for a signal in the program's code.
func (c *deployCheck) handlesSignal(file, name string) {
	c.fits(strings.Contains(c.p.code, "syscall."+name), file, "the program does not take %s: it would end", name)
}

// The image.

// debianPostgres is the major of the package postgresql in Debian's releases.
var debianPostgres = map[string]string{"bookworm": "15", "trixie": "17"}

// instructions are a Dockerfile's, with continued lines joined and comments dropped.
func instructions(text string) (all [][2]string) {
	var line string
	for _, l := range strings.Split(text, "\n") {
		if strings.HasPrefix(strings.TrimSpace(l), "#") {
			continue
		}
		part, more := strings.CutSuffix(strings.TrimSpace(l), "\\")
		line += part + " "
		if more {
			continue
		}
		if word, rest, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			all = append(all, [2]string{word, strings.TrimSpace(rest)})
		}
		line = ""
	}
	return all
}

var (
	goBuild      = regexp.MustCompile(`go build .* -o (\S+) (\S+)$`)
	linkerSets   = regexp.MustCompile(`-X[ =]main\.(\w+)`)
	probedURL    = regexp.MustCompile(`http://[^'"]+`)
	goVersion    = regexp.MustCompile(`(?m)^go (\d+\.\d+)(\.\d+)?$`)
	goImage      = regexp.MustCompile(`^(?:--platform=\S+ )?golang:([\d.]+)(?:-\S+)? AS (\S+)$`)
	debianImage  = regexp.MustCompile(`^debian:(\w+)-slim$`)
	pgPackage    = regexp.MustCompile(`postgresql-(\d+)\b`)
	pinnedImage  = regexp.MustCompile(`:(v?\d+\.\d+|RELEASE\.\d{4}-)\S*$`)
	composedPort = regexp.MustCompile(`^(?:([\d.]+):)?(\d+):(\d+)$`)
)

func (c *deployCheck) dockerfile() {
	const file = dockerfilePath
	var built, binary, runs, stage string
	froms, stages := []string{}, map[string]string{}
	env, last := map[string]string{}, map[string]string{}
	for _, in := range instructions(c.d[file]) {
		word, rest := in[0], in[1]
		last[word] = rest
		switch word {
		case "FROM":
			froms = append(froms, rest)
			runs, stage = "", ""
			if m := goImage.FindStringSubmatch(rest); m != nil {
				stage = m[2]
				want := goVersion.FindStringSubmatch(c.d["go.mod"])
				c.fits(want != nil && (m[1] == want[1] || m[1] == want[1]+want[2]), file, "golang:%s is not the Go of go.mod, %v", m[1], want)
			}
		case "RUN":
			runs += rest + "\n"
			if m := goBuild.FindStringSubmatch(rest); m != nil {
				built = m[1]
				c.isProgram(m[2])
				c.fits(strings.Contains(rest, "CGO_ENABLED=0"), file, "the program is built with cgo, whose libraries the image lacks")
			}
			for _, m := range linkerSets.FindAllStringSubmatch(rest, -1) {
				declared := regexp.MustCompile(`(?m)^(var |\t)` + m[1] + ` +(string|= ")`)
				c.fits(declared.MatchString(c.p.code), file, "the linker is to set main.%s, which is no variable of the program", m[1])
			}
		case "COPY":
			words := strings.Fields(rest)
			from, staged := strings.CutPrefix(words[0], "--from=")
			if staged {
				c.fits(stages[from] == words[1], file, "COPY takes %s from %s, where %q is built", words[1], from, stages[from])
				binary = words[2]
				continue
			}
			for _, source := range words[:len(words)-1] {
				_, err := os.Stat(filepath.Join(repositoryRoot, source))
				c.fits(err == nil, file, "COPY %s: %v", source, err)
				c.fits(!c.ignored(source), file, "COPY %s: .dockerignore leaves it out", source)
			}
		case "ENV":
			name, value, _ := strings.Cut(rest, "=")
			env[name] = value
		}
		if stage != "" && built != "" {
			stages[stage] = built
		}
	}

	c.environment(file, slices.Collect(maps.Keys(env))...)
	host, port, err := net.SplitHostPort(env["UPLOADBROKER_LISTEN"])
	c.fits(err == nil && (host == "" || net.ParseIP(host).IsUnspecified()), file, "the program listens on %q, which can't be reached from outside", env["UPLOADBROKER_LISTEN"])
	c.listenPort = port
	c.fits(last["EXPOSE"] == port, file, "EXPOSE %s, and the program listens on %s", last["EXPOSE"], port)
	data := env["UPLOADBROKER_DATA_DIR"]
	c.fits(data != "" && last["VOLUME"] == data, file, "VOLUME %s is not the data folder %s", last["VOLUME"], data)
	user := last["USER"]
	c.fits(regexp.MustCompile(`useradd .*\b`+user+` `).MatchString(runs) && user != "" && user != "root", file, "USER %q is not made in the image", user)
	c.fits(regexp.MustCompile(`install -d -o `+user+` .* `+data+`(\s|$)`).MatchString(runs), file, "the data folder %s is not made for %s", data, user)
	if m := debianImage.FindStringSubmatch(last["FROM"]); m == nil {
		c.fault(file, "FROM %s is not debian:…-slim", last["FROM"])
	} else if pg := pgPackage.FindStringSubmatch(runs); pg == nil || pg[1] != debianPostgres[m[1]] {
		c.fault(file, "installs %v; Debian %s has Postgres %q", pg, m[1], debianPostgres[m[1]])
	}
	c.fits(regexp.MustCompile(`(?s)create_main_cluster = false.*createcluster\.d/.*apt-get install`).MatchString(runs), file, "Debian's package is not kept from making a cluster of its own")
	if probe, ok := strings.CutPrefix(regexp.MustCompile(`CMD .*`).FindString(last["HEALTHCHECK"]), "CMD "); !ok {
		c.fault(file, "there is no HEALTHCHECK")
	} else {
		c.dockerRuns = true
		c.probe(file, probedURL.FindString(strings.Join(c.exec(file, probe), " ")))
	}
	c.fits(slices.Contains([]string{"SIGTERM", "SIGINT"}, last["STOPSIGNAL"]), file, "STOPSIGNAL %s does not stop the program in order", last["STOPSIGNAL"])
	entry := append(c.exec(file, last["ENTRYPOINT"]), c.exec(file, last["CMD"])...)
	if len(entry) > 0 {
		c.fits(path.Base(binary) == entry[0] && path.Dir(binary) == "/usr/local/bin", file, "ENTRYPOINT %s is not the copied %s", entry[0], binary)
		got := c.command(file, entry[1:])
		c.fits(got == "serve", file, "the image runs %q, not serve", got)
	}
	c.fits(len(froms) == 2, file, "there are %d stages", len(froms))
}

// exec reads an instruction's exec form; the shell form would keep signals away.
func (c *deployCheck) exec(file, text string) (words []string) {
	if err := json.Unmarshal([]byte(text), &words); err != nil {
		c.fault(file, "%s is no list of words: %v", text, err)
	}
	return words
}

func (c *deployCheck) isProgram(dir string) {
	sources, _ := filepath.Glob(filepath.Join(repositoryRoot, dir, "main.go"))
	if len(sources) == 0 {
		c.fault(dockerfilePath, "go build %s: there is no main.go", dir)
		return
	}
	f, err := parser.ParseFile(token.NewFileSet(), sources[0], nil, parser.PackageClauseOnly)
	c.fits(err == nil && f.Name.Name == "main", dockerfilePath, "go build %s: it is no program", dir)
}

// ignored tells whether .dockerignore leaves a path out.
func (c *deployCheck) ignored(p string) bool {
	parts := strings.Split(path.Clean(p), "/")
	for pattern := range strings.Lines(c.d[".dockerignore"]) {
		pattern = strings.TrimSpace(pattern)
		anywhere, deep := strings.CutPrefix(pattern, "**/")
		for i := range parts {
			if ok, _ := path.Match(pattern, strings.Join(parts[:i+1], "/")); ok {
				return true
			}
			if ok, _ := path.Match(anywhere, parts[i]); ok && deep {
				return true
			}
		}
	}
	return false
}

// dockerignore: the secrets stay out, and all that the program is built from goes in.
func (c *deployCheck) dockerignore() {
	const file = ".dockerignore"
	c.fits(c.ignored("deploy/compose/secrets"), file, "Compose's secrets would go into the build")
	if i := slices.IndexFunc(c.p.sources, c.ignored); i >= 0 {
		c.fault(file, "leaves out %s", c.p.sources[i])
	}
}

// Compose.

// composeFile is what deploy/compose.yaml uses of the Compose specification; another
// key is a fault, for it may be misspelt.
type composeFile struct {
	Name     string                    `yaml:"name"`
	Ours     composeService            `yaml:"x-uploadbroker"`
	Services map[string]composeService `yaml:"services"`
	Volumes  map[string]any            `yaml:"volumes"`
	Secrets  map[string]struct {
		File string `yaml:"file"`
	} `yaml:"secrets"`
}

type composeService struct {
	Image string `yaml:"image"`
	Build struct {
		Context    string `yaml:"context"`
		Dockerfile string `yaml:"dockerfile"`
	} `yaml:"build"`
	Entrypoint  []string          `yaml:"entrypoint"`
	Command     []string          `yaml:"command"`
	Environment map[string]string `yaml:"environment"`
	Volumes     []string          `yaml:"volumes"`
	Secrets     []string          `yaml:"secrets"`
	Ports       []string          `yaml:"ports"`
	ReadOnly    bool              `yaml:"read_only"`
	Tmpfs       []string          `yaml:"tmpfs"`
	CapDrop     []string          `yaml:"cap_drop"`
	SecurityOpt []string          `yaml:"security_opt"`
	Init        bool              `yaml:"init"`
	Restart     string            `yaml:"restart"`
	Grace       time.Duration     `yaml:"stop_grace_period"`
	DependsOn   map[string]struct {
		Condition string `yaml:"condition"`
	} `yaml:"depends_on"`
	Healthcheck *struct {
		Test        []string      `yaml:"test"`
		Interval    time.Duration `yaml:"interval"`
		Timeout     time.Duration `yaml:"timeout"`
		StartPeriod time.Duration `yaml:"start_period"`
		Retries     int           `yaml:"retries"`
		Disable     bool          `yaml:"disable"`
	} `yaml:"healthcheck"`
	Deploy struct {
		Replicas int `yaml:"replicas"`
	} `yaml:"deploy"`
}

// replicas counts the service's containers.
func (s composeService) replicas() int { return cmp.Or(s.Deploy.Replicas, 1) }

// publishes tells whether the service publishes a port, and which one inside it is.
func (s composeService) publishes(port string) (inside string, ok bool) {
	for _, p := range s.Ports {
		if m := composedPort.FindStringSubmatch(p); m != nil && m[2] == port {
			return m[3], true
		}
	}
	return "", false
}

// imageVariables are what the pinned images read, of what could be set.
var imageVariables = map[string][]string{
	"postgres":    {"POSTGRES_USER", "POSTGRES_DB", "POSTGRES_PASSWORD_FILE", "POSTGRES_INITDB_ARGS"},
	"minio/minio": {"MINIO_ROOT_USER_FILE", "MINIO_ROOT_PASSWORD_FILE", "MINIO_BROWSER"},
	"minio/mc":    {"ENDPOINT", "BUCKET", "ACCESS_KEY_ID", "MC_CONFIG_DIR"}, // but for the last, our script's
}

const composeSecrets = "/run/secrets/" // where Compose mounts them

func (c *deployCheck) composeFile() {
	const file = composePath
	dec := yaml.NewDecoder(strings.NewReader(c.d[file]))
	dec.KnownFields(true)
	if err := dec.Decode(&c.compose); err != nil {
		c.fault(file, "%v", err)
		return
	}
	if c.secrets = c.makeSecrets(); c.secrets == "" {
		return
	}
	workers, brokers := 0, 0
	for _, name := range slices.Sorted(maps.Keys(c.compose.Services)) {
		s := c.compose.Services[name]
		c.composed(name, s)
		if !strings.HasPrefix(s.Image, "uploadbroker:") {
			continue
		}
		c.fits(s.Grace >= longestShutdown, file, "%s: stop_grace_period %s, the program may take %s", name, s.Grace, longestShutdown)
		c.environment(file, slices.Collect(maps.Keys(s.Environment))...)
		switch got := c.command(file, s.Command); got {
		case "serve":
			brokers += s.replicas()
			c.fits(slices.Contains(s.Command, "--no-worker"), file, "%s works too, beside its workers", name)
			c.brokerConfig(name, s, true)
		case "worker":
			workers += s.replicas()
			c.fits(s.Healthcheck != nil && s.Healthcheck.Disable, file, "%s: a worker can't pass the image's health check", name)
			c.brokerConfig(name, s, false)
		default:
			c.fault(file, "%s runs %q", name, got)
		}
	}
	c.fits(brokers == 1 && workers == 2, file, "%d brokers and %d workers, not one and two", brokers, workers)
}

// composed checks what holds for every service.
func (c *deployCheck) composed(name string, s composeService) {
	const file = composePath
	fault := func(format string, args ...any) { c.fault(file, "%s: "+format, append([]any{name}, args...)...) }
	repository, tag, _ := strings.Cut(s.Image, ":")
	switch {
	case repository == "uploadbroker":
		if s.Build.Context != "" {
			dockerfile := path.Join("deploy", s.Build.Context, s.Build.Dockerfile)
			c.fits(c.d[dockerfile] != "" && path.Join("deploy", s.Build.Context) == ".", file, "%s is built from %s in %s", name, s.Build.Dockerfile, s.Build.Context)
		}
	case !pinnedImage.MatchString(s.Image):
		fault("the image %s is not pinned to a version", s.Image)
	case repository == "postgres":
		major, _ := strconv.Atoi(strings.Split(tag, ".")[0])
		c.fits(major >= 14, file, "%s: Postgres %d; 14 or newer is needed", name, major)
	}
	if known, ok := imageVariables[repository]; ok {
		for v := range s.Environment {
			c.fits(slices.Contains(known, v), file, "%s: the image %s reads no variable %s", name, repository, v)
		}
	}
	for v, value := range s.Environment {
		if strings.HasSuffix(v, "_FILE") {
			secret, ok := strings.CutPrefix(value, composeSecrets)
			c.fits(ok && slices.Contains(s.Secrets, secret), file, "%s: %s names %s, which is none of its secrets", name, v, value)
		}
	}
	for _, secret := range s.Secrets {
		made, ok := c.compose.Secrets[secret]
		_, err := os.Stat(filepath.Join(c.secrets, path.Base(made.File)))
		c.fits(ok && err == nil && path.Dir(made.File) == "compose/secrets", file, "%s: no secret %s is declared and made by make-secrets", name, secret)
	}
	for _, v := range s.Volumes {
		source := strings.Split(v, ":")[0]
		if strings.HasPrefix(source, ".") {
			c.fits(c.d[path.Join("deploy", source)] != "", file, "%s: there is no %s to mount", name, source)
			continue
		}
		_, ok := c.compose.Volumes[source]
		c.fits(ok, file, "%s: the volume %s is not declared", name, source)
	}
	for on, d := range s.DependsOn {
		other, ok := c.compose.Services[on]
		switch {
		case !ok:
			fault("depends on %s, which is no service", on)
		case d.Condition == "service_completed_successfully":
			c.fits(other.Restart == "no", file, "%s waits for the end of %s, which is restarted", name, on)
		case d.Condition == "service_healthy":
			own := strings.HasPrefix(other.Image, "uploadbroker:") && c.dockerRuns
			c.fits(other.Healthcheck == nil && own || other.Healthcheck != nil && !other.Healthcheck.Disable, file, "%s waits for the health of %s, which has no check", name, on)
		default:
			fault("depends on %s with the condition %q", on, d.Condition)
		}
	}
	c.fits(s.Restart == "unless-stopped" || s.Restart == "no", file, "%s: restart is %q", name, s.Restart)
	for _, p := range s.Ports {
		c.fits(composedPort.MatchString(p), file, "%s: the port %q is not ADDRESS:PORT:PORT", name, p)
		c.fits(repository == "uploadbroker" || repository == "minio/minio", file, "%s publishes %s", name, p)
	}
}

// makeSecrets runs the script in a folder of its own and gives the one that it filled.
func (c *deployCheck) makeSecrets() string {
	const file = "deploy/compose/make-secrets"
	dir := c.t.TempDir()
	script := filepath.Join(dir, "make-secrets")
	write(c.t, script, []byte(c.d[file]))
	before := ""
	for range 2 { // the second time it changes nothing
		if out, err := exec.CommandContext(c.t.Context(), "sh", script).CombinedOutput(); err != nil {
			c.fault(file, "%v\n%s", err, out)
			return ""
		}
		all := ""
		files, _ := filepath.Glob(filepath.Join(dir, "secrets", "*"))
		for _, f := range files {
			info, err := os.Stat(f)
			c.fits(err == nil && info.Mode().Perm() == 0o644, file, "%s can't be read by the containers' users", filepath.Base(f))
			all += c.secretText(f) + "\n"
		}
		c.fits(before == "" || before == all, file, "a second run changes the secrets")
		before = all
	}
	info, err := os.Stat(filepath.Join(dir, "secrets"))
	c.fits(err == nil && info.Mode().Perm() == 0o700, file, "the folder of the secrets is open to other users")
	return filepath.Join(dir, "secrets")
}

func (c *deployCheck) secretText(file string) string {
	text, _ := os.ReadFile(file)
	return strings.TrimSpace(string(text))
}

// brokerConfig reads the configuration that a service mounts with the program's own
// loader, and holds it against the services that it names.
func (c *deployCheck) brokerConfig(name string, s composeService, serves bool) {
	const file = composePath
	inside, source := s.Environment["UPLOADBROKER_CONFIG"], ""
	for _, v := range s.Volumes {
		if from, to, _ := strings.Cut(v, ":"); inside != "" && strings.TrimSuffix(to, ":ro") == inside {
			source = path.Join("deploy", from)
		}
	}
	if c.d[source] == "" {
		c.fault(file, "%s: no file is mounted at UPLOADBROKER_CONFIG=%s", name, inside)
		return
	}
	dir := c.t.TempDir()
	for _, secret := range s.Secrets {
		write(c.t, filepath.Join(dir, secret), []byte(c.secretText(filepath.Join(c.secrets, secret))))
	}
	mounted := filepath.Join(dir, "uploadbroker.yaml")
	write(c.t, mounted, []byte(strings.ReplaceAll(c.d[source], composeSecrets, dir+"/")))
	conf, err := configFlags{ConfigFile: mounted}.load(nil)
	if err != nil {
		c.fault(source, "%v", err)
		return
	}
	c.database(source, conf)
	for _, b := range conf.Buckets {
		c.bucket(source, b)
	}
	if serves {
		port := portOf(conf.PublicURL)
		inside, ok := s.publishes(port)
		c.fits(ok && inside == c.listenPort, source, "public_url has port %s, %s publishes %v of port %s", port, name, s.Ports, c.listenPort)
	}
}

// database: database_url leads to a service, by the name and password it was made with.
func (c *deployCheck) database(file string, conf config) {
	pg, err := pgx.ParseConfig(conf.DatabaseURL)
	if err != nil || conf.DatabaseURL == "" {
		c.fault(file, "database_url %q: %v; a worker of its own needs it", conf.DatabaseURL, err)
		return
	}
	s, ok := c.compose.Services[pg.Host]
	if !ok || !strings.HasPrefix(s.Image, "postgres:") || pg.Port != 5432 {
		c.fault(file, "database_url leads to %s:%d, which is no Postgres service", pg.Host, pg.Port)
		return
	}
	password := c.secretText(filepath.Join(c.secrets, path.Base(s.Environment["POSTGRES_PASSWORD_FILE"])))
	c.fits(pg.User == s.Environment["POSTGRES_USER"] && pg.Database == s.Environment["POSTGRES_DB"] && pg.Password == password && password != "",
		file, "database_url is not of the user, database and password that %s makes", pg.Host)
	if s.Healthcheck != nil {
		test := strings.Join(s.Healthcheck.Test, " ")
		want := fmt.Sprintf("CMD pg_isready -h 127.0.0.1 -U %s -d %s", pg.User, pg.Database)
		c.fits(test == want, composePath, "%s: the health check is %q, not %q", pg.Host, test, want)
	}
}

// bucket: the endpoints are those of a service, and minio-init makes what is named.
func (c *deployCheck) bucket(file string, b bucketConfig) {
	u, err := url.Parse(b.Endpoint)
	s, ok := composeService{}, false
	if err == nil {
		s, ok = c.compose.Services[u.Hostname()]
	}
	if !ok || !strings.HasPrefix(s.Image, "minio/minio:") {
		c.fault(file, "endpoint %s is at no MinIO service", b.Endpoint)
		return
	}
	at := slices.Index(s.Command, "--address")
	c.fits(at >= 0 && at+1 < len(s.Command) && s.Command[at+1] == ":"+u.Port(), file, "endpoint %s: MinIO listens elsewhere: %v", b.Endpoint, s.Command)
	inside, ok := s.publishes(portOf(b.PublicEndpoint))
	c.fits(ok && inside == u.Port(), file, "public_endpoint %s: MinIO publishes %v", b.PublicEndpoint, s.Ports)

	for _, line := range []string{
		"alias set --quiet target " + b.Endpoint + " " + c.secretText(filepath.Join(c.secrets, path.Base(s.Environment["MINIO_ROOT_USER_FILE"]))) + " " +
			c.secretText(filepath.Join(c.secrets, path.Base(s.Environment["MINIO_ROOT_PASSWORD_FILE"]))),
		"mb --ignore-existing target/" + b.Bucket,
		"admin user add target " + b.AccessKeyID + " " + b.AccessKeySecret,
		"admin policy attach target uploadbroker-" + b.Bucket + " --user " + b.AccessKeyID,
		`"s3:PutObject" on arn:aws:s3:::` + b.Bucket + "/*",
		`"s3:ListBucket" on arn:aws:s3:::` + b.Bucket,
	} {
		c.fits(slices.Contains(c.initMinIO(), line), file, "minio-init does not give to mc: %s", line)
	}
}

// standInForMC takes mc's place, which needs a MinIO: it writes down what it is told,
// and the policy.
const standInForMC = `#!/bin/sh
printf '%s\n' "$*" >>"$MC_SAID"
case "$*" in "admin policy create "*) cat "$6" >"$MC_SAID.policy" ;; esac
`

// initMinIO runs the script of minio-init with its own variables and secrets, and with
// the few tools that the image of mc has.
func (c *deployCheck) initMinIO() []string {
	if c.minioInit != nil {
		return c.minioInit
	}
	const file = "deploy/compose/minio-init"
	c.minioInit = []string{}
	s, ok := c.compose.Services["minio-init"]
	if !ok || !slices.ContainsFunc(s.Volumes, func(v string) bool {
		return v == "./compose/minio-init:/"+path.Base(s.Entrypoint[len(s.Entrypoint)-1])+":ro"
	}) {
		c.fault(composePath, "minio-init does not run the script that it mounts")
		return nil
	}
	dir := c.t.TempDir()
	script, said, secrets := filepath.Join(dir, "minio-init"), filepath.Join(dir, "said"), filepath.Join(dir, "secrets")
	write(c.t, script, []byte(c.d[file]))
	write(c.t, filepath.Join(dir, "bin", "mc"), []byte(standInForMC))
	if err := os.Chmod(filepath.Join(dir, "bin", "mc"), 0o755); err != nil {
		c.t.Fatal(err)
	}
	for _, tool := range []string{"cat", "mktemp", "rm"} { // no grep, no sed: the image has coreutils alone
		where, err := exec.LookPath(tool)
		if err == nil {
			err = os.Symlink(where, filepath.Join(dir, "bin", tool))
		}
		if err != nil {
			c.t.Fatal(err)
		}
	}
	for _, secret := range s.Secrets {
		write(c.t, filepath.Join(secrets, secret), []byte(c.secretText(filepath.Join(c.secrets, secret))))
	}
	cmd := exec.CommandContext(c.t.Context(), "sh", script)
	cmd.Env = []string{"PATH=" + filepath.Join(dir, "bin"), "SECRETS=" + secrets, "MC_SAID=" + said, "TMPDIR=" + dir}
	for k, v := range s.Environment {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		c.fault(file, "%v\n%s", err, out)
	}
	c.minioInit = append(c.minioInit, strings.Split(c.secretText(said), "\n")...)
	var policy struct {
		Statement []struct{ Resource, Action []string }
	}
	if err := json.Unmarshal([]byte(c.secretText(said+".policy")), &policy); err != nil {
		c.fault(file, "the policy: %v", err)
	}
	for _, st := range policy.Statement {
		for _, a := range st.Action {
			c.minioInit = append(c.minioInit, fmt.Sprintf("%q on %s", a, strings.Join(st.Resource, " ")))
		}
	}
	return c.minioInit
}

func portOf(base string) string {
	u, err := url.Parse(base)
	if err != nil {
		return ""
	}
	return u.Port()
}

// systemd.

// unitKeys are the directives that the unit uses, spelt as systemd.unit(5),
// systemd.service(5), systemd.exec(5) and systemd.kill(5) spell them. systemd itself
// only warns of others and goes on without them.
var unitKeys = map[string]string{
	"Unit": "Description Documentation Wants After StartLimitIntervalSec StartLimitBurst",
	"Service": `Type ExecStart ExecReload Environment EnvironmentFile User Group StateDirectory StateDirectoryMode
		RuntimeDirectory RuntimeDirectoryMode ConfigurationDirectory WorkingDirectory UMask Restart RestartSec
		SuccessExitStatus KillMode KillSignal TimeoutStopSec OOMPolicy LimitNOFILE
		ProtectSystem ProtectHome PrivateTmp PrivateDevices ProtectProc ProtectClock ProtectHostname
		ProtectControlGroups ProtectKernelLogs ProtectKernelModules ProtectKernelTunables CapabilityBoundingSet
		AmbientCapabilities NoNewPrivileges RestrictSUIDSGID RestrictNamespaces RestrictRealtime
		RestrictAddressFamilies LockPersonality MemoryDenyWriteExecute RemoveIPC SystemCallArchitectures
		SystemCallFilter SystemCallErrorNumber`,
	"Install": "WantedBy",
}

func (c *deployCheck) unit() {
	const file = unitPath
	section, got := "", map[string][]string{}
	for _, l := range strings.Split(c.d[file], "\n") {
		l = strings.TrimSpace(l)
		if name, ok := strings.CutPrefix(l, "["); ok {
			section = strings.TrimSuffix(name, "]")
		} else if key, value, ok := strings.Cut(l, "="); ok && !strings.HasPrefix(l, "#") {
			c.fits(slices.Contains(strings.Fields(unitKeys[section]), key), file, "systemd knows no %s in [%s], or this test does not", key, section)
			got[key] = append(got[key], value)
		}
	}
	one := func(key string) string { return strings.Join(got[key], " ") }

	words := strings.Fields(one("ExecStart"))
	if len(words) == 0 || words[0] != "/usr/local/bin/uploadbroker" {
		c.fault(file, "ExecStart=%s is not the program", one("ExecStart"))
	} else {
		c.command(file, words[1:])
	}
	env := map[string]string{}
	for _, e := range got["Environment"] {
		name, value, _ := strings.Cut(e, "=")
		env[name] = value
	}
	c.environment(file, slices.Collect(maps.Keys(env))...)
	state := "/var/lib/" + one("StateDirectory")
	c.fits(env["UPLOADBROKER_DATA_DIR"] == state, file, "the data folder %s is not the state directory %s", env["UPLOADBROKER_DATA_DIR"], state)
	c.fits(one("WorkingDirectory") == state, file, "WorkingDirectory=%s is not %s", one("WorkingDirectory"), state)
	// As root uploadbroker keeps databases below this folder: they must not mix.
	c.fits(state != "/var/lib/uploadbroker", file, "%s/pg is where root's databases go", state)
	c.fits(env["XDG_RUNTIME_DIR"] == "/run/"+one("RuntimeDirectory"), file, "XDG_RUNTIME_DIR=%s is not the runtime directory", env["XDG_RUNTIME_DIR"])
	etc := "/etc/" + one("ConfigurationDirectory") + "/"
	c.fits(one("EnvironmentFile") == "-"+etc+path.Base(unitEnvPath), file, "EnvironmentFile=%s is not optional, or not the one beside it", one("EnvironmentFile"))
	c.fits(one("User") != "" && one("User") != "root" && one("User") == one("Group"), file, "User=%s Group=%s", one("User"), one("Group"))

	stop, err := time.ParseDuration(one("TimeoutStopSec"))
	c.fits(err == nil && stop > longestShutdown, file, "TimeoutStopSec=%s, the program may take %s", one("TimeoutStopSec"), longestShutdown)
	c.fits(one("KillMode") == "mixed", file, "KillMode=%s: systemd must not signal the private Postgres", one("KillMode"))
	c.handlesSignal(file, one("KillSignal"))
	if m := regexp.MustCompile(`^/bin/kill -(\w+) \$MAINPID$`).FindStringSubmatch(one("ExecReload")); m != nil {
		c.handlesSignal(file, "SIG"+m[1])
	} else {
		c.fault(file, "ExecReload=%s", one("ExecReload"))
	}
	for _, key := range []string{"NoNewPrivileges", "PrivateTmp", "PrivateDevices", "MemoryDenyWriteExecute"} {
		c.fits(one(key) == "yes", file, "%s=%s", key, one(key))
	}
	c.fits(one("ProtectSystem") == "strict", file, "ProtectSystem=%s", one("ProtectSystem"))

	for lines := bufio.NewScanner(strings.NewReader(c.d[unitEnvPath])); lines.Scan(); {
		if name, value, ok := strings.Cut(strings.TrimPrefix(lines.Text(), "#"), "="); ok {
			c.environment(unitEnvPath, name)
			c.fits(name != "UPLOADBROKER_CONFIG" || strings.HasPrefix(value, etc), unitEnvPath, "%s is not in %s", value, etc)
		}
	}
}

// readme: the commands of its code blocks are the program's, with the paths of the rest.
func (c *deployCheck) readme() {
	const file = deployReadme
	blocks := strings.Split(c.d[file], "```")
	commands := regexp.MustCompile(`(?:^|[^/\w.-])uploadbroker ((?:serve|worker|migrate|config|owners|keys|buckets|jobs|upload|check|version)\b[^|;&>\n]*)`)
	found := 0
	for i := 1; i < len(blocks); i += 2 {
		for _, m := range commands.FindAllStringSubmatch(blocks[i], -1) {
			found++
			words := strings.Fields(m[1])
			c.command(file, words)
			if at := slices.Index(words, "--data-dir"); at >= 0 && at+1 < len(words) {
				c.fits(strings.Contains(c.d[unitPath], "UPLOADBROKER_DATA_DIR="+words[at+1]+"\n"), file, "%s is not the service's data folder", words[at+1])
			}
		}
	}
	c.fits(found >= 2, file, "%d commands of the program in it", found)
	for _, m := range regexp.MustCompile(`deploy/[\w./-]*\w`).FindAllString(c.d[file], -1) {
		c.fits(c.d[m] != "", file, "there is no %s", m)
	}
}

// TestDeployRefuses changes one thing at a time, as a renamed flag or a slip would.
func TestDeployRefuses(t *testing.T) {
	t.Parallel()
	const composed, makeSecrets, minioInit = "deploy/compose/uploadbroker.yaml", "deploy/compose/make-secrets", "deploy/compose/minio-init"
	good, p := readDeployment(t), readProgram(t)
	for _, m := range []struct{ file, old, new, want string }{
		{"go.mod", "\ngo 1.", "\ngo 9.", "not the Go of go.mod"},
		{".dockerignore", "deploy/compose/secrets", "", "secrets would go into the build"},
		{".dockerignore", "\ndata\n", "\ndata\n**/*.go\n", "leaves out"},
		{".dockerignore", "\ndata\n", "\ngo.*\n", "COPY go.mod: .dockerignore"},

		{dockerfilePath, "golang:1.", "golang:0.", "not the Go of go.mod"},
		{dockerfilePath, "trixie-slim", "bookworm-slim", "Debian bookworm has Postgres"},
		{dockerfilePath, "./cmd/uploadbroker", "./cmd/broker", "no main.go"},
		{dockerfilePath, "./cmd/uploadbroker", "./broker", "no main.go"},
		{dockerfilePath, "CGO_ENABLED=0 ", "", "cgo"},
		{dockerfilePath, "-ldflags=-s", "-ldflags=-X=main.nothing=1", "no variable"},
		{dockerfilePath, "go.sum", "go.sums", "COPY go.sums"},
		{dockerfilePath, "COPY --from=build /out/", "COPY --from=build /bin/", "is built"},
		{dockerfilePath, "create_main_cluster = false", "create_main_cluster = true", "cluster of its own"},
		{dockerfilePath, "=0.0.0.0:8080", "=127.0.0.1:8080", "can't be reached"},
		{dockerfilePath, "=0.0.0.0:8080", "=0.0.0.0:8000", "EXPOSE"},
		{dockerfilePath, "EXPOSE 8080", "EXPOSE 80", "EXPOSE"},
		{dockerfilePath, "UPLOADBROKER_LISTEN", "UPLOADBROKER_ADDR", "UPLOADBROKER_ADDR"},
		{dockerfilePath, "UPLOADBROKER_DATA_DIR=/var/lib/uploadbroker", "UPLOADBROKER_DATA_DIR=/data", "not the data folder"},
		{dockerfilePath, "-m 0711 /var/lib/uploadbroker", "-m 0711 /var/lib/broker", "is not made for"},
		{dockerfilePath, "USER uploadbroker", "USER root", "USER"},
		{dockerfilePath, "/readyz", "/ready", "/ready, which the API answers with 404"},
		{dockerfilePath, "127.0.0.1:8080/", "127.0.0.1:80/", "asks port 80"},
		{dockerfilePath, "HEALTHCHECK", "# HEALTHCHECK", "no HEALTHCHECK"},
		{dockerfilePath, "STOPSIGNAL SIGTERM", "STOPSIGNAL SIGQUIT", "STOPSIGNAL"},
		{dockerfilePath, `ENTRYPOINT ["uploadbroker"]`, `ENTRYPOINT uploadbroker`, "no list of words"},
		{dockerfilePath, `ENTRYPOINT ["uploadbroker"]`, `ENTRYPOINT ["broker"]`, "not the copied"},
		{dockerfilePath, `CMD ["serve"]`, `CMD ["server"]`, "server"},
		{dockerfilePath, `CMD ["serve"]`, `CMD ["serve", "--address=:80"]`, "--address"},

		{composePath, "services:", "service:", "field service"},
		{composePath, "depends_on:", "depend_on:", "field depend_on"},
		{composePath, "[serve, --no-worker]", "[serve, --without-worker]", "--without-worker"},
		{composePath, "[serve, --no-worker]", "[serve]", "works too"},
		{composePath, "[worker]", "[workers]", "workers"},
		{composePath, "replicas: 2", "replicas: 3", "3 workers"},
		{composePath, "healthcheck: {disable: true}", "", "can't pass"},
		{composePath, "UPLOADBROKER_CONFIG", "UPLOADBROKER_FILE", "UPLOADBROKER_FILE"},
		{composePath, "UPLOADBROKER_CONFIG: /etc/uploadbroker/uploadbroker.yaml", "UPLOADBROKER_CONFIG: /etc/uploadbroker.yaml", "no file is mounted"},
		{composePath, "./compose/uploadbroker.yaml:", "./compose/broker.yaml:", "there is no ./compose/broker.yaml"},
		{composePath, "secrets: [database_url, minio_secret]", "secrets: [database_url]", "minio_secret"},
		{composePath, "secrets: [database_url, minio_secret]", "secrets: [minio_secret]", "database_url"},
		{composePath, "stop_grace_period: 90s", "stop_grace_period: 10s", "may take"},
		{composePath, "dockerfile: deploy/Dockerfile", "dockerfile: Dockerfile", "is built from"},
		{composePath, "127.0.0.1:8080:8080", "127.0.0.1:8080:80", "public_url"},
		{composePath, "127.0.0.1:9000:9000", "127.0.0.1:9001:9000", "public_endpoint"},
		{composePath, "127.0.0.1:9000:9000", "9000", "not ADDRESS"},
		{composePath, `volumes: ["postgres:`, "ports: [\"5432:5432\"]\n    volumes: [\"postgres:", "postgres publishes"},
		{composePath, "postgres: {condition", "database: {condition", "database, which is no service"},
		{composePath, "condition: service_completed_successfully", "condition: service_finished", "service_finished"},
		{composePath, `restart: "no"`, "restart: unless-stopped", "which is restarted"},
		{composePath, "postgres:17.11-trixie", "postgres:13.22", "14 or newer"},
		{composePath, "postgres:17.11-trixie", "postgres:latest", "not pinned"},
		{composePath, ":RELEASE.2025-09-07T16-13-09Z", "", "not pinned"},
		{composePath, "POSTGRES_USER: uploadbroker", "POSTGRES_USER: postgres", "not of the user"},
		{composePath, "POSTGRES_DB", "POSTGRES_DATABASE", "POSTGRES_DATABASE"},
		{composePath, "POSTGRES_PASSWORD_FILE: /run/secrets/postgres_password", "POSTGRES_PASSWORD_FILE: /run/secrets/password", "none of its secrets"},
		{composePath, "-U, uploadbroker, -d", "-U, postgres, -d", "pg_isready"},
		{composePath, "MINIO_ROOT_USER_FILE", "MINIO_ROOT_USERFILE", "MINIO_ROOT_USERFILE"},
		{composePath, `--address, ":9000"`, `--address, ":9090"`, "listens elsewhere"},
		{composePath, "BUCKET: photos", "BUCKET: pictures", "mb --ignore-existing"},
		{composePath, "ACCESS_KEY_ID: uploadbroker", "ACCESS_KEY_ID: broker", "admin user add"},
		{composePath, "ENDPOINT: http://minio:9000", "ENDPOINT: http://localhost:9000", "alias set"},
		{composePath, "sh, /minio-init]", "sh, /init]", "script that it mounts"},
		{composePath, "\n  minio:\n\nsecrets:", "\nsecrets:", "volume minio is not declared"},
		{composePath, "minio_secret: {file: ./compose/secrets/minio_secret}", "minio_secret: {file: ./minio_secret}", "made by make-secrets"},

		{composed, "buckets:", "places:", "unknown key places"},
		{composed, "public_endpoint:", "endpoint_public:", "unknown key endpoint_public"},
		{composed, "cloud: MINIO", "cloud: MinIO Inc", "not a cloud"},
		{composed, "http://minio:9000", "http://s3:9000", "no MinIO service"},
		{composed, "http://minio:9000", "http://minio:9001", "listens elsewhere"},
		{composed, "http://localhost:9000", "http://localhost:9001", "public_endpoint"},
		{composed, "http://localhost:8080", "http://localhost:8081", "public_url"},
		{composed, "database_url_file: /run/secrets/database_url", "", "a worker of its own needs it"},
		{composed, "/run/secrets/minio_secret", "/run/secrets/minio_root_password", "minio_root_password"},
		{composed, "bucket: photos", "bucket: images", "mb --ignore-existing"},

		{makeSecrets, "@postgres:5432", "@db:5432", "no Postgres service"},
		{makeSecrets, "$(cat secrets/postgres_password)", "$(random)", "not of the user"},
		{makeSecrets, `[ -s "secrets/$1" ] || `, "", "second run"},
		{makeSecrets, "umask 022", "umask 077", "can't be read"},
		{makeSecrets, "chmod 700", "chmod 755", "open to other users"},
		{makeSecrets, "keep minio_secret", "keep minio_key", "minio_secret"},
		{minioInit, "$secrets/minio_secret", "$secrets/minio_password", "minio_password"},
		{minioInit, "attached=$(mc", "attached=$(grep -q . /etc/passwd && mc", "grep"},
		{minioInit, `"s3:PutObject", `, "", "s3:PutObject"},
		{minioInit, `"s3:PutObject", `, `"s3:PutObject" `, "the policy"},

		{unitPath, "uploadbroker serve", "uploadbroker server", "server"},
		{unitPath, "uploadbroker serve", "uploadbroker serve --quiet", "--quiet"},
		{unitPath, "/usr/local/bin/uploadbroker", "/usr/bin/uploadbroker", "not the program"},
		{unitPath, "UPLOADBROKER_DATA_DIR", "UPLOADBROKER_DATA", "UPLOADBROKER_DATA"},
		{unitPath, "StateDirectory=uploadbroker/data", "StateDirectory=uploadbroker", "where root's databases go"},
		{unitPath, "StateDirectory=uploadbroker/data", "StateDirectory=broker", "not the state directory"},
		{unitPath, "RuntimeDirectory=uploadbroker", "RuntimeDirectory=broker", "runtime directory"},
		{unitPath, "ConfigurationDirectory=uploadbroker", "ConfigurationDirectory=broker", "EnvironmentFile"},
		{unitPath, "EnvironmentFile=-", "EnvironmentFile=", "not optional"},
		{unitPath, "KillMode=mixed", "KillMode=control-group", "KillMode"},
		{unitPath, "KillSignal=SIGTERM", "KillSignal=SIGQUIT", "does not take SIGQUIT"},
		{unitPath, "kill -HUP", "kill -USR1", "does not take SIGUSR1"},
		{unitPath, "TimeoutStopSec=90s", "TimeoutStopSec=30s", "may take"},
		{unitPath, "ProtectSystem=strict", "ProtectSytem=strict", "knows no ProtectSytem"},
		{unitPath, "NoNewPrivileges=yes", "NoNewPrivileges=no", "NoNewPrivileges"},
		{unitPath, "User=uploadbroker", "User=root", "User=root"},
		{unitPath, "StartLimitBurst=5\n", "StartLimitBurst=5\nRestart=always\n", "in [Unit]"},
		{unitEnvPath, "#UPLOADBROKER_LISTEN", "#UPLOADBROKER_ADDRESS", "UPLOADBROKER_ADDRESS"},
		{unitEnvPath, "/etc/uploadbroker/uploadbroker.yaml", "/etc/uploadbroker.yaml", "is not in /etc/uploadbroker/"},

		{deployReadme, "keys create --owner", "keys create --email", "--email"},
		{deployReadme, "--data-dir /var/lib/uploadbroker/data", "--data-dir /var/lib/uploadbroker", "not the service's data folder"},
		{deployReadme, "-f deploy/Dockerfile", "-f deploy/Containerfile", "there is no deploy/Containerfile"},
	} {
		t.Run(path.Base(m.file)+" "+m.want, func(t *testing.T) {
			if !strings.Contains(good[m.file], m.old) {
				t.Fatalf("%s does not hold %q any more: change this case too", m.file, m.old)
			}
			bad := maps.Clone(good)
			bad[m.file] = strings.ReplaceAll(good[m.file], m.old, m.new)
			faults := checkDeployment(t, p, bad)
			if !slices.ContainsFunc(faults, func(f string) bool { return strings.Contains(f, m.want) }) {
				t.Errorf("%q in place of %q passes; told was: %q", m.new, m.old, faults)
			}
		})
	}
}

// TestDeployProbe runs the image's health check, which is Perl's.
func TestDeployProbe(t *testing.T) {
	if err := exec.CommandContext(t.Context(), "perl", "-MHTTP::Tiny", "-e", "1").Run(); err != nil {
		t.Skip("no Perl with HTTP::Tiny here")
	}
	var answer atomic.Int32
	answer.Store(http.StatusOK)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(int(answer.Load())) }))
	defer s.Close()
	text := readDeployment(t)[dockerfilePath]
	_, text, _ = strings.Cut(text[strings.Index(text, "HEALTHCHECK"):], "CMD ")
	line, _, _ := strings.Cut(text, "\n")
	words := (&deployCheck{t: t}).exec(dockerfilePath, strings.Replace(line, "http://127.0.0.1:8080", s.URL, 1))
	probe := func() error { return exec.CommandContext(t.Context(), words[0], words[1:]...).Run() }
	if err := probe(); err != nil {
		t.Errorf("with 200: %v", err)
	}
	if answer.Store(http.StatusServiceUnavailable); probe() == nil {
		t.Error("503 passes")
	}
	if s.Close(); probe() == nil {
		t.Error("a server that is gone passes")
	}
}

// TestDeployBySystemd lets systemd judge the unit, where it is.
func TestDeployBySystemd(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("no systemd-analyze here")
	}
	text := readDeployment(t)[unitPath]
	verify := func(text string) string {
		t.Helper()
		file := filepath.Join(t.TempDir(), path.Base(unitPath))
		// It wants the program to be there.
		write(t, file, []byte(strings.ReplaceAll(text, "/usr/local/bin/uploadbroker", "/bin/true")))
		out, _ := exec.CommandContext(t.Context(), "systemd-analyze", "verify", file).CombinedOutput()
		var about []string
		for _, l := range strings.Split(string(out), "\n") { // it may speak of other units too
			if strings.Contains(l, path.Base(unitPath)) {
				about = append(about, l)
			}
		}
		return strings.Join(about, "\n")
	}
	if out := verify(text); out != "" {
		t.Error(out)
	}
	if out := verify(strings.Replace(text, "RestartSec=5s", "RestartSec=soon", 1)); !strings.Contains(out, "soon") {
		t.Errorf("systemd-analyze does not tell faults here: %q", out)
	}
}

// TestDeployByCompose lets Docker's own reader judge compose.yaml, which takes no engine.
func TestDeployByCompose(t *testing.T) {
	for _, program := range [][]string{{"docker", "compose"}, {"docker-compose"}} {
		args := append(program[1:len(program):len(program)], "version")
		if exec.CommandContext(t.Context(), program[0], args...).Run() != nil {
			continue
		}
		args = append(program[1:len(program):len(program)], "-f", filepath.Join(repositoryRoot, composePath), "config", "--quiet")
		if out, err := exec.CommandContext(t.Context(), program[0], args...).CombinedOutput(); err != nil {
			t.Errorf("%v: %v\n%s", program, err, out)
		}
		return
	}
	t.Skip("no docker compose here")
}
