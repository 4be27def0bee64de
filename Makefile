# podkey: one target per thing a person wants. `make help` lists them.
SHELL := /bin/sh
BIN := .venv/bin
PODKEY := $(BIN)/podkey
READY := .venv/.ready
UV := $(shell command -v uv 2>/dev/null || echo .tools/bin/uv)
PIN := $(UV) pip compile --quiet --universal --python-version 3.12 --generate-hashes \
	--no-emit-index-url --custom-compile-command "make pins"

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup: $(READY) ## make .venv with the pinned packages (every other target does this by itself)

$(READY): requirements/dev.txt requirements/uv.txt pyproject.toml .ci/setup
	@.ci/setup

# Tests run in so many processes, the tests of one file in one: many of them wait. 0: one after the other.
WORKERS ?= 2
SPREAD := --numprocesses=$(WORKERS) --dist=loadfile --no-loadscope-reorder

# One after the other: containers of one podman, whose figures are told at the end.
BY_PODMAN := tests/images tests/pods

# Where no test may be ended for its time (pyproject.toml): a hundred times the examples, a cluster of yours.
PATIENT := --timeout=0 -o faulthandler_timeout=0

.PHONY: test
test: $(READY) ## run all tests; those in network namespaces need root and nftables, else they skip and say so
	@.ci/oidc-provider
	@.ci/swift
	@.ci/s3-clients
	@.ci/helm
	@.ci/chart-tools
	@.ci/api-server
	$(BIN)/python -m pytest -q $(SPREAD) $(BY_PODMAN:%=--ignore=%)
	$(BIN)/python -m pytest -q $(BY_PODMAN)

.PHONY: check
check: lint types cover current ## lint, types, coverage, generated files are current (tests: make test)

.PHONY: lint
lint: $(READY) ## ruff: rules and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

.PHONY: fmt
fmt: $(READY) ## format the code and mend what ruff can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: types
types: $(READY) ## mypy, strict
	$(BIN)/mypy

# Modules that decide or parse: every branch, no exception list.
ROOMS := judge documents transaction aws sources attach tokens leasing core wire services
comma := ,
empty :=
INJECTOR_ROOMS := core reading craft engine
COVERED := $(subst $(empty) $(empty),$(comma),$(ROOMS:%=proxy/%/*) $(INJECTOR_ROOMS:%=injector/%/*))
.PHONY: cover
cover: $(READY) ## the tests of what parses or decides; fail below 100 % branch coverage there
	@$(BIN)/python -m coverage erase
	@$(MAKE) --no-print-directory --jobs=$(or $(filter-out 0,$(WORKERS)),1) --output-sync=target $(PIECES)
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report --include='$(COVERED)' --fail-under=100

# A piece for each room, the long ones first, so that some can run at a time: coverage measures its own process.
PIECES := $(ROOMS:%=cover-proxy-%) cover-catalogue $(INJECTOR_ROOMS:%=cover-injector-%)
PIECE := $(BIN)/python -m coverage run --parallel-mode -m pytest -q
.PHONY: $(PIECES)
$(ROOMS:%=cover-proxy-%): cover-proxy-%:
	@$(PIECE) tests/unit/proxy/$*
$(INJECTOR_ROOMS:%=cover-injector-%): cover-injector-%:
	@$(PIECE) tests/unit/injector/$*
cover-catalogue:
	@$(PIECE) tests/catalogue

.PHONY: demo
demo: $(READY) ## an unchanged program behind the sidecar, told in the terminal (KEEP=1 leaves it running)
	$(BIN)/python examples/01-laptop/demo.py $(if $(KEEP),--keep)

.PHONY: fuzz
fuzz: $(READY) ## the property tests again, with new inputs and a hundred times the examples (takes a while)
	HYPOTHESIS_PROFILE=fuzz $(BIN)/python -m pytest -q $(PATIENT) -k "fuzz or property or properties"

# BENCH=quick is for CI: everything runs, the lanes in a minute or two, and no figure of theirs is judged.
BENCH ?= full
QUICK := $(filter quick,$(BENCH))
# How much bench/s3.py moves each way: past podkey to a store that costs nothing, and to a real one.
S3_GIB ?= $(if $(QUICK),1,5)
S3_SWIFT_GIB ?= $(if $(QUICK),0,1)
.PHONY: bench
bench: $(READY) ## measure: the lanes beside Envoy (docs/performance.md), decisions, leases, signatures, reviews, S3
	@.ci/swift
	@.ci/envoy
	$(BIN)/python -O bench/suite.py $(if $(QUICK),--quick)
	$(BIN)/python -O bench/decision.py
	$(BIN)/python -O bench/commands.py
	$(BIN)/python -O bench/leases.py
	$(BIN)/python -O bench/signing.py
	$(BIN)/python -O bench/injector.py
	$(BIN)/python -O bench/s3.py --gib $(S3_GIB) --swift-gib $(S3_SWIFT_GIB)

.PHONY: e2e
e2e: $(READY) ## the whole of it on a real cluster: KUBECONFIG=… INJECTOR_IMAGE=… PROXY_IMAGE=… APP_IMAGE=…
	@.ci/helm
	PODKEY_E2E_KUBECONFIG="$(KUBECONFIG)" INJECTOR_IMAGE="$(INJECTOR_IMAGE)" PROXY_IMAGE="$(PROXY_IMAGE)" \
		APP_IMAGE="$(APP_IMAGE)" $(BIN)/python -m pytest -q $(PATIENT) -rs tests/e2e

.PHONY: images
images: ## build the two images with podman or docker (docs/images.md): BASE=… PLATFORM=… REPOSITORY=… TAG=…
	@images/build

.PHONY: pods
pods: images $(READY) ## whole pods, played by podman from our images, and searched for credentials (root; docs/pods.md)
	@.ci/swift
	@.ci/lab-app
	$(BIN)/python -m pytest -q -rs tests/pods

.PHONY: radosgw
radosgw: $(READY) ## AssumeRoleWithWebIdentity at a real radosgw (root; its Debian root takes 1 GB of the cache folder)
	$(BIN)/python -m tests.radosgw

.PHONY: generate crds
generate crds: $(READY) ## write every generated file: schemas, CRDs, reference pages
	$(BIN)/python .ci/generate.py

.PHONY: golden
golden: $(READY) ## write what `podkey inject` and the chart make of each case in tests/golden
	@.ci/helm
	$(BIN)/python -m tests.golden

.PHONY: current
current: $(READY) ## fail when a generated file is stale
	@.ci/helm
	$(BIN)/python .ci/generate.py --check
	$(BIN)/python -m tests.golden --check

.PHONY: pins
pins: ## resolve requirements/*.txt anew, with hashes
	@.ci/setup uv
	$(PIN) pyproject.toml --all-extras --output-file requirements/dev.txt
	$(PIN) pyproject.toml --extra proxy --constraints requirements/dev.txt --output-file requirements/proxy.txt
	$(PIN) pyproject.toml --extra injector --constraints requirements/dev.txt --output-file requirements/injector.txt
	$(PIN) requirements/uv.in --output-file requirements/uv.txt

.PHONY: clean
clean: ## remove what make made
	rm -rf .venv .tools .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage bench/results \
		images/.packages images/.debs images/.built
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
