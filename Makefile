# Every target installs what it needs: Debian packages (as root), .venv, and below .cache what tools keep.
# PYTHON=/path/to/python3 chooses the interpreter of .venv; by default tests/setup/python finds one.
PYTHON ?=

.DEFAULT_GOAL := help
.PHONY: help readmes lock test-fleet test-long schema venv demo demo-clean docs test unit lint sanity sanity-all ansible-test release bench clean testbed testbed-down test-openzfs test-servers servers-page

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv: .venv/.installed  ## Make .venv with the engine, the zrb command, Ansible and the development tools

.venv/.installed: pyproject.toml
	@tests/setup/venv $(PYTHON)

demo: .venv/.installed  ## Back up, change, back up, verify, restore and compare real data on this machine (root)
	@tests/setup/demo

demo-clean:  ## Remove everything that the demo made
	@tests/setup/demo clean

docs: .venv/.installed  ## Make build/site, these pages to read in a browser; fails on a broken link
	@tests/setup/site/build

test: .venv/.installed  ## Run unit and integration tests and lint; says what it skipped and why (root for real ZFS)
	@tests/setup/test

unit: .venv/.installed  ## Run the unit tests alone: no root, no network, seconds
	@.venv/bin/pytest tests/unit

test-long: .venv/.installed  ## Let the state machine take 100,000 steps, show that it notices known defects, and live decades of repositories (hours)
	@ZRB_TEST_STEPS=100000 .venv/bin/pytest tests/unit/test_state_machine.py tests/long

readmes: .venv/.installed  ## Write the README of each role anew from its argument specification
	@.venv/bin/python -m tests.docs.role_readme

lock:  ## Pin the libraries of the role runtime to their newest versions and hashes
	@tests/setup/lock

test-fleet: .venv/.installed  ## Apply the roles to a virtual machine with OpenZFS, and check what they did (root to build the image)
	@tests/setup/test-fleet $(TESTS)

schema: .venv/.installed  ## Write docs/*.schema.json anew from the fields of the records
	@.venv/bin/python -m tests.docs.schema

lint: .venv/.installed  ## Check style, types, playbooks, roles and changelog
	@tests/setup/lint

sanity: .venv/.installed  ## Run ansible-test sanity with the ansible-core of .venv
	@tests/setup/sanity

sanity-all:  ## Run ansible-test sanity with each supported ansible-core; skips, and names, what has no Python here
	@tests/setup/sanity-all

ansible-test: .venv/.installed  ## Run ansible-test units and integration in a plain checkout (root)
	@tests/setup/ansible-test

release: .venv/.installed  ## Build and check the archive, and say what would be published; publishes nothing
	@tests/setup/release

# MACHINES=1..3 of them; TESTS="FILE..." runs those inside, and not what belongs to the host.
testbed: .venv/.installed  ## Start virtual machines with the OpenZFS kernel module that stay (root to build the image)
	@.venv/bin/python -m tests.vm.testbed up --machines $(or $(MACHINES),1)

testbed-down:  ## End them
	@tests/setup/testbed-down

test-openzfs: .venv/.installed  ## Run the engine's tests and all production paths against the OpenZFS kernel module
	@.venv/bin/python -m tests.vm.testbed test-openzfs $(TESTS)

test-servers: .venv/.installed  ## Run the store and whole backups against MinIO, versitygw, rclone and s3rver
	@tests/setup/test-servers

servers-page: .venv/.installed  ## Write anew what docs/servers.md says that these servers do
	@tests/setup/test-servers page

bench: .venv/.installed  ## Compare speed and memory with other tools in one run; prints a table
	@tests/setup/bench-peers
	@.venv/bin/python -m tests.bench.run --json build/bench.json

clean: demo-clean testbed-down  ## Remove the demo, .venv and everything that tools cached
	rm -rf .venv .cache build
