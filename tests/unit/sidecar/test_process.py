"""The process: what ends it, in which order, and what it shows then. No Docker and no broker are there."""

import asyncio
import contextlib
import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncGenerator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.errors import DockwardenError, JournalError, JournalUnavailableError
from engine.journal import Journal
from engine.pipeline.loop import Loop
from engine.ports.actions import Outcome
from engine.ports.sources import Sink
from engine.rules.reader import RuleTexts
from engine.settings import Settings
from engine.sidecar import process as process_module
from engine.sidecar.composition import broker_of
from engine.sidecar.process import Plan, Process, known_containers, serve, state_folder
from engine.sidecar.rule_reload import Start
from engine.sidecar.rule_source import LoadedRules
from engine.sidecar.steady_clock import SteadyClock
from tests.clocks import SYSTEM
from tests.lab.waiting import until
from tests.unit.pipeline.loop import DEAD, House, container, gone, rules


class Place:
    """A process that finds nobody, and what it shows on the terminal."""

    def __init__(self, folder: Path, error: Exception | None = None) -> None:
        self.shown: list[str] = []
        self.settings = Settings(
            host="h1",
            docker_host=f"unix://{folder}/none.sock",
            mqtt_url="mqtt://127.0.0.1:1",
            kernel_log=str(folder / "k"),
            dockerd_log=str(folder / "d"),
            kubelet_log=str(folder / "l"),
            state=folder,
            mode="act",
        )
        source = _Rules(error)
        self.plan = Plan(self.settings, Start(source.loaded, source), self.shown.append)


class _Rules:
    """Rules that never change, or whose place fails."""

    where = "a test"

    def __init__(self, error: Exception | None) -> None:
        self.loaded = LoadedRules(self.where, rules(DEAD), RuleTexts((("rules.yaml", DEAD),)))
        self._error = error

    async def read(self) -> LoadedRules:
        return self.loaded

    async def took(self, loaded: LoadedRules) -> None:
        """Nothing to note."""

    async def changes(self) -> AsyncGenerator[None, None]:
        if self._error is not None:
            raise self._error
        await asyncio.Event().wait()
        yield


async def test_nothing_is_shown_as_read_that_is_not(tmp_path: Path) -> None:
    """At the start a source stands under what is read or under what is not, never under both."""
    place = Place(tmp_path, OSError("enough"))
    assert await asyncio.wait_for(serve(place.plan), 30.0) == 1
    assert [line for line in place.shown if line.startswith("  reads ")] == [
        "  reads    disks, open files, sockets, mounts, host name"
    ]
    assert len([line for line in place.shown if line.startswith("  not read ")]) == 4


async def test_a_task_that_ends_unexpectedly_ends_the_process_and_is_named(tmp_path: Path) -> None:
    """Exit code 1, so that whoever supervises starts it anew; and the last line says which part it was."""
    place = Place(tmp_path, OSError("the rules folder has gone"))
    assert await asyncio.wait_for(serve(place.plan), 30.0) == 1
    assert place.shown[-1] == "stopped: task rules ended with an error: the rules folder has gone"


async def test_it_ends_in_order_and_in_bounded_time(tmp_path: Path) -> None:
    """Exit code 0; within the ten seconds that `docker stop` grants; what came in before is committed."""
    place, stop = Place(tmp_path), asyncio.Event()
    with Journal.open(tmp_path / "journal.db", now=SYSTEM.wall()) as journal:
        clock = SteadyClock(SYSTEM)
        async with broker_of(place.settings, clock, folder=None) as broker:
            process = Process(place.plan, journal, broker, clock)
            await process.sidecar.intake.sink("docker").put([container(1)], cursor="42")
            stop.set()
            started = time.monotonic()
            assert await asyncio.wait_for(process.run(stop), 30.0) == 0
            assert time.monotonic() - started < 10.0
    with Journal.open(tmp_path / "journal.db", now=SYSTEM.wall()) as journal:
        state = journal.load()
        assert state.cursors["docker"] == "42"
        assert "alert" in {row.kind for row in journal.outbox(100)}
        assert len(state.retries) == 1
    assert not (tmp_path / "status.sock").exists()


class _StubbornSource:
    """Heeds no cancellation while the test runs."""

    name = "stubborn"

    def __init__(self, released: asyncio.Event) -> None:
        self._released = released

    async def run(self, _sink: Sink, _cursor: str | None) -> None:
        await _heedless(self._released)


class _StubbornAction:
    """The same as an action."""

    name = "remove_container"

    def __init__(self, released: asyncio.Event) -> None:
        self._released = released

    async def run(self, _params: Mapping[str, Any], *, touch_running: bool = False) -> Outcome:
        await _heedless(self._released)
        return Outcome(ok=touch_running)


async def _heedless(released: asyncio.Event) -> None:
    while not released.is_set():
        with contextlib.suppress(asyncio.CancelledError):
            await released.wait()


async def test_it_ends_in_time_whatever_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sources, an attempt and the disk hang together: all steps share one bound, instead of adding up to half a minute."""
    monkeypatch.setattr(process_module, "STOP_S", 1.0)
    place, stop, released, gate = Place(tmp_path), asyncio.Event(), asyncio.Event(), threading.Event()
    with Journal.open(tmp_path / "journal.db", now=SYSTEM.wall()) as journal:
        clock = SteadyClock(SYSTEM)
        async with broker_of(place.settings, clock, folder=None) as broker:
            process = Process(place.plan, journal, broker, clock)
            process._connectors = replace(process._connectors, sources=(_StubbornSource(released),))
            process.sidecar.attempts._actions = {"remove_container": _StubbornAction(released)}
            await process.sidecar.intake.sink("docker").put([container(1)])
            task = asyncio.create_task(process.run(stop), name="process")
            try:
                await until(lambda: bool(process.sidecar.attempts._tasks), what="the attempt")
                monkeypatch.setattr(journal, "commit", lambda _batch: gate.wait(10.0))
                await process.sidecar.intake.sink("docker").put([container(2)])
                stop.set()
                started = time.monotonic()
                assert await asyncio.wait_for(asyncio.shield(task), 30.0) == 0
                assert time.monotonic() - started < 3.0
            finally:
                released.set()
                gate.set()
                stop.set()
            await task


def test_a_thread_that_hangs_does_not_hold_the_process() -> None:
    """The interpreter would wait for it: the deadline ends the process, with the code of what came before."""
    script = (
        "import threading\n"
        "from engine.sidecar import process\n"
        "process.EXIT_S = 0.2\n"
        "deadline = process.ExitDeadline()\n"
        "deadline.code = 7\n"
        "threading.Thread(target=threading.Event().wait).start()\n"
        "deadline.begin()\n"
    )
    assert subprocess.run([sys.executable, "-c", script], timeout=30, check=False, capture_output=True).returncode == 7


async def test_on_a_disk_that_is_full_or_read_only_it_starts_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is remembered and nothing repaired, but it observes and reports; an error of whoever set it up is one still."""

    def refuse(path: Path, **_more: object) -> Journal:
        raise JournalUnavailableError(f"cannot open the journal {path}: no room")

    monkeypatch.setattr(Journal, "open", refuse)
    place = Place(tmp_path, OSError("the rules folder has gone"))
    assert await asyncio.wait_for(serve(place.plan), 30.0) == 1
    assert any(line.startswith("  NOTE") and "no room; nothing is repaired" in line for line in place.shown)

    def busy(path: Path, **_more: object) -> Journal:
        raise JournalError(f"{path}: another dockwarden writes this journal")

    monkeypatch.setattr(Journal, "open", busy)
    with pytest.raises(JournalError, match="another"):
        await serve(place.plan)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_a_state_folder_that_the_disk_refuses_is_no_error_of_the_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """A folder that may not be written is one, and the message says what to do."""

    def refuse(_path: Path, **_more: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Path, "touch", refuse)
    assert state_folder(tmp_path) == tmp_path
    code = errno.EACCES
    with pytest.raises(DockwardenError, match="--state"):
        state_folder(tmp_path)


async def test_a_loop_that_fails_does_not_keep_the_rest_from_being_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What ended the loop ends the last turn too: the journal is closed all the same, and its lock is free."""

    async def fail(_self: Loop, _timeout_s: float | None) -> None:
        raise ZeroDivisionError("rules feed each other")

    monkeypatch.setattr(Loop, "turn", fail)
    monkeypatch.setattr(Loop, "finish", lambda self: fail(self, None))
    place = Place(tmp_path)
    assert await asyncio.wait_for(serve(place.plan), 30.0) == 1
    assert "task loop ended with an error: rules feed each other" in place.shown[-1]
    Journal.open(tmp_path / "journal.db", now=SYSTEM.wall()).close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_it(tmp_path: Path, number: signal.Signals) -> None:
    """Exit code 0. Every source has a name of its own (a cursor, a task and a `source` fact go by it), and the socket answers."""

    async def leave() -> None:
        await until((tmp_path / "status.sock").is_socket, what="the status socket")
        os.kill(os.getpid(), number)

    leaving = asyncio.create_task(leave(), name="leave")
    assert await asyncio.wait_for(serve(Place(tmp_path).plan), 30.0) == 0
    await leaving


async def test_the_containers_of_an_earlier_process_are_known(tmp_path: Path) -> None:
    """The first list after a restart is compared with what working memory had, also what is in no rule."""
    house = House(tmp_path)
    await house.emit(container(1), container(2, "running", labels={"a": "b"}), container(3), gone(3))
    entries = house.journal.load().core
    core = house.loop.core
    assert sorted(json.dumps(one.to_json_dict()) for one in known_containers(entries)) == sorted(
        json.dumps(item.fact.to_json_dict()) for item in core.memory if item.identity[0] == "container"
    )
    assert len(known_containers(entries)) == 2
    await house.stop()
