"""The alert stage: silences, acknowledgements, and the answer of the action that repaired a problem. Sans-I/O.

What was not published yet is kept in the journal with the decision itself, so that a restart publishes it.
"""

from collections.abc import Iterable
from typing import Any

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from engine.facts.timestamps import SECOND, Micros
from engine.inference.alerts import AlertKey
from engine.inference.decision import AlertDecision, Decision
from engine.journal.records import AuditRow
from engine.messages.cloudevents import alert_event, unknown_alert_event
from engine.messages.retained import Difference
from engine.messages.summary import summary
from engine.messages.topics import alert_topic, dedup_key
from engine.pipeline.action_history import ActionHistory, subjects_of_alert
from engine.pipeline.turn import Options, Turn
from engine.ports.broker import AlertVersion, KnownAlerts, OutboxRow

_log = structlog.get_logger(__name__)

RESOLVE_GRACE: Micros = 2 * SECOND
"""A resolved alert waits no longer than this for the answer of the action that repaired the problem: Docker reports that
a container is gone before it answers the deletion."""

REPEAT: Micros = 10 * SECOND
"""An alert that goes on firing is published anew no more often: a storm is one message in ten seconds, with a count."""

MAX_SILENCES = 1_000
"""Silences at a time: more is a script gone wrong."""

MEMORY = "alerting"
"""Under this name the journal keeps silences, acknowledgements and what is not published yet."""


class Silence(BaseModel):
    """Alerts of a rule (and key; None for all) are not published until then."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rule: str
    key: str | None = None
    since: Micros
    until: Micros
    by: str = ""

    def covers(self, decision: AlertDecision) -> bool:
        """Whether it is about this alert."""
        return self.rule == decision.rule and self.key in (None, decision.key)


class _Saved(BaseModel):
    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    silences: list[Silence] = Field(default_factory=list)
    acknowledged: list[tuple[AlertKey, str]] = Field(default_factory=list, alias="acked")
    suppressed: list[tuple[AlertKey, bool]] = Field(default_factory=list, alias="held_back")
    pending: list[AlertKey] = Field(default_factory=list, alias="late")
    repeats: list[AlertKey] = Field(default_factory=list)


class Alerts:
    """Publishes alerts, or keeps them for later."""

    def __init__(self, *, options: Options, history: ActionHistory) -> None:
        self._options = options
        self._history = history
        self.silences: list[Silence] = []
        self._silences_by_rule: dict[str, list[Silence]] = {}
        self.acknowledged: dict[AlertKey, str] = {}
        self._suppressed: dict[AlertKey, bool] = {}
        """Alerts that a silence holds back; True: the last that was published of them is that they fire."""
        self._pending: dict[AlertKey, tuple[AlertDecision, Micros, frozenset[str]]] = {}
        """Resolved alerts that wait for an action's answer; since when, and what they are about."""
        self._seqs: dict[AlertKey, int] = {}
        """Number of the newest message of each alert that fires, since the start."""
        self._published_at: dict[AlertKey, Micros] = {}
        """When the newest message of each alert that fires was published, since the start."""
        self._repeats: dict[AlertKey, None] = {}
        """Alerts that fired again too soon after their last message: their state of then is published when that is old enough."""
        self._changed = False
        """Whether the journal has to learn of any of these."""

    def shift(self, turn: Turn, step: Micros) -> None:
        """The clock was set: silences last as long as they were to, and what waits goes on waiting."""
        self._set_silences(
            silence.model_copy(update={"since": silence.since + step, "until": silence.until + step}) for silence in self.silences
        )
        for address, (decision, since, subjects) in self._pending.items():
            state = turn.core.alerts.states.get(address)
            if state is not None and not state.firing:
                decision = state.decision(decision.at + step)  # noqa: PLW2901  the same, with the times of now
            self._pending[address] = (decision, since + step, subjects)
        self._published_at = {address: at + step for address, at in self._published_at.items()}
        self._changed = True

    # -- what was decided ---------------------------------------------------------------------------------------------

    def notify(self, turn: Turn, decisions: Iterable[Decision]) -> None:
        """Publish alerts of one moment, in order; what was published of one alert before is never overtaken."""
        for decision in decisions:
            if isinstance(decision, AlertDecision):
                self._notify(turn, decision)

    def _notify(self, turn: Turn, decision: AlertDecision) -> None:
        address = (decision.rule, decision.key)
        before = self._pending.pop(address, None)
        if before is not None:
            self._changed = True
            self._decide(turn, before[0])
        if decision.status == "firing":
            if turn.now < self._repeat_due(address):
                self._changed = self._changed or address not in self._repeats
                self._repeats[address] = None
                return
        else:
            self._drop_repeat(address)  # its end says how often it fired
            subjects = subjects_of_alert(decision)
            if self._history.has_attempt_in_flight(subjects):
                self._pending[address] = (decision, turn.now, subjects)
                self._changed = True
                return
        self._decide(turn, decision)

    def _repeat_due(self, address: AlertKey) -> Micros:
        """When the alert may be published as firing again; 0 for at any time."""
        at = self._published_at.get(address)
        return 0 if at is None else at + REPEAT

    def _drop_repeat(self, address: AlertKey) -> None:
        if address in self._repeats:
            del self._repeats[address]
            self._changed = True

    def _publish_repeats(self, turn: Turn, *, everything: bool) -> None:
        for address in [address for address in self._repeats if everything or self._repeat_due(address) <= turn.now]:
            self._drop_repeat(address)
            state = turn.core.alerts.states.get(address)
            if state is not None and state.firing:
                self._decide(turn, state.decision(turn.now))

    def flush(self, turn: Turn, *, everything: bool = False) -> None:
        """Publish what waited long enough: ends whose repair is answered, repetitions, what a silence held back until now.

        Also puts what is still kept back into the batch, once a turn.
        """
        for address, (decision, since, subjects) in list(self._pending.items()):
            if everything or since + RESOLVE_GRACE <= turn.now or not self._history.has_attempt_in_flight(subjects):
                del self._pending[address]
                self._changed = True
                self._decide(turn, decision)
        if self._repeats:
            self._publish_repeats(turn, everything=everything)
        if any(silence.until <= turn.now for silence in self.silences):
            self._set_silences(silence for silence in self.silences if silence.until > turn.now)
            self._changed = True
            self._publish_suppressed(turn)
        if self._changed:
            self._changed = False
            turn.batch.memory[MEMORY] = self._to_json()

    @property
    def next_due(self) -> Micros | None:
        """When something will have to be published although nothing happens, None for never."""
        moments = [since + RESOLVE_GRACE for _, since, _ in self._pending.values()]
        moments += [silence.until for silence in self.silences]
        moments += [self._repeat_due(address) for address in self._repeats]
        return min(moments, default=None)

    # -- what operators want ------------------------------------------------------------------------------------------

    def silence(self, turn: Turn, rule: str, key: str | None, length: Micros, by: str) -> None:
        """Hold back what fires; a silence of the same rule and key is replaced.

        Raises:
            ValueError: there are too many.
        """
        others = [silence for silence in self.silences if (silence.rule, silence.key) != (rule, key)]
        if len(others) >= MAX_SILENCES:
            msg = f"there are {MAX_SILENCES} silences already"
            raise ValueError(msg)
        self._set_silences([*others, Silence(rule=rule, key=key, since=turn.now, until=turn.now + length, by=by)])
        self._changed = True

    def acknowledge(self, turn: Turn, rule: str, key: str, by: str) -> None:
        """Somebody has taken the alert on: its message names them from now on, until it is resolved.

        Raises:
            ValueError: no such alert is firing.
        """
        state = turn.core.alerts.states.get((rule, key))
        if state is None or not state.firing:
            msg = f"no alert of rule {rule!r} with key {key!r} is firing"
            raise ValueError(msg)
        self.acknowledged[rule, key] = by
        self._changed = True
        self._decide(turn, state.decision(turn.now))

    def _set_silences(self, silences: Iterable[Silence]) -> None:
        self.silences = list(silences)
        self._silences_by_rule = {}
        for silence in self.silences:
            self._silences_by_rule.setdefault(silence.rule, []).append(silence)

    def _publish_suppressed(self, turn: Turn) -> None:
        states = turn.core.alerts.states
        for address in list(self._suppressed):
            state = states.get(address)
            if state is None or not state.firing:
                self._suppressed.pop(address, None)
            else:
                self._decide(turn, state.decision(turn.now))  # which another silence may hold back again

    # -- what the broker keeps ----------------------------------------------------------------------------------------

    def known(self, turn: Turn) -> KnownAlerts:
        """Alerts that fire and were published, as of now."""
        firing = {
            alert_topic(self._options.host, rule, key): AlertVersion(self._seqs.get((rule, key), 0), state.details["updated_at"])
            for (rule, key), state in turn.core.alerts.states.items()
            if state.firing and self._suppressed.get((rule, key), True)
        }
        return KnownAlerts(firing, last_seq=turn.next_seq(), now=turn.now)

    def reconcile(self, turn: Turn, found: Difference) -> None:
        """Publish what the broker lacks, end what only the broker knows, remove what is nothing any more."""
        states = turn.core.alerts.states
        if found.republish:
            wanted = set(found.republish)
            for (rule, key), state in states.items():
                if state.firing and alert_topic(self._options.host, rule, key) in wanted:
                    self._publish(turn, state.decision(turn.now), firing=True)
        for topic, data in found.resolve.items():
            here = states.get((data.rule, data.key))
            meanwhile = (data.rule, data.key) in self._pending or (here is not None and here.firing)
            if meanwhile and topic == alert_topic(self._options.host, data.rule, data.key):
                continue  # it began, or ended, while the broker was read
            turn.batch.outbox.append(unknown_alert_event(topic, data, at=turn.now, seq=turn.next_seq()))
            reason = "the broker kept it as firing, and nothing here knows of it"
            turn.batch.audit.append(
                AuditRow(at=turn.now, kind="alert", verdict="resolved", rule=data.rule, key=data.key, reason=reason)
            )
        for topic in found.clear:
            turn.batch.outbox.append(OutboxRow(topic, b"", "resolved", retain=True, seq=turn.next_seq()))
        _log.info("retained_reconciled", republished=len(found.republish), resolved=len(found.resolve), cleared=len(found.clear))

    # -- across restarts ----------------------------------------------------------------------------------------------

    def restore(self, turn: Turn, text: str | None) -> None:
        """Go on from what the journal kept; resolved alerts that were not published yet are published now."""
        try:
            saved = _Saved() if text is None else _Saved.model_validate_json(text)
        except ValidationError as error:
            _log.error("alert_state_unreadable", error=str(error))
            return
        self._set_silences(saved.silences)
        self.acknowledged = dict(saved.acknowledged)
        self._suppressed = dict(saved.suppressed)
        for address in saved.pending:
            state = turn.core.alerts.states.get(address)
            if state is not None and not state.firing:
                self._decide(turn, state.decision(state.details["updated_at"]))
        self._repeats = dict.fromkeys(saved.repeats)
        self._changed = bool(saved.pending)

    def _to_json(self) -> str:
        saved = _Saved(
            silences=self.silences,
            acknowledged=list(self.acknowledged.items()),
            suppressed=list(self._suppressed.items()),
            pending=list(self._pending),
            repeats=list(self._repeats),
        )
        return saved.model_dump_json(by_alias=True)

    # -- publish or suppress ------------------------------------------------------------------------------------------

    def _decide(self, turn: Turn, decision: AlertDecision) -> None:
        address = (decision.rule, decision.key)
        firing = decision.status == "firing"
        silence = self._silence_of(turn, decision, firing=firing)
        verdict = "silenced" if silence is not None else decision.status
        self._audit(turn, decision, verdict, "" if silence is None else f"silenced by {silence.by or 'an operator'}")
        if silence is None:
            self._publish(turn, decision, firing=firing)
        elif firing and address not in self._suppressed:
            self._suppressed[address] = decision.alert.starts_at < silence.since
            self._changed = True
        if (silence is None or not firing) and self._suppressed.pop(address, None) is not None:
            self._changed = True
        if not firing and self.acknowledged.pop(address, None) is not None:
            self._changed = True

    def _silence_of(self, turn: Turn, decision: AlertDecision, *, firing: bool) -> Silence | None:
        """The silence that holds this back. The end of what was published as firing always goes out: that wakes nobody."""
        if not firing and self._suppressed.get((decision.rule, decision.key), True):
            return None
        silences = self._silences_by_rule.get(decision.rule, ())
        return next((silence for silence in silences if silence.until > turn.now and silence.covers(decision)), None)

    @staticmethod
    def _audit(turn: Turn, decision: AlertDecision, verdict: str, reason: str) -> None:
        detail: dict[str, Any] = {
            "facts": list(decision.facts[:20]),
            "evidence": list(decision.evidence[:5]),
            "text": decision.alert.text,
        }
        turn.batch.audit.append(
            AuditRow(
                at=decision.at,
                kind="alert",
                verdict=verdict,
                rule=decision.rule,
                key=decision.key,
                activation=decision.activation,
                reason=reason,
                detail=detail,
            )
        )

    def _publish(self, turn: Turn, decision: AlertDecision, *, firing: bool) -> None:
        details = decision.alert
        actions = self._history.about(decision)
        text = summary(details, actions, firing=firing)
        log = _log.warning if firing else _log.info
        event = "alert_firing" if firing else "alert_resolved"
        log(event, severity=details.severity, rule=decision.rule, key=decision.key, text=text)
        seq = turn.next_seq()
        if firing:
            self._seqs[decision.rule, decision.key] = seq
            self._published_at[decision.rule, decision.key] = turn.now
            self._drop_repeat((decision.rule, decision.key))
        else:
            self._published_at.pop((decision.rule, decision.key), None)
            self._seqs.pop((decision.rule, decision.key), None)
        turn.batch.outbox.append(
            alert_event(
                host=self._options.host,
                rule=decision.rule,
                key=decision.key,
                status="firing" if firing else "resolved",
                severity=details.severity,
                summary=text,
                starts_at=details.starts_at,
                updated_at=details.updated_at,
                ends_at=details.ends_at,
                count=details.count,
                evidence=decision.evidence,
                actions=actions,
                labels={"incident": details.incident},
                annotations={
                    "title": details.title,
                    "description": details.text,
                    "next": details.advice,
                    "acknowledged_by": self.acknowledged.get((decision.rule, decision.key), ""),
                    "page": self._options.incident_url(dedup_key(self._options.host, decision.rule, decision.key)),
                },
                runbook_url=self._options.runbook(details.runbook),
                rules_version=turn.rules_version,
                seq=seq,
            )
        )
