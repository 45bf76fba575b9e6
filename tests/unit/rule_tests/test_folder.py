"""What the check finds in a folder beyond the texts of its rules: runbooks, the policy, given facts, how often."""

from pathlib import Path

import pytest

from engine.rule_tests.folder import check_folder
from engine.rules.findings import render_text

RULES = """
rules:
  - rule: sick
    title: Sick
    severity: warning
    runbook: runbooks/sik.md#first
    when:
      sick: {fact: container, health: unhealthy}
    key: "{sick.id}"
    then:
      - alert: "{sick.name} is sick"
      - do: restart_container
        container: $sick.id
"""
TESTS = """
tests:
  - name: sick
    given: [%s]
    expect: [%s]
  - name: well
    given: [{at: 0s, fact: container, id: c, name: web, health: healthy}]
    expect: []
"""
SICK = "{at: 0s, fact: container, id: c, name: web, health: unhealthy}"
FIRING = "{at: 0s, rule: sick, alert: firing}"


def _folder(folder: Path, *, given: str = SICK, expect: str = FIRING, runbook: str = "sik") -> Path:
    (folder / "rules.yaml").write_text(RULES)
    (folder / "rules.test.yaml").write_text(TESTS % (given, expect))
    (folder / "runbooks").mkdir()
    (folder / "runbooks" / f"{runbook}.md").write_text("# Sick")
    return folder


def _found(folder: Path, touch_running: tuple[str, ...] | None = None) -> list[str]:
    findings = check_folder(folder, touch_running=touch_running).findings
    return [f"{it.position.line}:{it.position.column} {it.check.name} {it.nearest}".strip() for it in findings]


def test_a_runbook_that_is_not_there_is_found(tmp_path: Path) -> None:
    """At the key, with the nearest file; one that is there is not, whatever stands behind `#`."""
    folder = _folder(tmp_path, runbook="sick")
    assert _found(folder) == ["6:14 missing-runbook runbooks/sick.md"]
    (folder / "runbooks" / "sik.md").write_text("# Sick")
    assert _found(folder) == []


def test_a_rule_on_running_containers_that_no_policy_names_is_found(tmp_path: Path) -> None:
    """Only where the policy is known, and not when it names the rule."""
    folder = _folder(tmp_path)
    assert _found(folder, ()) == ["12:13 restart-without-policy"]
    assert _found(folder, ("sick",)) == _found(folder) == []


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("{at: 0s, fact: mount_leak}", ["4:28 bad-test", "4:28 bad-test"]),
        ("{at: 0s, fact: container, id: c, helth: unhealthy}", ["4:46 bad-test health"]),
        ("{at: 0s, fact: container, name: c}", ["4:28 bad-test"]),
    ],
)
def test_given_facts_have_the_fields_that_their_kind_needs(tmp_path: Path, given: str, found: list[str]) -> None:
    """Each at its place in the test, also in `check`, where such a test failed only when it was run."""
    folder = _folder(tmp_path, given=given, expect="")
    assert [it for it in _found(folder) if "bad-test" in it] == found, render_text(check_folder(folder).findings)


def test_how_often_can_be_asserted(tmp_path: Path) -> None:
    """`times` counts what was decided by then, exactly; it needs a number, and no `absent` beside it."""
    folder = _folder(tmp_path, expect="{at: 0s, rule: sick, alert: firing, times: many}")
    assert _found(folder)[0] == "5:57 bad-test"
    (folder / "rules.test.yaml").write_text(TESTS % (SICK, "{at: 0s, rule: sick, times: 1, absent: true}"))
    assert _found(folder)[0] == "5:42 bad-test"
