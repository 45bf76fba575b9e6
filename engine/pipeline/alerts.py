"""Alerts on their way out: silences, acknowledgements, and the word of what mended a trouble.

What was not said yet is kept in the journal with the decision itself, so that a restart says it. Knows neither core nor executor:
how an alert stands, and whether its trouble is being mended, is asked.
"""

from collections.abc import Callable, Mapping
from typing import Any

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from engine.facts.timestamps import SECOND, Micros
from engine.inference.alerts import AlertKey, AlertState
from engine.inference.decision import AlertDecision
from engine.journal.records import AuditRow, Batch
from engine.messages.cloudevents import alert_event
from engine.pipeline.action_history import Doings, summary

_log = structlog.get_logger(__name__)

LATE: Micros = 2 * SECOND
"""A resolved alert waits no longer than this for the answer of the action that mended the trouble."""

MAX_SILENCES = 1_000
"""Silences at a time: more is a script gone wrong."""

MEMORY = "alerting"
"""Under this name the journal keeps silences, acknowledgements and what is not said yet."""


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


class _Kept(BaseModel):
    model_config = ConfigDict(extra="forbid")

    silences: list[Silence] = Field(default_factory=list)
    acked: list[tuple[AlertKey, str]] = Field(default_factory=list)
    held_back: list[tuple[AlertKey, bool]] = Field(default_factory=list)
    late: list[AlertKey] = Field(default_factory=list)


class Alerting:
    """Says alerts, or keeps them for later."""

    def __init__(
        self,
        *,
        host: str,
        doings: Doings,
        batch: Callable[[], Batch],
        next_seq: Callable[[], int],
        rules_version: Callable[[], str],
        runbook: Callable[[str], str | None],
        states: Callable[[], Mapping[AlertKey, AlertState]],
        being_mended: Callable[[AlertDecision], bool],
        now: Callable[[], Micros],
    ) -> None:
        """Make one.

        Args:
            host: name of this host.
            doings: what was done about what.
            batch: what the present turn of the loop leads to; messages, audit and memory are added to it.
            next_seq: numbers messages.
            rules_version: the version in force.
            runbook: where a runbook that a rule names can be read.
            states: alerts that fire or are remembered.
            being_mended: whether an action about this alert's subject is being tried.
            now: the wall clock.
        """
        self._host = host
        self._doings = doings
        self._batch = batch
        self._next_seq = next_seq
        self._rules_version = rules_version
        self._runbook = runbook
        self._states = states
        self._being_mended = being_mended
        self._now = now
        self.silences: list[Silence] = []
        self.acked: dict[AlertKey, str] = {}
        self._held_back: dict[AlertKey, bool] = {}
        """Alerts that a silence holds back; True: what was said of them before is that they fire."""
        self._late: dict[AlertKey, tuple[AlertDecision, Micros]] = {}
        """Resolved alerts that wait for the word of what mended them, and since when."""

    # -- what was decided ---------------------------------------------------------------------------------------------

    def take(self, decisions: list[AlertDecision]) -> None:
        """Say alerts of one moment, in order; what was said of one alert before is never overtaken."""
        for decision in decisions:
            address = (decision.rule, decision.key)
            late = self._late.pop(address, None)
            if late is not None:
                self._keep()
                self._say(late[0])
            if decision.status == "resolved" and self._being_mended(decision):
                self._late[address] = (decision, self._now())
                self._keep()
            else:
                self._say(decision)

    def say_what_waits(self, *, all_of_it: bool = False) -> None:
        """Say resolved alerts whose mending is known or was waited for long enough, and firing ones whose silence is over."""
        now = self._now()
        for address, (decision, since) in list(self._late.items()):
            if all_of_it or since + LATE <= now or not self._being_mended(decision):
                del self._late[address]
                self._keep()
                self._say(decision)
        if any(silence.until <= now for silence in self.silences):
            self.silences = [silence for silence in self.silences if silence.until > now]
            self._keep()
            self._say_again(list(self._held_back))

    @property
    def next_due(self) -> Micros | None:
        """When something will have to be said although nothing happens, None for never."""
        moments = [since + LATE for _, since in self._late.values()] + [silence.until for silence in self.silences]
        return min(moments, default=None)

    # -- what operators say -------------------------------------------------------------------------------------------

    def silence(self, rule: str, key: str | None, length: Micros, by: str) -> None:
        """Hold back what fires; a silence of the same rule and key is replaced.

        Raises:
            ValueError: there are too many.
        """
        others = [silence for silence in self.silences if (silence.rule, silence.key) != (rule, key)]
        if len(others) >= MAX_SILENCES:
            msg = f"there are {MAX_SILENCES} silences already"
            raise ValueError(msg)
        now = self._now()
        self.silences = [*others, Silence(rule=rule, key=key, since=now, until=now + length, by=by)]
        self._keep()

    def acknowledge(self, rule: str, key: str, by: str) -> None:
        """Somebody has taken the alert on: its message says so from now on, until it is resolved.

        Raises:
            ValueError: no such alert is firing.
        """
        state = self._states().get((rule, key))
        if state is None or not state.firing:
            msg = f"no alert of rule {rule!r} with key {key!r} is firing"
            raise ValueError(msg)
        self.acked[rule, key] = by
        self._keep()
        self._say(state.decision(self._now()))

    def _say_again(self, addresses: list[AlertKey]) -> None:
        states = self._states()
        for address in addresses:
            state = states.get(address)
            if state is None or not state.firing:
                self._held_back.pop(address, None)
            else:
                self._say(state.decision(self._now()))  # which another silence may hold back again

    # -- across restarts ----------------------------------------------------------------------------------------------

    def take_back(self, text: str | None) -> None:
        """What was kept before a restart; resolved alerts that were not said yet are said now."""
        try:
            kept = _Kept() if text is None else _Kept.model_validate_json(text)
        except ValidationError as error:
            _log.error("silences and acknowledgements cannot be read and are dropped", action="alerting", error=str(error))
            return
        self.silences = kept.silences
        self.acked = dict(kept.acked)
        self._held_back = dict(kept.held_back)
        states = self._states()
        for address in kept.late:
            state = states.get(address)
            if state is not None and not state.firing:
                self._say(state.decision(state.details["updated_at"]))
        if kept.late:
            self._keep()

    def _keep(self) -> None:
        kept = _Kept(
            silences=self.silences,
            acked=list(self.acked.items()),
            held_back=list(self._held_back.items()),
            late=list(self._late),
        )
        self._batch().memory[MEMORY] = kept.model_dump_json()

    # -- saying -------------------------------------------------------------------------------------------------------

    def _say(self, decision: AlertDecision) -> None:
        address = (decision.rule, decision.key)
        firing = decision.status == "firing"
        silence = self._silence_of(decision, firing=firing)
        verdict = "silenced" if silence is not None else str(decision.status)
        self._audit(decision, verdict, "" if silence is None else f"silenced by {silence.by or 'an operator'}")
        if silence is None:
            self._publish(decision, firing=firing)
        elif firing and address not in self._held_back:
            self._held_back[address] = decision.alert.starts_at < silence.since
            self._keep()
        if (silence is None or not firing) and self._held_back.pop(address, None) is not None:
            self._keep()
        if not firing and self.acked.pop(address, None) is not None:
            self._keep()

    def _silence_of(self, decision: AlertDecision, *, firing: bool) -> Silence | None:
        """The silence that holds this back. Of what was said to fire it is always said that it is over: that wakes nobody."""
        if not firing and self._held_back.get((decision.rule, decision.key), True):
            return None
        now = self._now()
        return next((silence for silence in self.silences if silence.until > now and silence.covers(decision)), None)

    def _audit(self, decision: AlertDecision, verdict: str, reason: str) -> None:
        detail: dict[str, Any] = {
            "facts": list(decision.facts[:20]),
            "evidence": list(decision.evidence[:5]),
            "text": decision.alert.text,
        }
        self._batch().audit.append(
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

    def _publish(self, decision: AlertDecision, *, firing: bool) -> None:
        details = decision.alert
        assert details is not None  # noqa: S101  decisions about alerts carry them
        actions = self._doings.about(decision)
        text = summary(details, actions, firing=firing)
        say = _log.warning if firing else _log.info
        say(
            "alert",
            action="alert",
            status=decision.status,
            severity=details.severity,
            rule=decision.rule,
            key=decision.key,
            text=text,
        )
        self._batch().outbox.append(
            alert_event(
                host=self._host,
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
                    "acknowledged_by": self.acked.get((decision.rule, decision.key), ""),
                },
                runbook_url=self._runbook(details.runbook),
                rules_version=self._rules_version(),
                seq=self._next_seq(),
            )
        )
