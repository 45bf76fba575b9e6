"""`dockwarden rules init DIR`: a rules repository to begin with, from the rules that ship."""

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from engine.cli import rules_templates as templates
from engine.cli.schema import schema_of, schema_text
from engine.errors import DockwardenError
from engine.rules.shipped import shipped_rules

GIT_S = 30
"""Seconds for a call of git; all of them are local."""


def init(folder: Path) -> int:
    """Make the repository, and say what is in it.

    Raises:
        DockwardenError: the folder is there and not empty, or cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise DockwardenError(f"{folder} is not empty: name a folder that is not there yet")
        shutil.copytree(shipped_rules(), folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".*", "schema.json"))
        for name, text in _files().items():
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        (folder / templates.HOOK_PATH).chmod(0o755)
    except OSError as error:
        raise DockwardenError(f"{folder}: cannot be written: {error.strerror}") from error
    git = _git_init(folder)
    print(f"{folder}: rules, their tests and runbooks, schema.json, a pre-commit hook, CI for GitHub and GitLab")
    print(f"  {git}")
    print(f"  try: dockwarden check {folder} && dockwarden test {folder}")
    return 0


def _files() -> Mapping[str, str]:
    """What stands beside the rules, by path."""
    return {
        "schema.json": schema_text(schema_of("rules")),
        "README.md": templates.README,
        "overrides/all.yaml": templates.OVERRIDES,
        ".vscode/settings.json": templates.VSCODE,
        ".vscode/extensions.json": templates.VSCODE_EXTENSIONS,
        templates.HOOK_PATH: templates.HOOK,
        ".github/workflows/rules.yaml": templates.GITHUB,
        ".gitlab-ci.yml": templates.GITLAB,
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
