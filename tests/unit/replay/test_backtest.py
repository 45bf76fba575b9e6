"""Backtesting: how often rules would have fired on a recording, with other values too."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from engine.cli.check import check_rules
from engine.cli.replay import replay_facts
from engine.cli.tune import tune_rule
from engine.errors import DockwardenError
from engine.facts import FactKinds
from engine.journal.fact_log import RECORDING_FOLDER, FactLog
from engine.replay.recording import Faults, read_facts
from tests.unit.replay.recordings import deaths, storm, write_facts, write_rules

CHAIN = """
  - rule: cleanup
    title: What follows
    severity: info
    when:
      alert: {fact: alert, rule: storm, status: firing}
    key: "{alert.key}"
    then:
      - alert: "{alert.key}"
"""


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    """A storm of ten deaths in a minute, and a rule that follows from its alert."""
    return write_rules(tmp_path / "rules", storm(10) + CHAIN)


@pytest.fixture
def facts(tmp_path: Path) -> Path:
    """Twelve deaths of web and six of db, five seconds apart."""
    return Path(write_facts(tmp_path / "facts", [*deaths(12), *deaths(6, image="db")]))


def _tune(
    capsys: pytest.CaptureFixture[str], rules: Path, facts: Path, *settings: str, rule: str = "storm"
) -> list[dict[str, object]]:
    assert tune_rule(rule, list(settings), since="7d", recording=facts, rules=rules, state=None, output="json") == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_every_combination_of_values_is_counted(rules: Path, facts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """How often each would have fired, and on what; the values by the ends of their paths."""
    rows = _tune(capsys, rules, facts, "within=10s,1m", "at_least=5,10")
    assert [(list(row["values"].values()), row["fired"], row["keys"]) for row in rows] == [  # type: ignore[attr-defined]
        (["10s", "5"], 0, {}),
        (["10s", "10"], 0, {}),
        (["1m", "5"], 2, {"web": 1, "db": 1}),
        (["1m", "10"], 1, {"web": 1}),
    ]


def test_a_rule_that_follows_from_others_is_tuned_with_them(rules: Path, facts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What makes its facts and alerts runs too."""
    (row,) = _tune(capsys, rules, facts, "severity=warning", rule="cleanup")
    assert (row["fired"], row["keys"]) == (1, {"web": 1})


@pytest.mark.parametrize(
    ("rule", "setting", "message"),
    [
        ("strom", "within=1m", "unknown rule `strom`; did you mean storm"),
        ("storm", "whithin=1m", "unknown value `whithin`; did you mean within"),
        ("storm", "within", "write NAME=VALUE"),
        ("storm", "within=soon", "invalid|not a duration"),
        ("storm", "at_least=" + ",".join(map(str, range(1, 300))), "299 combinations"),
    ],
)
def test_what_cannot_be_tried_is_one_sentence(rules: Path, facts: Path, rule: str, setting: str, message: str) -> None:
    """The rule, the value, and what was meant."""
    with pytest.raises(DockwardenError, match=message):
        tune_rule(rule, [setting], since="7d", recording=facts, rules=rules, state=None, output="json")


def test_people_get_a_table(rules: Path, facts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One row for each combination, with the things it fired on."""
    assert tune_rule("storm", ["at_least=5"], since="7d", recording=facts, rules=rules, state=None, output="text") == 0
    out = capsys.readouterr().out
    assert "storm would have fired" in out
    assert "web (1), db (1)" in out


def test_check_warns_of_what_would_have_fired_too_often(rules: Path, facts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By the recording that is named, beyond the number that needs no warning."""
    assert check_rules(rules, "json", recording=facts, at_most=0) == 0
    found = [it for it in json.loads(capsys.readouterr().out)["findings"] if it["id"] == "DW412"]
    assert [it["message"] for it in found] == [
        "`storm` would have fired 1 times in the recording, most on web (1)",
        "`cleanup` would have fired 1 times in the recording, most on web (1)",
    ]
    assert check_rules(rules, "json", recording=facts, at_most=1) == 0
    assert "DW412" not in capsys.readouterr().out


def _record(state: Path, facts: Path) -> None:
    """What a sidecar would have recorded an hour ago."""
    log = FactLog(state / RECORDING_FOLDER, 64 << 20)
    read = list(read_facts(facts.read_bytes().splitlines(), FactKinds(), Faults()))
    later = datetime.now(UTC) - timedelta(hours=1) - read[0].at
    for fact in read:
        log.add(fact.model_copy(update={"at": fact.at + later}))
    log.write()


def test_the_sidecars_own_recording_is_replayed_tuned_and_checked(
    rules: Path, facts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a file; what was decided before `--since` is left out."""
    _record(tmp_path / "state", facts)
    state = tmp_path / "state"
    assert replay_facts(None, rules=rules, against=None, output="json", since="2h", state=state) == 0
    assert [json.loads(line)["rule"] for line in capsys.readouterr().out.splitlines()] == ["storm", "cleanup"]
    assert replay_facts(None, rules=rules, against=None, output="json", since="10m", state=state) == 0
    assert capsys.readouterr().out == ""
    assert tune_rule("storm", ["at_least=5"], since="2h", recording=None, rules=rules, state=state, output="json") == 0
    assert json.loads(capsys.readouterr().out)["fired"] == 2
    assert check_rules(rules, "json", since="2h", at_most=0, state=state) == 0
    assert capsys.readouterr().out.count("DW412") == 2


def test_no_recording_is_one_sentence(rules: Path, tmp_path: Path) -> None:
    """With the folder that was looked in."""
    with pytest.raises(DockwardenError, match="there is no recording at"):
        replay_facts(None, rules=rules, against=None, output="json", state=tmp_path)
    with pytest.raises(DockwardenError, match="--since soon"):
        replay_facts(None, rules=rules, against=None, output="json", since="soon", state=tmp_path)
