"""The shipped folder as a whole."""

import re

import pytest

from engine.rules.model import AlertEffect, Rule
from engine.rules.shipped import shipped_rules
from tests.unit.rules_shipped.support import ruleset

ALERTING = [rule for rule in ruleset().rules if any(isinstance(effect, AlertEffect) for effect in rule.then)]


@pytest.mark.parametrize("rule", ALERTING, ids=lambda rule: rule.id)
def test_every_alert_says_what_to_do_next_and_where_to_read_on(rule: Rule) -> None:
    """An alert has an advice in one sentence, and a runbook that is there."""
    assert rule.advice.parts
    last = rule.advice.parts[-1]
    assert not (isinstance(last, str) and last.endswith("."))
    assert re.fullmatch(r"runbooks/[a-z-]+\.md", rule.runbook)
    assert (shipped_rules() / rule.runbook).read_text(encoding="utf-8").startswith("# ")


@pytest.mark.parametrize("rule", ALERTING, ids=lambda rule: rule.id)
def test_an_alert_is_one_sentence_without_its_full_stop(rule: Rule) -> None:
    """Since when, what was done and what is next come behind it."""
    for effect in rule.then:
        if isinstance(effect, AlertEffect):
            last = effect.text.parts[-1]
            assert not (isinstance(last, str) and last.endswith((".", "!")))


def test_every_incident_has_rules() -> None:
    """I1 to I11, each with an alert."""
    assert {rule.incident for rule in ALERTING if rule.incident} == {f"I{number}" for number in range(1, 12)}
