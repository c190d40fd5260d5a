# make install | horovod | demo | test | fuzz | lint | bench | soak | images | images-test | images-lock | images-audit | down | cluster | cluster-test | cluster-down | kubeflow-test
SHELL := /bin/bash
PYTHON ?= python3
UV := .uv/bin/uv
BIN := .venv/bin
# Trust the machine's own certificates: companies put a proxy's there.
export UV_SYSTEM_CERTS := 1
# Every step and replica is a Python process of its own: without compiled bytecode each spends seconds compiling imports.
unexport PYTHONDONTWRITEBYTECODE
RECIPE ?= intents
LOOPS ?= 10
# Tests at a time: three for two cores, since some of them wait for processes that start or end.
JOBS ?= $(shell expr $$(nproc) + $$(nproc) / 2)
FUZZ_S ?= 60

# `make demo STRATEGY=horovod` and the tests need Horovod; it is built once into a cache folder.
.PHONY: install horovod demo test fuzz lint lint-types bench soak images images-test images-lock images-audit down clean cluster cluster-test cluster-down kubeflow-test

install: .venv/.installed

$(UV):
	$(PYTHON) -m venv .uv
	.uv/bin/pip install --quiet --disable-pip-version-check --require-hashes -r tools/uv-requirements.txt

.venv/.installed: pyproject.toml uv.lock | $(UV)
	$(UV) sync --quiet --locked --extra dev --compile-bytecode
	@touch $@

# After each `uv sync`, which takes away what the lock doesn't know; instant when it is there.
horovod: install
	@tools/horovod-wheel.sh $(BIN)/python >/dev/null

demo: $(if $(filter horovod,$(STRATEGY)),horovod,install)
	@$(BIN)/shipway demo --recipe $(RECIPE) $(if $(STRATEGY),--param strategy=$(STRATEGY))

# DECOYS=1: on a machine that has a Kubeflow, a store, a proxy and a home full of settings, none of which a test may see.
test: horovod
	SHIPWAY_LOOPS=$(LOOPS) $(BIN)/python -m $(if $(DECOYS),tests.fixtures.decoys,pytest) -n $(JOBS) --dist loadgroup --durations=10

# Looks for inputs that break a reader, the endpoint's HTTP surface or an expression: FUZZ_S seconds at each.
fuzz: install
	SHIPWAY_FUZZ_S=$(FUZZ_S) $(BIN)/python -m pytest tests/fuzz -m fuzz -n $(JOBS) --durations=10

lint: install
	$(UV) lock --check
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/hadolint images/*/Dockerfile
	$(BIN)/mypy -p shipway

bench: install
	$(BIN)/python -m benchmarks

soak: horovod
	SHIPWAY_LOOPS=500 $(BIN)/python -m pytest -n $(JOBS) -m soak --timeout 7200

# A Kubernetes with the operators on this machine (docs/cluster-bed.md): root, Go and 20 minutes for its first build.
cluster: install
	@$(BIN)/python -m tests.cluster.bed up

# Of the tests on the bed those that $(1) chooses: side by side, then those that change it, alone.
define bed-tests
@$(BIN)/python -m tests.cluster.bed prepare
$(BIN)/python -m pytest tests/cluster -m "$(1)not alone" -n 3 --dist loadgroup --durations=10; first=$$?; \
$(BIN)/python -m pytest tests/cluster -m "$(1)alone" -n 0 --durations=10 && exit $$first
endef

cluster-test: install
	$(call bed-tests,)

# Against a real Kubeflow Pipelines, with what its user has (docs/kubeflow.md): KFP=URL, and in the environment KUBECONFIG and the
# store's address. NAMESPACE=kubeflow; REGISTRY=... DIGESTS=... where the images are.
kubeflow-test: install
	SHIPWAY_KFP=$(KFP) NAMESPACE=$(NAMESPACE) REGISTRY=$(REGISTRY) DIGESTS=$(DIGESTS) \
	$(BIN)/python -m pytest tests/kubeflow -n 0 --durations=10

cluster-down: install
	@$(BIN)/python -m tests.cluster.bed down

# docker, podman or buildah, whichever works; BASE=... where images/base.env pins none. ARGS="launcher --variant cuda"
images: install
	$(BIN)/python -m tools.images build $(ARGS)

images-lock: install
	$(BIN)/python -m tools.images lock

# Builds all four, looks into them, runs each by itself, and then whole pipelines with them on the test bed.
images-test: export SHIPWAY_BED_IMAGES = build
images-test: install
	$(BIN)/python -m pytest tests/images -m images --durations=10
	$(call bed-tests,shipped and )

# Known vulnerabilities of what the images hold: asks pypi.org, or SERVICE=osv.
images-audit: install
	$(BIN)/python -m tools.images audit $(if $(SERVICE),--service $(SERVICE))

down:
	@$(BIN)/shipway down

clean: down
	rm -rf .venv .uv .shipway
