# Everything a fresh machine needs is done by the target that needs it.
.DEFAULT_GOAL := help
SHELL := /bin/bash
export PATH := $(PATH):/usr/sbin:/sbin
LAB_PACKAGES := docker.io mosquitto strace busybox-static e2fsprogs iproute2 procps openssl git prometheus-alertmanager

.PHONY: help setup setup-dev lab-packages run drill test check unit format bench

help: ## what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

setup: ## the virtual environment with dockwarden in it: .venv/bin/dockwarden
	@scripts/setup run

setup-dev:
	@scripts/setup dev

lab-packages:
	@scripts/system-packages $(LAB_PACKAGES)

run: setup ## the sidecar on this host's engine (ARGS="--act" and the like are handed on)
	@[ -n "$$DOCKWARDEN_MQTT_URL" ] || scripts/system-packages mosquitto
	@exec .venv/bin/dockwarden run $(ARGS)

drill: setup-dev lab-packages ## break a scratch engine in every way we know and show what was noticed, repaired and reported
	@exec .venv/bin/python -m tests.lab.drill $(ARGS)

check: setup-dev ## formatting, lint, types, layers, shipped rules
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	.venv/bin/dockwarden check rules
	.venv/bin/dockwarden test rules

unit: setup-dev ## the tests that need no Docker and no broker
	.venv/bin/python -m pytest tests/unit tests/property

test: check lab-packages ## everything: checks, then unit, property, contract and live tests
	.venv/bin/python -m pytest

format: setup-dev ## ruff's formatting and safe mends
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .
