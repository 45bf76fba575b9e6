"""`test`, `replay` and `explain --replay` with the overrides of a host."""

from pathlib import Path

import pytest

from engine.cli.explain import explain_what
from engine.cli.replay import replay_facts
from engine.cli.test import test_rules as run_tests
from tests.unit.replay.recordings import deaths, storm, write_facts, write_rules

TESTS = """
tests:
  - name: five deaths
    given: [{at: 0s, every: 5s, times: 5, fact: container_event, action: die, id: "c{n}", image: web}]
    expect: [{at: 20s, rule: storm, alert: firing, key: web}]
"""


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    """A storm is five deaths; six on host h1, three for the group calm, none at all on host h2."""
    folder = write_rules(tmp_path / "rules", storm(5))
    (folder / "rules.test.yaml").write_text(TESTS)
    for name, change in (
        ("hosts/h1", "set: {when.died.at_least: 6}"),
        ("groups/calm", "set: {when.died.at_least: 3}"),
        ("hosts/h2", "disable: true"),
    ):
        file = folder / "overrides" / f"{name}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"overrides: [{{rule: storm, {change}}}]")
    return folder


def _replay(rules: Path, number: int, host: str | None = None, groups: list[str] | None = None) -> None:
    facts = write_facts(rules.parent / "facts", deaths(number))
    assert replay_facts(facts, rules=rules, against=None, output="json", host=host, groups=groups) == 0


@pytest.mark.parametrize(
    ("number", "host", "groups", "fires"),
    [(5, "h1", None, False), (6, "h1", None, True), (3, "h3", ["calm"], True), (3, None, ["calm"], True), (4, "h3", None, False)],
)
def test_a_replay_is_by_the_overrides_of_the_host_that_is_named(
    rules: Path, capsys: pytest.CaptureFixture[str], number: int, host: str | None, groups: list[str] | None, fires: bool
) -> None:
    """What would have happened there, not by the rules as they are written."""
    _replay(rules, number, host, groups)
    assert ('"storm"' in capsys.readouterr().out) is fires


def test_a_replay_without_a_host_is_by_the_overrides_of_this_one(
    rules: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `run` would decide with the same settings; which overrides count is said beside the decisions."""
    monkeypatch.setenv("DOCKWARDEN_HOST", "h1")
    _replay(rules, 5)
    said = capsys.readouterr()
    assert said.out == ""
    assert "override of storm: when.died.at_least: 5 -> 6" in said.err


def test_a_comparison_shows_what_an_override_changes(rules: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Both sides are by the overrides of the same host, each by its own."""
    plain = write_rules(rules.parent / "plain", storm(5))
    facts = write_facts(rules.parent / "facts", deaths(5))
    assert replay_facts(facts, rules=plain, against=rules, output="text", host="h2", groups=None) == 0
    assert "0 added, 1 removed" in capsys.readouterr().out


def test_why_not_is_by_the_overrides_too(rules: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The threshold that is named is that of the host."""
    recording = Path(write_facts(rules.parent / "facts", deaths(5)))
    explain_what(
        None, state=None, config=None, why_not="storm", at=None, recording=recording, rules=rules, output="text", host="h1"
    )
    assert "largest group has 5 of 6" in capsys.readouterr().out


def test_tests_are_about_the_rules_as_written_unless_a_host_is_named(
    rules: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A threshold of one host breaks no test of the rule, but one can see which tests would be others there."""
    monkeypatch.setenv("DOCKWARDEN_HOST", "h1")
    assert run_tests(rules, junit=None, coverage=False, host=None, groups=None) == 0
    assert run_tests(rules, junit=None, coverage=False, host="h1", groups=None) == 1
    assert "override of storm: when.died.at_least: 5 -> 6" in capsys.readouterr().out
    assert run_tests(rules, junit=None, coverage=False, host="h2", groups=None) == 1
    out = capsys.readouterr().out
    assert "FAILED" in out
    assert "no rule" not in out
