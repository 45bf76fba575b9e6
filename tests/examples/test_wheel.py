"""The wheel, as users install it: built from the files of the repository, put into an environment of its own, and asked."""

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PARTS = ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE", "engine", "connectors", "rules")
"""All that a wheel is made of; copied, so that building leaves nothing in the repository."""
BUILD_S = 90
ASK_S = 30


def _run(*command: str | Path, cwd: Path, within_s: float) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=within_s, check=False)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`dockwarden` in an environment that holds the wheel, and its dependencies from the environment of the tests."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for part in PARTS:
        path = ROOT / part
        if path.is_dir():
            shutil.copytree(path, source / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(path, source / part)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    built = _run(*pip, "wheel", ".", "--no-deps", "--no-build-isolation", "-w", folder, cwd=source, within_s=BUILD_S)
    assert built.returncode == 0, built.stderr
    (wheel,) = folder.glob("*.whl")
    python = folder / "env/bin/python"
    assert _run(sys.executable, "-m", "venv", "--without-pip", folder / "env", cwd=folder, within_s=ASK_S).returncode == 0
    # A path file adds the folder of the dependencies alone: the path files in it, and so the editable installation, do not count.
    (site,) = (folder / "env/lib").glob("python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    installed = _run(*pip, "--python", python, "install", "--no-deps", "--force-reinstall", wheel, cwd=folder, within_s=BUILD_S)
    assert installed.returncode == 0, installed.stderr
    return python.parent / "dockwarden"


def test_the_wheel_brings_every_shipped_rule(program: Path) -> None:
    """Rules, rule tests and runbooks are in the installed package, file for file."""
    (inside,) = (program.parents[1] / "lib").glob("python*/site-packages/engine/shipped_rules")
    shipped = {path.relative_to(ROOT / "rules") for path in (ROOT / "rules").rglob("*") if path.is_file()}
    assert {path.relative_to(inside) for path in inside.rglob("*") if path.is_file()} == shipped


def test_the_installed_program_checks_and_tests_its_own_rules(program: Path, tmp_path: Path) -> None:
    """`dockwarden check` and `test` without a folder work far from any checkout."""
    checked = _run(program, "check", cwd=tmp_path, within_s=ASK_S)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    tested = _run(program, "test", cwd=tmp_path, within_s=ASK_S)
    assert tested.returncode == 0, tested.stdout + tested.stderr
    assert str(program.parents[1]) in _run(program.parent / "python", "-c", _WHERE, cwd=tmp_path, within_s=ASK_S).stdout


_WHERE = "from engine.rules.shipped import shipped_rules; print(shipped_rules())"
