#!/bin/sh
# Installs what this machine lacks: deploy/setup.sh [go] [run] [test] [bench]
#
#   go    looks at Go alone, installs nothing
#   run   and a Postgres server, which `uploadbroker serve` starts by itself
#   test  and a C compiler, which Go's race detector needs, curl, by which a test
#         speaks as old scripts do, djpeg and cjpeg, against which a test holds what
#         is said of damaged photos, node with npm, by which tests upload as
#         programs in the field do: with Aliyun's own clients, which it fetches once,
#         dwebp, tiffcp and openssl, which other tests hold theirs against, and unzip,
#         7z and python3, which read the zips that tests make
#   bench jpeginfo, djpeg and cjpeg, the peers of bench-validate
#
# On Debian, Ubuntu and kin it installs with apt-get, through sudo when it is not
# root. Elsewhere it says what to install. When all is there, it does nothing.
set -eu

cd "$(dirname "$0")/.."

say() { printf 'setup: %s\n' "$*" >&2; }
die() {
	say "$@"
	exit 1
}
has() { command -v "$1" >/dev/null 2>&1; }

check_go() {
	want=$(sed -n 's/^go //p' go.mod)
	has go || die "Go is missing: install Go $want or newer (https://go.dev/dl)."
	# An old Go fetches the one that go.mod asks for, unless GOTOOLCHAIN=local.
	if ! have=$(go env GOVERSION 2>&1); then
		die "Go $want or newer is needed, and this one can't get it: $have"
	fi
	have=${have#go}
	have=${have%% *}
	if [ "$(printf '%s\n%s\n' "$want" "$have" | sort -V | head -n 1)" != "$want" ]; then
		die "Go $want or newer is needed, this is $have: install a newer one (https://go.dev/dl)."
	fi
}

# The places are those of broker/postgres/privatepg/binaries.go.
has_postgres() {
	old_ifs=$IFS
	IFS=:
	for dir in $PATH; do
		if [ -x "$dir/postgres" ] && [ -x "$dir/initdb" ]; then
			IFS=$old_ifs
			return 0
		fi
	done
	IFS=$old_ifs
	for dir in /usr/lib/postgresql/*/bin /usr/pgsql-*/bin /usr/libexec/postgresql* \
		/usr/lib/postgresql*/bin /opt/homebrew/opt/postgresql@*/bin /usr/local/opt/postgresql@*/bin \
		/Applications/Postgres.app/Contents/Versions/*/bin /home/linuxbrew/.linuxbrew/opt/postgresql@*/bin; do
		if [ -x "$dir/postgres" ] && [ -x "$dir/initdb" ]; then
			return 0
		fi
	done
	return 1
}

# A compiler without the C library's headers is no use, so it is tried.
has_cc() {
	cc=$(go env CC)
	# CC may hold flags.
	# shellcheck disable=SC2086
	printf '#include <pthread.h>\nint main(void) { return 0; }\n' |
		$cc -x c -o /dev/null - >/dev/null 2>&1
}

may_be_root() {
	[ "$(id -u)" = 0 ] || has sudo ||
		die "installing needs root, and there is no sudo. Run as root: apt-get install --no-install-recommends $*"
}

as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	elif [ -t 0 ]; then
		sudo "$@"
	else
		sudo -n "$@" # nobody is there to type a password
	fi
}

apt_install() {
	may_be_root "$@"
	say "installing $*"
	# A fresh image has no package lists; those at hand may do when there is no net.
	as_root apt-get update -qq || say "apt-get update failed; trying with the lists at hand"
	as_root env DEBIAN_FRONTEND=noninteractive \
		apt-get install -y -qq --no-install-recommends "$@" </dev/null >&2
}

# Debian's package makes a cluster of its own and starts it on port 5432, unless
# postgresql-common's settings say otherwise when it is installed for the first
# time. They say so only while we install: what somebody installs later is theirs.
conf_dir=/etc/postgresql-common/createcluster.d
conf_file=$conf_dir/uploadbroker-setup.conf

forget_no_cluster() {
	as_root rm -f "$conf_file"
	as_root rmdir "$conf_dir" /etc/postgresql-common 2>/dev/null || true # only when empty
}

apt_install_postgres() {
	may_be_root postgresql
	trap forget_no_cluster EXIT
	trap 'exit 1' HUP INT TERM
	as_root mkdir -p "$conf_dir"
	printf '%s\n' 'create_main_cluster = false' | as_root tee "$conf_file" >/dev/null
	apt_install postgresql
	trap - EXIT HUP INT TERM
	forget_no_cluster
}

postgres_hint() {
	if has dnf; then
		echo "dnf install postgresql-server"
	elif has apk; then
		echo "apk add postgresql"
	elif has pacman; then
		echo "pacman -S postgresql"
	elif has zypper; then
		echo "zypper install postgresql-server"
	elif has brew || [ "$(uname -s)" = Darwin ]; then
		echo "brew install postgresql@17"
	else
		echo "your system's PostgreSQL server package (the programs postgres and initdb)"
	fi
}

cc_hint() {
	if has dnf; then
		echo "dnf install gcc glibc-devel"
	elif has apk; then
		echo "apk add gcc musl-dev"
	elif has pacman; then
		echo "pacman -S gcc"
	elif has zypper; then
		echo "zypper install gcc glibc-devel"
	elif [ "$(uname -s)" = Darwin ]; then
		echo "xcode-select --install"
	else
		echo "a C compiler and the C library's headers"
	fi
}

node_hint() {
	if has dnf; then
		echo "dnf install nodejs npm"
	elif has apk; then
		echo "apk add nodejs npm"
	elif has pacman; then
		echo "pacman -S nodejs npm"
	elif has zypper; then
		echo "zypper install nodejs npm"
	elif has brew || [ "$(uname -s)" = Darwin ]; then
		echo "brew install node"
	else
		echo "Node.js 18 or newer (https://nodejs.org)"
	fi
}

need_postgres() {
	has_postgres && return
	if has apt-get; then
		apt_install_postgres
	else
		die "a PostgreSQL server is missing; it need not run. Install it: $(postgres_hint)"
	fi
	has_postgres || die "the package postgresql is installed, but postgres and initdb are not to be found."
}

need_cc() {
	has_cc && return
	if has apt-get; then
		apt_install gcc libc6-dev
	else
		die "a C compiler is missing. Install it: $(cc_hint)"
	fi
	has_cc || die "gcc is installed, but $(go env CC) compiles nothing (is CC set?)."
}

need_curl() {
	has curl && return
	if has apt-get; then
		apt_install curl
	else
		die "curl is missing; install it with your system's packages."
	fi
}

# The test that needs them is left out without them, so other systems only hear of it.
has_djpeg() { has djpeg && has cjpeg; }

want_djpeg() {
	has_djpeg && return
	if has apt-get; then
		apt_install libjpeg-turbo-progs
	else
		say "djpeg and cjpeg of libjpeg-turbo are missing; a test of damaged photos will be left out."
		return
	fi
	has_djpeg || die "the package libjpeg-turbo-progs is installed, but djpeg and cjpeg are not to be found."
}

# As for djpeg: elsewhere a test is left out.
has_zip_tools() { has unzip && has python3 && { has 7z || has 7zz; }; }

want_zip_tools() {
	has_zip_tools && return
	if has apt-get; then
		missing=
		has unzip || missing=unzip
		has python3 || missing="$missing python3"
		# Debian's older releases call it p7zip-full.
		if ! has 7z && ! has 7zz; then
			if apt-cache show 7zip >/dev/null 2>&1; then
				missing="$missing 7zip"
			else
				missing="$missing p7zip-full"
			fi
		fi
		# One word or several.
		# shellcheck disable=SC2086
		apt_install $missing
	else
		say "unzip, 7z and python3 are missing; a test of zips will be left out."
		return
	fi
	has_zip_tools || die "the packages $missing are installed, but unzip, 7z and python3 are not to be found."
}

has_picture_tools() { has dwebp && has tiffcp && has openssl; }

want_picture_tools() {
	has_picture_tools && return
	if has apt-get; then
		apt_install webp libtiff-tools openssl
	else
		say "dwebp, tiffcp or openssl are missing; the tests that ask them will be left out."
		return
	fi
	has_picture_tools || die "the packages webp, libtiff-tools and openssl are installed, but dwebp, tiffcp and openssl are not to be found."
}

# As for djpeg. Ubuntu's package of that name only leads to a snap, which can't read
# the tests' folders.
want_chromium() {
	has chromium && return
	if ! has apt-get; then
		say "chromium is missing; the tests of the page in a browser will be left out."
		return
	fi
	if (. /etc/os-release && [ "${ID:-}" = ubuntu ]) 2>/dev/null; then
		say "there is no package of chromium for Ubuntu; the tests of the page in a browser will be left out."
		return
	fi
	apt_install chromium fonts-wqy-microhei # Chinese letters in the pictures
	has chromium || die "the package chromium is installed, but chromium is not to be found."
}

need_jpeginfo() {
	has jpeginfo && has_djpeg && return
	if has apt-get; then
		apt_install jpeginfo libjpeg-turbo-progs
	else
		die "jpeginfo, djpeg and cjpeg are missing; install them (jpeginfo, libjpeg-turbo) with your system's packages."
	fi
}

need_node() {
	missing=
	has node || missing=nodejs
	has npm || missing="$missing npm"
	[ -n "$missing" ] || return 0
	if has apt-get; then
		# Two words or one.
		# shellcheck disable=SC2086
		apt_install $missing
	else
		die "node and npm are missing. Install them: $(node_hint)"
	fi
	if ! has node || ! has npm; then
		die "the packages nodejs and npm are installed, but node and npm are not to be found."
	fi
}

forget_building() {
	rm -rf "$building"
}

# Fetches the packages of a folder below testdata, which $2 names for a person.
# The folder is named after the lock file, so that each checkout finds its own;
# cmd/uploadbroker/oss_clients_node_test.go looks for it in the same place. It is
# complete when it has its name. Without it those tests are left out, and say so.
need_packages() {
	if ! node -e 'process.exit(parseInt(process.versions.node) < 18 ? 1 : 0)'; then
		say "node 18 or newer is needed, this is $(node --version); the tests that need it are left out."
		return 0
	fi
	from=cmd/uploadbroker/testdata/$1
	cache=${XDG_CACHE_HOME:-$HOME/.cache}/uploadbroker
	hash=$(node -e 'const fs = require("fs"), crypto = require("crypto");
		console.log(crypto.createHash("sha256").update(fs.readFileSync(process.argv[1])).digest("hex").slice(0, 16))' \
		"$from/package-lock.json")
	packages=$cache/$1-$hash
	[ ! -d "$packages" ] || return 0

	say "fetching $2, once"
	mkdir -p "$cache"
	building=$(mktemp -d "$cache/building-$1.XXXXXX")
	trap forget_building EXIT
	trap 'exit 1' HUP INT TERM
	cp "$from/package.json" "$from/package-lock.json" "$from/.npmrc" "$building"
	if ! (cd "$building" && npm ci --loglevel=error </dev/null >&2); then
		say "npm can't fetch them; the tests that need them are left out."
	elif ! node -e 'require("fs").renameSync(process.argv[1], process.argv[2])' "$building" "$packages" 2>/dev/null; then
		[ -d "$packages" ] || die "$packages can't be made." # else somebody else was quicker
	fi
	forget_building
	trap - EXIT HUP INT TERM
}

[ $# -gt 0 ] || set -- run test
for part in "$@"; do
	case $part in
	go) check_go ;;
	run)
		check_go
		# With a database of one's own, none has to be started.
		[ -n "${UPLOADBROKER_DATABASE_URL:-}" ] || need_postgres
		;;
	test)
		check_go
		need_postgres
		need_cc
		need_curl
		want_djpeg
		want_picture_tools
		want_zip_tools
		want_chromium
		need_node
		need_packages oss-clients "Aliyun's clients for node"
		need_packages axe "axe, which judges the page's accessibility"
		;;
	bench) need_jpeginfo ;;
	*) die "no such part: $part (there are go, run, test, bench)" ;;
	esac
done
