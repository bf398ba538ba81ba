package privatepg

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// oldestMajor is the oldest that the program's queries and queue work with.
const oldestMajor = 13

// install is one set of Postgres server programs.
type install struct {
	dir   string
	major int
}

func (i install) postgres() string { return filepath.Join(i.dir, "postgres") }
func (i install) initdb() string   { return filepath.Join(i.dir, "initdb") }

// binaryFolders are the places outside PATH where systems put the server's
// programs. deploy/setup.sh looks in the same ones.
func binaryFolders() []string {
	return []string{
		"/usr/lib/postgresql/*/bin",                          // Debian, Ubuntu
		"/usr/pgsql-*/bin",                                   // the project's own packages for Fedora and kin
		"/usr/libexec/postgresql*",                           // Alpine
		"/usr/lib/postgresql*/bin",                           // openSUSE
		"/opt/homebrew/opt/postgresql@*/bin",                 // Homebrew on Apple silicon
		"/usr/local/opt/postgresql@*/bin",                    // Homebrew on Intel
		"/Applications/Postgres.app/Contents/Versions/*/bin", // Postgres.app
		"/home/linuxbrew/.linuxbrew/opt/postgresql@*/bin",    // Homebrew on Linux
	}
}

// findInstalls lists what the machine has, in order of preference: the newest
// first, and of one major what comes first in PATH.
func findInstalls(ctx context.Context, explicit string) ([]install, error) {
	if explicit != "" {
		in, err := inspect(ctx, explicit)
		if err != nil {
			return nil, fmt.Errorf("the configured Postgres binaries: %w", err)
		}
		return []install{in}, nil
	}
	dirs := filepath.SplitList(os.Getenv("PATH"))
	for _, pattern := range binaryFolders() {
		found, err := filepath.Glob(pattern)
		if err != nil {
			return nil, err
		}
		dirs = append(dirs, found...)
	}
	var all []install
	for _, dir := range dirs {
		// A relative element of PATH would run what the current folder holds.
		if !filepath.IsAbs(dir) || slices.ContainsFunc(all, func(in install) bool { return in.dir == dir }) {
			continue
		}
		if in, err := inspect(ctx, dir); err == nil {
			all = append(all, in)
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	slices.SortStableFunc(all, func(a, b install) int { return cmp.Compare(b.major, a.major) })
	return all, nil
}

// inspect asks the programs in dir for their version.
func inspect(ctx context.Context, dir string) (install, error) {
	in := install{dir: dir}
	for _, program := range []string{in.postgres(), in.initdb()} {
		info, err := os.Stat(program)
		if err != nil {
			return in, err
		}
		if info.IsDir() || info.Mode()&0o111 == 0 {
			return in, fmt.Errorf("%s is not a program", program)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, in.postgres(), "--version").Output()
	if err != nil {
		return in, fmt.Errorf("%s --version: %w", in.postgres(), err)
	}
	// postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1), or 17beta1
	_, version, ok := strings.Cut(string(out), "(PostgreSQL) ")
	if !ok {
		return in, fmt.Errorf("%s --version says %q, which is no PostgreSQL", in.postgres(), out)
	}
	in.major, err = leadingNumber(version)
	if err != nil {
		return in, fmt.Errorf("%s --version says %q: %w", in.postgres(), out, err)
	}
	return in, nil
}

func leadingNumber(s string) (int, error) {
	end := strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' })
	if end < 0 {
		end = len(s)
	}
	return strconv.Atoi(s[:end])
}

// choose picks the binaries for a folder: dataMajor is that of its PG_VERSION
// file, empty when the folder is new.
func choose(installs []install, dataMajor, folder string) (install, error) {
	if len(installs) == 0 {
		return install{}, errors.New(missingText(dataMajor))
	}
	if dataMajor == "" {
		if newest := installs[0]; newest.major >= oldestMajor {
			return newest, nil
		}
		return install{}, fmt.Errorf("the newest PostgreSQL on this machine is %d (%s), but %d or newer is needed: "+
			"install one, or set database_url", installs[0].major, installs[0].dir, oldestMajor)
	}
	for _, in := range installs {
		if strconv.Itoa(in.major) == dataMajor {
			return in, nil
		}
	}
	var have []string
	for _, in := range installs {
		have = append(have, fmt.Sprintf("%d (%s)", in.major, in.dir))
	}
	return install{}, fmt.Errorf("the database in %s was made by PostgreSQL %s, and only that major can open it; "+
		"this machine has %s. Nothing was changed. Install the matching server (Debian, Ubuntu: apt-get install postgresql-%s; "+
		"macOS: brew install postgresql@%s), or move the data over with pg_upgrade or pg_dump",
		folder, dataMajor, strings.Join(have, ", "), dataMajor, dataMajor)
}

func missingText(dataMajor string) string {
	debian, alpine, brew := "postgresql", "postgresql", "postgresql@17"
	which := "no PostgreSQL server (the programs postgres and initdb) was found"
	if dataMajor != "" {
		debian, alpine, brew = "postgresql-"+dataMajor, "postgresql"+dataMajor, "postgresql@"+dataMajor
		which += ", and the existing data need version " + dataMajor
	}
	return which + ". Install one (Debian, Ubuntu: apt-get install " + debian +
		"; Fedora: dnf install postgresql-server; Alpine: apk add " + alpine +
		"; macOS: brew install " + brew + "), or set database_url to use a Postgres that runs already. " +
		"It is looked for in PATH, " + strings.Join(binaryFolders()[:3], ", ") + ", and Homebrew's folders"
}
