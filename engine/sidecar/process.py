"""The sidecar as a process: starts its parts in order, waits for a reason to stop, stops them in order and in bounded time.

The only module that makes a clock of the machine's own: everything else is handed one.
"""

import asyncio
import contextlib
import json
import os
import signal
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from engine.errors import DockwardenError, JournalUnavailableError
from engine.facts import Fact, Retraction
from engine.facts.docker import Container
from engine.facts.timestamps import SECOND
from engine.inference.memory import Bounds as MemoryBounds
from engine.journal.audit_trail import explain_alert
from engine.journal.fact_log import RECORDING_FOLDER, FactLog
from engine.journal.files import disk_error
from engine.journal.records import Bounds, CoreKey
from engine.journal.store import Journal
from engine.logparse import WantedLines
from engine.messages.topics import host_topic
from engine.pipeline import alarm_test
from engine.pipeline.intake import AlarmTest, StaleFacts
from engine.pipeline.turn import Options
from engine.ports.broker import LinkState
from engine.ports.clock import Clock, SystemClock
from engine.settings import Settings
from engine.sidecar import retained_alerts
from engine.sidecar.banner import modes, not_read
from engine.sidecar.command_gate import MEMORY as COMMANDS_MEMORY
from engine.sidecar.commands import Commands
from engine.sidecar.composition import Broker, broker_of, compose, monitoring_server
from engine.sidecar.freeze import Freeze
from engine.sidecar.monitoring import Monitoring
from engine.sidecar.owners import foreign
from engine.sidecar.retained_alerts import RetainedAlerts
from engine.sidecar.rule_reload import Start, follow_rules, wanted_by
from engine.sidecar.sidecar import build_sidecar
from engine.sidecar.status import Status, announce
from engine.sidecar.status_socket import StatusSocket
from engine.sidecar.steady_clock import MEMORY, SteadyClock, gap, watch_clock
from engine.sidecar.tasks import Tasks
from engine.version import VERSION

_log = structlog.get_logger(__name__)

STOP_S = 7.0
"""For all steps of a stop together, whatever hangs: each has a share of what is left. With two seconds for a broker of our own
that fits into the ten seconds that `docker stop` grants."""

EXIT_S = 9.5
"""After so long the process ends, whatever is still under way: threads that wait for a disk cannot be ended otherwise."""

STALE_AFTER_S = 120.0
"""Facts from before a restart that no source has reported again by then are retracted: what they described went meanwhile."""

ALARM_TEST_LOOK_S = 600.0
"""How long at most until it is looked again whether a test alarm is due."""

RELISTED_KINDS = frozenset(
    {
        "process_files",
        "container_usage",
        "pressure",
        "image",
        "volume",
        "docker_storage",
        "disk",
        "sockets",
        "source",
        "daemon",
        "host",
        "mount_leak",
    }
)
"""Kinds whose sources report everything again after a start. Containers are compared with a list instead."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run."""

    settings: Settings
    start: Start
    show: Callable[[str], None]
    """Shows people on the terminal what is going on, a line at a time."""
    record: Callable[[Fact | Retraction], None] | None = None
    program: str = "dockwarden"
    """What people type to run this program."""


class ExitDeadline:
    """Ends the process when it does not end by itself: a thread that waits for a disk holds it for ever."""

    def __init__(self) -> None:
        self.code = 1
        """How it is to end."""

    def begin(self) -> None:
        """From now on it has so many seconds left."""
        threading.Thread(target=self._wait, name="exit-deadline", daemon=True).start()

    def _wait(self) -> None:
        threading.Event().wait(EXIT_S)
        _log.error("exit_forced", threads=[thread.name for thread in threading.enumerate()])
        threading.Event().wait(0.2)  # for the thread that writes the log
        os._exit(self.code)  # everything that could be written is; the journal is as after a kill, which it survives


async def serve(plan: Plan, *, deadline: ExitDeadline | None = None) -> int:
    """Run the sidecar until it is told to stop; the exit code. A deadline keeps the end within bounds whatever hangs.

    Raises:
        DockwardenError: a part cannot be started; the message says which and what to do.
    """
    settings, clock = plan.settings, SteadyClock(SystemClock())
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    bounds = Bounds(outbox_rows=settings.outbox_rows)
    reopen = partial(Journal.open, settings.state / "journal.db", bounds=bounds, now=clock.wall())
    with open_journal(reopen, bounds, clock) as journal:
        broker_folder = settings.state / "broker" if journal.in_memory_because is None else None
        async with broker_of(settings, clock, folder=broker_folder) as broker:
            process = Process(plan, journal, broker, clock, reopen=reopen)
            if deadline is None:
                return await process.run(stop)
            deadline.code = await process.run(stop, stopping=deadline.begin)
            return deadline.code


class Process:
    """Everything between an open journal and its end."""

    def __init__(
        self,
        plan: Plan,
        journal: Journal,
        broker: Broker,
        clock: SteadyClock,
        *,
        reopen: Callable[[], Journal] | None = None,
    ) -> None:
        """Put the parts together; nothing runs yet."""
        settings = self._settings = plan.settings
        self._plan = plan
        self._clock = clock
        self._broker = broker
        self._state = journal.load()
        self._tasks = Tasks()
        loaded = plan.start.loaded
        self._wanted = WantedLines(wanted_by(loaded.ruleset))
        self._connectors = compose(
            settings, known_containers=known_containers(self._state.core), clock=clock, wanted=self._wanted
        )
        freeze = Freeze(settings.state / "freeze")
        self.sidecar = build_sidecar(
            loaded.ruleset,
            journal,
            self._connectors.actions,
            clock,
            state=self._state,
            options=Options(
                host=settings.host,
                policy=settings.effective_policy,
                runbooks_url=settings.runbooks_url,
                page_url=settings.page_url,
                publish_facts=settings.mqtt.facts,
                bounds=MemoryBounds(**settings.memory.model_dump()),
            ),
            freeze=freeze,
            rules_version=loaded.version,
            record=plan.record,
            reopen=reopen,
            fact_log=FactLog(settings.state / RECORDING_FOLDER, settings.recording_bytes) if settings.recording_bytes else None,
        )
        self._boot = _boot_id()
        self._step = clock.step_since(self._state.memory.get(MEMORY), self._boot, newest=self.sidecar.loop.core.now)
        if self._step:  # it was set while no sidecar ran
            self._connectors.clock_stepped(self._step)
            self.sidecar.intake.clock_stepped(self._step)
        self._link = LinkState()
        self._status = Status(
            self.sidecar,
            self._link,
            version=VERSION,
            rules_version=loaded.version,
            watching=self._connectors.watching,
            broker_where=broker.where,
        )
        commands = Commands(
            self.sidecar.intake,
            freeze,
            partial(explain_alert, settings.state / "journal.db"),
            host=settings.host,
            keys=settings.mqtt.command_keys,
            clock=clock,
            remembered=self._state.memory.get(COMMANDS_MEMORY),
        )
        self._publisher = broker.publisher(
            self._link,
            status=self._status.message,
            will=self._status.will,
            on_command=commands.receive,
            alerts=RetainedAlerts(self.sidecar.intake, clock, settings.host, self._state.memory.get(retained_alerts.MEMORY)),
        )

    async def run(self, stop: asyncio.Event, *, stopping: Callable[[], None] = lambda: None) -> int:
        """Start, wait, stop; the exit code. `stopping` is called when it begins to stop."""
        try:
            await self._start()
            self._show()
            loop = asyncio.get_running_loop()
            waiting = {
                loop.create_task(stop.wait(), name="stop-signal"),
                loop.create_task(self._tasks.ended.wait(), name="task-ended"),
            }
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in waiting:
                task.cancel()
        finally:
            stopping()
            await self._stop()
        if self._tasks.error is not None:
            self._plan.show(f"stopped: {self._tasks.error}")
            return 1
        return 0

    # -- start --------------------------------------------------------------------------------------------------------

    async def _start(self) -> None:
        start, sidecar = self._tasks.start, self.sidecar
        if self._step:
            await sidecar.intake.sink("clock").put([gap(self._step, self._clock)])
        start("loop", sidecar.loop.run())
        await self._status.refresh()  # so that the first status message says how things stand
        start("publisher", self._publisher.run(sidecar.writer))
        if self._broker.embedded is not None:
            start("own-broker", self._broker.watch(self._link))
        start("status", StatusSocket(self._settings.state / "status.sock", self._answer).run())
        monitoring = Monitoring(sidecar, self._link, version=VERSION, outbox_rows=self._settings.outbox_rows)
        server = monitoring_server(self._settings, monitoring.answerers(), self._clock)
        if server is not None:
            start("monitoring", server.run())
        start("announcements", announce(self._status, self._publisher, sidecar))
        start("stale", self._retract_stale())
        start("clock", watch_clock(self._clock, sidecar.intake, self._connectors.clock_stepped, boot=self._boot))
        for source in self._connectors.sources:
            start(f"source:{source.name}", source.run(sidecar.intake.sink(source.name), self._state.cursors.get(source.name)))
        if self._settings.alarm_test_every_s is not None:
            start("alarm-test", self._repeat_alarm_test(self._settings.alarm_test_every_s))
        start("rules", follow_rules(self._plan.start, sidecar.intake, self._clock, self._wanted))

    async def _retract_stale(self) -> None:
        """Retract what was so before the restart and nobody has reported since."""
        started, put = self._clock.wall(), self.sidecar.intake.put
        slow = self._settings.probes.mounts_s * 2
        await self._clock.sleep(STALE_AFTER_S)
        await put(StaleFacts(RELISTED_KINDS - {"mount_leak"} if slow > STALE_AFTER_S else RELISTED_KINDS, started))
        await self._clock.sleep(slow)
        await put(StaleFacts(RELISTED_KINDS, started))
        await asyncio.Event().wait()  # a root task that ends would stop the process

    async def _repeat_alarm_test(self, every_s: float) -> None:
        """Send a test alarm again and again; one that was due while the process was down is sent soon after the start."""
        every = round(every_s * SECOND)
        now = self._clock.wall()
        due = alarm_test.next_test(self._state.memory.get(alarm_test.MEMORY), now, every)
        while True:
            await self._clock.sleep(min(max(due - now, 0) / SECOND, ALARM_TEST_LOOK_S))
            now = self._clock.wall()
            if now >= due:
                await self.sidecar.intake.put(AlarmTest(f"every-{now // SECOND}"))
                due = now + every
            due = min(due, now + every)  # a clock that was set back puts nothing off beyond its interval

    async def _answer(self, question: dict[str, Any]) -> dict[str, Any]:
        if question.get("ask") == "republish":
            self._publisher.republish()
            return {"connected": self._link.connected}
        return await self._status.answer(question)

    def _show(self) -> None:
        show, settings, loaded = self._plan.show, self._settings, self._plan.start.loaded
        show(f"dockwarden {VERSION} on {settings.host}, mode {settings.effective_policy.mode}")
        absent = list(not_read(settings, self._connectors.address))
        for line in self._connectors.watching:
            if not any(reason.startswith(f"{line}:") for reason in absent):
                show(f"  reads    {line}")
        for line in absent:
            show(f"  not read {line}")
        for line in modes(settings):
            show(f"  actions  {line}")
        show(f"  rules    {len(loaded.ruleset.rules)} from {loaded.where} ({loaded.version})")
        show(f"  journal  {settings.state / 'journal.db'}")
        show(f"  broker   {self._broker.where}, topics {host_topic(settings.host)}/#")
        for line in self._broker.hints():
            show(line)
        show(f"  ask      {self._plan.program} status, {self._plan.program} explain")
        if self.sidecar.writer.problem:
            show(f"  NOTE     {self.sidecar.writer.problem}")
        if self._state.recovered:
            show(f"  NOTE     {self._state.recovered}")

    # -- stop ---------------------------------------------------------------------------------------------------------

    async def _stop(self) -> None:
        """Close the intake, let attempts end, commit and publish what came of it. Bounded; what is left is in the journal."""
        tasks, sidecar = self._tasks, self.sidecar
        stop_by = self._clock.monotonic() + STOP_S

        def share(part: float) -> float:
            """Seconds: so much of what is left."""
            return max(0.05, (stop_by - self._clock.monotonic()) * part)

        names = [f"source:{source.name}" for source in self._connectors.sources]
        names += ["rules", "stale", "clock", "announcements", "monitoring", "alarm-test"]
        seconds = share(0.25)
        await asyncio.gather(*(tasks.stop(name, seconds) for name in names))
        sidecar.loop.stop_starting()
        await sidecar.attempts.drain(share(0.4))
        await sidecar.attempts.cancel(share(0.2))
        await tasks.stop("loop", share(0.2))
        try:
            async with asyncio.timeout(share(0.4)):
                await sidecar.loop.finish()
        except TimeoutError:
            _log.warning("stop_left_entries", left=sidecar.intake.depth)
        except Exception:  # noqa: BLE001  what ended the loop may do so again; everything else is to be stopped all the same
            _log.exception("stop_failed", part="loop")
        self._status.state = "offline"
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(share(0.3)):
                if self._link.connected:
                    await sidecar.writer.drained()
        await tasks.stop("publisher", share(0.5))  # half of it is for the message that we are gone
        await tasks.stop_all(share(0.4))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(share(0.4)):
                await self._connectors.close()
        await sidecar.writer.close(share(0.9))


def open_journal(reopen: Callable[[], Journal], bounds: Bounds, clock: Clock) -> Journal:
    """The journal's file; a journal in memory while the disk does not take one: better to observe and report than not to start.

    Raises:
        JournalError: it is somebody else's, or cannot be used for a reason that does not pass.
    """
    try:
        return reopen()
    except JournalUnavailableError as error:
        because = f"{error}; nothing is repaired, and nothing is remembered across a restart"
        _log.critical("journal_in_memory", error=str(error))
        return Journal.in_memory(because, bounds=bounds, now=clock.wall())


def _boot_id() -> str:
    """Names this run of the machine, empty where the kernel does not tell."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def known_containers(entries: Mapping[CoreKey, str]) -> list[Container]:
    """Containers in working memory as the journal has it: the first list after a restart is compared with them."""
    found: list[Container] = []
    for (section, key), text in entries.items():
        if section == "fact" and key.startswith('["container",'):
            try:
                _, _, fact = json.loads(text)
                found.append(Container.model_validate({name: value for name, value in fact.items() if name != "fact"}))
            except (ValueError, TypeError, AttributeError, RecursionError):
                continue  # one that cannot be read is left out, and counted where working memory is restored
    return found


def state_folder(path: Path) -> Path:
    """The state folder, made when it is missing.

    Raises:
        DockwardenError: it cannot be made or written, for another reason than a full or read-only disk; or others may write it.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if (why := foreign(path)) is not None:
            raise DockwardenError(f"the state folder is not safe: {why}")
        probe = path / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        if isinstance(disk_error("", error), JournalUnavailableError):
            return path  # full or read-only: the journal is in memory until that has passed
        raise DockwardenError(
            f"the state folder {path} cannot be written: {error.strerror}. Name another one with --state or DOCKWARDEN_STATE."
        ) from error
    return path
