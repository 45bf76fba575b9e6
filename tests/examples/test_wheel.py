"""The wheel, as users install it: built from the files of the repository, put into an environment of its own, and asked."""

import shutil
import subprocess
import sys
import sysconfig
import tomllib
from email import message_from_bytes
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[2]
PARTS = (
    "pyproject.toml",
    "setup.py",
    "MANIFEST.in",
    "README.md",
    "CHANGELOG.md",
    "LICENSE",
    "engine",
    "connectors",
    "rules",
    "examples",
)
"""All that a wheel is made of; copied, so that building leaves nothing in the repository."""
BUILD_S = 90
ASK_S = 30
PIP = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")


def _run(*command: str | Path, cwd: Path, within_s: float) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=within_s, check=False)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of the repository."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for part in PARTS:
        path = ROOT / part
        if path.is_dir():
            shutil.copytree(path, source / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(path, source / part)
    built = _run(*PIP, "wheel", ".", "--no-deps", "--no-build-isolation", "-w", folder, cwd=source, within_s=BUILD_S)
    assert built.returncode == 0, built.stderr
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def program(wheel: Path) -> Path:
    """`dockwarden` in an environment that holds the wheel, and its dependencies from the environment of the tests."""
    folder = wheel.parent
    python = folder / "env/bin/python"
    assert _run(sys.executable, "-m", "venv", "--without-pip", folder / "env", cwd=folder, within_s=ASK_S).returncode == 0
    # A path file adds the folder of the dependencies alone: the path files in it, and so the editable installation, do not count.
    (site,) = (folder / "env/lib").glob("python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    installed = _run(*PIP, "--python", python, "install", "--no-deps", "--force-reinstall", wheel, cwd=folder, within_s=BUILD_S)
    assert installed.returncode == 0, installed.stderr
    return python.parent / "dockwarden"


def test_the_wheel_suits_every_supported_python_and_needs_no_compiler(wheel: Path) -> None:
    """It holds no compiled code, takes CPython 3.11 to 3.14, and leaves what has no wheel of its own to an extra."""
    assert wheel.name.endswith("-py3-none-any.whl")
    with ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        data = message_from_bytes(archive.read(name))
    assert set(data["Requires-Python"].split(",")) == {">=3.11", "<3.15"}
    compiled = [line for line in data.get_all("Requires-Dist", []) if line.startswith("durable-rules")]
    assert [line.partition(";")[2].strip() for line in compiled] == ['extra == "durable-rules"']


def test_the_wheel_has_two_import_packages_and_every_module_of_them(wheel: Path) -> None:
    """`engine` and `connectors`, with all their modules and data, and nothing else at the top."""
    with ZipFile(wheel) as archive:
        inside = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert {name.partition("/")[0] for name in inside} == {"engine", "connectors"}
    here = {
        path.relative_to(ROOT).as_posix()
        for top in ("engine", "connectors")
        for path in (ROOT / top).rglob("*")
        if path.is_file()
    }
    expected = {name for name in here if "__pycache__" not in name}
    assert {name for name in inside if not name.startswith("engine/shipped_")} == expected


def test_the_locked_durable_rules_is_the_one_of_the_extra() -> None:
    """Every set-up of the repository installs durable-rules, by the pin that the extra has."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (pin,) = project["optional-dependencies"]["durable-rules"]
    for name in ("run.txt", "dev.txt"):
        assert f"\n{pin} " in (ROOT / "requirements" / name).read_text()


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


def test_the_consumers_are_programs_of_the_wheel(program: Path, tmp_path: Path) -> None:
    """`dockwarden-pager` and `dockwarden-chat` stand beside `dockwarden`, and say what is wrong with a configuration."""
    for name in ("dockwarden-pager", "dockwarden-chat"):
        asked = _run(program.with_name(name), "check", "--config", tmp_path / "none.yaml", cwd=tmp_path, within_s=ASK_S)
        assert (asked.returncode, "name the file with --config" in asked.stderr) == (2, True), asked.stderr


_WHERE = "from engine.rules.shipped import shipped_rules; print(shipped_rules())"


def test_the_installed_program_tells_the_story_of_its_recording(program: Path, tmp_path: Path) -> None:
    """`dockwarden demo` needs no checkout."""
    shown = _run(program, "demo", "--seconds", "0", cwd=tmp_path, within_s=ASK_S)
    assert (shown.returncode, "container-storm" in shown.stdout) == (0, True), shown.stderr
