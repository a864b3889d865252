# make lab        a JupyterLab with the series and a real model, in one command
# make test       everything that CI checks
# make notebooks  execute the series again and normalise what is stored
# make solutions  solve every exercise of the series, and see that its check says so

PYTHON ?= python3
PIP_ARGS ?=
VENV := .venv
BIN := $(VENV)/bin

export PYTHONHASHSEED := 0
export TOKENIZERS_PARALLELISM := false

.PHONY: help lab model test unit browser series notebooks solutions lint bench bench-views bench-patching pictures subspaces sinks circuits domains in-context induction sums clean

help:
	@sed -n 's/^# //p' Makefile

lab: $(VENV)/.notebook
	$(BIN)/nbtools lab

model: $(VENV)/.notebook
	$(BIN)/nbtools fetch

test: lint unit browser series

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

unit: $(VENV)/.test node_modules/.installed
	$(BIN)/nbtools fetch
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not browser" -n 2 --dist loadfile

browser: $(VENV)/.test
	$(BIN)/nbtools fetch
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -m browser --durations=10

series: $(VENV)/.test
	$(BIN)/nbtools fetch
	HF_HUB_OFFLINE=1 TQDM_DISABLE=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest notebooks -n 2 --dist loadfile \
	  --nbval-lax --nbval-current-env \
	  --nbval-sanitize-with=notebooks/sanitize.cfg --nbval-cell-timeout=120 \
	  --nbval-kernel-startup-timeout=120 --durations=10

notebooks: $(VENV)/.test
	$(BIN)/nbtools fetch
	$(BIN)/python notebooks/execute.py

solutions: $(VENV)/.test
	$(BIN)/nbtools fetch
	$(BIN)/python notebooks/solutions.py

bench: $(VENV)/.test
	$(BIN)/python benchmarks/first_light.py

bench-views: $(VENV)/.test
	$(BIN)/nbtools fetch
	$(BIN)/python benchmarks/views.py

bench-patching: $(VENV)/.test
	$(BIN)/python benchmarks/patching.py

pictures: $(VENV)/.test
	$(BIN)/python data/pictures/make.py
	$(MAKE) sums

subspaces: $(VENV)/.test
	$(BIN)/nbtools fetch
	$(BIN)/python data/subspaces/make.py
	$(MAKE) sums

sinks: $(VENV)/.test
	$(BIN)/python data/sinks/make.py
	$(MAKE) sums

in-context: $(VENV)/.test
	$(BIN)/python data/in_context/make.py
	$(MAKE) sums

induction: $(VENV)/.test
	$(BIN)/python data/induction/make.py
	$(MAKE) sums

circuits: $(VENV)/.test
	$(BIN)/nbtools fetch
	$(BIN)/python data/circuits/make.py
	$(MAKE) sums

domains: $(VENV)/.test
	$(BIN)/nbtools fetch
	$(BIN)/python data/domains/make.py
	$(MAKE) sums

sums:
	cd data && find . -type f ! -name '*.py' ! -name '*.md' ! -name SHA256SUMS ! -path '*/__pycache__/*' | sed 's|^\./||' | \
	  sort | xargs sha256sum > SHA256SUMS

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

# The stamps make a second run start in seconds; a change of the requirements installs again.
$(VENV)/.notebook: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt $(PIP_ARGS) --editable '.[notebook]'
	@touch $@

$(VENV)/.test: $(VENV)/.notebook
	$(BIN)/python -m pip install --quiet --constraint constraints.txt $(PIP_ARGS) --editable '.[test]'
	@touch $@

# Without Node.js the tests of the views' JavaScript are skipped, and say so.
node_modules/.installed: package.json package-lock.json
	@if command -v npm >/dev/null; then npm ci --no-fund --no-audit --loglevel=error; \
	  else echo "no npm: the JavaScript tests will be skipped"; mkdir -p node_modules; fi
	@touch $@

clean:
	rm -rf $(VENV) node_modules .pytest_cache .ruff_cache .hypothesis
