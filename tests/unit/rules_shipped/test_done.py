"""An alert says what was done about it, also where another rule asked for it."""

from datetime import timedelta

import pytest

from engine.facts import Fact
from engine.facts.docker import Container, Daemon
from engine.facts.host import ProcessFiles
from engine.facts.timestamps import to_micros
from engine.inference.decision import ActionDecision, AlertDecision
from engine.messages.summary import summary
from engine.pipeline.action_history import ActionHistory
from engine.pipeline.jobs import Job
from tests.unit.rules_shipped.support import NOW, Rules

FILES = ProcessFiles(at=NOW, pid=77, process="bird", container_id="c1", open=900, soft_limit=1024, hard_limit=4096, ratio=0.88)


@pytest.mark.parametrize(
    ("fact", "rule", "action"),
    [
        (Daemon(at=NOW, hung="list"), "daemon-hung", "collect_stacks"),
        (FILES, "open-files-near-limit", "raise_nofile"),
        (Container(at=NOW, id="c1", status="dead"), "dead-container", "remove_container"),
    ],
)
def test_the_alert_names_the_action(fact: Fact, rule: str, action: str) -> None:
    """The outcome of an action that one rule asked for stands in the alert that another raised about the same thing."""
    rules = Rules()
    rules.tell(fact)
    alert = next(decision for decision in rules.decisions if isinstance(decision, AlertDecision) and decision.rule == rule)
    asked = next(decision for decision in rules.decisions if isinstance(decision, ActionDecision) and decision.action == action)
    history = ActionHistory()
    history.record(Job.of(asked), "done", to_micros(NOW + timedelta(seconds=1)))
    assert f"Done: {action}" in summary(alert.alert, history.about(alert), firing=True)
