"""Alerts on their way out: their order, silences, acknowledgements, and what a restart keeps of them."""

from dataclasses import dataclass, field

import pytest

from engine.facts.timestamps import SECOND, Micros
from engine.inference.alerts import AlertKey, AlertState
from engine.inference.decision import AlertDecision
from engine.journal.records import Batch
from engine.pipeline.action_history import Doings
from engine.pipeline.alerts import LATE, MAX_SILENCES, MEMORY, Alerting
from tests.unit.pipeline.support import START

HOUR = 3600 * SECOND


@dataclass
class Desk:
    """An `Alerting` with a clock, alerts and mendings of the test's own."""

    now: Micros = START
    batch: Batch = field(default_factory=Batch)
    states: dict[AlertKey, AlertState] = field(default_factory=dict)
    mending: bool = False

    def __post_init__(self) -> None:
        self.seq = 0
        self.alerting = self.fresh()

    def fresh(self) -> Alerting:
        """As after a restart: nothing remembered."""
        return Alerting(
            host="h1",
            doings=Doings(),
            batch=lambda: self.batch,
            next_seq=self.next_seq,
            rules_version=lambda: "v1",
            runbook=lambda named: named or None,
            states=lambda: self.states,
            being_mended=lambda _decision: self.mending,
            now=lambda: self.now,
        )

    def restart(self) -> None:
        """Take back what the journal would have kept."""
        self.alerting = self.fresh()
        self.alerting.take_back(self.batch.memory.get(MEMORY))

    def next_seq(self) -> int:
        self.seq += 1
        return self.seq

    def decided(self, *, firing: bool, key: str = "k") -> AlertDecision:
        """What the core says of an alert."""
        state = self.states.setdefault(("rule", key), AlertState("rule", key))
        starts_at = state.details["starts_at"] if state.firing else self.now
        state.firing = firing
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
        self.alerting.take([self.decided(firing=True, key=key)])

    def resolve(self, key: str = "k") -> None:
        self.alerting.take([self.decided(firing=False, key=key)])

    def silence(self, length: Micros = HOUR, key: str | None = None) -> None:
        self.alerting.silence("rule", key, length, "ann")

    def wait(self, length: Micros) -> None:
        """Let time pass, as the loop would."""
        self.now += length
        self.alerting.say_what_waits()

    @property
    def said(self) -> list[str]:
        """Kinds of the messages, in order: alert (firing) or resolved."""
        return [row.kind for row in self.batch.outbox]

    @property
    def verdicts(self) -> list[str]:
        """What the audit has."""
        return [row.verdict for row in self.batch.audit]


class TestOrder:
    def test_a_resolved_alert_waits_for_the_word_of_what_mends_it(self) -> None:
        """And is said as soon as that is known."""
        desk = Desk(mending=True)
        desk.fire()
        desk.resolve()
        desk.wait(LATE // 2)
        assert desk.said == ["alert"]
        desk.mending = False
        desk.wait(1)
        assert desk.said == ["alert", "resolved"]

    def test_it_does_not_wait_for_ever(self) -> None:
        """A deletion that hangs does not keep the news from the pager; the loop knows when to look."""
        desk = Desk(mending=True)
        desk.fire()
        desk.resolve()
        assert desk.alerting.next_due == desk.now + LATE
        desk.wait(LATE)
        assert desk.said == ["alert", "resolved"]
        assert desk.alerting.next_due is None

    def test_what_is_said_of_one_alert_is_never_overtaken(self) -> None:
        """It fires anew while its end still waits: the end comes first, then the new beginning."""
        desk = Desk(mending=True)
        desk.fire()
        desk.resolve()
        desk.fire()
        assert desk.said == ["alert", "resolved", "alert"]

    def test_a_waiting_end_outlives_the_process_once(self) -> None:
        """After a restart it is said, and after another one it is not said again."""
        desk = Desk(mending=True)
        desk.fire()
        desk.resolve()
        desk.restart()
        assert desk.said == ["alert", "resolved"]
        desk.restart()
        assert desk.said == ["alert", "resolved"]


class TestSilence:
    def test_what_fires_during_a_silence_is_not_said_but_stands_in_the_audit(self) -> None:
        """Suppression is not silent itself."""
        desk = Desk()
        desk.silence()
        desk.fire()
        assert (desk.said, desk.verdicts) == ([], ["silenced"])
        assert desk.batch.audit[0].reason == "silenced by ann"

    def test_what_still_fires_when_the_silence_ends_is_said_then(self) -> None:
        """A silence puts off, it does not swallow; the loop knows when it ends."""
        desk = Desk()
        desk.silence()
        desk.fire()
        assert desk.alerting.next_due == desk.now + HOUR
        desk.wait(HOUR)
        assert desk.said == ["alert"]
        desk.wait(HOUR)
        assert desk.said == ["alert"]

    def test_what_came_and_went_during_a_silence_is_not_said_at_all(self) -> None:
        """Nobody heard that it began."""
        desk = Desk()
        desk.silence()
        desk.fire()
        desk.resolve()
        desk.wait(HOUR)
        assert (desk.said, desk.verdicts) == ([], ["silenced", "silenced"])

    def test_the_end_of_what_was_said_to_fire_is_always_said(self) -> None:
        """Else the broker would keep it as firing for ever."""
        desk = Desk()
        desk.fire()
        desk.now += SECOND
        desk.silence()
        desk.resolve()
        assert desk.said == ["alert", "resolved"]

    def test_the_same_holds_when_it_fired_again_during_the_silence(self) -> None:
        """The repetition is held back, the end is not."""
        desk = Desk()
        desk.fire()
        desk.now += SECOND
        desk.silence()
        desk.fire()
        desk.resolve()
        assert desk.said == ["alert", "resolved"]

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
        assert desk.said == []
        desk.wait(HOUR)
        assert desk.said == ["alert"]

    def test_the_same_silence_again_replaces_the_first(self) -> None:
        """A script that renews it every minute does not pile them up."""
        desk = Desk()
        for _ in range(10):
            desk.silence()
        assert len(desk.alerting.silences) == 1

    def test_their_number_is_bounded(self) -> None:
        """A script gone wrong is told so."""
        desk = Desk()
        for number in range(MAX_SILENCES):
            desk.silence(key=str(number))
        with pytest.raises(ValueError, match=str(MAX_SILENCES)):
            desk.silence(key="one more")
        desk.wait(HOUR)
        assert desk.alerting.silences == []


class TestAcknowledgement:
    def test_it_is_said_and_stays_on_the_message_until_the_end(self) -> None:
        """The others hear that somebody is at it; the next trouble starts without."""
        desk = Desk()
        desk.fire()
        desk.alerting.acknowledge("rule", "k", "ann")
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
                desk.alerting.acknowledge("rule", key, "ann")
        assert desk.alerting.acked == {}


def test_what_cannot_be_read_back_is_dropped() -> None:
    """A row that another version wrote is no reason not to start."""
    desk = Desk()
    desk.batch.memory[MEMORY] = '{"silences": 7}'
    desk.restart()
    assert desk.alerting.silences == []
