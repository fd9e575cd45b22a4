# Everything a person or CI types. Paths are relative, so the checkout may live anywhere.
.DEFAULT_GOAL := help
PYTHON_HERE := .venv/bin/python

.PHONY: help env programs ready check test test-machines faults faults-elsewhere bench-elsewhere demo fresh lock clean fuzz

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1	/p' Makefile | expand -t 22

env:  ## .venv from the hash-locked requirements; quick when nothing changed
	@sh tools/env.sh

programs:  ## POV-Ray, ffmpeg and the demo's scene (apt when root, else one line that says what to type)
	@sh tools/programs.sh render scene

# The interpreter first; then both at once, as they wait for different things.
ready:
	@sh tools/env.sh interpreter || exit 1; \
	sh tools/programs.sh render scene $(ALSO) & programs=$$!; sh tools/env.sh; env=$$?; wait $$programs && exit $$env

check: env  ## style, types and the borders between the packages
	$(PYTHON_HERE) -m ruff check .
	$(PYTHON_HERE) -m ruff format --check .
	$(PYTHON_HERE) -m mypy
	$(PYTHON_HERE) -c 'from importlinter.cli import lint_imports_command as lint; lint()'

test: ALSO = database  # a PostgreSQL of their own
test: ready check  ## check, then every test
	$(PYTHON_HERE) -m pytest -n 4 --dist loadfile --no-loadscope-reorder --durations 40 --durations-min 5

test-machines: env  ## what needs machines of its own: executors behind a router, clouds, clusters, clones (root only)
	@sh tools/programs.sh render scene machines
	$(PYTHON_HERE) -m pytest tests/machines

SEEDS ?= 10
DATABASE ?= sqlite
faults: ALSO = $(if $(filter postgresql,$(DATABASE)),database)
faults: ready  ## SEEDS=n runs of 200 tasks under kills, freezes, full disks, and DATABASE=postgresql; see docs/faults.md
	$(PYTHON_HERE) -m tests.chaos.campaign --seeds $(SEEDS) --database $(DATABASE) --results benchmarks/results/faults.json

faults-elsewhere: env  ## SEEDS=n small runs under faults on every kind of machine, or KIND=ec2 alone (root only)
	@sh tools/programs.sh render machines
	$(PYTHON_HERE) -m tests.chaos.elsewhere --seeds $(SEEDS) $(if $(KIND),--kind $(KIND)) \
	  --results benchmarks/results/faults-elsewhere.json

REPEAT ?= 3
bench-elsewhere: env  ## how soon executors elsewhere are there and begin, what they cost; or KIND=ec2 alone (root only)
	@sh tools/programs.sh render machines
	$(PYTHON_HERE) -m benchmarks.elsewhere --repeat $(REPEAT) $(if $(KIND),--kind $(KIND)) \
	  --results benchmarks/results/elsewhere.json

demo: export DEMO_BEGAN := $(shell date +%s)
demo: ready  ## a film and a rebuild through the farm, back to zero, with the bill
	$(PYTHON_HERE) -m demo

fresh:  ## the demo again, in a new minimal Debian made for it (root only)
	@sh tools/fresh-root.sh make demo

TARGET ?= frames
SECONDS ?= 600
fuzz: env  ## feed a parser for a while: make fuzz TARGET=scenes SECONDS=600 (targets: tests/fuzz/targets)
	@$(PYTHON_HERE) -c 'import sys; sys.path.append(".fuzz"); import atheris' 2>/dev/null || \
	  $(PYTHON_HERE) -m pip install --quiet --disable-pip-version-check --target .fuzz 'atheris>=3,<4'
	PYTHONPATH=.fuzz $(PYTHON_HERE) -m tests.fuzz.run $(TARGET) $(SECONDS)

lock:  ## resolve requirements/*.in anew (needs uv)
	for name in run dev; do uv pip compile --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url requirements/$$name.in -o requirements/$$name.txt; done

clean:  ## remove what make made
	rm -rf .venv demo-out dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
