"""`replay` and `replay --against`: what is printed, and the exit code."""

import json
from pathlib import Path

import pytest

from engine.cli.replay import replay_facts
from engine.errors import DockwardenError
from engine.replay.player import core_at
from engine.rules.reader import usable_rules
from tests.unit.replay.recordings import deaths, storm, write_facts, write_rules


def _compare(folder: Path, old: str, new: str, facts: str, output: str = "json") -> int:
    rules, against = write_rules(folder / "old", old), write_rules(folder / "new", new)
    return replay_facts(facts, rules=rules, against=against, output=output)


def _lines(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_lower_threshold_moves_the_alert(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Five deaths instead of ten: the alert comes earlier, and its end stays where it was."""
    code = _compare(tmp_path, storm(10), storm(5), write_facts(tmp_path / "f", [*deaths(12), *deaths(1, image="x")]))
    lines = _lines(capsys.readouterr().out)
    assert code == 0
    assert [(line.get("change"), line.get("at")) for line in lines[:-1]] == [("moved", "2026-01-01T00:00:20.000000Z")]
    assert lines[0]["before"] == {"at": "2026-01-01T00:00:45.000000Z", "severity": "warning", "text": "web died again and again"}
    assert lines[-1] == {"summary": {"facts": 13, "same": 0, "added": 0, "removed": 0, "moved": 1, "changed": 0, "cut_short": 0}}


def test_the_same_rules_differ_in_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Rules against themselves: no line but the count."""
    assert _compare(tmp_path, storm(5), storm(5), write_facts(tmp_path / "f", deaths(30)), "text") == 0
    assert capsys.readouterr().out == "30 facts: 1 alerts and actions are the same, 0 added, 0 removed, 0 moved, 0 changed\n"


def test_text_says_how_much_earlier(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """For people, a move says by how much, and an added alert what it says."""
    _compare(tmp_path, storm(10), storm(5, "critical"), write_facts(tmp_path / "f", deaths(12)), "text")
    out = capsys.readouterr().out
    assert "> moved   2026-01-01T00:00:20.000000Z  storm [web]  firing critical: web died again and again  (25s earlier)" in out


def test_faulty_rules_are_not_compared(tmp_path: Path) -> None:
    """An unusable set of rules is an error with its report, before anything is read."""
    with pytest.raises(DockwardenError, match="unknown-kind"):
        _compare(tmp_path, storm(5).replace("container_event", "no_such_kind"), storm(5), "/nonexistent")


def test_replay_says_what_cannot_be_read_and_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A line that is no fact is named with its number; the facts around it count, and the exit code is 1."""
    file = tmp_path / "f"
    file.write_bytes(b"\xff\n{}\n[]\n\n" + "".join(json.dumps(fact) + "\n" for fact in deaths(5)).encode())
    rules = write_rules(tmp_path / "rules", storm(5))
    assert replay_facts(str(file), rules=rules, against=None, output="json") == 1
    said = capsys.readouterr()
    assert [line["status"] for line in _lines(said.out)] == ["firing"]
    assert [line.partition(":")[2].partition(":")[0] for line in said.err.splitlines()] == [" line 1", " line 2", " line 3"]


def test_a_retraction_that_means_nothing_is_named_with_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It was said without its place in the recording, where every other fault has one."""
    retraction = {"retract": "no_such_kind", "key": "x", "at": "2026-11-20T16:00:00Z"}
    file = write_facts(tmp_path / "f", [*deaths(5), retraction])
    rules = write_rules(tmp_path / "rules", storm(5))
    assert replay_facts(file, rules=rules, against=None, output="json") == 1
    assert capsys.readouterr().err.startswith("dockwarden: line 6: retract: 'no_such_kind'")
    assert replay_facts(file, rules=rules, against=rules, output="json") == 1
    assert capsys.readouterr().err.startswith("dockwarden: line 6: retract: 'no_such_kind'")
    assert core_at(usable_rules(rules)[0], Path(file).read_bytes().splitlines(), None).now > 0


def test_a_missing_recording_is_said(tmp_path: Path) -> None:
    """A file that is not there is one sentence."""
    with pytest.raises(DockwardenError, match="cannot be read: No such file"):
        replay_facts(str(tmp_path / "none"), rules=write_rules(tmp_path / "rules", storm(5)), against=None, output="json")
