# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Drydock authors

# Every target works in a fresh clone, as any user, with nothing installed but Go, git, make and gcc (gcc only
# for the race detector). Nothing is downloaded but Go modules. Everything made lands below bin/.

SHELL       := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

BIN      := $(CURDIR)/bin
BINARIES := drydock drydock-agent hostd host-ctr imgtool lab

# A tag names a release; between releases it is the coming version with the commit.
VERSION ?= $(shell v=$$(git describe --tags --match 'v[0-9]*' --dirty 2>/dev/null) && echo "$${v\#v}" || \
	echo "$$(cat VERSION)$$(git rev-parse --short HEAD 2>/dev/null | sed 's/^/+g/')")

# The same settings for build, vet, lint and tests, so that they share compiled packages; static binaries. Nobody
# debugs what is built here, and a quarter of a compiler's time goes into the tables for debuggers. Stack traces need none.
export CGO_ENABLED := 0
export GOFLAGS     := $(strip $(shell go env GOFLAGS 2>/dev/null | sed -E 's/-(trimpath|buildvcs=[a-z]+|gcflags=all=-dwarf=false|ldflags=-w)//g') \
	-trimpath -buildvcs=false -gcflags=all=-dwarf=false -ldflags=-w)
LDFLAGS := -s -w -X main.version=$(VERSION)

# A user without a writable home directory still builds: caches then live below bin/.
writable = $(shell d="$$(go env $(1) 2>/dev/null)"; mkdir -p "$$d" 2>/dev/null && test -w "$$d" && echo yes)
ifneq ($(call writable,GOCACHE),yes)
export GOCACHE := $(BIN)/.cache/go-build
endif
ifneq ($(call writable,GOMODCACHE),yes)
export GOMODCACHE := $(BIN)/.cache/mod
endif
ifneq ($(shell d="$${XDG_CACHE_HOME:-$$HOME/.cache}"; mkdir -p "$$d" 2>/dev/null && test -w "$$d" && echo yes),yes)
export XDG_CACHE_HOME := $(BIN)/.cache
endif

# What tests find the built programs by; the first name is the one envtest reads.
TEST_ENV := KUBEBUILDER_ASSETS=$(BIN)/controlplane DRYDOCK_BIN=$(BIN)

##@ Try it

.PHONY: help
help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} \
		/^##@ / {printf "\n%s\n", substr($$0, 5)} \
		/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))
	@echo

.PHONY: demo
demo: build controlplane ## Update a small fleet on this machine (ARGS="--nodes 12" adds flags of 'bin/lab run')
	$(BIN)/lab run $(ARGS)

##@ Build

.PHONY: build
build: ## Build every binary into bin/
	@mkdir -p $(BIN)
	go build -ldflags "$(LDFLAGS)" -o $(BIN)/ $(addprefix ./cmd/,$(BINARIES))

.PHONY: controlplane
controlplane: ## Build the lab's Kubernetes control plane, once per machine
	@tools/controlplane.sh $(BIN)/controlplane

.PHONY: images
images: $(BIN)/tools/images ## Build the container images into bin/images, without a container engine
	$(BIN)/tools/images -o $(BIN)/images -version "$(VERSION)" -revision "$$(git rev-parse HEAD)" -created "$$(git log -1 --format=%ct)"

.PHONY: helm
helm: $(BIN)/tools/helm ## Build the package manager helm into bin/tools

.PHONY: clean
clean: ## Remove everything that was built in this clone
	@chmod -R u+w bin 2>/dev/null || true
	rm -rf bin

##@ Test

.PHONY: test-short
test-short: ## Run the fast tests only
	go test -short ./...

.PHONY: test
test: build controlplane $(BIN)/tools/helm ## Run all tests, with a real control plane
	$(TEST_ENV) go test -timeout 20m ./...
	go test -C tools ./...

.PHONY: test-race
test-race: build controlplane $(BIN)/tools/helm ## Run all tests under the race detector (needs gcc)
	CGO_ENABLED=1 $(TEST_ENV) go test -race -vet=off -timeout 20m ./...
	go test -C tools ./...

.PHONY: monitoring-test
monitoring-test: ## Test the alert rules (needs promtool)
	@command -v promtool >/dev/null || { \
		echo "monitoring-test: error: promtool is missing" >&2; \
		echo "monitoring-test: hint: on Debian: apt-get install prometheus" >&2; \
		exit 1; \
	}
	promtool check rules deploy/monitoring/alerts.yaml
	promtool test rules deploy/monitoring/alerts_test.yaml

.PHONY: bench
bench: ## Run the benchmarks
	go test -run '^$$' -bench . -benchmem ./...

.PHONY: scale
scale: build controlplane ## Update a thousand simulated hosts and report figures (ARGS="--nodes 100" adds flags of 'bin/lab scale')
	$(BIN)/lab scale --max-concurrent 25 --stage-time 5s --reboot-time 10s --idle 1m --restart $(ARGS)

# A new input is minimized by one run only: else that can take all the time there is. Where each worker starts a control
# plane of its own, one has to do. A test that has run nothing but its seeds has failed. One that fails only because its
# time is over has not: go test may say so of itself when the machine is busy (golang/go#75804).
FUZZTIME ?= 60s
FUZZ ?= .
ENDED_IN_TIME = awk '/^--- FAIL/ {fails++; next} fails && /^    / {causes++; late += /^    context deadline exceeded$$/} END {exit !(fails == 1 && causes == 1 && late == 1)}'
.PHONY: fuzz
fuzz: build controlplane ## Run each fuzz test for FUZZTIME (60s); FUZZ, a pattern, selects some
	@log=$$(mktemp); trap 'rm -f "$$log"' EXIT; failed=""; ran=""; \
	while IFS=: read -r file func; do \
		name=$${func#func }; dir=$${file%/*}; one=""; ran=1; \
		if grep -qs kubetest.Start "$$dir"/*_test.go; then one="-parallel 1"; fi; \
		echo "== $$name in $$dir"; \
		{ $(TEST_ENV) go test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1x $$one "./$$dir" </dev/null 2>&1 | tee "$$log" || $(ENDED_IN_TIME) "$$log"; } && \
		awk '/now fuzzing/ {split($$0, n, /[\/ ]+/); for (i in n) if (n[i] == "completed,") seeds = n[i-1]} \
			/execs: / {for (i = 1; i < NF; i++) if ($$i == "execs:") runs = $$(i+1)} \
			END {if (runs <= seeds) {print "fuzz: error: no input was run but the seeds: give it more FUZZTIME"; exit 1}}' "$$log" || \
		failed+=" $$name"; \
	done < <(grep -rHoE --include='*_test.go' '^func Fuzz[A-Za-z0-9_]+' api cmd internal lab | grep -E -- '$(FUZZ)' | sort -u); \
	[ -n "$$ran" ] || { echo "fuzz: error: no fuzz test matches '$(FUZZ)'" >&2; exit 1; }; \
	if [ -n "$$failed" ]; then \
		echo "fuzz: error: failed:$$failed" >&2; \
		echo "fuzz: hint: inputs that fail are now below testdata/fuzz: commit them with the fix" >&2; \
		exit 1; \
	fi

##@ Before a commit

# In this order: what is generated or formatted is looked at before minutes of tests, and again after them
# for files that a test left behind. Vet is a part of lint here: by itself it would load everything once more.
PHASES := generate fmt tree build lint layers controlplane test-race tree
.PHONY: check
check: ## Everything a change must pass: generate, fmt, vet, lint, layers, tests with the race detector, clean tree
	@report=""; for phase in $(PHASES); do \
		echo "== $$phase"; start=$$SECONDS; \
		$(MAKE) $$phase || { echo "check: error: $$phase failed after $$((SECONDS - start))s" >&2; exit 1; }; \
		report+=$$(printf '\n  %-13s %4ds' "$$phase" $$((SECONDS - start))); \
	done; echo "== all passed in $${SECONDS}s$$report"

CHARTS := deploy/charts
.PHONY: generate
generate: $(BIN)/tools/controller-gen $(BIN)/tools/chart ## Write deep copies, CRDs, the static manifest and the values reference anew
	$(BIN)/tools/controller-gen object:headerFile=tools/header.go.txt paths=./api/...
	$(BIN)/tools/controller-gen crd paths=./api/... output:crd:dir=$(CHARTS)/bottlerocket-update-operator/files
	@cp $(CHARTS)/bottlerocket-update-operator/files/brupop.*.yaml $(CHARTS)/bottlerocket-shadow/files/
	@cp deploy/monitoring/alerts.yaml deploy/monitoring/dashboard.json $(CHARTS)/bottlerocket-update-operator/files/
	$(BIN)/tools/chart -lint $(CHARTS)/bottlerocket-shadow
	$(BIN)/tools/chart -namespace brupop-bottlerocket-aws -o deploy/bottlerocket-update-operator.yaml $(CHARTS)/bottlerocket-update-operator
	$(BIN)/tools/chart -rights -o deploy/rights.txt $(CHARTS)/bottlerocket-update-operator
	$(BIN)/tools/chart -reference -o docs/operator/values.md $(CHARTS)/bottlerocket-update-operator
	go test ./cmd/drydock -run '^TestTheDocumentNamesTheSettings$$' -count=1 -update >/dev/null
	go test ./cmd/drydock-agent -run '^TestTheDocumentNamesTheSettings$$' -count=1 -update >/dev/null

.PHONY: fmt
fmt: ## Format all Go code
	@"$$(go env GOROOT)/bin/gofmt" -s -l -w $$(find . -name '*.go' -not -path './bin/*')

# The control plane's module is left out: vet would look at 2,500 packages of Kubernetes for the sake of one short file.
.PHONY: vet
vet: ## Run go vet
	go vet ./...
	go vet -C tools ./...

.PHONY: lint
lint: $(BIN)/tools/golangci-lint ## Run the linters of .golangci.yaml, and go vet's analyzers with them
	$(BIN)/tools/golangci-lint run --allow-parallel-runners ./...
	cd tools && $(BIN)/tools/golangci-lint run --allow-parallel-runners ./...

.PHONY: layers
layers: ## Check who may import whom, and the other rules of the tree
	go test -short -count=1 .

.PHONY: tree
tree: ## Fail when git sees changed or new files
	@status=$$(git status --porcelain); \
	if [ -n "$$status" ]; then \
		git --no-pager diff; echo "$$status"; \
		echo "check: error: the tree is not clean" >&2; \
		echo "check: hint: commit what 'make generate fmt' changed, and commit or ignore new files" >&2; \
		exit 1; \
	fi

# The programs used above. Built from pinned modules, once per clone and version.
$(BIN)/tools/controller-gen: tools/go.mod tools/go.sum
	go build -C tools -ldflags "-s -w" -o $@ sigs.k8s.io/controller-tools/cmd/controller-gen

$(BIN)/tools/chart: tools/go.mod tools/go.sum $(wildcard tools/chart/*.go)
	go build -C tools -ldflags "-s -w" -o $@ ./chart

$(BIN)/tools/images: tools/go.mod tools/go.sum $(wildcard tools/images/*.go)
	go build -C tools -ldflags "-s -w" -o $@ ./images

$(BIN)/tools/helm: tools/helm/go.mod tools/helm/go.sum
	go build -C tools/helm -ldflags "-s -w" -o $@ helm.sh/helm/v3/cmd/helm

$(BIN)/tools/golangci-lint: tools/lint/go.mod tools/lint/go.sum
	@echo "building golangci-lint: once per clone, about 2 minutes on 2 cores"
	go build -C tools/lint -ldflags "-s -w" -o $@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint
