"""How the code lies: no import circle, unit tests beside what they test, the field's words, and sizes (printed with `-s`)."""

import ast
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("engine", "connectors")
UNIT = ROOT / "tests" / "unit"

ABOUT_RULES = {"rules_shipped"}
"""Folders of unit tests about what ships beside the code."""
ABOUT_THE_WHOLE = {"test_layout", "test_rules_reference", "test_tutorial"}
"""Unit tests about the repository and its pages."""

BANNED = (
    "Doings", "ContainerEngine", "EngineError", "being_mended", "let_out", "_once_kept", "take_back", "taken_back", "Keeper",
    "item_came", "item_went", "stood_on_it", "Watcher", "Ledger", "Teller", "guilty", "Suspects", "OwnBroker", "ALL_AT_ONCE",
    "PARKED_S", "RETOLD", "_Steady", "_in_nobodys_way", "but_not", "say_what_waits", "reborn", "ears", "stand_in",
    "DraftTest", "check_reach", "check_whole",
    "read_timelines",
)  # fmt: skip
"""Identifiers that have another name now."""

BANNED_PHRASES = ("there is no such setting", "is no YAML", "is no id for a rule")


def _modules() -> dict[str, Path]:
    found = {}
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = _modules()


def _imports(name: str, path: Path) -> Iterator[str]:
    """What a module imports of our own, wherever in it: in functions and behind TYPE_CHECKING too."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")
            base = ".".join([*parents[: len(parents) - node.level + 1], *([node.module] if node.module else [])])
            base = base if node.level else node.module or ""
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                yield from (found for found in (inner if inner in MODULES else base,) if found in MODULES)


def _circles(edges: dict[str, set[str]]) -> list[list[str]]:
    """Strongly connected components of more than one module (Tarjan)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in sorted(edges[name]):
            if other not in index:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], index[other])
        if low[name] == index[name]:
            place = stack.index(name)
            if len(stack) - place > 1:
                found.append(sorted(stack[place:]))
            del stack[place:]

    for name in sorted(edges):
        if name not in index:
            visit(name)
    return found


def test_no_import_circle() -> None:
    """No two modules import each other, by whatever way, also not behind TYPE_CHECKING or inside a function."""
    edges = {name: {other for other in _imports(name, path) if other != name} for name, path in MODULES.items()}
    assert sum(map(len, edges.values())) > len(MODULES), "the walk finds imports"
    assert _circles(edges) == []


def test_circles_are_found() -> None:
    """The search itself: two circles of which one runs through three modules, and what leads into them is none."""
    edges = defaultdict(set, {"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a", "e"}, "e": {"d"}, "f": {"d"}})
    assert _circles(edges) == [["a", "b", "c"], ["d", "e"]]


@pytest.mark.parametrize("folder", sorted(path.name for path in UNIT.iterdir() if (path / "__init__.py").exists()))
def test_unit_tests_mirror_the_rooms(folder: str) -> None:
    """A folder of unit tests is named after the package that it tests, and each file in it imports something of that package."""
    if folder in ABOUT_RULES:
        return
    rooms = [f"{package}.{folder}" for package in PACKAGES if (ROOT / package / folder / "__init__.py").exists()]
    assert rooms, f"tests/unit/{folder} tests no package"
    # What a test reaches through helpers of its own folder counts too.
    helpers = {path.stem: path.read_text(encoding="utf-8") for path in (UNIT / folder).glob("*.py")}
    for path in sorted((UNIT / folder).glob("test_*.py")):
        text = path.read_text(encoding="utf-8")
        reached = text + "".join(other for name, other in helpers.items() if f"tests.unit.{folder}.{name}" in text)
        assert any(room in reached for room in rooms), f"{path.relative_to(ROOT)} tests nothing of {' or '.join(rooms)}"


def test_unit_tests_at_the_top_mirror_modules() -> None:
    """As the folders do."""
    for path in UNIT.glob("test_*.py"):
        name = path.stem.removeprefix("test_")
        there = any((ROOT / package / f"{name}.py").exists() or (ROOT / package / name).is_dir() for package in PACKAGES)
        assert there or path.stem in ABOUT_THE_WHOLE, f"{path.relative_to(ROOT)} tests no module"


def _sources() -> Iterator[Path]:
    listed = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    yield from (ROOT / name for name in listed.stdout.split() if name != "tests/unit/test_layout.py" and (ROOT / name).exists())


def test_each_thing_has_one_name() -> None:
    """Old names of what has a better one now are used nowhere."""
    pattern = re.compile(rf"\b(?:{'|'.join(map(re.escape, BANNED))})\b|{'|'.join(map(re.escape, BANNED_PHRASES))}")
    found = [
        f"{path.relative_to(ROOT)}:{number}: {match[0]}"
        for path in _sources()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if (match := pattern.search(line))
    ]
    assert found == []


def test_sizes() -> None:
    """Modules and lines of the two packages, for whoever compares; no module is a book of its own."""
    lines = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in MODULES.items()}
    for package in PACKAGES:
        own = [number for name, number in lines.items() if name.split(".")[0] == package]
        sys.stdout.write(f"{package}: {len(own)} modules, {sum(own)} lines, median {sorted(own)[len(own) // 2]}\n")
    assert {name: number for name, number in lines.items() if number > 600} == {}
