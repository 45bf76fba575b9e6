"""The real kernel ring: what processes write is no evidence, what the kernel says is, and an overrun is counted."""

import asyncio
import ctypes
import errno
import os
from collections.abc import Callable, Iterator
from datetime import datetime

import pytest
import uvloop

from connectors.logs.factory import make_log_source
from connectors.logs.kmsg import BATCH_RECORDS, KMSG, KernelRing, boot_id
from connectors.sources import emitter as emitting
from engine.facts import Fact
from tests.clocks import SYSTEM
from tests.contract.logs.parts import Remembering, Words, running

pytestmark = pytest.mark.live

LOOPS = [asyncio.new_event_loop, uvloop.new_event_loop]
FORGED = b"Memory cgroup out of memory: Killed process 4242 (forged) total-vm:1kB, anon-rss:1kB, file-rss:0kB, shmem-rss:0kB"


class Everything(Words):
    """Every line is a fact."""

    def feed(self, line: str, received_at: datetime) -> list[Fact]:
        """One line, taken for a fact."""
        return super().feed(f"BOOM {line}", received_at)


def say(*texts: bytes) -> None:
    """Write records as a process. A descriptor may write ten in five seconds (printk_devkmsg=ratelimit), so each gets its own."""
    for text in texts:
        descriptor = os.open(KMSG, os.O_WRONLY)
        try:
            os.write(descriptor, text)
        finally:
            os.close(descriptor)


def let_the_kernel_speak(text: bytes) -> None:
    """A record of the kernel's own that quotes `text`: it refuses an option of tmpfs by name (fs/fs_context.c, mount(2))."""
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.mount(b"none", b"/proc", b"tmpfs", 0, text) == -1
    assert ctypes.get_errno() == errno.EINVAL


@pytest.mark.parametrize("loop", LOOPS)
def test_kernel_and_process(loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """A record of the kernel's own becomes a fact, named by its sequence number; what a process wrote does not."""

    async def body() -> None:
        sink = Remembering()
        async with running(KernelRing(Everything(), clock=SYSTEM), sink):
            await sink.until_status("ok")
            say(FORGED, b"<0>" + FORGED, b"<3>BOOM")
            let_the_kernel_speak(b"HELP")
            await sink.until(lambda seen: any("HELP" in text for text in seen.texts))
        assert not any("forged" in text or text == "BOOM BOOM" for text in sink.texts)
        (spoken,) = [fact for fact in sink.events if "HELP" in fact.text]
        boot, sequence = spoken.fact_id.removeprefix("kmsg-").split("-")
        assert boot_id().startswith(boot)
        assert int(sequence) > 0
        assert sink.cursor is not None
        assert int(sink.cursor.partition(":")[2]) >= int(sequence)

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(body())


async def test_goes_on_after_a_restart() -> None:
    """What the kernel said while nobody read is emitted after the restart, once."""
    sink = Remembering()
    async with running(KernelRing(Everything(), clock=SYSTEM), sink):
        await sink.until_status("ok")
        let_the_kernel_speak(b"HELP")
        await sink.until(lambda seen: any("HELP" in text for text in seen.texts))
    let_the_kernel_speak(b"HELP")
    async with running(KernelRing(Everything(), clock=SYSTEM), sink, sink.cursor):
        await sink.until(lambda seen: sum("HELP" in text for text in seen.texts) == 2)
    assert len({fact.fact_id for fact in sink.events}) == len(sink.events)


async def test_forged_kill_with_the_real_assembler(monkeypatch: pytest.MonkeyPatch) -> None:
    """The source as it is shipped makes nothing of a kill that a process wrote, nor of one that the kernel quotes."""
    monkeypatch.setattr(emitting, "CURSOR_PACE_S", 0.05)
    source = make_log_source("kernel", KMSG, clock=SYSTEM)
    assert source is not None
    sink = Remembering()
    async with running(source, sink):
        await sink.until_status("ok")
        say(FORGED)
        # A comma would end the option.
        let_the_kernel_speak(b"x\n" + FORGED.replace(b",", b" "))
        oom = b"x\nOut of memory: Killed process 4242 (forged) total-vm:1kB"
        let_the_kernel_speak(oom)
        last = _newest()
        await sink.until(lambda seen: seen.cursor is not None and int(seen.cursor.partition(":")[2]) >= last)
    assert not any("forged" in text for text in sink.texts)


@pytest.mark.parametrize("loop", LOOPS)
def test_overrun(loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """A ring that is overwritten while the loop is behind: the loss is counted by sequence numbers, and reading goes on.

    The ring is filled with records of 900 bytes until nothing is left of what was in it. libuv, watching the device itself, would
    take it for broken then, and never look at it again.
    """

    async def body() -> None:
        sink = Remembering()
        async with running(KernelRing(Everything(), clock=SYSTEM), sink):
            await sink.until_status("ok")
            sink.hold()
            let_the_kernel_speak(b"HELP")
            newest, rounds = _newest(), 0
            while _oldest() <= newest + 2 * BATCH_RECORDS:  # a batch may have been read before the sink held
                rounds += 1
                assert rounds < 2000, "the ring is larger than 100 MB"
                await asyncio.to_thread(say, *[b"filling the ring " + b"x" * 900] * 50)
            sink.release()
            emitted = await sink.until_status("gap")
            let_the_kernel_speak(b"HELP")
            count = len(sink.events)
            await sink.until(lambda seen: any("HELP" in text for text in seen.texts[count:]))
        assert emitted.lost > 0

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(body())


def _oldest() -> int:
    return next(_sequences())


def _newest() -> int:
    return max(_sequences())


def _sequences() -> Iterator[int]:
    descriptor = os.open(KMSG, os.O_RDONLY | os.O_NONBLOCK)
    try:
        while True:
            try:
                yield int(os.read(descriptor, 16_384).split(b",")[1])
            except BlockingIOError:
                return
    finally:
        os.close(descriptor)
