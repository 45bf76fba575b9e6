import io
import json
from pathlib import Path

import pytest

from engine.cli.compare import compare_rules
from engine.cli.replay import replay_facts, run_to
from engine.errors import DockwardenError
from engine.facts import FactKinds
from engine.facts.timestamps import SECOND
from engine.inference.decision import AlertDetails, Decision
from engine.replay.comparison import Comparison
from engine.replay.recording import LINE_BYTES, SHOWN_FAULTS, Faults, bounded_lines, read_facts
from tests.unit.cli.recordings import deaths, storm, write_facts, write_rules


def _alert(at: int, *, rule: str = "r", key: str = "k", text: str = "", severity: str = "warning") -> Decision:
    details = AlertDetails(severity, "", text, at, at, None, 1)  # type: ignore[arg-type]  # one of the severities
    return Decision(at * SECOND, rule, key, "alert", (), f"a{at}", status="firing", alert=details)


def _compare(folder: Path, old: str, new: str, facts: str, output: str = "json") -> int:
    return compare_rules(facts, write_rules(folder / "old", old), write_rules(folder / "new", new), output)


def _lines(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_decision_of_one_set_alone_is_added_or_removed() -> None:
    """What only the new rules decide is added, what only the old ones decide is removed."""
    comparison = Comparison()
    assert list(comparison.take([_alert(1, key="a")], [_alert(1, key="b")])) == []
    assert [(it.what, it.said.key) for it in comparison.rest()] == [("removed", "a"), ("added", "b")]


def test_the_same_decision_later_was_moved() -> None:
    """A decision that the other rules take at another time is one move, not one removed and one added."""
    comparison = Comparison()
    list(comparison.take([_alert(1)], []))
    assert [it.what for it in comparison.take([], [_alert(61)])] == ["moved"]
    assert list(comparison.rest()) == []


def test_what_is_decided_at_the_same_moment_is_never_a_move() -> None:
    """Old fires three times and new the last two of them: the first was removed, nothing moved."""
    comparison = Comparison()
    for at, sides in ((1, ([_alert(1)], [])), (2, ([_alert(2)], [_alert(2)])), (3, ([_alert(3)], [_alert(3)]))):
        assert list(comparison.take(*sides)) == [], at
    assert [(it.what, it.said.at) for it in comparison.rest()] == [("removed", SECOND)]
    assert comparison.same == 2


def test_the_same_alert_hours_later_is_another_trouble() -> None:
    """Beyond an hour the one is removed and the other added."""
    comparison = Comparison()
    list(comparison.take([_alert(1)], []))
    found = [*comparison.take([], [_alert(3603)]), *comparison.rest()]
    assert [it.what for it in found] == ["removed", "added"]


def test_another_severity_at_the_same_moment_is_a_change() -> None:
    """The same alert with another severity or text is said to be changed."""
    comparison = Comparison()
    found = [*comparison.take([_alert(1)], [_alert(1, severity="critical")]), *comparison.rest()]
    assert [it.what for it in found] == ["changed"]


def test_differences_without_end_are_held_within_a_bound() -> None:
    """A thousand differences in one moment with room for ten: nine hundred and ninety are told at once, none is lost."""
    comparison = Comparison(pending=10)
    told = sum(len(list(comparison.take([_alert(1, key=str(n))], []))) for n in range(1000))
    assert (told, len(comparison), comparison.cut_short) == (990, 10, 990)
    assert len(list(comparison.rest())) == 10
    assert comparison._open == {}
    assert comparison.counts["removed"] == 1000


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
    assert compare_rules(file, rules, rules, "json") == 1
    assert capsys.readouterr().err.startswith("dockwarden: line 6: retract: 'no_such_kind'")
    assert run_to(Path(file).read_bytes().splitlines(), rules, None).now > 0


@pytest.mark.parametrize("at", ["9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00"])
def test_a_time_that_utc_has_no_year_for_is_a_fault(at: str) -> None:
    """The conversion overflowed, which ended the replay with a traceback and lost every line after it."""
    faults = Faults()
    lines = [json.dumps({"fact": "container", "id": "c1", "at": moment}).encode() for moment in (at, "2026-11-20T16:00:00Z")]
    assert [fact.fact_id for fact in read_facts(lines, FactKinds(), faults)] == ["line-2"]
    assert faults.shown == ["line 1: container: at: Value error, in UTC it is outside the years 1 to 9999"]


def test_a_million_faults_are_counted_not_kept() -> None:
    """What cannot be read costs no memory beyond the first few."""
    faults = Faults()
    assert list(read_facts((b"x\n" for _ in range(1000)), FactKinds(), faults)) == []
    assert (faults.number, len(faults.shown)) == (1000, SHOWN_FAULTS)


def test_a_line_without_end_is_passed_over_in_pieces() -> None:
    """A line that is longer than any fact is never held whole, and the next one is read as the next."""
    lines = list(bounded_lines(io.BytesIO(b"x" * (2 * LINE_BYTES + 7) + b"\nnext\n")))
    assert [len(line) for line in lines] == [LINE_BYTES + 1, 5]


@pytest.mark.parametrize(
    "line", [b"[" * 100_000, b'{"fact": "disk", "x": ' + b"[" * 100_000, b'{"fact": "\\ud800"}', b"\x00", b'{"fact": NaN}']
)
def test_hostile_lines_are_faults(line: bytes) -> None:
    """Nesting without end, half a character, control characters: a fault each, never a crash."""
    faults = Faults()
    assert list(read_facts([line], FactKinds(), faults)) == []
    assert faults.number == 1


def test_a_missing_recording_is_said(tmp_path: Path) -> None:
    """A file that is not there is one sentence."""
    with pytest.raises(DockwardenError, match="cannot be read: No such file"):
        replay_facts(str(tmp_path / "none"), rules=write_rules(tmp_path / "rules", storm(5)), against=None, output="json")
