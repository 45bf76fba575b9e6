import json
import os
import subprocess
from pathlib import Path

import pytest
import yaml

from engine.cli.rules_init import init
from engine.errors import DockwardenError
from tests.lab.sidecar import PROGRAM


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A fresh rules repository."""
    assert init(tmp_path / "rules") == 0
    return tmp_path / "rules"


def _run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """With dockwarden on the path, and nothing of the surrounding repository."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    who = {f"GIT_{role}_{what}": "t@example.org" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    env = clean | who | {"PATH": f"{PROGRAM.parent}:{os.environ['PATH']}"}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=60, check=False)


def test_what_is_made_passes_its_own_check_and_tests(made: Path) -> None:
    """The shipped rules are there with tests, runbooks and schema, and the check and all tests are clean."""
    for command in (("check", "."), ("test", ".")):
        done = _run(made, "dockwarden", *command)
        assert done.returncode == 0, done.stdout + done.stderr
    assert list(made.glob("runbooks/*.md"))
    assert json.loads((made / "schema.json").read_text())["$schema"]


def test_every_rules_file_names_the_schema(made: Path) -> None:
    """The first line of each tells the language server where the schema is."""
    files = [file for file in made.glob("*.yaml") if not file.name.endswith(".test.yaml")]
    assert files
    assert [
        file.name for file in files if file.read_text().splitlines()[0] != "# yaml-language-server: $schema=schema.json"
    ] == []


def test_the_hook_lets_good_rules_in_and_keeps_bad_ones_out(made: Path) -> None:
    """A first commit goes through; one with a misspelt field does not, and the report says where."""
    _run(made, "git", "add", "--all")
    done = _run(made, "git", "commit", "--message", "rules")
    assert done.returncode == 0, done.stdout + done.stderr
    (made / "bad.yaml").write_text("rules:\n  - rule: bad\n    title: x\n    when: {d: {fact: disk, pth: /}}\n    then: []\n")
    _run(made, "git", "add", "--all")
    done = _run(made, "git", "commit", "--message", "bad")
    assert done.returncode != 0
    assert "DW202" in done.stdout + done.stderr


def test_ci_files_are_yaml_and_run_check_and_test(made: Path) -> None:
    """Both run the same two commands."""
    for name in (".github/workflows/rules.yaml", ".gitlab-ci.yml"):
        text = (made / name).read_text()
        assert yaml.safe_load(text)
        assert "dockwarden check ." in text
        assert "dockwarden test ." in text


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    """Nothing is overwritten."""
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(DockwardenError, match="not empty"):
        init(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["mine"]


def test_without_git_it_says_what_to_do_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The files are made all the same."""
    monkeypatch.setenv("PATH", "/nonexistent")
    assert init(tmp_path / "rules") == 0
    assert "git is not installed" in capsys.readouterr().out
    assert not (tmp_path / "rules" / ".git").exists()
