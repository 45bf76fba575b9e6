"""Records what the sources of this host emit, and decides nothing: `dockwarden record`."""

import asyncio
import signal
from collections.abc import Callable

from engine.errors import DockwardenError
from engine.facts import Fact, Retraction
from engine.pipeline.intake import with_host
from engine.ports.clock import SystemClock
from engine.replay.recording import RecordingWriter
from engine.settings import Settings
from engine.sidecar.composition import compose
from engine.sidecar.tasks import Tasks

STOP_S = 3.0
"""Seconds that sources have to end."""


class _FileSink:
    """Writes facts instead of inferring from them, with the name of the host. Cursors are not kept: each one begins anew."""

    def __init__(self, out: RecordingWriter, host: str) -> None:
        self._out = out
        self._host = host

    async def put(self, facts: list[Fact | Retraction], *, cursor: str | None = None) -> None:
        """Write facts."""
        del cursor
        for fact in with_host(facts, self._host):
            self._out.write(fact)


async def record_until_stopped(settings: Settings, out: RecordingWriter, started: Callable[[], None]) -> None:
    """Write facts until SIGTERM or SIGINT.

    Raises:
        DockwardenError: a source ended.
    """
    connectors = compose(settings, known_containers=(), clock=SystemClock())
    sink, tasks, stop = _FileSink(out, settings.host), Tasks(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        for source in connectors.sources:
            tasks.start(f"source:{source.name}", source.run(sink, None))
        started()
        waiting = {loop.create_task(stop.wait(), name="stop"), loop.create_task(tasks.ended.wait(), name="ended")}
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
    finally:
        await tasks.stop_all(STOP_S)
        await connectors.close()
    if tasks.error is not None:
        raise DockwardenError(f"a source ended: {tasks.error}")
