"""`dockwarden record`."""

import asyncio
from pathlib import Path

import uvloop

from engine.logging import set_up
from engine.replay.recording import RecordingWriter
from engine.settings import load_settings
from engine.sidecar.recorder import record_until_stopped


def record_facts(file: Path, *, config: Path | None) -> int:
    """Write facts until interrupted."""
    settings = load_settings(config)
    set_up(settings.log_format)
    with RecordingWriter(file) as out, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(record_until_stopped(settings, out, lambda: print("recording; Ctrl-C ends it", flush=True)))
    print(f"{out.number} facts written to {file}; try: dockwarden replay {file}")
    return 0
