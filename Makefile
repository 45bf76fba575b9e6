# Everything a fresh machine needs is done by the target that needs it.
.DEFAULT_GOAL := help
SHELL := /bin/bash
export PATH := $(PATH):/usr/sbin:/sbin
# What unit tests start, and what the tests and drills of the lab start beside it.
UNIT_PACKAGES := git openssh-client
LAB_PACKAGES := $(UNIT_PACKAGES) docker.io mosquitto strace busybox-static e2fsprogs iproute2 procps openssl mount systemd \
    prometheus prometheus-alertmanager chromium chromium-driver
LAB_RIGHTS := the lab starts Docker daemons of its own

.PHONY: help setup setup-dev setup-lab run drill test test-slow wheel bare check unit format
# Two set-ups at a time would write the same environment.
.NOTPARALLEL:

help: ## what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

setup: ## the virtual environment with dockwarden in it: .venv/bin/dockwarden
	@scripts/setup run
	@echo "the program: $(CURDIR)/.venv/bin/dockwarden"

setup-dev:
	@scripts/setup dev

setup-lab:
	@scripts/setup dev --root "$(LAB_RIGHTS)" $(LAB_PACKAGES)

run: ## the sidecar on this host's Docker (ARGS="--act" and the like are handed on)
	@scripts/setup run $(if $(DOCKWARDEN_MQTT_URL),,mosquitto)
	@exec .venv/bin/dockwarden run $(ARGS)

drill: setup-lab ## break a scratch Docker daemon in every way we know and show what was noticed, repaired and reported
	@exec .venv/bin/python -m tests.lab.drill $(ARGS)

check: setup-dev ## formatting, lint, types, layers, shipped rules
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	.venv/bin/dockwarden check rules
	.venv/bin/dockwarden test rules
	.venv/bin/dockwarden check rules/fleet
	.venv/bin/dockwarden test rules/fleet

unit: ## the tests that need no Docker and no broker
	@scripts/setup dev $(UNIT_PACKAGES)
	.venv/bin/python -m pytest tests/unit tests/property

test: setup-lab check ## everything: checks, then unit, property, contract and live tests
	.venv/bin/python -m pytest

# The slow tier: what takes too long for every change, one target a step. A new step is a target of its own, named here.
SLOW := wheel bare

test-slow: $(SLOW) ## the slow tier: the wheel on every Python, bare Debian roots

wheel: setup-dev ## install the wheel without a compiler on every supported Python that is here
	@scripts/try-wheel

bare: ## run, drill and test on bare Debian 12 and 13 roots (root; takes long)
	@scripts/bare-root $(ARGS)

format: setup-dev ## ruff's formatting and safe fixes
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .
