"""connectors.logs.inotify: a file that is written wakes who waits for it."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import uvloop

from connectors.logs import inotify as waiting
from connectors.logs.inotify import FileWatch

LOOPS = [asyncio.new_event_loop, uvloop.new_event_loop]
LONG_S = 20.0


async def _woken_by(watch: FileWatch, change: Callable[[], object]) -> float:
    """Seconds until the waiter is woken by the change."""
    waiter = asyncio.create_task(watch.wait(LONG_S), name="waiter")
    await asyncio.sleep(0.05)
    assert not waiter.done()
    begun = time.monotonic()
    change()
    await waiter
    return time.monotonic() - begun


@pytest.mark.parametrize("loop", LOOPS)
def test_what_wakes(loop: Callable[[], asyncio.AbstractEventLoop], tmp_path: Path) -> None:
    """Writing, truncating, renaming and deleting wake at once; many writes wake once."""
    path = tmp_path / "log"
    path.write_text("a\n")

    async def body() -> None:
        watch = FileWatch()
        with path.open("a") as file:
            watch.watch(file.fileno(), (1, 1))
            assert watch.works

            def write() -> None:
                for _ in range(1000):
                    file.write("b\n")
                    file.flush()

            assert await _woken_by(watch, write) < LONG_S / 4
            assert await _woken_by(watch, lambda: file.truncate(0)) < LONG_S / 4
            assert await _woken_by(watch, lambda: path.rename(tmp_path / "log.1")) < LONG_S / 4
            assert await _woken_by(watch, (tmp_path / "log.1").unlink) < LONG_S / 4
        watch.close()
        watch.close()

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(body())


async def test_another_file(tmp_path: Path) -> None:
    """Watching another file forgets the first."""
    first, second = tmp_path / "1", tmp_path / "2"
    first.touch()
    second.touch()
    watch = FileWatch()
    with first.open("a") as one, second.open("a") as two:
        watch.watch(one.fileno(), (1, 1))
        watch.watch(two.fileno(), (1, 2))
        waiter = asyncio.create_task(watch.wait(LONG_S), name="waiter")
        await asyncio.sleep(0)
        first.write_text("not this one")
        await asyncio.sleep(0.1)
        # Removing a watch is emitted once (IN_IGNORED); only what comes after that counts.
        if waiter.done():
            waiter = asyncio.create_task(watch.wait(LONG_S), name="waiter")
            first.write_text("not this one either")
            await asyncio.sleep(0.1)
        assert not waiter.done()
        second.write_text("this one")
        await waiter
    watch.close()


async def test_nothing_happens(tmp_path: Path) -> None:
    """A file in which nothing happens wakes after the time given."""
    path = tmp_path / "log"
    path.touch()
    watch = FileWatch()
    with path.open() as file:
        watch.watch(file.fileno(), (1, 1))
        begun = time.monotonic()
        await watch.wait(0.05)
    assert time.monotonic() - begun >= 0.05
    watch.close()


async def test_without_inotify(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the kernel refuses (too many watches of this user) waiting is a sleep."""

    class Refusing:
        """A C library that has no inotify left."""

        def inotify_init1(self, flags: int) -> int:
            """EMFILE."""
            assert flags
            return -1

    monkeypatch.setattr(waiting, "_libc", Refusing())
    watch = FileWatch()
    path = tmp_path / "log"
    path.touch()
    with path.open() as file:
        watch.watch(file.fileno(), (1, 1))
    assert not watch.works
    await watch.wait(0.01)
    watch.close()
