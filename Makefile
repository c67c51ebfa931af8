# Two commands do everything on a fresh machine: `make demo` and `make test`. `make help` lists the rest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LAVA := .venv-lava
NIR := .venv-nir
LOIHI1 := .venv-loihi1
SANAFE := .venv-sanafe
PIP := -m pip install --quiet --disable-pip-version-check
DEMO := out/demo

.PHONY: help setup lava loihi1 sanafe readers demo quick test docs package lint replay results accuracy benchmarks bit-exact fuzz fuzz-graphs fuzz-time clean

help:
	@echo "make demo      set up, compile the shipped network for sim, NIR and Lava, verify, evaluate"
	@echo "make quick     the tests that take seconds: no Lava, no corpus, no learning (90 s on two cores)"
	@echo "make test      set up and run all tests (Lava included)"
	@echo "make setup     only create $(VENV) with sfnc in it"
	@echo "make lava      only create $(LAVA) with lava-nc, which runs the Lava target"
	@echo "make loihi1    create $(LOIHI1) with nengo-loihi, whose emulator runs the target loihi1"
	@echo "make sanafe    create $(SANAFE) with SANA-FE, a second opinion on what the estimates add up (optional)"
	@echo "make readers   create $(NIR) with the stock NIR readers (torch, snnTorch, Norse, Sinabs, SpikingJelly)"
	@echo "make docs      the site, in out/site (Python 3.11 or later)"
	@echo "make package   wheel and sdist, in dist/, tried in a fresh environment"
	@echo "make lint      ruff and mypy"
	@echo "make replay BASE=REVISION  build the same networks with a git revision and with this tree; every byte is compared"
	@echo "make fuzz      40,000 damaged models through check and compile; every case must end in a diagnostic"
	@echo "make fuzz-time 10,000 random networks over time: plain integers against both engines (half an hour)"
	@echo "make fuzz-graphs 2,000 random graphs: each built and proved on every target, or refused with the truth (hours)"
	@echo "make results   measure docs/results.md anew (needs the corpus)"
	@echo "make accuracy  measure docs/accuracy.md anew: every method, levels and bits (needs the corpus, hours)"
	@echo "make bit-exact measure docs/bit_exact.md anew: every optimisation level of onnxruntime (needs the corpus, minutes)"
	@echo "make benchmarks measure docs/performance.md anew: speed and memory beside other programs (needs the corpus)"

setup: $(VENV)/.done
$(VENV)/.done: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python $(PIP) -e '.[nir,test,lint,docs]'
	@touch $@

# lava-nc declares Python 3.10 only; elsewhere it is installed against its word, and the emitted run.py carries a shim.
lava: $(LAVA)/.done
$(LAVA)/.done: backends/sfn_backends/lava/requirements.txt
	$(PYTHON) -m venv $(LAVA)
	$(LAVA)/bin/python $(PIP) -r backends/sfn_backends/lava/requirements.txt
	$(LAVA)/bin/python $(PIP) --no-deps --ignore-requires-python lava-nc==0.10.0
	@touch $@

loihi1: $(LOIHI1)/.done
$(LOIHI1)/.done: backends/sfn_backends/loihi1/requirements.txt
	$(PYTHON) -m venv $(LOIHI1)
	$(LOIHI1)/bin/python $(PIP) -r backends/sfn_backends/loihi1/requirements.txt
	@touch $@

# An oracle of the estimates, GPL-3: outside CI, nothing of it is in the repository. The tests find it.
sanafe: $(SANAFE)/.done
$(SANAFE)/.done:
	$(PYTHON) -m venv $(SANAFE)
	$(SANAFE)/bin/python $(PIP) sanafe==2.2.9
	@touch $@

# torch first and alone: anything else would pull a CUDA build of several gigabytes.
readers: $(NIR)/.done
$(NIR)/.done: backends/sfn_backends/nir/requirements-readers.txt
	$(PYTHON) -m venv $(NIR)
	$(NIR)/bin/python $(PIP) torch==2.13.0
	$(NIR)/bin/python $(PIP) h5py loguru matplotlib numpy pbr scipy tqdm
	$(NIR)/bin/python $(PIP) --no-deps -r backends/sfn_backends/nir/requirements-readers.txt
	@touch $@

demo: setup lava
	$(BIN)/sfnc models/digits.onnx --calib models/digits_calib.npz --target sim,nir,lava -o $(DEMO)
	$(BIN)/sfnc verify $(DEMO)
	$(BIN)/sfnc eval $(DEMO) --data models/digits_test.npz
	@echo
	@echo "The build is in $(DEMO)/: open report.html there, or read report.json and proof.json."
	@echo "Next: $(BIN)/sfnc YOUR_MODEL.onnx --calib YOUR_DATA.npz --target sim,nir,lava -o out/mine"
	@echo "Everything on one page: $(CURDIR)/$(DEMO)/report.html"

quick: setup
	$(BIN)/python -m pytest -q -n 2 -m "not slow"

test: setup lava
	$(BIN)/python -m pytest -q -n 2

docs: setup
	$(BIN)/python docs/generate.py --check
	$(BIN)/python -m sphinx -q -W --keep-going -c docs . out/site
	@echo "The site is in out/site/index.html"

# What users install: wheel and sdist, and the wheel alone in a fresh environment runs the demo's commands.
package: setup
	.ci/package

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# REPLAY="--quick", "--integers-only", "--only digits", "--speed": see tests/benchmarks/replay.py --help.
replay: setup
	$(BIN)/python -m tests.benchmarks.replay $(BASE) $(REPLAY)

results: setup lava
	$(BIN)/python -m tests.benchmarks.corpus_results --write docs/results.md

accuracy: setup
	$(BIN)/python -m tests.benchmarks.accuracy --write docs/accuracy.md

benchmarks: setup lava
	$(BIN)/python -m tests.benchmarks.performance --write docs/performance.md

bit-exact: setup
	$(BIN)/python -m tests.benchmarks.bit_exact --write docs/bit_exact.md

fuzz: setup
	$(BIN)/python -m tests.fuzz.campaign --cases 40000 --first $$(date +%s)

fuzz-time: setup
	$(BIN)/python -m tests.time.compare --cases 10000 --first $$(date +%s)

fuzz-graphs: setup
	$(BIN)/python -m tests.fuzz.graphs --cases 2000 --first $$(date +%s)

clean:
	rm -rf $(VENV) $(LAVA) $(LOIHI1) $(SANAFE) $(NIR) out build dist
