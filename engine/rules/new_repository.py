"""A rules repository to begin with: the shipped rules, and beside them what makes a folder a repository. Prints nothing."""

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from engine.errors import DockwardenError
from engine.rules.shipped import shipped_rules

GIT_S = 30
"""Seconds for a call of git; all of them are local."""

HOOK_PATH = ".githooks/pre-commit"

HOOK = """\
#!/bin/sh
# What is committed must pass the check and its tests. In force by: git config core.hooksPath .githooks
set -e
cd "$(git rev-parse --show-toplevel)"
dockwarden check .
dockwarden test .
dockwarden schema rules | cmp -s - schema.json || {
    echo "schema.json is stale: dockwarden schema rules > schema.json" >&2
    exit 1
}
"""

GITHUB = """\
# Every push and every pull request: the check, and the tests of the rules.
name: rules
on: [push, pull_request]
permissions:
  contents: read
jobs:
  rules:
    runs-on: ubuntu-latest
    timeout-minutes: 10
    steps:
      - uses: actions/checkout@v4
      - uses: actions/setup-python@v5
        with: {python-version: "3.12"}
      - run: pip install dockwarden
      - run: dockwarden check .
      - run: dockwarden test . --coverage --junit rules.xml
      - run: dockwarden schema rules | cmp - schema.json
"""

GITLAB = """\
# Every push: the check, and the tests of the rules.
rules:
  image: python:3.12
  timeout: 10 minutes
  script:
    - pip install dockwarden
    - dockwarden check .
    - dockwarden test . --coverage --junit rules.xml
    - dockwarden schema rules | cmp - schema.json
  artifacts:
    when: always
    reports:
      junit: rules.xml
"""

VSCODE = """\
{
  "yaml.schemas": {
    "./schema.json": ["/*.yaml", "!/*.test.yaml"]
  }
}
"""

VSCODE_EXTENSIONS = """\
{
  "recommendations": ["redhat.vscode-yaml"]
}
"""

OVERRIDES = """\
# What is different on all hosts. groups/<name>.yaml counts over it (setting repo.groups), and hosts/<host>.yaml over both.
#
# overrides:
#   - rule: container-storm
#     set:
#       when.storm.at_least: 50       # any value of the rule, by the path of its keys
#       severity: error
#     unless:
#       - {fact: disk, path: /backup, used_ratio|gte: 0.5}
#   - rule: restart-loop
#     disable: true
overrides: []
"""

README = """\
# Rules for dockwarden

| | |
|---|---|
| `*.yaml` | rules, one file for each kind of problem |
| `*.test.yaml` | their tests: facts over time, and what must be decided |
| `runbooks/` | what people do when an alert comes |
| `overrides/` | what is different on all hosts, in a group, on one host |
| `schema.json` | completes and explains keys, fact kinds and fields in editors |

    dockwarden check .                  # every fault at once
    dockwarden test . --coverage        # the tests, and what none of them exercises
    dockwarden replay recording.jsonl --rules OLD --against .    # what a change would have meant here; elsewhere: --host NAME

After a clone: `git config core.hooksPath .githooks`.

A host runs these rules with `dockwarden run --rules .`, or pulls them:

    rules: https://git.example.org/rules.git
    repo: {ref: main, every_s: 60, signed: true, groups: [database]}
"""


def make_repository(folder: Path, schema: str) -> str:
    """Make the repository; a sentence about what came of making it one of Git.

    Args:
        folder: must not be there, or be empty.
        schema: text of schema.json.

    Raises:
        DockwardenError: the folder is there and not empty, or cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise DockwardenError(f"{folder} is not empty: name a folder that is not there yet")
        left_out = shutil.ignore_patterns(".*", "schema.json", "demo.jsonl")
        shutil.copytree(shipped_rules(), folder, dirs_exist_ok=True, ignore=left_out)
        for name, text in _files(schema).items():
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        (folder / HOOK_PATH).chmod(0o755)
    except OSError as error:
        raise DockwardenError(f"{folder}: cannot be written: {error.strerror}") from error
    return _git_init(folder)


def _files(schema: str) -> Mapping[str, str]:
    """What stands beside the rules, by path."""
    return {
        "schema.json": schema,
        "README.md": README,
        "overrides/all.yaml": OVERRIDES,
        ".vscode/settings.json": VSCODE,
        ".vscode/extensions.json": VSCODE_EXTENSIONS,
        HOOK_PATH: HOOK,
        ".github/workflows/rules.yaml": GITHUB,
        ".gitlab-ci.yml": GITLAB,
    }


def _git_init(folder: Path) -> str:
    """Make it a repository with the hook in force; a sentence that says what came of it."""
    later = "make it a repository later with: git init && git config core.hooksPath .githooks"
    if shutil.which("git") is None:
        return f"git is not installed; {later}"
    commands = (["init", "--quiet"], ["config", "core.hooksPath", ".githooks"])
    for command in commands:
        try:
            subprocess.run(["git", *command], cwd=folder, check=True, capture_output=True, timeout=GIT_S)
        except (OSError, subprocess.SubprocessError) as error:
            return f"git {command[0]} failed ({error}); {later}"
    return "a git repository, the hook in force; commit when you like what you see"
