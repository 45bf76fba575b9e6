"""A followed file at its usual pace: how soon a line is emitted."""

import time
from pathlib import Path

from connectors.logs.tail import LOOK_S, FileTail
from tests.clocks import SYSTEM
from tests.contract.logs.parts import Remembering, Words, running


async def test_a_line_wakes_the_source(tmp_path: Path) -> None:
    """A line is emitted when it is written, not at the next look."""
    path = tmp_path / "daemon.log"
    path.touch()
    sink = Remembering()
    async with running(FileTail(str(path), Words(), name="log", source="dockerd", clock=SYSTEM), sink):
        await sink.until_status("ok")
        for number in range(5):
            begun = time.monotonic()
            with path.open("a") as file:
                file.write(f"BOOM {number}\n")
            await sink.until_events(number + 1)
            assert time.monotonic() - begun < LOOK_S / 2


async def test_rotation_at_the_usual_pace(tmp_path: Path) -> None:
    """After a rotation the new file is found soon, though nothing wakes for it."""
    path = tmp_path / "daemon.log"
    path.touch()
    sink = Remembering()
    async with running(FileTail(str(path), Words(), name="log", source="dockerd", clock=SYSTEM), sink):
        await sink.until_status("ok")
        path.rename(tmp_path / "daemon.log.1")
        path.write_text("BOOM 1\n")
        await sink.until_events(1)
        path.unlink()
        path.write_text("BOOM 2\n")
        await sink.until_events(2)
    assert sink.texts == ["BOOM 1", "BOOM 2"]
