"""What a pager shows: what is wrong, since when, what was done, what to do next."""

from dataclasses import replace
from typing import Any

from engine.facts.timestamps import SECOND
from engine.inference.decision import AlertDecision, AlertDetails
from engine.messages.summary import summary
from engine.pipeline import action_history
from engine.pipeline.action_history import ActionHistory, subjects_of_alert
from tests.unit.pipeline.support import START, cid, job

DETAILS = AlertDetails(
    severity="error", title="t", text="container web is dead", starts_at=START, updated_at=START, ends_at=None, count=1
)


def about(number: int, **evidence: Any) -> AlertDecision:
    """An alert about a container."""
    body = {"fact": "container", "id": cid(number), **evidence}
    return AlertDecision(
        at=START, rule="r", key="", facts=(), activation="elsewhere", evidence=(body,), status="firing", alert=DETAILS
    )


class TestSummary:
    def test_nothing_done_is_said_too(self) -> None:
        """Silence about repairs would be ambiguous."""
        assert summary(DETAILS, [], firing=True) == "container web is dead, since 2027-01-15 08:00:00 UTC. Done: nothing yet."

    def test_how_often_and_what_next(self) -> None:
        """A flapping trouble is one alert with a count; the rule's advice ends the line."""
        details = AlertDetails("error", "t", "it flaps.", START, START, None, 3, advice="Look at the disk.")
        text = summary(details, [], firing=True)
        assert text == "it flaps, since 2027-01-15 08:00:00 UTC (fired 3 times). Done: nothing yet. Next: Look at the disk."

    def test_the_end_has_its_time_and_no_advice(self) -> None:
        """Nothing is left to do."""
        details = AlertDetails("error", "t", "it was dead", START, START, START + 90 * SECOND, 1, advice="Look.")
        assert summary(details, [], firing=False) == "Resolved: it was dead, from 2027-01-15 08:00:00 to 08:01:30 UTC."

    def test_the_newest_three_actions_with_short_ids(self) -> None:
        """A line on a phone has room for no more."""
        history = ActionHistory()
        for number in range(5):
            history.record(job(number, activation="one"), "failed", START + number, "busy")
        text = summary(DETAILS, history.about(replace(about(1), activation="one")), firing=True)
        assert text.count("remove_container 000000000000: failed (busy)") == 3


class TestHistory:
    def test_an_alert_receives_of_what_was_done_to_its_container(self) -> None:
        """By whatever rule: the alert and the repair need not know each other."""
        history = ActionHistory()
        history.record(job(1), "done", START)
        history.record(job(2), "failed", START)
        assert [(one.target, one.verdict) for one in history.about(about(1))] == [(cid(1), "done")]

    def test_the_newest_word_on_a_thing_counts(self) -> None:
        """Scheduled, then failed, then done: done."""
        history = ActionHistory()
        for verdict in ("scheduled", "will be tried again", "done"):
            history.record(job(1), verdict, START)
        assert [one.verdict for one in history.about(about(1))] == ["done"]

    def test_the_samples_of_a_storm_count_as_its_subjects(self) -> None:
        """What was done to one of its containers was done about the storm."""
        history = ActionHistory()
        history.record(job(7), "done", START)
        assert history.about(about(1, samples=[cid(7)]))

    def test_a_job_concerns_an_alert_by_container_or_by_firing(self) -> None:
        """An alert waits for the answer of an action on its own container, not of any other."""
        for one, concerned in ((job(1), True), (job(2), False), (job(2, activation="elsewhere"), True)):
            history = ActionHistory()
            history.attempt_started(one)
            assert history.has_attempt_in_flight(subjects_of_alert(about(1))) is concerned
            history.attempt_ended(one)
            assert not history.has_attempt_in_flight(subjects_of_alert(about(1)))

    def test_what_is_remembered_is_bounded(self) -> None:
        """A storm's actions push the oldest subjects out."""
        history = ActionHistory()
        for number in range(action_history.SUBJECTS * 2):
            history.record(job(number), "done", START, "x" * 10_000)
        assert len(history._by_subject) == action_history.SUBJECTS
        assert not history.about(about(0))
        assert max(len(one.reason) for one in history.about(about(action_history.SUBJECTS * 2 - 1))) <= 512
