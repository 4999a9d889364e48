# Commands for developers. Python packages go to .venv; the programs of the control plane, and the servers and clients of the
# tests that have no package (`tests.support.installs`), go to a cache outside the tree.
PYTHON ?= python3

.PHONY: fuzz faults bench bench-quick bench-sources bench-gateway bench-operator bench-workers demo manifests pictures test lint cluster cluster-down e2e image-environment sbom

.venv: .venv/installed

.venv/installed: requirements.txt requirements-dev.txt pyproject.toml
	$(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	.venv/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

cluster: .venv/installed  ## start a control plane in the background and print how to use it
	.venv/bin/python -m deploy.local up

cluster-down:  ## stop that control plane
	.venv/bin/python -m deploy.local down

demo: .venv/installed  ## one download from manifest to deletion, on a control plane and a hub of its own
	.venv/bin/python -m deploy.local.demo

pictures: .venv/installed  ## the pictures of the documentation, in docs/pictures; needs chromium, chromedriver and Go
	.venv/bin/python -m deploy.pictures

e2e: .venv/installed  ## chart and image on the cluster that KUBECONFIG names; `python -m deploy.e2e --help` has the settings
	.venv/bin/python -m deploy.e2e

TEST_PROCESSES ?= auto
# One race in thousands of tests must not hide what the others say. The summary shows the first failure of a test that passed
# then: it is a defect. RERUNS= switches it off.
RERUNS ?= --reruns 1 --reruns-delay 3 --max-suite-reruns 3 --rerun-show-tracebacks
test: .venv/installed  ## all tests, except the longest fault campaigns; TEST_PROCESSES at one time, by default two for each core
	.venv/bin/python -m tests.support.tools
	.venv/bin/python -m pytest -n $(TEST_PROCESSES) --dist loadgroup $(RERUNS) $(PYTEST_FLAGS)

CLUSTER_FAULTS = $(patsubst %,tests/controller/test_%.py,any_order api_faults killed_writes tokens liveness)
faults: .venv/installed  ## the fault campaigns in full: every point instead of a sample
	FAULTS=long .venv/bin/python -m pytest -rP -p no:logging --timeout 1800 tests/faults $(CLUSTER_FAULTS) $(PYTEST_FLAGS)

bench: .venv/installed  ## compare downloads with curl, aria2, wget and hf; takes about 20 minutes
	.venv/bin/python -m benchmarks.transfer --write benchmarks/RESULTS.md $(BENCH_FLAGS)

bench-quick: .venv/installed  ## the same with a small file
	.venv/bin/python -m benchmarks.transfer --size 256Mi --rounds 2 $(BENCH_FLAGS)

bench-sources: .venv/installed  ## compare a download from each source with curl and openssl; takes about six minutes
	.venv/bin/python -m tests.support.tools
	.venv/bin/python -m benchmarks.sources --write benchmarks/RESULTS-sources.md $(BENCH_FLAGS)

bench-gateway: .venv/installed  ## memory and CPU of the gateway under load; takes about seven minutes
	.venv/bin/python -m benchmarks.gateway --write benchmarks/RESULTS-gateway.md $(BENCH_FLAGS)

bench-operator: .venv/installed  ## memory, CPU and reaction times of the operator; takes about seven minutes
	.venv/bin/python -m benchmarks.operator --write benchmarks/RESULTS-operator.md $(BENCH_FLAGS)

bench-workers: .venv/installed  ## API writes, memory and CPU of worker pods; what a restart and a lost pod cost; takes about seven minutes
	.venv/bin/python -m benchmarks.workers --write benchmarks/RESULTS-workers.md $(BENCH_FLAGS)

manifests: .venv/installed  ## the manifests of deploy/kustomize/base and deploy/install.yaml, made of the chart
	.venv/bin/python -m deploy.render

lint: .venv/installed  ## format, lint, types, import contracts
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/lint-imports

image-environment:  ## what the image installs, in .venv-image; PROGRAMS_PYTHON=.venv-image/bin/python runs programs of tests there
	$(PYTHON) deploy/image/install.py dependencies .venv-image
	$(PYTHON) deploy/image/install.py program .venv-image

.venv-sbom/installed: deploy/image/requirements-sbom.txt
	$(PYTHON) -m venv .venv-sbom
	.venv-sbom/bin/pip install --quiet --disable-pip-version-check --require-hashes -r $<
	touch $@

sbom: image-environment .venv-sbom/installed  ## the bill of materials of the image's Python packages (CycloneDX), in .artifacts
	mkdir -p .artifacts
	.venv-sbom/bin/cyclonedx-py environment --output-reproducible --output-format JSON \
	  --output-file .artifacts/model-provisioner.cdx.json .venv-image/bin/python

.venv-fuzz/installed: requirements-fuzz.txt
	$(PYTHON) -m venv .venv-fuzz
	.venv-fuzz/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-fuzz.txt
	touch $@

FUZZ_SECONDS ?= 60

fuzz: .venv-fuzz/installed  ## hostile files for the GGUF reader, for a minute; an input that breaks it stays in .artifacts/fuzz
	mkdir -p .artifacts/fuzz/corpus
	PYTHONPATH=operator .venv-fuzz/bin/python -m tests.fuzz.corpus .artifacts/fuzz/corpus
	PYTHONPATH=operator .venv-fuzz/bin/python -m tests.fuzz.gguf_header .artifacts/fuzz/corpus \
	  -artifact_prefix=.artifacts/fuzz/ -max_total_time=$(FUZZ_SECONDS) -max_len=4096 -timeout=2 -rss_limit_mb=256
