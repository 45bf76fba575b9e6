"""What one sidecar publishes, as an independent listener receives it: alerts, outcomes, facts. Knows no fault and no rule."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.lab.broker import ScratchBroker
from tests.lab.engine import ScratchEngine
from tests.lab.sidecar import Sidecar
from tests.lab.subscriber import Predicate, Received, Subscriber
from tests.lab.waiting import until

FACTS = '["container", "container_event", "daemon", "kernel_event", "daemon_log", "source", "mount_leak"]'
"""Kinds that a watched sidecar publishes too, so that a test sees what the rules see."""


class Watched:
    """A sidecar that runs, and what is received of it."""

    def __init__(self, sidecar: Sidecar, subscriber: Subscriber) -> None:
        self.sidecar = sidecar
        self.subscriber = subscriber
        self.host = sidecar.host

    async def alert(
        self, rule: str, status: str = "firing", *, where: Predicate | None = None, within_s: float = 30.0, since: float = 0.0
    ) -> dict[str, Any]:
        """Await an alert and return its data."""
        received = await self.subscriber.alert(rule, status, host=self.host, where=where, within_s=within_s, since=since)
        return received.data

    def alerts(self, rule: str = "+") -> list[dict[str, Any]]:
        """All messages about alerts of a rule so far."""
        return [received.data for received in self.subscriber.all(f"dockwarden/{self.host}/alert/{rule}/#") if received.data]

    def outcomes(self, action: str = "+") -> list[dict[str, Any]]:
        """All outcomes of attempts so far."""
        return [received.data for received in self.subscriber.all(f"dockwarden/{self.host}/action/{action}/#")]

    async def outcome(self, action: str, *, within_s: float = 30.0, since: float = 0.0, **fields: Any) -> dict[str, Any]:
        """Await an outcome of an attempt with these fields."""

        def fits(received: Received) -> bool:
            return all(received.data.get(name) == value for name, value in fields.items())

        topic = f"dockwarden/{self.host}/action/{action}/#"
        what = f"an attempt of {action} with {fields}"
        return (await self.subscriber.received(topic, fits, within_s=within_s, since=since, what=what)).data

    def facts(self, kind: str, more: Mapping[str, Any] | None = None, /, **fields: Any) -> list[dict[str, Any]]:
        """All facts of a kind with these fields so far; `more` for names that Python does not take (`class`)."""
        fields |= more or {}
        found = [received.data for received in self.subscriber.all(f"dockwarden/{self.host}/fact/{kind}")]
        return [fact for fact in found if all(fact.get(name) == value for name, value in fields.items())]

    async def fact(
        self, kind: str, more: Mapping[str, Any] | None = None, /, *, within_s: float = 30.0, **fields: Any
    ) -> dict[str, Any]:
        """Await a fact with these fields; the newest of them."""
        fields |= more or {}
        return (await until(lambda: self.facts(kind, **fields), what=f"fact {kind} {fields}", within_s=within_s))[-1]

    def status(self) -> dict[str, Any]:
        """The newest status message."""
        return self.subscriber.all(f"dockwarden/{self.host}/status")[-1].data

    async def listed(self) -> None:
        """Await that Docker was listed: what is made from then on is new to it."""
        await self.fact("source", name="docker_listing", status="ok")
        await self.fact("source", name="docker", status="ok")


@asynccontextmanager
async def watched(
    engine: ScratchEngine,
    broker: ScratchBroker,
    subscriber: Subscriber,
    *,
    host: str,
    act: bool = True,
    rules: Path | None = None,
    config: Path | None = None,
    arguments: tuple[str, ...] = (),
    **environment: str,
) -> AsyncIterator[Watched]:
    """Run a sidecar that publishes its facts; it is up and has listed Docker. Variables without their DOCKWARDEN_ prefix."""
    variables = {"DOCKWARDEN_MQTT__FACTS": FACTS} | {
        name if name == "DOCKER_HOST" else f"DOCKWARDEN_{name}": value for name, value in environment.items()
    }
    sidecar = Sidecar(engine, broker, host=host, act=act, rules=rules, config=config, arguments=arguments, environment=variables)
    async with sidecar:
        await sidecar.ready(subscriber)
        seen = Watched(sidecar, subscriber)
        await seen.listed()
        yield seen
