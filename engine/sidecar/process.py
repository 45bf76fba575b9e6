"""The sidecar as a process: starts its parts in order, waits for a reason to stop, stops them in order and in bounded time."""

import asyncio
import contextlib
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from connectors.mqtt.client import connect
from connectors.mqtt.embedded_broker import EmbeddedBroker
from connectors.mqtt.publisher import MqttPublisher
from connectors.mqtt.settings import BrokerSettings
from engine.errors import DockwardenError
from engine.facts import Fact, Retraction
from engine.facts.docker import Container
from engine.facts.host import Source
from engine.facts.timestamps import from_micros
from engine.inference.diagnosis import why_not
from engine.journal.audit_trail import explain_alert
from engine.journal.records import Bounds, JournalState
from engine.journal.store import Journal
from engine.journal.writer import Keeper
from engine.messages.cloudevents import last_will, status_event
from engine.messages.topics import host_topic
from engine.pipeline.attempts import Executor
from engine.pipeline.intake import Ask, Intake
from engine.pipeline.loop import Sidecar, wall_clock
from engine.pipeline.options import Options
from engine.pipeline.retry_now import RetryNow
from engine.ports.broker import Message
from engine.ports.clock import SystemClock
from engine.rules.model import RuleSet
from engine.settings import Settings
from engine.sidecar.commands import Commands, FreezeFile
from engine.sidecar.composition import Connectors, compose
from engine.sidecar.status import Status, StatusSocket
from engine.sidecar.tasks import Tasks
from engine.version import VERSION

_log = structlog.get_logger(__name__)

STOP_SOURCES_S = 3.0
STOP_ACTIONS_S = 5.0
STOP_ENGINE_S = 2.0
STOP_OUTBOX_S = 3.0
"""Bounds of the steps of a stop; together they fit into the ten seconds that `docker stop` grants."""

ANNOUNCE_S = 30.0
"""The status message is renewed this often, beside every change that matters."""

STALE_AFTER_S = 120.0
"""Facts from before a restart that no source has told again by then are taken back: what they described went meanwhile."""

RETOLD = frozenset({"process_files", "disk", "sockets", "source", "daemon", "host", "mount_leak"})
"""Kinds whose sources tell everything again after a start. Containers are compared with a list instead."""


@dataclass(slots=True)
class Plan:
    """What to run."""

    settings: Settings
    ruleset: RuleSet
    rules_version: str
    rules_from: str
    say: Callable[[str], None]
    """Tells people on the terminal what is going on."""
    record: Callable[[Fact | Retraction], None] | None = None
    extra_tasks: list[Callable[["Running"], Any]] = field(default_factory=list)
    """Further tasks of the process (watching the rules folder), given what runs."""


@dataclass(slots=True)
class Running:
    """The parts that run, for those that come on top."""

    plan: Plan
    sidecar: Sidecar
    status: Status
    intake: Intake
    state: JournalState


async def serve(plan: Plan) -> int:
    """Run the sidecar until it is told to stop; the exit code.

    Raises:
        DockwardenError: a part cannot be started; the message says which and what to do.
    """
    settings = plan.settings
    journal = Journal.open(settings.state / "journal.db", bounds=Bounds(outbox_rows=settings.outbox_rows))
    keeper = Keeper(journal)
    try:
        state = journal.load()
        return await _Process(plan, keeper, state).run()
    finally:
        await keeper.close()


class _Process:
    """Everything between an open journal and its end."""

    def __init__(self, plan: Plan, keeper: Keeper, state: JournalState) -> None:
        settings = self._settings = plan.settings
        self._plan = plan
        self._keeper = keeper
        self._state = state
        self._tasks = Tasks()
        self._started = wall_clock()
        self._announcements = 0
        self._freeze = FreezeFile(settings.state / "freeze")
        options = Options(
            host=settings.host,
            policy=settings.effective_policy,
            rules_version=plan.rules_version,
            runbooks_url=settings.runbooks_url,
            publish_facts=settings.mqtt.facts,
            record=plan.record,
            frozen=self._freeze,
        )
        self._intake = Intake()
        self._sidecar = Sidecar(ruleset=plan.ruleset, entries=state.core, intake=self._intake, keeper=keeper, options=options)
        known = [item.fact for item in self._sidecar.core.memory if isinstance(item.fact, Container)]
        self._connectors: Connectors = compose(settings, known_containers=known, clock=SystemClock())
        self._executor = Executor(
            actions=self._connectors.actions,
            policy=options.policy,
            intake=self._intake,
            judge=self._sidecar.repairs.judge_now,
            now=wall_clock,
        )
        self._connectors.actions["retry_now"] = RetryNow(self._executor)
        self._executor.dropped = self._sidecar.repairs.dropped
        self._sidecar.repairs.executor = self._executor
        self._own_broker: EmbeddedBroker | None = None
        self._publisher: MqttPublisher | None = None
        self._status = Status(
            self._sidecar, self._link, version=VERSION, started=self._started, watching=self._connectors.watching
        )
        self._commands = Commands(
            self._sidecar, self._freeze, lambda rule, key: explain_alert(settings.state / "journal.db", rule, key)
        )

    async def run(self) -> int:
        """Start, wait, stop."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        try:
            await self._start()
            self._say()
            stopped = loop.create_task(stop.wait(), name="stop-signal")
            ended = loop.create_task(self._tasks.ended.wait(), name="task-ended")
            await asyncio.wait({stopped, ended}, return_when=asyncio.FIRST_COMPLETED)
            for waiting in (stopped, ended):
                waiting.cancel()
        finally:
            await self._stop()
        if self._tasks.error is not None:
            self._plan.say(f"stopped: {self._tasks.error}")
            return 1
        return 0

    # -- start --------------------------------------------------------------------------------------------------------

    async def _start(self) -> None:
        await self._start_broker()
        self._sidecar.take_back(self._state.retries, self._state.memory)
        self._tasks.start("engine", self._sidecar.run())
        self._tasks.start("actions", self._executor.run())
        assert self._publisher is not None  # noqa: S101  made by _start_broker
        self._tasks.start("publisher", self._publisher.run(self._keeper))
        self._tasks.start("status", StatusSocket(self._settings.state / "status.sock", self._answer).run())
        self._tasks.start("announcements", self._announce())
        self._tasks.start("stale", self._drop_stale())
        for source in self._connectors.sources:
            sink = self._intake.sink(source.name)
            self._tasks.start(f"source:{source.name}", source.run(sink, self._state.cursors.get(source.name)))
        running = Running(self._plan, self._sidecar, self._status, self._intake, self._state)
        for number, task in enumerate(self._plan.extra_tasks):
            self._tasks.start(f"extra:{number}", task(running))

    async def _start_broker(self) -> None:
        settings = self._settings
        url = settings.mqtt_url
        if not url:
            self._own_broker = EmbeddedBroker(settings.state / "broker", clock=SystemClock(), commands=settings.mqtt.commands)
            await self._own_broker.start()
            self._tasks.start("own-broker", self._own_broker.run(published=lambda: int(self._link().published)))
            broker = self._own_broker.settings(commands=settings.mqtt.commands)
            self._status.broker_where = f"{self._own_broker.url} (our own)"
        else:
            broker = BrokerSettings.from_url(url, **self._broker_settings())
            self._status.broker_where = broker.where
        topic = host_topic(settings.host)
        self._publisher = MqttPublisher(
            broker,
            host_topic=topic,
            status=self._status_message,
            clock=SystemClock(),
            will=self._will,
            on_command=self._on_command,
            connect=connect if self._own_broker is None else self._own_broker.connect,
        )

    def _broker_settings(self) -> dict[str, Any]:
        mqtt = self._settings.mqtt
        return {
            "username": mqtt.username,
            "password": mqtt.password,
            "password_file": mqtt.password_file,
            "ca_file": mqtt.ca_file,
            "cert_file": mqtt.cert_file,
            "key_file": mqtt.key_file,
            "keepalive_s": mqtt.keepalive_s,
            "commands": mqtt.commands,
        }

    def _say(self) -> None:
        plan, settings = self._plan, self._settings
        mode = settings.effective_policy.mode
        plan.say(f"dockwarden {VERSION} on {settings.host}, mode {mode}")
        for line in self._connectors.watching:
            plan.say(f"  watches  {line}")
        plan.say(f"  rules    {len(plan.ruleset.rules)} from {plan.rules_from} ({plan.rules_version})")
        plan.say(f"  journal  {settings.state / 'journal.db'}")
        plan.say(f"  speaks   {self._status.broker_where}, topics {host_topic(settings.host)}/#")
        if self._own_broker is not None:
            plan.say(
                f"  listen   XDG_CONFIG_HOME={self._own_broker.client_folder} mosquitto_sub -v -t '{host_topic(settings.host)}/#'"
            )
        plan.say("  ask      dockwarden status, dockwarden explain")
        if self._state.recovered:
            plan.say(f"  NOTE     {self._state.recovered}")

    # -- messages -----------------------------------------------------------------------------------------------------

    def _link(self) -> Any:
        assert self._publisher is not None  # noqa: S101  made before anybody can ask
        return self._publisher.state

    def _status_message(self) -> Message:
        self._announcements += 1
        return status_event(self._status.data(), at=wall_clock(), event_id=f"status-{self._started}-{self._announcements}")

    def _will(self) -> Message:
        return last_will(host=self._settings.host, version=VERSION, at=wall_clock())

    async def _announce(self) -> None:
        """Renew the status message: at a slow pace, and when what it says of troubles, alerts or freezing has changed."""
        said: Any = None
        pause = 1.0
        quiet_s = 0.0
        while True:
            await asyncio.sleep(pause)
            quiet_s += pause
            data = self._status.data()
            now = (data.troubles, data.frozen, data.firing, data.rules_version, data.sources)
            if now != said or quiet_s >= ANNOUNCE_S:
                said, quiet_s = now, 0.0
                assert self._publisher is not None  # noqa: S101  made before this runs
                self._publisher.announce()
                await self._tell_broker_state()

    async def _tell_broker_state(self) -> None:
        link = self._link()
        told = self._sidecar.core.memory.get(("source", "broker"))
        status = "ok" if link.connected and not link.denied_topics else "lost"
        error = None if status == "ok" else link.last_error or next(iter(link.denied_topics.values()), "not connected yet")
        if told is not None and (told.values.get("status"), told.values.get("error")) == (status, error):
            return
        at = from_micros(wall_clock())
        fact = Source(
            at=at, source="dockwarden", name="broker", status=status, since=at, error=error, fact_id=f"broker-{wall_clock()}"
        )
        await self._intake.sink("broker").put([fact])

    async def _on_command(self, name: str, payload: bytes) -> None:
        async def run() -> None:
            reply_id, reply = self._commands.run(name, payload)
            if reply_id:
                self._sidecar.reply(reply_id, reply)

        await self._intake.put(Ask(run))

    def _answer(self, question: dict[str, Any]) -> dict[str, Any]:
        if question.get("ask") == "why-not":
            return why_not(self._sidecar.core, str(question.get("rule", "")))
        return self._status.full()

    async def _drop_stale(self) -> None:
        """Take back what was so before the restart and nobody has told since."""
        await asyncio.sleep(STALE_AFTER_S)

        async def drop() -> None:
            for item in list(self._sidecar.core.memory):
                fact = item.fact
                slow = fact.fact_kind == "mount_leak" and wall_clock() - self._started < self._settings.probes.mounts_s * 2e6
                if fact.fact_kind in RETOLD and fact.at_micros < self._started and not slow:
                    key = "|".join(item.identity[1:])
                    self._sidecar.fact(
                        Retraction(retract=fact.fact_kind, key=key, at=from_micros(wall_clock()), source="dockwarden")
                    )

        await self._intake.put(Ask(drop))
        await asyncio.sleep(self._settings.probes.mounts_s * 2)
        await self._intake.put(Ask(drop))
        await asyncio.Event().wait()  # a root task that ends would stop the process

    # -- stop ---------------------------------------------------------------------------------------------------------

    async def _stop(self) -> None:
        """Close the intake, let attempts end, keep and publish what came of it. Bounded; what is left is in the journal."""
        tasks = self._tasks
        names = [f"source:{source.name}" for source in self._connectors.sources]
        await asyncio.gather(*(tasks.stop(name, STOP_SOURCES_S) for name in ("stale", "announcements", *names)))
        await self._executor.drain(STOP_ACTIONS_S)
        await tasks.stop("actions", 1.0)
        await tasks.stop("engine", 1.0)
        try:
            async with asyncio.timeout(STOP_ENGINE_S):
                await self._sidecar.last_turn()
        except TimeoutError:
            _log.warning("not all that came in was taken", action="stop", left=self._intake.depth)
        except Exception:  # noqa: BLE001  what ended the engine may do so again; everything else is to be stopped all the same
            _log.exception("the engine could not be stopped in order", action="stop")
        self._status.state = "offline"
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_OUTBOX_S):
                if self._publisher is not None and self._publisher.state.connected:
                    await self._keeper.drained()
        await tasks.stop("publisher", 4.0)  # half of it is for saying that we are gone
        if self._own_broker is not None:
            await tasks.stop("own-broker", 3.0)
            await self._own_broker.stop()
        await tasks.stop_all(2.0)
        await self._connectors.close()


def state_folder(path: Path) -> Path:
    """The state folder, made when it is missing.

    Raises:
        DockwardenError: it cannot be made or written.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe = path / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise DockwardenError(
            f"the state folder {path} cannot be written: {error.strerror}. Name another one with --state or DOCKWARDEN_STATE."
        ) from error
    return path
