"""Overrides of rules on some hosts: what they change, that they are checked like rules, and faulty ones word for word."""

import json
from pathlib import Path

import pytest

from engine.cli.check import check_rules
from engine.rules.model import CountPattern, FactPattern
from engine.rules.overrides import layers
from engine.rules.reader import Checked, check_texts, read_rules, render_text

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "overrides"
RULES = (GOLDEN / "rules.yaml").read_bytes()
CASES = sorted(GOLDEN.glob("*/override.yaml"))


def _overridden(*texts: str) -> Checked:
    return check_texts([("rules.yaml", RULES)], overrides=[(f"{n}.yaml", text.encode()) for n, text in enumerate(texts)])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.parent.name)
def test_faults_are_told_as_expected(case: Path) -> None:
    """The findings of a faulty override, with places in the override's own file, are exactly those that were reviewed."""
    checked = check_texts([("rules.yaml", RULES)], overrides=[("override.yaml", case.read_bytes())])
    assert render_text(checked.findings) == (case.parent / "expected.txt").read_text(encoding="utf-8")
    assert not checked.ok


def test_a_threshold_is_changed() -> None:
    """A value under `set` takes the place of the rule's; the rule is another version, the other rules are the same."""
    before = check_texts([("rules.yaml", RULES)]).ruleset
    after = _overridden("overrides: [{rule: storm, set: {when.died.at_least: 50, when.died.count.action: [die, oom]}}]").ruleset
    assert before is not None
    assert after is not None
    (pattern,) = after.rules[0].when
    assert isinstance(pattern, CountPattern)
    assert (pattern.at_least, pattern.tests[0].values) == (50, ("die", "oom"))
    assert after.rules[0].version != before.rules[0].version
    assert after.rules[1].version == before.rules[1].version
    assert after.version != before.version


def test_what_a_rule_leaves_out_may_be_set() -> None:
    """`for` and the like may be set although the rule does not say them."""
    ruleset = _overridden("overrides: [{rule: full, set: {for: 5m, severity: warning}}]").ruleset
    assert ruleset is not None
    assert (ruleset.rules[1].hold, ruleset.rules[1].severity) == (300_000_000, "warning")


def test_unless_is_extended() -> None:
    """More patterns stand behind those of the rule, also where it has none."""
    ruleset = _overridden(
        "overrides:\n- {rule: storm, unless: [{fact: disk, path: /b}]}\n- {rule: full, unless: [{fact: host, hostname: h}]}"
    ).ruleset
    assert ruleset is not None
    assert [[it.kind for it in rule.unless if isinstance(it, FactPattern)] for rule in ruleset.rules] == [
        ["alert", "disk"],
        ["host"],
    ]


def test_a_disabled_rule_is_gone_and_what_builds_on_it_is_not_faulty() -> None:
    """`storm` waits for the alert of `full`; without `full` it is as good a rule as before."""
    checked = _overridden("overrides: [{rule: full, disable: true}]")
    assert checked.ruleset is not None
    assert [rule.id for rule in checked.ruleset.rules] == ["storm"]
    assert checked.findings == ()


def test_the_later_file_counts() -> None:
    """What a host says counts over what its group says, and that over what all say."""
    ruleset = _overridden(
        "overrides: [{rule: storm, set: {severity: info, when.died.at_least: 7}}]",
        "overrides: [{rule: storm, set: {severity: error}}]",
    ).ruleset
    assert ruleset is not None
    (pattern,) = ruleset.rules[0].when
    assert isinstance(pattern, CountPattern)
    assert (ruleset.rules[0].severity, pattern.at_least) == ("error", 7)


def test_only_the_layers_of_this_host_are_read(tmp_path: Path) -> None:
    """The folder holds overrides for others; this host gets its own, those of its groups, and those of all."""
    (tmp_path / "rules.yaml").write_bytes(RULES)
    for name, severity in (("all", "info"), ("groups/db", "error"), ("groups/web", "critical"), ("hosts/h2", "warning")):
        file = tmp_path / "overrides" / f"{name}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"overrides: [{{rule: storm, set: {{severity: {severity}}}}}]")
    found = {
        host: ruleset.rules[0].severity
        for host, groups in (("h1", ()), ("h2", ("db",)), ("h3", ("web", "db")))
        if (ruleset := read_rules(tmp_path, layers(host, groups)).ruleset) is not None
    }
    assert found == {"h1": "info", "h2": "warning", "h3": "error"}


def test_check_looks_at_every_override_and_shows_what_it_changes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A fault in the overrides of any host is found wherever the check runs, once; what the good ones change is told."""
    (tmp_path / "rules.yaml").write_bytes(RULES)
    hosts = tmp_path / "overrides" / "hosts"
    hosts.mkdir(parents=True)
    (tmp_path / "overrides" / "all.yaml").write_text("overrides: [{rule: storm, set: {when.died.at_least: 30}}]")
    (hosts / "h1.yaml").write_text("overrides: [{rule: strom, disable: true}]")
    (hosts / "h2.yaml").write_text("overrides: [{rule: storm, set: {when.died.at_least: 40}}]")
    assert check_rules(tmp_path, "text") == 1
    out = capsys.readouterr().out
    assert out.count("DW601") == 1
    assert f"{hosts}/h1.yaml:1:20: error DW601" in out
    assert "override of storm: when.died.at_least: 20 -> 30" in out
    assert "override of storm: when.died.at_least: 30 -> 40" in out
    assert check_rules(tmp_path, "json") == 1
    body = json.loads(capsys.readouterr().out)
    assert [(it["rule"], it["change"]) for it in body["overrides"]] == [
        ("storm", "when.died.at_least: 20 -> 30"),
        ("storm", "when.died.at_least: 30 -> 40"),
    ]


def test_check_finds_override_files_that_no_host_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file in the wrong place or with the wrong ending would be ignored in silence on every host."""
    (tmp_path / "rules.yaml").write_bytes(RULES)
    names = ("all.yml", "h1.yaml", "host/h1.yaml", "hosts/h1.yml", "groups/db.yaml")
    for name in names:
        file = tmp_path / "overrides" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("overrides: []")
    assert check_rules(tmp_path, "text") == 1
    out = capsys.readouterr().out
    refused = [name for name in names if f"overrides/{name}:1:1: error DW601 bad-override: this file is for no host" in out]
    assert refused == ["all.yml", "h1.yaml", "host/h1.yaml", "hosts/h1.yml"]


def test_a_faulty_rules_file_is_not_called_empty(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The rules are looked at again with each override file; what could not be read the first time is said once."""
    (tmp_path / "rules.yaml").write_text("rules: [")
    (tmp_path / "overrides").mkdir()
    (tmp_path / "overrides" / "all.yaml").write_text("overrides: []")
    assert check_rules(tmp_path, "text") == 1
    out = capsys.readouterr().out
    assert "DW002" in out
    assert "DW005" not in out
