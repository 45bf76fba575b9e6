"""Tests of rules: what passes, what fails and how that reads, what was exercised, and files that are faulty."""

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from engine.cli.check import check_rules
from engine.cli.test import run_folder
from engine.errors import RulesError
from engine.rule_tests.coverage import exercised
from engine.rule_tests.folder import read_all
from engine.rule_tests.runner import reachable_rules
from engine.rules.reader import check_texts, read_rules

RULES = """
rules:
  - rule: storm
    title: Many deaths
    severity: warning
    when:
      died: {count: {fact: container_event, action: die}, by: [image], within: 1m, at_least: 3}
    unless:
      - {fact: alert, rule: full, status: firing}
    key: "{died.image}"
    then:
      - alert: "{died.count} deaths of {died.image}"
      - assert: {fact: many_deaths, image: $died.image, ttl: 1h}
  - rule: full
    title: A disk is full
    severity: critical
    when:
      disk: {fact: disk, used_ratio|gte: 0.9}
    key: "{disk.path}"
    then:
      - alert: "{disk.path} is full"
  - rule: sweep
    title: Sweep
    severity: info
    when:
      many: {fact: many_deaths}
      left: {fact: container, image: $many.image, status: exited}
    then:
      - do: remove_container
        container: $left.id
"""
DEATHS = "{at: 0s, every: 10s, times: 3, fact: container_event, action: die, id: 'c{n}', image: web}"
DISK = "{at: 0s, fact: disk, path: /, used_ratio: 0.95, inodes_ratio: 0.1, free_bytes: 1}"


def _folder(tmp_path: Path, given: str, expect: str, more: str = "") -> Path:
    (tmp_path / "rules.yaml").write_text(RULES)
    (tmp_path / "rules.test.yaml").write_text(
        f"tests:\n  - name: it is so\n    {more}\n    given: [{given}]\n    expect: [{expect}]\n"
    )
    return tmp_path


def _said(
    folder: Path, capsys: pytest.CaptureFixture[str], *, coverage: bool = False, junit: Path | None = None
) -> tuple[int, str]:
    code = run_folder(folder, junit=junit, coverage=coverage)
    return code, capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "expect", "more"),
    [
        (DEATHS, "{at: 20s, rule: storm, alert: firing, key: web, text: 3 deaths}", ""),
        (DEATHS, "{at: 20s, fact: many_deaths, image: web}, {at: 19s, fact: many_deaths, absent: true}", ""),
        (DEATHS, "{at: 19s, rule: storm, absent: true}", ""),
        (DEATHS, "{at: 2m, rule: storm, alert: firing, times: 1}, {at: 19s, rule: storm, alert: firing, times: 0}", ""),
        (DEATHS, "{at: 2m, rule: storm, alert: resolved}, {at: 2m, rule: storm, alert: firing, absent: true}", ""),
        (f"{DEATHS}, {DISK}", "{at: 20s, rule: full, alert: firing}, {at: 20s, rule: storm, absent: true}", ""),
        (DEATHS.replace("times: 3", "times: 2"), "", ""),
        (DEATHS, "{at: 20s, rule: storm, alert: firing}", "only: true"),
        (
            f"{DEATHS}, {{at: 30s, fact: container, id: left, image: web, status: exited}}",
            "{at: 30s, action: remove_container, container: left}, {at: 29s, action: remove_container, absent: true}",
            "",
        ),
        (f"{DISK}, {{at: 5s, retract: disk, key: /}}", "{at: 5s, rule: full, alert: resolved, key: /}", ""),
    ],
)
def test_what_is_so_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str], given: str, expect: str, more: str) -> None:
    """Alerts with key and text, facts, actions with parameters, what must not be, at the moment and not before it."""
    code, said = _said(_folder(tmp_path, given, expect, more), capsys)
    assert (code, "1 passed, 0 failed" in said) == (0, True), said


@pytest.mark.parametrize(
    ("given", "expect", "more", "problem"),
    [
        (
            DEATHS,
            "{at: 19s, rule: storm, alert: firing}",
            "",
            "line 5: alert firing of storm is expected; decided was storm [web] at 20s: alert firing",
        ),
        (DEATHS, "", "", "nothing may fire, but storm [web] at 20s: alert firing"),
        (DEATHS, "{at: 20s, rule: full, alert: firing}", "", "line 5: alert firing of full is expected; decided was nothing"),
        (DEATHS, "{at: 20s, fact: many_deaths, image: db}", "", 'there are {"fact": "many_deaths", "image": "web"'),
        (DEATHS, "{at: 20s, fact: disk}", "", 'fact {"fact": "disk"} is expected; there is no disk'),
        (DEATHS, "{at: 20s, rule: storm, absent: true}", "", "a firing of storm must not be"),
        (DEATHS, "{at: 20s, alert: firing, times: 2}", "", "alert firing of any rule, 2 times is expected; there were 1"),
        (DEATHS, "{at: 20s, rule: storm, alert: firing, key: db}", "", "alert firing of storm [db] is expected"),
        (DEATHS, "{at: 20s, rule: storm, alert: firing, text: 4 deaths}", "", "is expected"),
        (DEATHS, "{at: 20s, fact: many_deaths}", "only: true", "only what is expected may fire, but storm [web] at 20s"),
        ("{at: 0s, fact: disk, path: 7}", "", "", "given 1 (line 4): disk: path: Input should be a valid string"),
    ],
)
def test_what_is_not_so_fails_and_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], given: str, expect: str, more: str, problem: str
) -> None:
    """What was expected, and what there was instead, with the line."""
    code, said = _said(_folder(tmp_path, given, expect, more), capsys)
    assert code == 1
    assert problem in said
    assert f"FAILED {tmp_path}/rules.test.yaml:2 it is so" in said


def test_coverage_names_what_no_test_exercised(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Rules that never fire, patterns that never match, `unless` that never hold back; and the share of what is exercised."""
    _, said = _said(_folder(tmp_path, DEATHS, "{at: 20s, rule: storm}"), capsys, coverage=True)
    for missing in (
        "rule storm: unless number 1 never holds anything back",
        "rule full never fires",
        "rule full: pattern disk never matches",
        "rule sweep never fires",
        "rule sweep: pattern left never matches",
    ):
        assert missing in said
    assert "rule sweep: pattern many" not in said
    assert "coverage: 3 of 8 parts of rules exercised (38 %)" in said


def test_a_held_back_match_covers_its_unless(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The disk is full, so the storm waits: that exercises the `unless`."""
    _, said = _said(_folder(tmp_path, f"{DISK}, {DEATHS}", "{at: 20s, rule: storm, absent: true}"), capsys, coverage=True)
    assert "unless number" not in said


def test_junit_holds_every_test_and_what_went_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One suite a file, one case a test, with file, line and the difference; nothing in it that is no XML."""
    folder = _folder(tmp_path, DEATHS, "{at: 20s, rule: full}")
    with (folder / "rules.test.yaml").open("a") as file:
        file.write('  - {name: "quiet \\x01 <&>", given: [], expect: []}\n')
    code, _ = _said(folder, capsys, junit=tmp_path / "out.xml")
    (suite,) = ET.parse(tmp_path / "out.xml").getroot()
    assert code == 1
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    failed, passed = suite
    assert (failed.get("name"), failed.get("line")) == ("it is so", "2")
    assert "of full is expected" in str(failed[0].text)
    assert passed.get("name") == "quiet \N{REPLACEMENT CHARACTER} <&>"
    assert len(passed) == 0


def test_unusable_rules_run_no_test(tmp_path: Path) -> None:
    """The report of the rules is the error."""
    folder = _folder(tmp_path, DEATHS, "")
    (folder / "rules.yaml").write_text(RULES.replace("used_ratio", "usedratio"))
    with pytest.raises(RulesError, match="DW202"):
        run_folder(folder, junit=None, coverage=False)


@pytest.mark.parametrize(
    ("test", "found"),
    [
        ("tests: 1", "a test file has a list `tests:`"),
        ("tests: [{given: [], expect: []}]", "a test has a name"),
        ("tests: [{name: x, given: []}]", "a list `expect:`"),
        ("tests: [{name: x, given: [{at: 0s, fact: dsk}], expect: []}]", "did you mean `disk`?"),
        ("tests: [{name: x, given: [{at: soon, fact: disk}], expect: []}]", "`at: soon` is"),
        ("tests: [{name: x, given: [{fact: disk}], expect: []}]", "`at` is missing"),
        ("tests: [{name: x, given: [{at: 0s, fact: disk, times: 0}], expect: []}]", "`times` is a number from 1"),
        ("tests: [{name: x, given: [{at: 0s, fact: disk, times: 2}], expect: []}]", "`every` is missing"),
        ("tests: [{name: x, given: [], expect: [{at: 0s, rule: strom}]}]", "did you mean `storm`?"),
        ("tests: [{name: x, given: [], expect: [{at: 0s}]}]", "names a rule, an alert, an action, or a fact"),
        ("tests: [{name: x, given: [], expect: [{at: 0s, alert: burning}]}]", "expected: one of firing, resolved"),
        ("tests: [{name: x, given: [], expect: [{at: 0s, action: remove_containr}]}]", "did you mean `remove_container`?"),
        ("tests: [{name: x, gven: [], expect: []}]", "did you mean `given`?"),
        ("tests: [{name: x, given: [], expect: [}]", "DW002"),
    ],
)
def test_a_faulty_test_file_is_told_by_check(tmp_path: Path, capsys: pytest.CaptureFixture[str], test: str, found: str) -> None:
    """With place, excerpt and the nearest right name, like a faulty rules file; and the test run fails."""
    (tmp_path / "rules.yaml").write_text(RULES)
    (tmp_path / "rules.test.yaml").write_text(test)
    assert check_rules(tmp_path, "text") == 1
    assert found in capsys.readouterr().out
    assert run_folder(tmp_path, junit=None, coverage=False) == 1


def test_silence_counts_only_where_the_facts_reach_the_rule(tmp_path: Path) -> None:
    """A test about containers shows nothing of a rule about disks."""
    folder = _folder(tmp_path, DEATHS.replace("times: 3", "times: 2"), "")
    checked = read_rules(folder)
    assert checked.ruleset is not None
    assert exercised(read_all(folder, checked), checked.ruleset) == (set(), {"storm", "sweep"})


def test_only_rules_that_can_be_reached_are_built() -> None:
    """What the given kinds can reach, by way of assertions and alerts too; the rest can do nothing."""
    ruleset = check_texts([("rules.yaml", RULES.encode())]).ruleset
    assert ruleset is not None

    def reached(*kinds: str) -> list[str]:
        return [rule.id for rule in reachable_rules(ruleset, kinds).rules]

    assert reached("container_event") == ["storm", "sweep"]
    assert reached("container") == ["sweep"]
    assert reached("host") == []
    assert reached("disk") == ["full"]
