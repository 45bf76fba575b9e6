"""Alerts on their way out: their order, silences, acknowledgements, and what a restart keeps of them."""

import json
import time

import pytest

from engine.facts.timestamps import SECOND, Micros
from engine.guardrails import Policy
from engine.inference.alerts import AlertState
from engine.inference.core import Core
from engine.inference.decision import AlertDecision
from engine.journal.records import Batch
from engine.pipeline.action_history import ActionHistory
from engine.pipeline.alerts import MAX_SILENCES, MEMORY, REPEAT, RESOLVE_GRACE, Alerts
from engine.pipeline.jobs import Job
from engine.pipeline.turn import Options, Turn
from engine.rules.model import RuleSet
from tests.unit.pipeline.support import START, job

HOUR = 3600 * SECOND


class Desk:
    """The alert stage with a clock, alerts and actions of the test's own."""

    def __init__(self, *, repairing: bool = False) -> None:
        self.now: Micros = START
        self.batch = Batch()
        """Of all turns together."""
        self.core = Core(RuleSet(()))
        self.states = self.core.alerts.states
        self.history = ActionHistory()
        self.seq = 0
        self.alerts = self.fresh()
        if repairing:
            self.history.attempt_started(self.repair)

    @property
    def repair(self) -> Job:
        """A job about every alert of this desk."""
        return job(1, activation="problem")

    def fresh(self) -> Alerts:
        """As after a restart: nothing remembered."""
        return Alerts(options=Options(host="h1", policy=Policy()), history=self.history)

    def restart(self) -> None:
        """Go on from what the journal would have."""
        self.alerts.flush(self.turn())
        self.alerts = self.fresh()
        turn = self.turn()
        self.alerts.restore(turn, self.batch.memory.get(MEMORY))
        self.alerts.flush(turn)

    def turn(self) -> Turn:
        """A turn at this moment."""
        return Turn(
            now=self.now,
            monotonic=0.0,
            core=self.core,
            rules_version="v1",
            can_act=True,
            frozen=False,
            frozen_actions=frozenset(),
            next_seq=self.next_seq,
            batch=self.batch,
        )

    def next_seq(self) -> int:
        self.seq += 1
        return self.seq

    def decided(self, *, firing: bool, key: str = "k") -> AlertDecision:
        """What the core says of an alert."""
        state = self.states.setdefault(("rule", key), AlertState("rule", key))
        starts_at = state.details["starts_at"] if state.firing else self.now
        state.firing = firing
        state.activation = "problem"
        state.details = {
            "severity": "warning",
            "title": "t",
            "text": "something is wrong",
            "starts_at": starts_at,
            "updated_at": self.now,
            "ends_at": None if firing else self.now,
            "count": state.details.get("count", 0) + firing if state.details else 1,
        }
        return state.decision(self.now)

    def fire(self, key: str = "k") -> None:
        self.alerts.notify(self.turn(), [self.decided(firing=True, key=key)])

    def resolve(self, key: str = "k") -> None:
        self.alerts.notify(self.turn(), [self.decided(firing=False, key=key)])

    def silence(self, length: Micros = HOUR, key: str | None = None) -> None:
        self.alerts.silence(self.turn(), "rule", key, length, "ann")

    def wait(self, length: Micros) -> None:
        """Let time pass, as the loop would."""
        self.now += length
        self.alerts.flush(self.turn())

    @property
    def published(self) -> list[str]:
        """Kinds of the messages, in order: alert (firing) or resolved."""
        return [row.kind for row in self.batch.outbox]

    @property
    def verdicts(self) -> list[str]:
        """What the audit has."""
        return [row.verdict for row in self.batch.audit]


class TestOrder:
    def test_a_resolved_alert_waits_for_the_answer_of_what_repairs_it(self) -> None:
        """And is published as soon as that is known."""
        desk = Desk(repairing=True)
        desk.fire()
        desk.resolve()
        desk.wait(RESOLVE_GRACE // 2)
        assert desk.published == ["alert"]
        desk.history.attempt_ended(desk.repair)
        desk.wait(1)
        assert desk.published == ["alert", "resolved"]

    def test_it_does_not_wait_for_ever(self) -> None:
        """A deletion that hangs does not keep the news from the pager; the loop knows when to look."""
        desk = Desk(repairing=True)
        desk.fire()
        desk.resolve()
        assert desk.alerts.next_due == desk.now + RESOLVE_GRACE
        desk.wait(RESOLVE_GRACE)
        assert desk.published == ["alert", "resolved"]
        assert desk.alerts.next_due is None

    def test_what_is_published_of_one_alert_is_never_overtaken(self) -> None:
        """It fires anew while its end still waits: the end comes first, then the new beginning."""
        desk = Desk(repairing=True)
        desk.fire()
        desk.resolve()
        desk.fire()
        assert desk.published == ["alert", "resolved", "alert"]

    def test_a_waiting_end_outlives_the_process_once(self) -> None:
        """After a restart it is published, and after another one not again."""
        desk = Desk(repairing=True)
        desk.fire()
        desk.resolve()
        desk.restart()
        assert desk.published == ["alert", "resolved"]
        desk.restart()
        assert desk.published == ["alert", "resolved"]


class TestSilence:
    def test_what_fires_during_a_silence_is_not_published_but_stands_in_the_audit(self) -> None:
        """Suppression is not silent itself."""
        desk = Desk()
        desk.silence()
        desk.fire()
        assert (desk.published, desk.verdicts) == ([], ["silenced"])
        assert desk.batch.audit[0].reason == "silenced by ann"

    def test_what_still_fires_when_the_silence_ends_is_published_then(self) -> None:
        """A silence puts off, it does not swallow; the loop knows when it ends."""
        desk = Desk()
        desk.silence()
        desk.fire()
        assert desk.alerts.next_due == desk.now + HOUR
        desk.wait(HOUR)
        assert desk.published == ["alert"]
        desk.wait(HOUR)
        assert desk.published == ["alert"]

    def test_what_came_and_went_during_a_silence_is_not_published_at_all(self) -> None:
        """Nobody received that it began."""
        desk = Desk()
        desk.silence()
        desk.fire()
        desk.resolve()
        desk.wait(HOUR)
        assert (desk.published, desk.verdicts) == ([], ["silenced", "silenced"])

    def test_the_end_of_what_was_published_as_firing_always_goes_out(self) -> None:
        """Else the broker would keep it as firing for ever."""
        desk = Desk()
        desk.fire()
        desk.now += SECOND
        desk.silence()
        desk.resolve()
        assert desk.published == ["alert", "resolved"]

    def test_the_same_holds_when_it_fired_again_during_the_silence(self) -> None:
        """The repetition is held back, the end is not."""
        desk = Desk()
        desk.fire()
        desk.now += SECOND
        desk.silence()
        desk.fire()
        desk.resolve()
        assert desk.published == ["alert", "resolved"]

    def test_a_silence_of_one_key_leaves_the_others(self) -> None:
        """One noisy container does not hide the next."""
        desk = Desk()
        desk.silence(key="noisy")
        desk.fire("noisy")
        desk.fire("other")
        assert [row.topic.rpartition("/")[2] for row in desk.batch.outbox] == ["other"]

    def test_it_outlives_the_process_with_what_it_holds_back(self) -> None:
        """A restart within the hour does not wake anybody, and the end of the hour does."""
        desk = Desk()
        desk.silence()
        desk.fire()
        desk.restart()
        desk.fire()
        assert desk.published == []
        desk.wait(HOUR)
        assert desk.published == ["alert"]

    def test_the_same_silence_again_replaces_the_first(self) -> None:
        """A script that renews it every minute does not pile them up."""
        desk = Desk()
        for _ in range(10):
            desk.silence()
        assert len(desk.alerts.silences) == 1

    def test_their_number_is_bounded(self) -> None:
        """A script gone wrong is told so."""
        desk = Desk()
        for number in range(MAX_SILENCES):
            desk.silence(key=str(number))
        with pytest.raises(ValueError, match=str(MAX_SILENCES)):
            desk.silence(key="one more")
        desk.wait(HOUR)
        assert desk.alerts.silences == []


class TestAcknowledgement:
    def test_it_is_published_and_stays_on_the_message_until_the_end(self) -> None:
        """The others receive that somebody is at it; the next problem starts without."""
        desk = Desk()
        desk.fire()
        desk.alerts.acknowledge(desk.turn(), "rule", "k", "ann")
        desk.restart()
        desk.fire()
        desk.resolve()
        desk.fire()
        assert [b'"acknowledged_by":"ann"' in row.payload for row in desk.batch.outbox] == [False, True, True, True, False]

    def test_there_must_be_something_to_acknowledge(self) -> None:
        """An unknown alert and one that is over are refused, and nothing is remembered."""
        desk = Desk()
        desk.fire("over")
        desk.resolve("over")
        for key in ("over", "unknown"):
            with pytest.raises(ValueError, match=key):
                desk.alerts.acknowledge(desk.turn(), "rule", key, "ann")
        assert desk.alerts.acknowledged == {}


def test_what_cannot_be_read_back_is_dropped() -> None:
    """A row that another version wrote is no reason not to start."""
    desk = Desk()
    desk.batch.memory[MEMORY] = '{"silences": 7}'
    desk.restart()
    assert desk.alerts.silences == []


class TestManyAtOnce:
    """A storm's alerts and jobs in one turn: what is done for one does not grow with the others. Processor time counts."""

    MANY = 2_000

    def test_many_resolved_alerts_beside_many_jobs(self) -> None:
        """Each alert looks at the few attempts under way, not at every job."""
        desk = Desk()
        for number in range(8):
            desk.history.attempt_started(job(number + 1, activation=f"other-{number}"))
        for number in range(self.MANY):
            desk.history.record(job(number), "scheduled", desk.now)
            desk.fire(str(number))
        assert len(desk.published) == self.MANY
        began = time.process_time()
        for number in range(self.MANY):
            desk.resolve(str(number))
            desk.alerts.flush(desk.turn())
        assert time.process_time() - began < 2.0
        assert len(desk.published) == 2 * self.MANY

    def test_many_that_are_held_back_and_let_go(self) -> None:
        """The journal's copy of what is held back is made once a turn, not once an alert."""
        desk = Desk()
        for number in range(MAX_SILENCES - 1):
            desk.alerts.silence(desk.turn(), f"rule-{number}", None, 2 * HOUR, "ann")
        desk.silence()
        turn = desk.turn()
        decisions = [desk.decided(firing=True, key=str(number)) for number in range(self.MANY)]
        began = time.process_time()
        desk.alerts.notify(turn, decisions)
        desk.alerts.flush(turn)
        held_back_s = time.process_time() - began
        assert desk.published == []
        assert held_back_s < 0.4
        desk.wait(HOUR)
        assert len(desk.published) == self.MANY


class TestRepeats:
    def test_what_fires_again_and_again_is_published_every_ten_seconds(self) -> None:
        """A storm of one alert is a few messages, and the last of them has the whole count."""
        desk = Desk()
        for _ in range(250):
            desk.fire()
            desk.wait(SECOND // 10)
        assert len(desk.published) == 3
        desk.wait(REPEAT)
        assert len(desk.published) == 4
        assert json.loads(desk.batch.outbox[-1].payload)["data"]["count"] == desk.states["rule", "k"].details["count"]
        assert desk.alerts.next_due is None

    def test_the_loop_knows_when_to_look(self) -> None:
        """The last state goes out although nothing more happens."""
        desk = Desk()
        desk.fire()
        desk.wait(SECOND)
        desk.fire()
        assert desk.alerts.next_due == START + REPEAT

    def test_a_change_of_state_waits_for_nothing(self) -> None:
        """The end goes out at once and stands for the repetitions before it; so does a new beginning."""
        desk = Desk()
        for _ in range(3):
            desk.fire()
        desk.resolve()
        desk.fire()
        desk.wait(REPEAT)
        assert desk.published == ["alert", "resolved", "alert"]

    def test_one_alert_does_not_hold_back_another(self) -> None:
        """Each has its own ten seconds."""
        desk = Desk()
        for key in ("a", "b", "a", "b"):
            desk.fire(key)
        assert desk.published == ["alert", "alert"]

    def test_a_repetition_outlives_the_process(self) -> None:
        """What was held back when it ended is published after the restart."""
        desk = Desk()
        desk.fire()
        desk.fire()
        desk.restart()
        assert desk.published == ["alert", "alert"]
        desk.restart()
        assert desk.published == ["alert", "alert"]
