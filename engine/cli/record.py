"""`dockwarden record`."""

import asyncio
import json
import signal
from pathlib import Path
from typing import TextIO

import uvloop

from engine.errors import DockwardenError
from engine.facts import Fact, Retraction
from engine.logging import set_up
from engine.settings import Settings, load_settings
from engine.sidecar.composition import compose
from engine.sidecar.tasks import Tasks


def record_facts(file: Path, *, config: Path | None) -> int:
    """Write facts until interrupted."""
    settings = load_settings(config)
    set_up(settings.log_format)
    try:
        out = file.open("a", encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise DockwardenError(f"{file}: cannot be written: {error.strerror}") from error
    with out, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        number = runner.run(_record(settings, out))
    print(f"{number} facts written to {file}; try: dockwarden replay {file}")
    return 0


class _FileSink:
    """Writes facts instead of thinking about them. Cursors are not kept: each recording begins anew."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self.number = 0

    async def put(self, facts: list[Fact | Retraction], *, cursor: str | None = None) -> None:
        """Write facts."""
        del cursor
        for fact in facts:
            self._out.write(json.dumps(fact.to_json_dict(), ensure_ascii=False) + "\n")
            self.number += 1
        self._out.flush()


async def _record(settings: Settings, out: TextIO) -> int:
    connectors = compose(settings, known_containers=())
    sink, tasks, stop = _FileSink(out), Tasks(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        for source in connectors.sources:
            tasks.start(f"source:{source.name}", source.run(sink, None))
        print("recording; Ctrl-C ends it", flush=True)
        loop = asyncio.get_running_loop()
        waiting = {loop.create_task(stop.wait(), name="stop"), loop.create_task(tasks.ended.wait(), name="ended")}
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
    finally:
        await tasks.stop_all(3.0)
        await connectors.close()
    if tasks.error is not None:
        raise DockwardenError(f"a source ended: {tasks.error}")
    return sink.number
