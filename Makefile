# Everything that a person types. Python packages go to .venv, the control plane's programs to a cache outside the tree.
PYTHON ?= python3

.PHONY: cluster cluster-down

.venv: .venv/installed

.venv/installed: requirements.txt requirements-dev.txt pyproject.toml
	$(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	.venv/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

cluster: .venv/installed  ## leave a control plane up on this machine, and say how to use it
	.venv/bin/python -m deploy.local up

cluster-down:  ## stop it
	.venv/bin/python -m deploy.local down
