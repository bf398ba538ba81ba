# make            lists the targets
# make run        a whole product on http://127.0.0.1:8080, nothing to configure
# make test       every test
#
# No recipe names an absolute path, so a checkout may live anywhere.

.DEFAULT_GOAL := help
.SUFFIXES:

# Where Go's own archive puts it, for those who have not told their PATH.
export PATH := $(PATH):/usr/local/go/bin

# Tools have a module of their own: what builds the product stays out of what it
# is built from. Without cgo they need no C compiler, and sqlc compiles in one
# minute and not in many.
TOOL := CGO_ENABLED=0 go tool -modfile=.tools/go.mod

# Go stamps the commit into the program, but gives up where git does (a checkout
# owned by another user, an unpacked archive).
STAMP := $(shell git status --short >/dev/null 2>&1 || echo -buildvcs=false)

# Passed on to the program by make run: make run ARGS='--lan --listen :9000'
ARGS ?=
# Passed on to go test by make test: make test TESTFLAGS='-run Lock -v'
TESTFLAGS ?=
# How long each benchmark runs: make bench BENCHTIME=10s
BENCHTIME ?= 1s
# How long a crowd uploads, and how many they are: make bench-load LOADTIME=10s LOADCLIENTS=200
LOADTIME ?= 1m
LOADCLIENTS ?= 1000
# How long each fuzz target runs, and of which packages: make fuzz FUZZTIME=10m FUZZ=./broker/validate/jpeg
FUZZTIME ?= 10s
FUZZ ?= ./broker/validate/...
# What decides when what fails, and how long it goes on failing:
# make soak SEED=7 SOAKTIME=30m
SEED ?= 1
SOAKTIME ?= 10m

.PHONY: help
help: ## list the targets
	@echo 'uploadbroker. make <target>:'
	@echo
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' Makefile | while IFS='|' read -r name text; do \
		printf '  %-14s %s\n' "$$name" "$$text"; done
	@echo
	@echo "Variables: ARGS (run), TESTFLAGS (test), BENCHTIME (bench), LOADTIME and LOADCLIENTS (bench-load), SEED and SOAKTIME (soak), FUZZTIME and FUZZ (fuzz)."

.PHONY: run
run: ## set up, build, and serve on 127.0.0.1:8080 (ARGS='--lan' and others)
	@./deploy/setup.sh run
	@$(MAKE) --no-print-directory build
	@exec ./bin/uploadbroker serve $(ARGS)

# Most tests wait for processes and databases: one package more than there are cores,
# and four tests of the whole program at once, keep two cores busy.
.PHONY: test
test: ## set up, then every test with the race detector
	@./deploy/setup.sh test
	CGO_ENABLED=1 go test -race -timeout 20m -p $$(($$(getconf _NPROCESSORS_ONLN) + 1)) -parallel 4 $(TESTFLAGS) ./...

# The last release of MinIO as a module. It is built outside of this module, which
# it changes nothing in, and renamed at the end: a build that broke off leaves no
# program.
MINIO_VERSION := v0.0.0-20260212201848-7aac2a2c5b7c

.PHONY: test-minio
test-minio: ## build MinIO from its module once, then the tests of buckets and their events on it
	@./deploy/setup.sh test
	@set -eu; dir="$${XDG_CACHE_HOME:-$$HOME/.cache}/uploadbroker/minio-$(MINIO_VERSION)"; \
	if ! [ -x "$$dir/minio" ]; then \
		echo 'Building MinIO $(MINIO_VERSION), once: some 6 minutes on two cores.'; \
		mkdir -p "$$dir"; \
		(cd "$$dir" && GOFLAGS= GOBIN="$$dir/building" CGO_ENABLED=0 \
			nice go install github.com/minio/minio@$(MINIO_VERSION)); \
		mv "$$dir/building/minio" "$$dir/minio"; \
	fi; \
	UPLOADBROKER_TEST_MINIO="$$dir/minio" REQUIRE=minio CGO_ENABLED=1 \
		go test -race -count=1 -timeout 9m -run '^TestMinIO' $(TESTFLAGS) ./storage/s3 ./cmd/uploadbroker

# go test's own limit is off: the test has limits of its own, which grow with
# SOAKTIME. Its log is printed as it goes, and a summary at the end.
.PHONY: soak
soak: ## brokers and workers killed, lines cut, Postgres lost, all the while (SEED, SOAKTIME)
	@./deploy/setup.sh test
	UPLOADBROKER_SOAK_SEED=$(SEED) UPLOADBROKER_SOAK_TIME=$(SOAKTIME) CGO_ENABLED=1 \
		go test -race -count=1 -timeout 0 -v -run '^TestSoak$$' $(TESTFLAGS) ./cmd/uploadbroker

# go test fuzzes one target of one package at a time, so that they are listed first.
# An input that is found to do something new is made smaller in ten runs at most:
# by default the minute that is spent on each is most of a short FUZZTIME. Garbage
# waits longer than usual: collecting it would be most of the work.
.PHONY: fuzz
fuzz: ## every fuzz target of the validators, each for FUZZTIME (FUZZ: of other packages)
	@./deploy/setup.sh go
	@set -eu; for package in $$(go list $(FUZZ)); do \
		for target in $$(go test -list '^Fuzz' $$package | sed -n '/^Fuzz/p'); do \
			echo "$$package $$target"; \
			GOGC=800 go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x $$package; \
		done; \
	done

.PHONY: lint
lint: ## formatting, go vet, staticcheck, who may import whom
	@./deploy/setup.sh go
	@files=$$(gofmt -l .) || exit 1; if [ -n "$$files" ]; then \
		echo "These files are not formatted (run: gofmt -w .):"; echo "$$files"; exit 1; fi
	go vet ./...
	$(TOOL) staticcheck ./...
	go test -count=1 -run '^TestImports$$' ./cmd/uploadbroker

.PHONY: generate
generate: ## write the generated code anew (SQL, GraphQL)
	@./deploy/setup.sh go
	$(TOOL) sqlc generate -f broker/postgres/sqlc.yaml
	$(TOOL) gqlgen generate --config api/graphql/gqlgen.yml
	go generate ./...

.PHONY: bench
bench: ## registration, look-ups, nearest, presigning, files to Ready, beside named peers
	@./deploy/setup.sh run
	go test -run '^$$' -bench . -benchmem -benchtime $(BENCHTIME) -timeout 30m ./cmd/uploadbroker ./storage/s3 ./geoip

# go test's own limit is off, as for the soak.
.PHONY: bench-load
bench-load: ## 1,000 clients for a minute on the whole product: no error, no lost image (LOADTIME, LOADCLIENTS)
	@./deploy/setup.sh run
	UPLOADBROKER_LOAD_TIME=$(LOADTIME) UPLOADBROKER_LOAD_CLIENTS=$(LOADCLIENTS) \
		go test -run '^$$' -bench '^BenchmarkLoad$$' -benchtime 1x -timeout 0 ./cmd/uploadbroker

.PHONY: bench-validate
bench-validate: ## judging photos beside jpeginfo, djpeg and Go's decoder, in MB per CPU-second
	@./deploy/setup.sh run bench
	go test -run '^$$' -bench '^BenchmarkValidate$$' -benchtime 1x -timeout 0 ./cmd/uploadbroker

.PHONY: bench-zip
bench-zip: ## a project's zip over HTTP beside reading the same objects one by one, and the server's memory
	@./deploy/setup.sh run
	go test -run '^$$' -bench '^BenchmarkZip$$' -benchtime 1x -timeout 0 ./cmd/uploadbroker

.PHONY: build
build: ## build bin/uploadbroker
	@./deploy/setup.sh go
	CGO_ENABLED=0 go build $(STAMP) -o bin/uploadbroker ./cmd/uploadbroker

.PHONY: setup
setup: ## install what run and test need and this machine lacks
	@./deploy/setup.sh run test
