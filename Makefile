# Everything a developer does here. `make` alone lists the targets.

SHELL := /bin/sh
.DEFAULT_GOAL := help

OPERATOR := runai-cluster-operator
CHART := charts/$(OPERATOR)

# Seconds for each fuzz target, and rounds of the fault campaign.
FUZZ_SECONDS ?= 60
CHAOS_ROUNDS ?= 200

# Tests that need a Kubernetes API mostly wait: for a back-off, a quarantine, a poll. Six at once suit two cores.
export RUST_TEST_THREADS ?= 6

# The image that `make image` makes; IMAGE_ARGS go to the engine, such as --platform or (docker only) --push.
IMAGE ?= $(OPERATOR):dev
IMAGE_ARGS ?=

TOOLS := target/tools/bin
# What a release is built and described with. The Dockerfile has the first one, too.
CARGO_AUDITABLE := 0.7.7
CARGO_CYCLONEDX := 0.5.9
FUZZ := PATH="$(CURDIR)/$(TOOLS):$$PATH" cargo +nightly fuzz

.PHONY: help demo up run test e2e lint fmt crds docs picture recordings chart kube tools model chaos conformance fuzz mutants image sbom ci

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-11s  %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: build ## one RunaiCluster through its life, on an own API server, or on the cluster of KUBECONFIG
	cargo run --quiet --package testbed -- demo

up: build ## Kubernetes API, simulator and operator; stays up until Ctrl-C
	cargo run --quiet --package testbed -- up

run: ## the operator against the cluster of KUBECONFIG
	cargo run --package $(OPERATOR) -- run --namespace runai-operator

test: build kube tools ## all tests; builds what they need
	cargo test --workspace --doc
	cargo run --quiet --package testbed -- suite

e2e: build kube tools ## only the tests with a real API server
	cargo test --package testbed
	cargo test --package $(OPERATOR) --test '*'

lint: ## format, clippy, dependencies
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo clippy --package $(OPERATOR) --bins --no-default-features -- -D warnings
	cargo fmt --manifest-path fuzz/Cargo.toml --check
	cargo check --manifest-path fuzz/Cargo.toml --target-dir target/fuzz-check --no-default-features --locked
	@unformatted=$$(gofmt -l testbed/judges); test -z "$$unformatted" || { echo "gofmt -w $$unformatted" >&2; exit 1; }
	@if cargo deny --version >/dev/null 2>&1; then cargo deny check bans licenses sources; \
	else echo "cargo-deny is not installed: its checks are skipped"; fi

fmt: ## format all code
	cargo fmt --all

crds: ## write the CRDs from the code, into crds/ and the chart
	UPDATE_CRDS=1 cargo test --quiet --package $(OPERATOR) --test crds
	UPDATE_DOCS=1 cargo test --quiet --package $(OPERATOR) --test docs

docs: ## write the pages that are made from the code: CRDs, recordings, guides, the chart's values and snapshots, metrics
	UPDATE_DOCS=1 cargo test --quiet --workspace --test docs
	UPDATE_CLI=1 cargo test --quiet --workspace --test cli recordings
	UPDATE_GUIDES=1 cargo test --quiet --workspace --test guides
	UPDATE_DOCS=1 cargo test --quiet --workspace --test chart -- values metrics::the_page the_suites

picture: build kube ## docs/dashboard.svg anew, from ten minutes of a fleet under a real Prometheus
	cargo run --quiet --package testbed -- picture

recordings: kube tools ## run the recordings in docs/kubectl.md and below gitops/ anew
	UPDATE_GITOPS=1 cargo test --quiet --workspace --test gitops -- kubectl recordings

chart: kube tools ## lint and render the chart, run its suites
	target/kube/bin/helm lint --strict $(CHART)
	target/kube/bin/helm template runai-operator $(CHART) --namespace runai-operator --kube-version 1.36.0
	target/kube/bin/helm-unittest --strict --file 'tests/*_test.yaml' $(CHART)

kube: ## build the Kubernetes binaries of the testbed (minutes, the first time)
	cargo run --package testbed -- kube

tools: ## build what tests judge by: Helm 4, helm-unittest, kubeconform, promtool, GitOps tools' own code (minutes, the first time)
	cargo run --package testbed -- tools

model: ## every history of bounded worlds, and every planted mistake (some minutes)
	cargo run --package runai-model -- deep
	cargo run --package runai-model -- mutants

chaos: build kube ## rounds of random users and random faults; CHAOS_SEED and CHAOS_ROUNDS
	CHAOS_ROUNDS=$(CHAOS_ROUNDS) cargo test --package $(OPERATOR) --test chaos campaign -- --nocapture

conformance: kube ## the simulator against the vendor's client and the published schemas; the operator on every profile
	tests/conformance/run
	cargo test --workspace --test profiles --test conformance

fuzz: $(TOOLS)/cargo-fuzz ## every fuzz target for a minute (needs a nightly toolchain)
	@set -e; for target in $$($(FUZZ) list); do mkdir -p target/fuzz/corpus/$$target; \
	  $(FUZZ) run --sanitizer none --target-dir target/fuzz $$target target/fuzz/corpus/$$target fuzz/corpus/$$target \
	    -- -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=2048; done

mutants: $(TOOLS)/cargo-mutants ## mutation testing of what decides (an hour or two)
	PATH="$(CURDIR)/$(TOOLS):$$PATH" cargo mutants --package runai-mutants --output target

image: ## the container image, with docker, podman or buildah; IMAGE, IMAGE_ARGS, ENGINE, SOURCE_DATE_EPOCH
	image/build $(IMAGE) $(IMAGE_ARGS)

sbom: $(TOOLS)/cargo-auditable $(TOOLS)/cargo-cyclonedx ## release binary with its dependencies in it, and a CycloneDX SBOM
	image/sbom target/sbom

$(TOOLS)/cargo-auditable:
	cargo install cargo-auditable --locked --version $(CARGO_AUDITABLE) --root target/tools

$(TOOLS)/cargo-cyclonedx:
	cargo install cargo-cyclonedx --locked --version $(CARGO_CYCLONEDX) --root target/tools

$(TOOLS)/cargo-mutants:
	cargo install cargo-mutants --locked --root target/tools

$(TOOLS)/cargo-fuzz:
	cargo install cargo-fuzz --locked --root target/tools

ci: lint test chart ## what a change must pass

.PHONY: build
build:
	cargo build --package $(OPERATOR) --package testbed --bins
