# Targets are documented in README.md. Everything they need, they install.
PYTHON ?= python3

.PHONY: venv
venv: .venv/.installed

.venv/.installed: pyproject.toml
	./tests/setup/venv "$(PYTHON)"
