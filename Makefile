# Everything runs in .venv, which tools/environment.sh makes from Pipfile.lock. `make` alone lists the targets.
.DEFAULT_GOAL := help
.PHONY: help demo notebooks series book test test-all lint lab environment lock clean

# Given on the command line, as in `make demo DATA=fer2013.zip PYTHON=python3.12`; the shell's variables do not count.
DATA :=
PYTHON :=

python := .venv/bin/python
with_data := $(if $(DATA),--data "$(DATA)")

# One process per core. A file's tests stay together, because they share fixtures; long files start first.
pytest := $(python) -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder --durations 20
quick := not real_data and not long and not wheel

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile
	@echo '  DATA=path     the data of demo, notebooks and lab: a zip, a folder or a CSV'
	@echo '  PYTHON=path   the Python (3.11 to 3.13) of a new environment'

demo: environment ## execute the notebooks at small size, then predict on a photograph (minutes)
	@rm -rf build/demo
	@$(python) tools/run_notebooks.py --size demo --output build/demo $(with_data)
	@$(python) -m ferlib predict \
		"$$($(python) -c 'import matplotlib; print(matplotlib.get_data_path())')/sample_data/grace_hopper.jpg" \
		--output-image build/demo/grace_hopper.png \
		--output-csv build/demo/grace_hopper.csv --output-counts build/demo/grace_hopper_counts.csv
	@echo 'Files of this demonstration:'
	@find build/demo -type f ! -path 'build/demo/runs/*' | sort | sed 's/^/  /'

notebooks: environment ## execute the notebooks on all data (about an hour) and update reports/
	@rm -rf build/stand-ins
	$(python) tools/run_notebooks.py --size demo --output build/stand-ins --parameter EPOCHS 1 --data "$$($(python) \
		-c 'from ferlib.data.locate import default_data_dir, synthetic_sample; print(synthetic_sample(default_data_dir()))')"
	$(python) tools/run_notebooks.py --size full --output build/notebooks --reports reports --stand-ins build/stand-ins \
		$(with_data)

series: notebooks

book: environment ## build the book, a website in build/book/html, from executed notebooks, documents and docstrings
	$(python) tools/build_book.py

test: environment lint ## lint and all tests without real data or long trainings
	$(pytest) -m "$(quick)"

test-all: environment lint ## also long trainings, real data and an installed wheel, with coverage
	$(pytest) -m "$(quick)" --cov --cov-report=
	$(pytest) -m "not ($(quick))" --cov --cov-append --cov-fail-under 95

lint: environment ## style of code and notebooks, types of the package
	$(python) -m ruff check .
	$(python) -m ruff format --check .
	$(python) -m mypy

lab: environment ## open the notebooks in JupyterLab
	$(if $(DATA),FER2013_ARCHIVE="$$(realpath "$(DATA)")") $(python) -m jupyterlab notebooks

environment: ## make or update .venv
	@PYTHON="$(PYTHON)" tools/environment.sh

lock: ## choose the versions of Pipfile.lock
	@PYTHON="$(PYTHON)" tools/environment.sh lock

clean: ## remove caches and build/; data/, reports/ and .venv stay
	rm -rf build .coverage .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find ferlib tests notebooks -type d \( -name __pycache__ -o -name .ipynb_checkpoints \) -prune -exec rm -rf {} +
