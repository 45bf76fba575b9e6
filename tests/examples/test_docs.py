"""What the documents say is so: links lead somewhere, rules and commands in them are accepted."""

import json
import re
import shlex
import sqlite3
import subprocess
from pathlib import Path

import pytest
from typer.main import get_command

from engine.cli.main import app
from engine.journal.records import Bounds
from engine.journal.store import Journal
from engine.settings import Settings
from tests.clocks import SYSTEM
from tests.lab.sidecar import PROGRAM

ROOT = Path(__file__).parents[2]
HOW_TO = ROOT / "docs/how-to"
PAGES = sorted(
    path
    for folder in (ROOT, ROOT / "docs", ROOT / "rules", ROOT / "examples")
    for path in (folder.glob("*.md") if folder == ROOT else folder.rglob("*.md"))
)


def _blocks(page: Path, language: str) -> list[str]:
    """The code blocks of a page in one language, without their indentation."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^\1```", page.read_text(), re.MULTILINE | re.DOTALL)
    return [re.sub(rf"^{indent}", "", text, flags=re.MULTILINE) for indent, text in found]


def _dockwarden(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(PROGRAM), *arguments], capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link names a file or folder of the repository; one within a page names a heading."""
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if target.startswith(("https://", "http://")):
            continue
        path, _, heading = target.partition("#")
        assert (page.parent / path).exists(), target
        if heading and not path:
            titles = re.findall(r"^#+ (.*)", page.read_text(), re.MULTILINE)
            assert heading in {re.sub(r"[^\w -]", "", title).strip().lower().replace(" ", "-") for title in titles}, target


def test_the_rule_of_the_readme_is_a_good_one(tmp_path: Path) -> None:
    """It has no error (and no test, of which the check warns)."""
    (rule,) = _blocks(ROOT / "README.md", "yaml")
    (tmp_path / "rule.yaml").write_text(rule)
    done = _dockwarden("check", str(tmp_path))
    assert done.returncode == 0, done.stdout


def test_the_rule_of_the_how_to_is_good_and_passes_its_tests(tmp_path: Path) -> None:
    """Nothing to find fault with, and both of its tests hold."""
    rule, tests = _blocks(HOW_TO / "add-a-rule.md", "yaml")
    (tmp_path / "shop.yaml").write_text(rule)
    (tmp_path / "shop.test.yaml").write_text(tests)
    (tmp_path / "runbooks").mkdir()
    (tmp_path / "runbooks" / "restart-loop.md").write_text("# A container restarts again and again")
    checked = _dockwarden("check", str(tmp_path), "--format", "json")
    assert (checked.returncode, json.loads(checked.stdout)["findings"]) == (0, []), checked.stdout
    tested = _dockwarden("test", str(tmp_path))
    assert tested.returncode == 0, tested.stdout


def test_the_commands_of_the_how_to_are_taken() -> None:
    """Every command line that it shows has a name and options that there are."""
    text = (HOW_TO / "silence-and-acknowledge.md").read_text().replace("\\\n", " ")
    lines = [shlex.split(line, comments=True)[1:] for line in text.splitlines() if line.startswith("dockwarden command ")]
    assert len(lines) == 4
    group = get_command(app)
    for line in lines:
        with group.make_context("dockwarden", line) as context:
            verb = group.get_command(context, line[0])  # type: ignore[attr-defined]  # the program is a group
            verb.make_context(line[0], line[1:], parent=context).close()


def test_the_question_to_the_journal_can_be_asked(tmp_path: Path) -> None:
    """The query runs on a journal as it is made."""
    query = re.search(r'journal\.db "(.*?)"', (HOW_TO / "read-the-journal.md").read_text(), re.DOTALL)
    assert query is not None
    Journal.open(tmp_path / "journal.db", bounds=Bounds(), now=SYSTEM.wall()).close()
    connection = sqlite3.connect(tmp_path / "journal.db")
    try:
        assert connection.execute(query[1]).fetchall() == []
    finally:
        connection.close()


def test_the_settings_that_are_named_exist() -> None:
    """Environment variables in every page, up to the two underscores of a group."""
    known = {f"DOCKWARDEN_{name.upper()}" for name in Settings.model_fields}
    for page in PAGES:
        named = {name.split("__")[0] for name in re.findall(r"DOCKWARDEN_[A-Z_]+[A-Z]", page.read_text())}
        assert named <= known, page


def test_the_verbs_that_are_named_exist() -> None:
    """`dockwarden VERB` in every page."""
    known = {
        (command.name or command.callback.__name__).replace("_", "-") for command in app.registered_commands if command.callback
    }
    known |= {str(group.name) for group in app.registered_groups}
    for page in PAGES:
        assert set(re.findall(r"`(?:\.venv/bin/)?dockwarden ([a-z-]+)", page.read_text())) <= known, page
