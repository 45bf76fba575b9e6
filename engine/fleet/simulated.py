"""A fleet that is not there: publishes what thousands of sidecars would, to try and to measure the fleet's engine.

Hosts have a status, renewed as a sidecar renews it; alerts that fire and are updated; and actions. Alerts are of a few rules,
spread evenly; nothing is random, so that two runs publish the same.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from engine.errors import DockwardenError, SettingsError
from engine.facts.timestamps import Micros, from_micros
from engine.messages.cloudevents import StatusData, action_event, alert_event, status_event
from engine.ports.broker import Message, OutboxRow
from engine.ports.clock import SystemClock
from engine.settings import Settings
from engine.sidecar.composition import broker_of
from engine.version import VERSION

STATUS_S: Final = 30.0
"""A sidecar renews its status this often."""

STEP_S: Final = 0.05

AT_ONCE: Final = 200
"""Messages handed to the connection before the loop has its turn."""

RULES: Final = (
    "dead-container", "disk-filling", "memcg-oom-kill", "restart-loop", "mount-leak", "pool-nearly-full", "kubelet-evicts",
    "open-files", "container-unhealthy", "image-pull-failed",
)  # fmt: skip

WAIT_S: Final = 10.0
"""For the connection."""


@dataclass(frozen=True, slots=True)
class Simulation:
    """What to publish."""

    hosts: int = 5_000
    rate: float = 0.5
    """Messages of each host a second, statuses among them."""
    alerts: int = 10_000
    """Alerts that fire all the time."""
    seconds: float = 0.0
    """0: until told to stop."""


class SimulatedHosts:
    """Makes the messages. Sans-I/O: time comes in."""

    def __init__(self, plan: Simulation, now: Micros) -> None:
        self._plan = plan
        self._started = now
        self._seq = now // 1000
        self._turn = 0

    def name(self, number: int) -> str:
        """Of a host."""
        return f"sim-{number % self._plan.hosts:05}"

    def status(self, number: int, now: Micros, *, online: bool = True) -> Message:
        """Of a host."""
        self._seq += 1
        data = StatusData(
            state="online" if online else "offline",
            host=self.name(number),
            version=VERSION,
            mode="act",
            rules_version="simulated",
            rules=40,
            since=from_micros(self._started),
            outbox_depth=0,
            sources={"docker": "ok", "kernel": "ok"},
        )
        return status_event(data, at=now, event_id=f"status-{self._seq}")

    def alert(self, number: int, now: Micros, *, firing: bool = True) -> OutboxRow:
        """One of the alerts, as it stands now."""
        self._seq += 1
        container = f"{number:064x}"
        return alert_event(
            host=self.name(number),
            rule=RULES[number % len(RULES)],
            key=container,
            status="firing" if firing else "resolved",
            severity=("critical", "error", "warning", "info")[number % 4],
            summary=f"Container job-{number} is in trouble, seen {self._seq}",
            starts_at=self._started,
            updated_at=now,
            seq=self._seq,
            count=1 + self._turn // max(1, self._plan.alerts),
            evidence=[
                {"fact": "container", "fact_id": f"c{number}", "id": container, "image": f"registry-{number % 7}.example/app:1"}
            ],
            annotations={"title": f"Trouble of kind {number % len(RULES)}", "next": "look at the host"},
            rules_version="simulated",
        )

    def action(self, number: int, now: Micros) -> OutboxRow:
        """An attempt on a host, each of another rule's so that no breaker of the fleet acts."""
        self._seq += 1
        host = number % self._plan.hosts
        return action_event(
            host=self.name(host), action="inspect_mounts", target=f"{number:064x}", ok=True, attempt=1, at=now, seq=self._seq,
            rule=RULES[number % len(RULES)], activation=f"a{self._seq}", rules_version="simulated",
        )  # fmt: skip

    def next(self, now: Micros) -> Message | OutboxRow:
        """The next message beside statuses: mostly alerts that fire again, some that end and begin anew, and actions."""
        self._turn += 1
        number = self._turn * 7919  # a prime, so that all come in turn
        if not self._plan.alerts or self._turn % 4 == 0:
            return self.action(number, now)
        return self.alert(number % self._plan.alerts, now)


async def simulate(settings: Settings, plan: Simulation, show: Callable[[str], None]) -> int:
    """Publish until cancelled, or the time is over.

    Raises:
        DockwardenError: there is no broker.
    """
    if not settings.mqtt_url:
        raise SettingsError("name the broker: --url, mqtt_url or DOCKWARDEN_MQTT_URL")
    clock = SystemClock()
    there = asyncio.Event()
    async with broker_of(settings, clock, folder=None) as broker:
        feed = broker.feed(
            ("dockwarden-simulation/none",), take=lambda *_: None, connected=there.set, lost=show, name="dockwarden-simulation"
        )
        task = asyncio.create_task(feed.run(), name="simulation-feed")
        try:
            try:
                async with asyncio.timeout(WAIT_S):
                    await there.wait()
            except TimeoutError:
                raise DockwardenError(f"{broker.where} cannot be reached") from None
            await _publish(plan, clock, feed.publish, show)
        finally:
            task.cancel()
            await asyncio.wait({task})
    return 0


async def _publish(plan: Simulation, clock: SystemClock, publish: Callable[..., bool], show: Callable[[str], None]) -> None:
    hosts = SimulatedHosts(plan, clock.wall())

    async def send(messages: "list[Message | OutboxRow]") -> None:
        for start in range(0, len(messages), AT_ONCE):
            for message in messages[start : start + AT_ONCE]:
                publish(message.topic, message.payload, retain=message.retain)
            await clock.sleep(0)

    now = clock.wall()
    await send([hosts.status(number, now) for number in range(plan.hosts)])
    for start in range(0, plan.alerts, AT_ONCE):
        await send([hosts.alert(number, now) for number in range(start, min(start + AT_ONCE, plan.alerts))])
    show(f"{plan.hosts} hosts and {plan.alerts} alerts published; now {plan.hosts * plan.rate:g} messages a second")
    began = clock.monotonic()
    statuses = others = 0
    a_second = (plan.hosts / STATUS_S, max(0.0, plan.hosts * plan.rate - plan.hosts / STATUS_S))
    while not plan.seconds or clock.monotonic() - began < plan.seconds:
        passed, now = clock.monotonic() - began, clock.wall()
        due = (int(passed * a_second[0]) - statuses, int(passed * a_second[1]) - others)
        batch: list[Message | OutboxRow] = [hosts.status(statuses + number, now) for number in range(due[0])]
        batch += [hosts.next(now) for _ in range(due[1])]
        await send(batch)
        statuses, others = statuses + due[0], others + due[1]
        await clock.sleep(STEP_S)
    show(f"{statuses + others} messages in {plan.seconds:g} s")
