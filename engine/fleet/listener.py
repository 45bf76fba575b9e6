"""What the fleet's engine hears, handed to who it concerns; and facts, put into the loop's intake.

Owns the order of a connection.

After each connection everything that is retained comes; only when that is over are sums made of it, and is what has not come
again taken for gone. Until then what was known before stays so.
"""

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

import structlog

from engine.errors import DockwardenError
from engine.facts.host import Source
from engine.facts.timestamps import Micros
from engine.fleet.commands import CommandDesk, FreezeHosts
from engine.fleet.facts import FleetFacts
from engine.fleet.lease import Lease, lease_topic
from engine.fleet.outbox import FirstWinsOutbox
from engine.fleet.view import AlertId
from engine.messages.topics import alert_topic, host_topic, level, level_text
from engine.pipeline.intake import Intake, StaleFacts
from engine.ports.clock import Clock, event_time
from engine.rules.model import RuleSet

_log = structlog.get_logger(__name__)

SOURCE: Final = "fleet"
"""Name of the source, as rules have it."""

STEP_S: Final = 0.1
"""Facts are handed over, and the lease looked at, this often."""

TICK_S: Final = 1.0
"""Sums, and conditions of hosts."""

QUIET_S: Final = 0.5
"""Without a retained message for so long, all have come."""

MAX_FACTS: Final = 500
"""Facts of one step: the loop has its turn between."""

MAX_COMMANDS: Final = 100
"""Commands to the fleet that wait."""

REBUILT: Final = frozenset({"host_alert", "fleet", "fleet_alert", "fleet_label", "fleet_rollout", "fleet_acting", "fleet_engine"})
"""Kinds that are made anew after a start: what is not was so before it, and is gone."""


class Broker(Protocol):
    """What is needed of the connection."""

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> bool:
        """Send; False while there is no connection."""

    async def read_again(self) -> None:
        """Have what is retained sent once more."""


def topics(fleet: str) -> tuple[str, ...]:
    """What is listened to."""
    return (
        "dockwarden/+/status",
        "dockwarden/+/alert/+/+",
        "dockwarden/+/action/+/+",
        "dockwarden/+/reply/+",
        lease_topic(fleet),
        f"{host_topic(fleet)}/command/+",
    )


class Listener:
    """Takes messages in, between feed and loop."""

    def __init__(
        self,
        facts: FleetFacts,
        lease: Lease,
        outbox: FirstWinsOutbox,
        desk: CommandDesk,
        freeze: FreezeHosts,
        *,
        fleet: str,
        intake: Intake,
        clock: Clock,
        ruleset: Callable[[], RuleSet],
        changed: Callable[[], None],
    ) -> None:
        """Make one.

        Args:
            facts: made of messages.
            lease: of commands.
            outbox: learns what the peer publishes.
            desk: gets replies.
            freeze: learns what the peer has done.
            fleet: name of the fleet in topics.
            intake: of the loop.
            clock: wall and monotonic.
            ruleset: in force.
            changed: called when the view is another.
        """
        self._facts = facts
        self._lease = lease
        self._outbox = outbox
        self._desk = desk
        self._freeze = freeze
        self._own_level = level(fleet)
        self._lease_topic = lease_topic(fleet)
        self._intake = intake
        self._clock = clock
        self._ruleset = ruleset
        self._ruleset_seen: RuleSet | None = None
        self._changed = changed
        self._connected_at: float | None = None
        self._caught_up = False
        self._ever_caught_up = False
        self._last_retained = 0.0
        self._seen: set[AlertId] = set()
        self._missing: set[AlertId] | None = None
        self._error = ""
        self._reported: str | None = None
        self.commands: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue(MAX_COMMANDS)
        """Names and payloads of commands to the fleet."""
        self.messages = 0
        """Messages taken in since the start."""

    # -- called by the feed -------------------------------------------------------------------------------------------

    def connected(self) -> None:
        """A connection stands; what is retained comes next."""
        self._connected_at = self._last_retained = self._clock.monotonic()
        self._caught_up = False
        self._seen = set()
        self._missing = None
        self._error = ""

    def lost(self, error: str) -> None:
        """There is no connection."""
        if self._error != error:
            _log.warning("fleet_feed_lost", error=error)
        self._connected_at = None
        self._caught_up = False
        self._error = error
        self._lease.disconnected()

    def take(self, topic: str, payload: bytes, retained: bool) -> None:
        """One message. Nothing that stands in one ends anything."""
        self.messages += 1
        if retained:
            self._last_retained = self._clock.monotonic()
        try:
            self._take(topic, payload, retained=retained)
        except Exception:  # noqa: BLE001  anybody may publish anything; the others' messages go on
            _log.exception("fleet_message_failed", topic=topic[:200])

    def _take(self, topic: str, payload: bytes, *, retained: bool) -> None:
        parts = topic.split("/")
        own = parts[1] == self._own_level
        match parts[2]:
            case "lease":
                self._lease.receive(payload, self._clock.monotonic(), retained=retained)
                return
            case "reply":
                self._desk.replied(level_text(parts[3]), payload)
                return
            case "command":
                if own and not retained and not self.commands.full():
                    self.commands.put_nowait((level_text(parts[3]), payload))
                return
            case "alert":
                identity = (level_text(parts[1]), level_text(parts[3]), level_text(parts[4]))
                if payload:
                    self._seen.add(identity)
        if own and not retained:
            self._outbox.came(topic, payload)
            if parts[2] == "action" and parts[3] == FreezeHosts.name and b'"ok":true' in payload:
                self._freeze.peer_did(level_text(parts[4]))
        if self._facts.apply(topic, payload, self._clock.wall()):
            self._changed()

    # -- a task of its own --------------------------------------------------------------------------------------------

    async def run(self, broker: Broker) -> None:
        """Hand facts over, keep the lease, tick; until cancelled."""
        sink = self._intake.sink(SOURCE)
        started = self._clock.wall()
        ticked = float("-inf")
        while True:
            now = self._clock.monotonic()
            message = self._lease.due(now) if self._connected_at is not None else None
            if message is not None:
                broker.publish(self._lease_topic, message, retain=True)
            await self._report(now)
            just_now = await self._catch_up(broker, now)
            if self._ever_caught_up and (just_now or now - ticked >= TICK_S):
                ticked = now
                self._learn_rules()
                if self._facts.tick(self._clock.wall(), hearing=self._caught_up):
                    self._changed()
            while facts := self._facts.drain(MAX_FACTS):
                await sink.put(facts)
            if just_now and started:
                # Behind everything that was made anew; what is older by now is of before the start.
                await self._intake.put(StaleFacts(REBUILT, started))
                started = 0
            await self._clock.sleep(STEP_S)

    async def _catch_up(self, broker: Broker, now: float) -> bool:
        """Whether everything that is retained has come at this moment."""
        if self._caught_up or self._connected_at is None or now - self._last_retained < QUIET_S:
            return False
        missing = self._facts.missing(self._seen)
        if missing and self._missing is None:
            # A broker that sends too much at once drops some: only what is missing twice is gone.
            self._missing = missing
            self._seen = set()
            self._last_retained = now
            try:
                await broker.read_again()
            except DockwardenError as error:
                _log.warning("fleet_not_read_again", error=str(error))
            return False
        wall: Micros = self._clock.wall()
        for identity in missing & (self._missing or set()):
            self._facts.end(identity, alert_topic(*identity), wall)
        self._facts.forget_unseen(wall)
        self._caught_up = self._ever_caught_up = True
        self._changed()
        view = self._facts.view
        _log.info("fleet_caught_up", hosts=len(view.hosts), alerts=len(view.alerts), seconds=round(now - self._connected_at, 1))
        return True

    async def _report(self, now: float) -> None:
        """The connection's state is a fact."""
        lost = self._connected_at is None and bool(self._error)
        if self._connected_at is None and not lost:
            return  # not tried yet
        if not lost and now - (self._connected_at or now) < QUIET_S:
            return
        if self._reported != self._error:
            self._reported = self._error
            state = Source.report(
                SOURCE, "lost" if lost else "ok", at=event_time(self._clock), emitted_by="dockwarden", error=self._error
            )
            await self._intake.sink(SOURCE).put([state])

    def _learn_rules(self) -> None:
        """Which kinds the rules in force read."""
        ruleset = self._ruleset()
        if ruleset is not self._ruleset_seen:
            self._ruleset_seen = ruleset
            self._facts.wanted = frozenset(pattern.kind for rule in ruleset.rules for pattern in (*rule.when, *rule.unless))
