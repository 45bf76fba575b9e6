"""Rules that change while the sidecar's loop runs, on a real folder, a real journal and real repositories."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from engine.errors import DockwardenError, RulesError
from engine.journal.reader import JournalReader
from engine.logparse import WantedLines
from engine.pipeline.intake import RulesAccepted
from engine.rules.model import RuleSet
from engine.rules.reader import RuleTexts
from engine.settings import RulesRepo, Settings
from engine.sidecar.composition import RulesGit
from engine.sidecar.last_good_rules import MAX_CHARS, NAME, last_good, to_json
from engine.sidecar.rule_reload import Start, _at_start, follow_rules
from engine.sidecar.rule_source import FolderSource, GitSource, LoadedRules, address_of, source_of
from tests.clocks import SYSTEM
from tests.lab.waiting import until
from tests.unit.git.repo import Repo
from tests.unit.pipeline.loop import DEAD, House, container

OTHER = DEAD.replace(b"dead-container", b"other")
BAD = DEAD.replace(b"status: dead", b"statsu: dead")
SELF = b"""
rules:
  - rule: rules-refused
    title: Changed rules are refused
    severity: error
    when:
      source: {fact: source, name: rules, status: lost}
    key: rules
    then:
      - alert: "refused: {source.error}"
"""


def _settings(folder: Path, /, **repo: Any) -> Settings:
    return Settings(host="h1", state=folder, repo=RulesRepo(**repo))


def _folder(tmp_path: Path, text: bytes = DEAD) -> Path:
    folder = tmp_path / "rules"
    folder.mkdir(exist_ok=True)
    (folder / "dead.yaml").write_bytes(text)
    (folder / "self.yaml").write_bytes(SELF)
    return folder


@asynccontextmanager
async def _running(tmp_path: Path, start: Start) -> AsyncIterator[House]:
    """A loop with these rules, and what follows their changes."""
    house = House(tmp_path, clock=SYSTEM)
    loaded = start.loaded
    await house.intake.put(RulesAccepted(loaded.ruleset, loaded.version))
    tasks = [
        asyncio.create_task(house.loop.run(), name="loop"),
        asyncio.create_task(follow_rules(start, house.intake, SYSTEM, WantedLines()), name="rules"),
    ]
    try:
        await until(lambda: "in force" in house.verdicts("rules") or "refused" in house.verdicts("rules"), what="the start")
        yield house
    finally:
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await house.stop()


def _version(house: House) -> str:
    return house.loop._rules_version


def _rules(house: House) -> set[str]:
    return {rule.id for rule in house.loop.core.ruleset.rules}


def _has_rules(house: House, wanted: set[str]) -> bool:
    return _rules(house) == wanted


def _says(house: House, *parts: str) -> bool:
    return any(all(part in str(data.get("summary")) for part in parts) for data in house.messages())


async def _started(folder: Path, tmp_path: Path, /, **repo: Any) -> Start:
    return await _at_start(source_of(folder, _settings(tmp_path, **repo), RulesGit()), tmp_path)


async def test_a_good_change_is_in_force_within_a_second(tmp_path: Path) -> None:
    """An edited file is noticed, read and in force in less than a second, and an alert of an unchanged rule goes on firing."""
    folder = _folder(tmp_path)
    async with _running(tmp_path, await _started(folder, tmp_path)) as house:
        await house.intake.sink("docker").put([container(1)])
        await until(lambda: len(house.alerts()) == 1, what="the alert")
        version = _version(house)
        changed = time.monotonic()
        (folder / "more.yaml").write_bytes(OTHER)
        await until(lambda: "other" in _rules(house), what="the new rule", pause_s=0.005)
        assert time.monotonic() - changed < 1.0
        await until(lambda: len(house.alerts()) == 2, what="the new rule's alert")
        assert [status for status, _ in house.alerts()] == ["firing", "firing"]
        assert _version(house) != version


async def test_a_swapped_link_is_noticed(tmp_path: Path) -> None:
    """A symbolic link that is replaced in one step, at the folder itself or further up, brings the rules behind it in force."""
    one, two = tmp_path / "v1" / "rules", tmp_path / "v2" / "rules"
    for place, text in ((one, DEAD), (two, OTHER)):
        place.mkdir(parents=True)
        (place / "rules.yaml").write_bytes(text)
    for number, (link, folder) in enumerate(((tmp_path / "current", ""), (tmp_path / "top", "rules"))):
        link.symlink_to(one.parent if folder else one)
        state = tmp_path / f"state{number}"
        state.mkdir()
        async with _running(state, await _started(link / folder, state)) as house:
            assert _rules(house) == {"dead-container"}
            (tmp_path / "next").symlink_to(two.parent if folder else two)
            (tmp_path / "next").replace(link)
            await until(partial(_has_rules, house, {"other"}), what="the rules behind the link", within_s=3)


async def test_a_bad_change_is_refused_whole(tmp_path: Path) -> None:
    """One bad file keeps all of a change out; an alert names the fault; fixing it resolves the alert."""
    folder = _folder(tmp_path)
    async with _running(tmp_path, await _started(folder, tmp_path)) as house:
        (folder / "more.yaml").write_bytes(OTHER)
        (folder / "dead.yaml").write_bytes(BAD)
        await until(lambda: ("firing", "rules") in house.alerts(), what="the alert")
        assert _rules(house) == {"dead-container", "rules-refused"}
        summary = str(house.messages()[-1]["summary"])
        assert "dead.yaml:7:31 DW202 container has no field `statsu`" in summary
        assert summary.isprintable()
        assert house.verdicts("rules") == ["in force", "refused"]
        (folder / "dead.yaml").write_bytes(DEAD)
        await until(lambda: ("resolved", "rules") in house.alerts(), what="the alert's end")
        assert _rules(house) == {"dead-container", "rules-refused", "other"}


async def test_a_restart_with_bad_rules_goes_on_by_the_last_good_ones(tmp_path: Path) -> None:
    """What the journal remembers is in force after the restart, and the alert says why."""
    folder = _folder(tmp_path)
    async with _running(tmp_path, await _started(folder, tmp_path)):
        pass
    (folder / "dead.yaml").write_bytes(BAD)
    start = await _started(folder, tmp_path)
    assert start.problem is not None
    assert start.problem[0] == "rules"
    async with _running(tmp_path, start) as house:
        await until(lambda: ("firing", "rules") in house.alerts(), what="the alert")
        assert _rules(house) == {"dead-container", "rules-refused"}
        (folder / "dead.yaml").write_bytes(OTHER)
        await until(lambda: _rules(house) == {"other", "rules-refused"}, what="the fixed rules")


async def test_bad_rules_and_nothing_remembered_do_not_start(tmp_path: Path) -> None:
    """The first start has nothing to fall back on: the whole report is the error."""
    with pytest.raises(RulesError, match="unknown-field"):
        await _started(_folder(tmp_path, BAD), tmp_path)


def test_what_is_remembered_is_bounded_and_checked(tmp_path: Path) -> None:
    """Rules too large are not kept, and what cannot be read back is as good as nothing."""
    texts = RuleTexts((("big.yaml", b"#" * (MAX_CHARS + 1)),))
    assert to_json(LoadedRules("x", RuleSet(()), texts)) is None
    (tmp_path / "journal.db").write_bytes(b"no journal")
    assert last_good(tmp_path, "x") is None
    assert last_good(tmp_path / "none", "x") is None


async def test_git_rules_follow_the_branch(tmp_path: Path) -> None:
    """The commit is in the version and in the audit; a pushed commit is in force with the next look."""
    repo = Repo(tmp_path / "origin")
    first = repo.commit({"rules/dead.yaml": DEAD.decode(), "other.yaml": "no: rules"})
    start = await _started(repo.folder, tmp_path, ref="main", every_s=1, folder="rules")
    assert start.loaded.version.endswith(f"@{first[:12]}")
    async with _running(tmp_path, start) as house:
        second = repo.commit({"rules/other.yaml": OTHER.decode()})
        await until(lambda: "other" in _rules(house), what="the pushed rule")
        assert _version(house).endswith(f"@{second[:12]}")
        await until(lambda: house.verdicts("rules") == ["in force", "in force"], what="the audit")
        assert [row.detail["commit"] for row in house.journal.audit() if row.kind == "rules"] == [first, second]


async def test_a_bad_or_rewritten_branch_is_refused_and_named(tmp_path: Path) -> None:
    """The alert names the commit: for faulty rules, and for what is no fast-forward."""
    repo = Repo(tmp_path / "origin")
    repo.commit({"dead.yaml": DEAD.decode(), "self.yaml": SELF.decode()})
    start = await _started(repo.folder, tmp_path, ref="main", every_s=1)
    async with _running(tmp_path, start) as house:
        for options, what in (((), "at commit"), (("--amend",), "no fast-forward")):
            if options:
                repo.git("reset", "--quiet", "--hard", start.loaded.commit)
            bad = repo.commit({"dead.yaml": (OTHER if options else BAD).decode()}, *options)
            await until(partial(_says, house, what, bad[:12]), what=f"an alert with {what}")
        assert _rules(house) == {"dead-container", "rules-refused"}


async def test_a_checkout_names_its_commit(tmp_path: Path) -> None:
    """The version follows edits and commits, also a commit that changes no file; a refused edit names the commit too."""
    repo = Repo(tmp_path / "rules")
    first = repo.commit({"dead.yaml": DEAD.decode(), "self.yaml": SELF.decode()})
    start = await _started(tmp_path / "rules", tmp_path)
    assert start.loaded.version.endswith(f"@{first[:12]}")
    async with _running(tmp_path, start) as house:
        _folder(tmp_path, OTHER)
        await until(lambda: _version(house).endswith(f"@{first[:12]}-dirty"), what="the edit")
        second = repo.commit({})
        await until(lambda: _version(house).endswith(f"@{second[:12]}"), what="the commit")
        _folder(tmp_path, BAD)
        await until(lambda: _says(house, f"at commit {second[:12]}-dirty", "DW202"), what="the refusal")


async def test_a_repository_out_of_reach_changes_nothing(tmp_path: Path) -> None:
    """While it cannot be read the rules stay; a restart takes those of the copy; without a copy it does not start."""
    repo = Repo(tmp_path / "origin")
    repo.commit({"dead.yaml": DEAD.decode()})
    start = await _started(repo.folder, tmp_path, ref="main", every_s=1)
    moved = repo.folder.rename(tmp_path / "away")
    async with _running(tmp_path, start) as house:
        await until(lambda: "unreachable" in house.verdicts("rules"), what="the problem")
        assert _rules(house) == {"dead-container"}
    again = await _started(repo.folder, tmp_path, ref="main")
    assert again.loaded.commit == start.loaded.commit
    assert again.problem is not None
    assert again.problem[0] == "rules_repo"
    with pytest.raises(DockwardenError, match="cannot be read"):
        await _started(repo.folder, moved, ref="main")


def test_a_url_survives_being_a_path(tmp_path: Path) -> None:
    """`--rules https://…` comes as a path; the address is the URL again, and plain paths stay what they are."""
    assert address_of(Path("https://git.example.org/team/rules.git")) == "https://git.example.org/team/rules.git"
    assert address_of(Path("git@example.org:team/rules.git")) == "git@example.org:team/rules.git"
    assert address_of(Path("/srv/rules")) == "/srv/rules"
    assert isinstance(source_of(Path("/srv/rules"), _settings(tmp_path), RulesGit()), FolderSource)
    assert isinstance(source_of(Path("/srv/rules"), _settings(tmp_path, ref="main"), RulesGit()), GitSource)
    with pytest.raises(RulesError):
        source_of(Path("/srv/rules"), _settings(tmp_path, ref="--x"), RulesGit())


async def test_the_good_rules_are_in_the_journal(tmp_path: Path) -> None:
    """They are remembered with where they are from; a reader sees them while the sidecar runs."""
    folder = _folder(tmp_path)
    async with _running(tmp_path, await _started(folder, tmp_path)):
        with JournalReader(tmp_path / "journal.db") as reader:
            assert os.fspath(folder) in reader.memory()[NAME]
    assert last_good(tmp_path, "/elsewhere") is None, "rules of another place are not what was asked for"
    loaded = last_good(tmp_path, os.fspath(folder))
    assert loaded is not None
    assert {rule.id for rule in loaded.ruleset.rules} == {"dead-container", "rules-refused"}
