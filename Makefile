# Everything runs in .venv, which tools/environment.sh makes from Pipfile.lock. `make` alone lists what there is.
.DEFAULT_GOAL := help
.PHONY: help demo series test lint lab environment lock clean

# Given on the command line, as in `make demo DATA=fer2013.zip PYTHON=python3.12`; the shell's variables do not count.
DATA :=
PYTHON :=

python := .venv/bin/python
with_data := $(if $(DATA),--data "$(DATA)")

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile
	@echo '  DATA=path     the data of demo, series and lab: a zip, a folder or a CSV'
	@echo '  PYTHON=path   the Python (3.11 to 3.13) on which a new environment is made'

demo: environment ## execute the notebooks small, then predict on a photograph (minutes)
	@rm -rf build/demo
	@$(python) tools/run_notebooks.py --size demo --output build/demo $(with_data)
	@$(python) -m ferlib.predict \
		"$$($(python) -c 'import matplotlib; print(matplotlib.get_data_path())')/sample_data/grace_hopper.jpg" \
		--output-image build/demo/grace_hopper.png \
		--output-csv build/demo/grace_hopper.csv --counts-csv build/demo/grace_hopper_counts.csv
	@echo 'Made by this demonstration:'
	@find build/demo -type f ! -path 'build/demo/runs/*' | sort | sed 's/^/  /'

series: environment ## execute the notebooks on all data (an hour or more) and renew reports/
	$(python) tools/run_notebooks.py --size full --output build/series --reports reports $(with_data)

# Two processes share the files, each in the order of the folder: much of what the tests do keeps one core busy.
test: environment lint ## lint, unit tests and notebooks
	$(python) -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

lint: environment ## style of code and notebooks
	$(python) -m ruff check .
	$(python) -m ruff format --check .

lab: environment ## open the notebooks in JupyterLab
	$(if $(DATA),FER2013_ARCHIVE="$$(realpath "$(DATA)")") $(python) -m jupyterlab notebooks

environment: ## make or renew .venv
	@PYTHON="$(PYTHON)" tools/environment.sh

lock: ## choose versions anew: Pipfile to Pipfile.lock
	@PYTHON="$(PYTHON)" tools/environment.sh lock

clean: ## remove what is made again at no cost; data/, reports/ and .venv stay
	rm -rf build .pytest_cache .ruff_cache .hypothesis
	find ferlib tests notebooks -type d \( -name __pycache__ -o -name .ipynb_checkpoints \) -prune -exec rm -rf {} +
