"""Chains of cause from a real journal, and why rules did not fire."""

import json
from pathlib import Path
from typing import Any, Literal

import pytest

from engine.cli.explain import explain_what
from engine.errors import DockwardenError
from engine.facts.timestamps import SECOND, from_micros, rfc3339
from engine.guardrails import Policy
from engine.inference.diagnosis import why_not
from engine.journal.audit_trail import DEPTH, Chain, Link, explain_alert, find, read_audit, withheld
from engine.journal.records import AuditRow
from engine.ports.actions import Outcome
from engine.replay.player import core_at
from engine.rules.reader import usable_rules
from tests.unit.pipeline.loop import DEAD, House, container
from tests.unit.pipeline.support import START, cid
from tests.unit.replay.recordings import deaths, storm, write_facts, write_rules

CHAIN = (
    DEAD
    + b"""
  - rule: busy
    title: A deletion failed because something is busy
    severity: info
    when:
      failed: {fact: action_result, action: remove_container, ok: false, error_kind: busy}
    then:
      - assert: {fact: wanted_look, container: $failed.container_id}
  - rule: look
    title: Look who holds it
    severity: info
    when:
      wanted: {fact: wanted_look}
    then:
      - do: inspect_mounts
        container: $wanted.container
"""
)
BUSY = Outcome(ok=False, error="device or resource busy", error_kind="busy")


def _explain(folder: Path, what: str | None = None, **more: Any) -> int:
    options: dict[str, Any] = {
        "state": folder,
        "config": None,
        "why_not": None,
        "at": None,
        "recording": None,
        "rules": None,
        "output": "text",
    }
    return explain_what(what, **(options | more))


def _depth(link: Link) -> int:
    return 1 + max((_depth(cause) for cause in link.because), default=0)


async def _busy(folder: Path) -> None:
    """A dead container whose deletion fails, which leads to a look at its mounts."""
    house = House(folder, CHAIN)
    house.outcomes[cid(1)] = [BUSY]
    await house.emit(container(1))
    await house.act()
    await house.act()
    assert house.attempts == [cid(1), cid(1)]
    await house.stop()


async def test_an_action_is_explained_down_to_the_first_fact(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The look at the mounts: because of the assertion, because of the failed deletion, because of the dead container."""
    await _busy(tmp_path)
    assert _explain(tmp_path, "inspect_mounts") == 0
    out = capsys.readouterr().out
    steps = (
        "rule look: inspect_mounts",
        "rule busy: assert",
        "action_result",
        "rule dead-container: remove_container",
        "container: id",
    )
    places = [out.find(step) for step in steps]
    assert -1 not in places, out
    assert sorted(places) == places, out


@pytest.mark.parametrize(
    "words", ["mounts", "DEAD-cont", "resource busy", "device or resource", cid(1)[10:30], f"remove_container {cid(1)[:4]}"]
)
async def test_any_part_of_what_the_audit_has_finds_it(tmp_path: Path, words: str) -> None:
    """A piece of a name, of an id, of an error: at 0.1.0 only whole names and beginnings of ids were found."""
    await _busy(tmp_path)
    assert find(read_audit(tmp_path / "journal.db"), words).rule in ("dead-container", "busy", "look")
    with pytest.raises(DockwardenError, match="nothing in the audit"):
        find(read_audit(tmp_path / "journal.db"), f"{words} nowhere")


async def test_json_holds_the_same_tree(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """For tools: kinds, times and causes, and what was done in consequence."""
    await _busy(tmp_path)
    capsys.readouterr()  # what was logged meanwhile
    _explain(tmp_path, "dead-container", output="json")
    body = json.loads(capsys.readouterr().out)
    assert body["kind"] == "alert"
    assert [cause["kind"] for cause in body["because"]] == ["fact"]
    assert any("device or resource busy" in entry["what"] for entry in body["outcomes"])


async def test_a_fact_stands_at_its_own_time(tmp_path: Path) -> None:
    """A fact is as old as it says, not as the decision on it."""
    house = House(tmp_path)
    at = START - 3600 * SECOND
    await house.emit(container(1, at=from_micros(at)))
    await house.stop()
    because = explain_alert(tmp_path / "journal.db", "dead-container", None)["because"]
    assert because["because"][0]["at"] == rfc3339(at)


@pytest.mark.parametrize("what", [None, "dead-container", f"dead-container/{cid(1)}", "remove_container", cid(1), cid(1)[:12]])
async def test_things_are_found_by_any_of_their_names(tmp_path: Path, what: str | None) -> None:
    """Nothing: the newest alert; a rule, an alert, an action, a target, the beginning of one."""
    house = House(tmp_path)
    await house.emit(container(1))
    await house.stop()
    assert find(read_audit(tmp_path / "journal.db"), what).rule == "dead-container"


async def test_what_is_not_there_is_said_with_what_is(tmp_path: Path) -> None:
    """A misspelt name gets the names that there are; an empty audit says that it is empty."""
    house = House(tmp_path)
    await house.turn()
    with pytest.raises(DockwardenError, match="no alert was raised yet"):
        find(read_audit(tmp_path / "journal.db"), None)
    await house.emit(container(1))
    await house.stop()
    with pytest.raises(DockwardenError, match=f"dead-container/{cid(1)}"):
        _explain(tmp_path, "ded-container")


@pytest.mark.parametrize(("mode", "protected", "verdict"), [("act", True, "refused"), ("observe", False, "observed")])
async def test_the_guard_that_kept_an_action_back_is_named(
    tmp_path: Path, mode: Literal["act", "observe"], protected: bool, verdict: str
) -> None:
    """A protected container and mode observe: both stand in the answer to why nothing was done, with the reason."""
    house = House(tmp_path, policy=Policy(mode=mode))
    await house.emit(container(1, protected=protected))
    await house.stop()
    (entry,) = withheld(tmp_path / "journal.db", "dead-container")
    assert f"rule dead-container: remove_container 000000000000 {verdict}: " in entry


def test_a_circle_and_a_long_chain_come_to_an_end() -> None:
    """Whatever the audit says caused what, the tree is finite and no deeper than its bound."""
    circle = [AuditRow(1, "assert", "done", rule="a", activation="x", detail={"facts": ["y-1"]})]
    circle.append(AuditRow(2, "assert", "done", rule="b", activation="y", detail={"facts": ["x-1"]}))
    assert _depth(Chain(circle).explain(circle[0])) <= DEPTH + 1
    long = [AuditRow(n, "assert", "done", activation=f"n{n}", detail={"facts": [f"n{n + 1}-1"]}) for n in range(100)]
    assert _depth(Chain(long).explain(long[0])) <= DEPTH + 1


def test_why_not_at_a_moment_of_a_recording(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nineteen seconds in there were four deaths of the ten that it takes."""
    facts, rules = write_facts(tmp_path / "f", deaths(12)), write_rules(tmp_path / "rules", storm(10))
    more: dict[str, Any] = {"why_not": "storm", "recording": Path(facts), "rules": rules}
    assert _explain(tmp_path, at="2026-01-01T00:00:19Z", **more) == 0
    assert "the largest group has 4 of 10 within 1m" in capsys.readouterr().out
    assert _explain(tmp_path, **more) == 0
    assert "it has fired on this already" in capsys.readouterr().out
    with pytest.raises(DockwardenError, match="not a time such as"):
        _explain(tmp_path, at="yesterday", **more)
    with pytest.raises(DockwardenError, match="--replay"):
        _explain(tmp_path, why_not="storm", at="2026-01-01T00:00:19Z")


NEAR = """
rules:
  - rule: full
    title: Full
    severity: warning
    when:
      disk: {fact: disk, path: /data, used_ratio|gte: 0.9}
    unless:
      - {fact: host, hostname: h1}
    key: "{disk.path}"
    then:
      - alert: "{disk.path} is full"
"""


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ([{"fact": "disk", "path": "/"}, {"fact": "disk", "path": "/data"}], "disk//data: used_ratio|gte should be 0.9, is 0.5"),
        ([], "no disk fact is held"),
        (
            [{"fact": "disk", "path": "/data", "used_ratio": 0.95}, {"fact": "host", "hostname": "h1"}],
            "number 1 (host hostname h1)",
        ),
    ],
)
def test_why_not_names_what_is_missing(tmp_path: Path, facts: list[dict[str, Any]], said: str) -> None:
    """The nearest fact with what it lacks, the kind of which there is none, the `unless` that holds back."""
    filled: dict[str, dict[str, Any]] = {"disk": {"used_ratio": 0.5, "free_bytes": 1}, "host": {"kernel": "6", "boot_id": "b"}}
    lines = [{"at": f"2026-01-01T00:00:0{9 - n}Z"} | filled[fact["fact"]] | fact for n, fact in enumerate(facts)]
    lines.reverse()
    file = Path(write_facts(tmp_path / "f", lines))
    core = core_at(usable_rules(write_rules(tmp_path / "rules", NEAR))[0], file.read_bytes().splitlines(), None)
    assert any(said in reason for reason in why_not(core, "full")["reasons"])


def test_two_rules_with_counts_alike_are_told_apart(tmp_path: Path) -> None:
    """The largest group is that of the rule that is asked about, not of a namesake's pattern over other facts."""
    other = storm(10).replace("rule: storm", "rule: other").replace("action: die", "action: oom").partition("rules:\n")[2]
    rules = write_rules(tmp_path / "rules", storm(10) + other)
    core = core_at(usable_rules(rules)[0], Path(write_facts(tmp_path / "f", deaths(5))).read_bytes().splitlines(), None)
    assert "largest group has 5 of 10" in why_not(core, "storm")["reasons"][0]
    assert "largest group has 0 of 10" in why_not(core, "other")["reasons"][0]


async def test_the_same_story_is_one_html_file_that_needs_nothing_else(tmp_path: Path) -> None:
    """No script, no outside resource; what happened is a picture and a list, in order of time; hostile names stay text."""
    await _busy(tmp_path)
    page = tmp_path / "incident.html"
    assert _explain(tmp_path, "dead-container", page=page) == 0
    text = page.read_text()
    assert "<svg" in text
    assert text.index("remove_container") < text.index("device or resource busy")
    assert "<script" not in text
    assert "http" not in text.replace("http-equiv", "")
    with pytest.raises(DockwardenError, match="cannot be written"):
        _explain(tmp_path, "dead-container", page=tmp_path / "none" / "x.html")
