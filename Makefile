# Everything here needs only Python 3.11 to 3.13 and make. `make help` lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
GYM := .venv-gym
VERL := .venv-verl
VLLM := .venv-vllm
SEED ?= 0
TASK ?= free
RUN ?= runs/quickstart
# The folder of the published data files, which some tests and benchmarks read.
DATA ?= data
export DATA
export TOKENIZERS_PARALLELISM := false
export HF_HUB_OFFLINE ?= 1

.DEFAULT_GOAL := help
.PHONY: help setup scorer quickstart paper-tables smollm2 qwen3-dry-run test test-bounds test-gym test-trl test-verl test-vllm docs dist \
	lock audit sync check format bench clean

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-13s %s\n", $$1, $$2}'

setup: $(READY) ## create .venv and install the four packages and the tools

# Each file is checked against a hash in the constraint files. Nothing else is downloaded, not even to build what has no wheel.
INSTALL := -m pip install --quiet --no-deps --no-build-isolation
HASHED := $(INSTALL) --require-hashes
# $(call environment,folder): an environment with the build tools
environment = test -x $(1)/bin/python || $(PYTHON) -m venv $(1); $(1)/bin/python $(HASHED) --requirement constraints-build.txt
# $(call torch,folder): a torch that is there already or lies in a folder that pip knows (PIP_FIND_LINKS), or the index's
torch = $(1)/bin/python $(HASHED) --no-index --requirement constraints-torch-cpu.txt 2> /dev/null \
	|| $(1)/bin/python $(HASHED) --requirement constraints-torch.txt

$(READY): $(wildcard constraints*.txt) pyproject.toml $(wildcard packages/*/pyproject.toml)
	$(call environment,$(VENV))
	$(call torch,$(VENV))
	$(BIN)/python $(HASHED) --requirement constraints.txt
	$(BIN)/python $(INSTALL) $(foreach package,chrpo cot-compressor math-eval ratio-sft,--editable packages/$(package))
	$(BIN)/python -m pip check
	touch $(READY)

scorer: $(READY) ## train the scorer of the documents on real traces (DATA=folder of the data files)
	$(BENCH)/cot_compressor_train.py runs/scorer --data-dir "$(DATA)"

quickstart: $(READY) ## train a tiny model to think in a fifth of the tokens: 20 minutes (SEED=0 RUN=runs/quickstart)
	$(BIN)/python examples/quickstart/quickstart.py $(RUN) --seed $(SEED)

paper-tables: $(READY) ## run SFT on our compressions and on others, several seeds: hours, resumable (TASK=gradual: harder problems)
	$(BIN)/python examples/paper_tables/paper_tables.py runs/paper_tables --task $(TASK) --jobs 2

smollm2: $(READY) runs/smollm2/problems/test.jsonl ## run the same on pretrained weights: hours, resumable (needs a C compiler)
	OMP_NUM_THREADS=1 $(BIN)/python examples/smollm2/smollm2.py runs/smollm2

runs/smollm2/problems/test.jsonl: | $(GYM)/.ready
	$(GYM)/bin/python examples/smollm2/problems.py runs/smollm2/problems

qwen3-dry-run: $(READY) ## run every stage of the paper's GPU recipe on a CPU, in miniature; the numbers mean nothing
	$(BIN)/python examples/qwen3_1p7b/qwen3_1p7b.py runs/qwen3_dry_run --dry-run

test: $(READY) ## run all tests, on up to four processors (DATA=folder of the data files)
	$(BIN)/python -m pytest --numprocesses logical --maxprocesses 4 --dist worksteal

test-verl: $(VERL)/.ready ## run chrpo's verl tests, in a separate environment
	$(VERL)/bin/python -m pytest packages/chrpo/tests/on_verl

$(VERL)/.ready: constraints-build.txt constraints-torch.txt constraints-verl.txt packages/chrpo/pyproject.toml
	$(call environment,$(VERL))
	$(call torch,$(VERL))
	$(VERL)/bin/python $(HASHED) --requirement constraints-verl.txt
	$(VERL)/bin/python $(INSTALL) --editable packages/chrpo
	touch $@

test-vllm: export COT_COMPRESSOR_VLLM := $(CURDIR)/$(VLLM)/bin/python
test-vllm: export MATH_EVAL_VLLM := $(CURDIR)/$(VLLM)/bin/python
test-vllm: export RATIO_SFT_VLLM := $(CURDIR)/$(VLLM)/bin/python
test-vllm: $(READY) $(VLLM)/.ready ## run the tests that start vLLM on a CPU, in a separate environment
	$(BIN)/python -m pytest packages/cot-compressor/tests/test_server.py packages/math-eval/tests/test_vllm.py \
		packages/ratio-sft/tests/test_serving.py tests/test_end_to_end.py

$(VLLM)/.ready: constraints-build.txt constraints-torch.txt constraints-vllm.txt packages/math-eval/pyproject.toml
	$(call environment,$(VLLM))
	$(call torch,$(VLLM))
	$(VLLM)/bin/python $(HASHED) --requirement constraints-vllm.txt
	$(VLLM)/bin/python $(INSTALL) --editable packages/math-eval
	touch $@

test-gym: $(GYM)/.ready ## run the tests that need reasoning-gym, in a separate environment (needs a C compiler)
	$(GYM)/bin/python -m pytest packages/math-eval/tests/test_procedural.py tests/test_smollm2_problems.py

$(GYM)/.ready: constraints-build.txt constraints-gym.txt packages/math-eval/pyproject.toml
	$(call environment,$(GYM))
	$(GYM)/bin/python $(HASHED) --requirement constraints-gym.txt
	$(GYM)/bin/python $(INSTALL) --editable packages/math-eval
	touch $@

test-bounds: $(READY) ## run light tests of each package with the lowest and the newest versions that its bounds allow
	$(BIN)/python tools/bounds.py

test-trl: $(READY) ## run both trainers with the oldest, a middle and the newest supported TRL, and compare their figures
	$(BIN)/python tools/trl_versions.py

docs: $(READY) ## build the documentation site into site/, offline
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

dist: $(READY) ## build sdists, wheels and bills of materials into dist/, check them, and try each wheel alone
	$(BIN)/python tools/dist.py

# constraints-torch.txt has torch and what only its CUDA build needs; the other files have neither.
LOCK = $(BIN)/uv pip compile --quiet --universal --python-version 3.11.5 --generate-hashes --no-annotate \
	--custom-compile-command "make lock" $(if $(UPGRADE),--upgrade)
WITHOUT_TORCH = $(LOCK) --no-emit-package torch
TORCH_PIN = sed -n 's/ .*//; /^torch==/p' constraints-torch.txt

$(BIN)/uv:
	$(MAKE) setup

lock: | $(BIN)/uv ## write the constraint files with their hashes (UPGRADE=1: at the newest versions)
	echo torch | $(LOCK) --no-config $(foreach name,filelock fsspec jinja2 markupsafe mpmath networkx setuptools sympy \
		typing-extensions,--no-emit-package $(name)) --output-file constraints-torch.txt - > /dev/null
	$(LOCK) --group build --output-file constraints-build.txt > /dev/null
	$(TORCH_PIN) | $(WITHOUT_TORCH) --constraint /dev/stdin --output-file constraints.txt --group dev packages/*/pyproject.toml \
		$(foreach extra,champ hub llm lora onnx openai parquet ray train transformers trl,--extra $(extra)) > /dev/null
	$(LOCK) --group materials --output-file constraints-materials.txt > /dev/null
	$(LOCK) --output-file constraints-gym.txt --group test packages/math-eval/pyproject.toml --extra reasoning-gym > /dev/null
	$(TORCH_PIN) | $(WITHOUT_TORCH) --constraint /dev/stdin --output-file constraints-verl.txt --group test \
		packages/chrpo/pyproject.toml --extra verl > /dev/null
	$(TORCH_PIN) | $(WITHOUT_TORCH) --override /dev/stdin --output-file constraints-vllm.txt --group vllm \
		$(foreach name,torchaudio torchcodec torchvision,--no-emit-package $(name)) packages/math-eval/pyproject.toml > /dev/null

audit: $(READY) ## look for known vulnerabilities of the pinned versions (asks the index)
	failed=0; for file in constraints*.txt; do echo $$file; \
		$(BIN)/pip-audit --strict --progress-spinner off --disable-pip --require-hashes --requirement $$file || failed=1; done; exit $$failed

sync: $(READY) ## copy packages/_shared into the packages that use it
	$(BIN)/python tools/sync_shared.py

check: $(READY) ## check shared copies, lint, types and import rules
	$(BIN)/python tools/sync_shared.py --check
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/basedpyright
	$(BIN)/lint-imports
	$(BIN)/zizmor --quiet --offline --strict-collection .github

format: $(READY) ## format the code and apply the fixes of ruff
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

BENCH := $(BIN)/python benchmarks
UNSEEN := runs/seed12 runs/seed13 runs/seed14
SMOLLM2 := runs/SmolLM2-135M-Instruct
CHECKOUTS ?= checkouts

runs/seed%/results.json: | $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python examples/quickstart/quickstart.py runs/seed$* --seed $*

runs/seed%/objectives.json: runs/seed%/results.json
	OMP_NUM_THREADS=1 $(BIN)/python examples/paper_tables/objectives.py runs/seed$* --seed $*

$(SMOLLM2): | $(READY)
	$(BIN)/python examples/smollm2/model_folder.py $@

WAYS := $(BIN)/python examples/thinking_baselines.py

bench: $(READY) $(SMOLLM2) smollm2 runs/seed0/results.json $(UNSEEN:%=%/objectives.json) ## run all benchmarks and make docs/results: hours (DATA; CHECKOUTS=clones of the graders)
	$(BENCH)/chrpo_bandits.py
	$(BENCH)/chrpo_overhead.py
	$(BENCH)/chrpo_segments.py
	$(BENCH)/chrpo_step.py
	$(BENCH)/cot_compressor_fidelity.py --data-dir "$(DATA)" --tokenizer $(SMOLLM2)
	$(BENCH)/cot_compressor_train.py runs/scorer --data-dir "$(DATA)"
	$(BENCH)/cot_compressor_meaning.py --data-dir "$(DATA)" --tokenizer $(SMOLLM2) --scorer runs/scorer
	$(BENCH)/cot_compressor_scorer.py --data-dir "$(DATA)"
	$(BENCH)/cot_compressor_speed.py --data-dir "$(DATA)"
	$(BENCH)/examples_paper_tables.py
	$(BENCH)/examples_quickstart.py $(UNSEEN)
	$(BENCH)/examples_objectives.py $(UNSEEN)
	$(BENCH)/examples_scaling.py
	$(BENCH)/examples_smollm2.py runs/smollm2
	$(BENCH)/math_eval_agreement.py $(CHECKOUTS)
	$(WAYS) runs/seed0/base runs/seed0/problems/test.jsonl runs/seed0/ways --budget 16 --budget 32 --budget 64 \
		--exit exit=0.95:16 --beside sft=runs/seed0/eval/sft:policy --beside chrpo=runs/seed0/eval/chrpo \
		-- --max-tokens 240 --batch-size 250
	$(BENCH)/math_eval_baselines.py "Quickstart, seed 0=runs/seed0/ways"
	$(BENCH)/math_eval_grading.py "$(DATA)"
	$(BENCH)/math_eval_hostile.py
	$(BENCH)/math_eval_intervals.py
	$(BENCH)/math_eval_throughput.py --model runs/seed0/base --tasks runs/seed0/problems/test.jsonl \
		--prompts 64 --batch-size 32 --max-tokens 200
	$(BENCH)/ratio_sft_following.py $(UNSEEN)
	$(BENCH)/ratio_sft_throughput.py runs/seed0/mix/ratios runs/seed0/base
	$(BENCH)/toolkit_kills.py runs/kills
	$(BENCH)/toolkit_scale.py runs/scale --data-dir "$(DATA)" --tokenizer $(SMOLLM2)
	$(BENCH)/toolkit_plan.py
	$(BENCH)/render.py

clean: ## remove everything that the other targets made, including .venv
	rm -rf $(VENV) $(GYM) $(VERL) $(VLLM) runs dist site .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find packages examples tests tools benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
