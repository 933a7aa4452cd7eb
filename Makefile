# Every target works on a bare machine with Python >= 3.11 and make; a compiler makes it fast.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
ARGS   ?=
SOURCES := pyproject.toml CMakeLists.txt $(shell find src native -type f -not -name '*.so' -not -name '*.pyc')

.PHONY: help demo test browser lint bench accuracy results docs clean

help: ## Show this list
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

demo: $(VENV)/installed ## Install, train a classifier on digits, call the functions
	$(BIN)/softmax fit digits --out build/digits.safetensors
	$(BIN)/python -c 'import softmax; x = [1.0, 2.0, 3.0]; print("softmax  ", softmax.softmax(x)); print("logsumexp", softmax.logsumexp(x))'

test: $(VENV)/test ## Install, then run the whole suite (ARGS="-k name" for a part)
	$(BIN)/python -m pytest $(ARGS)

browser: ## Chromium for the tests of the report, where apt-get may install it
	@command -v chromium >/dev/null \
	|| { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y \
	     --no-install-recommends chromium fonts-dejavu-core; } >/dev/null 2>&1 \
	|| echo "No Chromium could be installed: the tests that need it will be skipped."

lint: $(VENV)/lint ## ruff, mypy --strict, clang-format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run --Werror $(shell find native tests/native -name '*.cpp' -o -name '*.h' -o -name '*.inl')

bench: $(VENV)/bench ## Speed side by side with SciPy, PyTorch, JAX, ONNX Runtime (ARGS="softmax --dtype float32")
	$(BIN)/python -m benchmarks.speed $(ARGS)
	$(if $(ARGS),,$(BIN)/python -m benchmarks.training)
	$(if $(ARGS),,$(BIN)/python -m benchmarks.word_vectors)

accuracy: $(VENV)/bench ## Largest error in ulp, side by side with SciPy, PyTorch, JAX
	$(BIN)/python -m benchmarks.accuracy $(ARGS)

results: $(VENV)/bench ## Put what bench and accuracy found into docs/results
	$(BIN)/python -m benchmarks.publish $(ARGS)

docs: $(VENV)/docs ## Build the documentation into docs/_build
	mkdir -p docs/_build/source
	rm -f docs/_build/source/*.rst
	cp -p docs/pages/*.rst docs/_build/source
	$(BIN)/sphinx-build -W --keep-going -b html -c docs docs/_build/source docs/_build/html

clean: ## Remove the virtual environment and everything built
	rm -rf $(VENV) build docs/_build

# A recent pip, because dependency groups need 25.1.
$(VENV)/pip:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	@touch $@

$(VENV)/installed: $(VENV)/pip $(SOURCES)
	@mkdir -p build
	$(BIN)/python -m pip install --quiet '.[all]'
	@touch $@

# One stamp file for each dependency group: .venv/test, .venv/lint, ...
$(VENV)/test $(VENV)/lint $(VENV)/bench $(VENV)/docs: $(VENV)/%: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --group $*
	@touch $@
