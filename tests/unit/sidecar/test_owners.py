"""Who may write what a root process believes."""

import os
import shutil
from pathlib import Path

import pytest

from engine.errors import DockwardenError, JournalError, RulesError
from engine.journal import Journal
from engine.sidecar import owners
from engine.sidecar.composition import RulesGit
from engine.sidecar.process import state_folder
from engine.sidecar.rule_source import FolderSource
from tests.clocks import SYSTEM

SHIPPED = Path(__file__).parents[3] / "rules"


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o702])
def test_a_state_folder_that_others_may_write_is_refused(tmp_path: Path, mode: int) -> None:
    """Its links and journals would be theirs; the sentence says what to do."""
    tmp_path.chmod(mode)
    with pytest.raises(DockwardenError, match=r"state folder is not safe: .*writable for others .*chmod go-w"):
        state_folder(tmp_path)
    tmp_path.chmod(0o755)
    assert state_folder(tmp_path) == tmp_path


def test_a_state_folder_of_somebody_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither root's, nor ours, nor of whom the program belongs to."""
    _give_away(tmp_path, monkeypatch)
    with pytest.raises(DockwardenError, match=r"belongs to user \d+: give it to root"):
        state_folder(tmp_path)


def test_what_the_owner_of_the_program_owns_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root runs the checkout of a plain user, whose code it obeys anyway."""
    _give_away(tmp_path, monkeypatch)
    monkeypatch.setattr(owners, "_PROGRAM", tmp_path.stat().st_uid)
    assert state_folder(tmp_path) == tmp_path


@pytest.mark.parametrize("what", ["", "i01-dead-containers.yaml"])
async def test_rules_that_others_may_write_are_refused(tmp_path: Path, what: str) -> None:
    """The folder, or a file in it."""
    shutil.copytree(SHIPPED, tmp_path, dirs_exist_ok=True)
    source = FolderSource(tmp_path, (), RulesGit())
    assert (await source.read()).ruleset.rules
    (tmp_path / what).chmod(0o777)
    with pytest.raises(RulesError, match=r"rules are not safe: .*writable for others"):
        await source.read()


def test_a_folder_between_counts_too(tmp_path: Path) -> None:
    """Who may write it puts another file in the place of one that is sound."""
    file = tmp_path / "sub" / "mine.yaml"
    file.parent.mkdir()
    file.touch()
    assert owners.foreign_among(tmp_path, [file]) is None
    file.parent.chmod(0o777)
    assert f"{file.parent} is writable" in (owners.foreign_among(tmp_path, [file]) or "")


def test_a_link_in_place_of_the_lock_is_not_followed(tmp_path: Path) -> None:
    """It would truncate what it leads to."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "journal.db.lock").symlink_to(victim)
    with pytest.raises(JournalError, match="symbolic link"):
        Journal.open(tmp_path / "journal.db", now=SYSTEM.wall())
    assert victim.read_text() == "precious"


def test_the_journal_and_all_beside_it_is_for_us_alone(tmp_path: Path) -> None:
    """Its write-ahead log holds the same rows as the file itself, and an earlier version left it readable."""
    journal = Journal.open(tmp_path / "journal.db", now=SYSTEM.wall())
    try:
        modes = {path.name: path.stat().st_mode & 0o077 for path in tmp_path.iterdir()}
    finally:
        journal.close()
    assert {"journal.db", "journal.db-wal", "journal.db-shm"} <= modes.keys()
    assert not any(modes.values()), modes


def _give_away(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() == 0:
        os.chown(path, 12345, -1)
    else:
        monkeypatch.setattr(owners, "_PROGRAM", 12345)
        monkeypatch.setattr("os.geteuid", lambda: 12345)
