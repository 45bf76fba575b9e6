"""The GitHub Action and the pre-commit hooks for rules repositories: they name commands and files that there are."""

import re
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path(sys.executable).with_name("dockwarden")


def _steps() -> list[dict[str, str]]:
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    assert action["runs"]["using"] == "composite"
    found: list[dict[str, str]] = action["runs"]["steps"]
    return found


def test_every_step_of_the_action_is_complete() -> None:
    """A step runs a script in a named shell, or uses a pinned action; inputs come in by the environment, never into a script."""
    for step in _steps():
        if "uses" in step:
            assert re.search(r"@v\d", step["uses"])
        else:
            assert step["shell"] == "bash"
            assert "${{" not in step["run"]


def test_what_the_action_runs_works(tmp_path: Path) -> None:
    """Its commands, in order, on the shipped rules; the findings are SARIF."""
    env = {"PATH": f"{PROGRAM.parent}:/usr/bin:/bin", "FOLDER": str(ROOT / "rules"), "SARIF": str(tmp_path / "found.sarif")}
    for step in _steps():
        if "dockwarden" in step.get("run", "") and "make" not in step["run"]:
            done = subprocess.run(["bash", "-e", "-c", step["run"]], cwd=tmp_path, env=env, timeout=60, check=False)
            assert done.returncode == 0, step
    assert '"version": "2.1.0"' in (tmp_path / "found.sarif").read_text()


def test_the_hooks_name_verbs_that_work() -> None:
    """What pre-commit would run in a rules repository passes on the shipped rules."""
    for hook in yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text()):
        program, verb = hook["entry"].split()
        assert (program, hook["language"], hook["pass_filenames"]) == ("dockwarden", "python", False)
        done = subprocess.run([PROGRAM, verb, *hook["args"]], cwd=ROOT / "rules", timeout=60, check=False, capture_output=True)
        assert done.returncode == 0, done.stdout
