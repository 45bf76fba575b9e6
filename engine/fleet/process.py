"""`dockwarden fleet` as a process: the trunk of a sidecar over the messages of all hosts, the page, and the hot pair.

The same loop, journal, rules and messages as on a host; what differs is where facts come from and what acts. Both engines of a
pair run this. The other module beside the sidecar's process that makes a clock of the machine's own.
"""

import asyncio
import contextlib
import json
import signal
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, Final

import structlog

from connectors.web.server import FleetPage, PageSettings
from engine.errors import SettingsError
from engine.facts import BUILT_IN, Fact
from engine.fleet.commands import CommandDesk, FreezeHosts, PageCommands
from engine.fleet.facts import FleetFacts, HostLabels
from engine.fleet.lease import Lease
from engine.fleet.listener import Listener, topics
from engine.fleet.outbox import FirstWinsOutbox
from engine.fleet.view import FleetView
from engine.inference.memory import Bounds as MemoryBounds
from engine.journal.audit_trail import explain_alert
from engine.journal.fact_log import RECORDING_FOLDER, FactLog
from engine.journal.records import Bounds, CoreKey
from engine.journal.store import Journal
from engine.logparse import WantedLines
from engine.messages.cloudevents import StatusData, status_event
from engine.messages.topics import host_topic, level
from engine.pipeline.turn import Options
from engine.ports.broker import AlertRecords, LinkState, RetainedReader
from engine.ports.clock import SystemClock
from engine.rules.reader import usable_rules
from engine.rules.shipped import shipped_rules
from engine.settings import Settings
from engine.sidecar import retained_alerts
from engine.sidecar.command_gate import MEMORY as COMMANDS_MEMORY
from engine.sidecar.commands import Commands
from engine.sidecar.composition import Broker, broker_of
from engine.sidecar.freeze import Freeze
from engine.sidecar.process import STOP_S
from engine.sidecar.retained_alerts import RetainedAlerts
from engine.sidecar.rule_reload import Start, follow_rules, wanted_by
from engine.sidecar.sidecar import build_sidecar
from engine.sidecar.status import Status, announce
from engine.sidecar.status_socket import StatusSocket
from engine.sidecar.steady_clock import SteadyClock, watch_clock
from engine.sidecar.tasks import Tasks
from engine.version import VERSION

_log = structlog.get_logger(__name__)

SELF_S: Final = 20.0
"""The page shows the fleet's own alerts under a host of the fleet's name; its status is renewed this often."""

MAX_RUNBOOK: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class FleetPlan:
    """What to run."""

    settings: Settings
    """With this engine's name as `host`, and its own state folder."""
    start: Start
    show: Callable[[str], None]


def fleet_settings(settings: Settings, *, state: Path | None = None) -> Settings:
    """The settings as an engine of the fleet uses them: a name, a state folder and rules of its own beside those of a sidecar.

    Raises:
        SettingsError: they name no broker.
    """
    if not settings.mqtt_url:
        raise SettingsError("the fleet needs the broker of its hosts: name it with --url, mqtt_url or DOCKWARDEN_MQTT_URL")
    fleet = settings.fleet
    update: dict[str, Any] = {
        "host": f"{fleet.name}@{fleet.engine or settings.host}",
        "state": state or settings.state / "fleet",
        "rules": settings.rules or shipped_rules() / "fleet",
    }
    return settings.model_copy(update=update)


async def serve_fleet(plan: FleetPlan) -> int:
    """Run the fleet's engine until it is told to stop; the exit code.

    Raises:
        DockwardenError: a part cannot be started.
    """
    settings, clock = plan.settings, SteadyClock(SystemClock())
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    bounds = Bounds(outbox_rows=settings.outbox_rows)
    with Journal.open(settings.state / "journal.db", bounds=bounds, now=clock.wall()) as journal:
        async with broker_of(settings, clock, folder=None) as broker:
            return await FleetProcess(plan, journal, broker, clock).run(stop)


class FleetProcess:
    """Everything between an open journal and its end."""

    def __init__(self, plan: FleetPlan, journal: Journal, broker: Broker, clock: SteadyClock) -> None:
        """Put the parts together; nothing runs yet."""
        settings = self._settings = plan.settings
        fleet = settings.fleet
        self._plan, self._clock, self._broker = plan, clock, broker
        self._tasks = Tasks()
        self._state = journal.load()
        loaded = plan.start.loaded
        self._wanted = WantedLines(wanted_by(loaded.ruleset))
        self.view = FleetView()
        self.facts = FleetFacts(self.view, name=fleet.name, labels=HostLabels(fleet.labels), known=facts_of(self._state.core))
        self.lease = Lease(settings.host, clock.monotonic(), token=uuid.uuid4().hex[:12])
        desk = CommandDesk(self._publish, clock)
        freeze_hosts = FreezeHosts(
            desk,
            key_file=fleet.key_file,
            hosts=lambda: [host for host in self.view.hosts if not self.facts.is_engine(host)],
            holds=self._holds,
            holder=lambda: self.lease.holder,
            clock=clock,
        )
        freeze = Freeze(settings.state / "freeze")
        self.sidecar = build_sidecar(
            loaded.ruleset,
            journal,
            {freeze_hosts.name: freeze_hosts},
            clock,
            state=self._state,
            options=Options(
                host=fleet.name,
                policy=settings.effective_policy,
                runbooks_url=settings.runbooks_url,
                page_url=settings.page_url,
                bounds=MemoryBounds(**settings.memory.model_dump()),
            ),
            freeze=freeze,
            rules_version=loaded.version,
            fact_log=FactLog(settings.state / RECORDING_FOLDER, settings.recording_bytes) if settings.recording_bytes else None,
            numbers_by_clock=True,
        )
        self._outbox = FirstWinsOutbox(self.sidecar.writer, clock, self._holds)
        self._link = LinkState()
        self._status = Status(
            self.sidecar,
            self._link,
            version=VERSION,
            rules_version=loaded.version,
            watching=(f"hosts at {broker.where}",),
            broker_where=broker.where,
            name=settings.host,
        )
        self._commands = Commands(
            self.sidecar.intake,
            freeze,
            partial(explain_alert, settings.state / "journal.db"),
            host=fleet.name,
            keys=settings.mqtt.command_keys,
            clock=clock,
            remembered=self._state.memory.get(COMMANDS_MEMORY),
        )
        records = RetainedAlerts(self.sidecar.intake, clock, fleet.name, self._state.memory.get(retained_alerts.MEMORY))
        self._publisher = broker.publisher(
            self._link,
            status=self._status.message,
            will=self._status.will,
            on_command=self._no_command,
            alerts=HolderRecords(records, self._holds),
        )
        self.page = FleetPage(
            self.view,
            settings=PageSettings(
                listen=fleet.listen,
                port=fleet.port,
                base_url=settings.page_url,
                tokens={digest.lower(): operator for operator, digest in fleet.tokens.items()},
            ),
            clock=clock,
            sender=PageCommands(desk, fleet.operator_keys),
            runbook=partial(runbook_of, plan.start, settings),
        )
        self._listener = Listener(
            self.facts,
            self.lease,
            self._outbox,
            desk,
            freeze_hosts,
            fleet=fleet.name,
            intake=self.sidecar.intake,
            clock=clock,
            ruleset=lambda: self.sidecar.loop.core.ruleset,
            changed=self.page.changed,
        )
        self._feed = broker.feed(
            topics(fleet.name),
            take=self._listener.take,
            connected=self._listener.connected,
            lost=self._listener.lost,
            name=f"dockwarden-{level(settings.host)}-feed",
        )

    async def run(self, stop: asyncio.Event) -> int:
        """Start, wait, stop; the exit code."""
        try:
            await self._start()
            loop = asyncio.get_running_loop()
            waiting = {
                loop.create_task(stop.wait(), name="stop-signal"),
                loop.create_task(self._tasks.ended.wait(), name="task-ended"),
            }
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in waiting:
                task.cancel()
        finally:
            await self._stop()
        if self._tasks.error is not None:
            self._plan.show(f"stopped: {self._tasks.error}")
            return 1
        return 0

    async def _start(self) -> None:
        start, sidecar = self._tasks.start, self.sidecar
        await asyncio.to_thread(shipped_runbooks)  # so that no reader of the page waits for it
        start("loop", sidecar.loop.run())
        await self._status.refresh()
        start("publisher", self._publisher.run(self._outbox))
        start("status", StatusSocket(self._settings.state / "status.sock", self._answer).run())
        start("announcements", announce(self._status, self._publisher, sidecar))
        start("clock", watch_clock(self._clock, sidecar.intake, self.facts.clock_stepped, boot=""))
        start("rules", follow_rules(self._plan.start, sidecar.intake, self._clock, self._wanted))
        start("listener", self._listener.run(self._feed))
        start("feed", self._feed.run())
        start("commands", self._take_commands())
        start("page", self.page.run())
        start("own-status", self._show_self())
        with contextlib.suppress(TimeoutError):  # an address that is taken ends the task, and with it the process
            async with asyncio.timeout(2.0):
                await self.page.listening.wait()
        self._show()

    def _show(self) -> None:
        show, settings, loaded = self._plan.show, self._settings, self._plan.start.loaded
        policy = settings.effective_policy
        show(f"dockwarden {VERSION} fleet, engine {settings.host}, mode {policy.mode_of(FreezeHosts.name)}")
        show(f"  hears    {self._broker.where}, all of dockwarden/+")
        show(f"  rules    {len(loaded.ruleset.rules)} from {loaded.where} ({loaded.version})")
        show(f"  journal  {settings.state / 'journal.db'}")
        show(f"  page     http://{settings.fleet.listen}:{self.page.port}/{'' if settings.fleet.tokens else ' (read-only)'}")
        show(f"  alerts   {host_topic(settings.fleet.name)}/alert/#")
        if policy.mode_of(FreezeHosts.name) == "act" and settings.fleet.key_file is None:
            show("  NOTE     no key to sign with (fleet.key_file): the breaker over hosts only reports")

    async def _stop(self) -> None:
        tasks, sidecar = self._tasks, self.sidecar
        stop_by = self._clock.monotonic() + STOP_S

        def share(part: float) -> float:
            return max(0.05, (stop_by - self._clock.monotonic()) * part)

        seconds = share(0.25)
        names = ("page", "feed", "listener", "commands", "own-status", "rules", "clock", "announcements")
        await asyncio.gather(*(tasks.stop(name, seconds) for name in names))
        sidecar.loop.stop_starting()
        await sidecar.attempts.cancel(share(0.2))
        await tasks.stop("loop", share(0.2))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(share(0.4)):
                await sidecar.loop.finish()
        self._status.state = "offline"
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(share(0.3)):
                if self._link.connected:
                    await sidecar.writer.drained()
        await tasks.stop("publisher", share(0.5))
        await tasks.stop_all(share(0.4))
        await sidecar.writer.close(share(0.9))

    # -- small parts --------------------------------------------------------------------------------------------------

    def _holds(self) -> bool:
        return self.lease.holds(self._clock.monotonic())

    def _publish(self, topic: str, payload: bytes) -> bool:
        return self._feed.publish(topic, payload)

    async def _no_command(self, name: str, payload: bytes) -> None:
        """Commands go to the fleet, not to one engine of it: both carry them out."""

    async def _take_commands(self) -> None:
        while True:
            name, payload = await self._listener.commands.get()
            if self._settings.mqtt.commands:
                await self._commands.receive(name, payload)

    async def _show_self(self) -> None:
        """A host of the fleet's name stands in the view, so that the page can command it as any other."""
        name = self._settings.fleet.name
        while True:
            now = self._clock.wall()
            data = StatusData(
                state="online",
                host=name,
                version=VERSION,
                mode=self.sidecar.options.policy.mode_of(FreezeHosts.name),
                rules_version=self._status.data().rules_version,
            )
            message = status_event(data, at=now, event_id=f"self-{now}")
            self.view.apply(message.topic, message.payload, now)
            await self._clock.sleep(SELF_S)

    async def _answer(self, question: dict[str, Any]) -> dict[str, Any]:
        if question.get("ask") == "republish":
            self._publisher.republish()
            return {"connected": self._link.connected}
        answer = await self._status.answer(question)
        if question.get("ask") not in ("why-not", "alarm-test"):
            answer["fleet"] = {
                "hosts": len(self.view.hosts),
                "alerts": len(self.view.alerts),
                "messages": self._listener.messages,
                "left_out": dict(self.view.rejected),
                "lease": {"holder": self.lease.holder, "ours": self._holds()},
                "left_to_peer": self._outbox.left_to_peer,
            }
        return answer


class HolderRecords:
    """`AlertRecords` that only the engine with the lease acts on: the other would take what its peer published for unknown."""

    def __init__(self, inner: AlertRecords, holds: Callable[[], bool]) -> None:
        self._inner = inner
        self._holds = holds

    @property
    def topics(self) -> Sequence[str]:
        """See the port."""
        return self._inner.topics

    async def begin(self, *, everything: bool) -> RetainedReader:
        """See the port."""
        return await self._inner.begin(everything=everything)

    async def finish(self, reader: RetainedReader, *, complete: bool) -> bool:
        """See the port."""
        return await self._inner.finish(reader, complete=complete) if self._holds() else False


def facts_of(entries: Mapping[CoreKey, str]) -> Iterator[Fact]:
    """Host statuses in working memory as the journal has it."""
    models = {model.KIND: model for model in BUILT_IN}
    for (section, key), text in entries.items():
        if section == "fact" and key.startswith('["host_status",'):
            _, _, fact = json.loads(text)
            yield models["host_status"].model_validate({name: value for name, value in fact.items() if name != "fact"})


def runbook_of(start: Start, settings: Settings, rule: str) -> str | None:
    """The Markdown of a rule's runbook: of the fleet's own rules, else of those that ship for hosts; None for none."""
    own = {one.id: one.runbook for one in start.loaded.ruleset.rules}
    folder = settings.rules if rule in own else shipped_rules()
    named = own.get(rule) or shipped_runbooks().get(rule, "")
    if folder is None or not named or "://" in named:
        return None
    path = (folder / named).resolve()
    if not path.is_relative_to(folder.resolve()) or not path.is_file():
        return None
    with path.open("rb") as file:
        return file.read(MAX_RUNBOOK).decode("utf-8", "replace")


@cache
def shipped_runbooks() -> Mapping[str, str]:
    """Runbooks of the rules that ship for hosts."""
    return {one.id: one.runbook for one in usable_rules(shipped_rules())[0].rules}
