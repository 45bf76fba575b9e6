"""Messages of hosts, for tests of the fleet."""

from typing import Any, Literal

from engine.facts import Fact
from engine.facts.timestamps import SECOND, Micros
from engine.fleet.facts import FleetFacts, HostLabels
from engine.fleet.view import FleetView
from engine.messages.cloudevents import StatusData, action_event, alert_event, status_event

NOW: Micros = 1_763_657_512_000_000


class Hosts:
    """Hosts that publish, and the facts that the fleet's engine makes of it."""

    def __init__(self, *, labels: dict[str, dict[str, str]] | None = None) -> None:
        self.now = NOW
        self.facts = FleetFacts(FleetView(), name="fleet", labels=HostLabels(labels or {}), wanted=("host_action",))
        self._seq = 0

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += round(seconds * SECOND)

    def status(self, host: str, *, state: Literal["online", "offline"] = "online", **fields: Any) -> None:
        """Of a host."""
        message = status_event(StatusData(state=state, host=host, version="1", **fields), at=self.now, event_id="s")
        self.facts.apply(message.topic, message.payload, self.now)

    def alert(self, host: str, rule: str, key: str = "k", *, firing: bool = True, **fields: Any) -> None:
        """Of a host."""
        self._seq += 1
        row = alert_event(
            host=host,
            rule=rule,
            key=key,
            status="firing" if firing else "resolved",
            severity=fields.pop("severity", "error"),
            summary="something",
            starts_at=fields.pop("starts_at", self.now),
            updated_at=self.now,
            seq=self._seq,
            **fields,
        )
        self.facts.apply(row.topic, row.payload, self.now)

    def action(self, host: str, action: str, rule: str, **fields: Any) -> None:
        """An attempt on a host."""
        self._seq += 1
        row = action_event(
            host=host, action=action, target="t", ok=True, attempt=1, at=self.now, seq=self._seq, rule=rule, **fields
        )
        self.facts.apply(row.topic, row.payload, self.now)

    def take(self, *, hearing: bool = True) -> list[Any]:
        """What follows, with a tick."""
        self.facts.tick(self.now, hearing=hearing)
        return self.facts.drain(100_000)

    def of(self, kind: str, *, hearing: bool = True) -> list[Any]:
        """Facts of one kind that follow."""
        return [fact for fact in self.take(hearing=hearing) if isinstance(fact, Fact) and fact.fact_kind == kind]
