"""connectors.logs.kmsg: what the device does at its worst, played by a scripted device."""

import errno
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from connectors.logs import kmsg
from connectors.logs.kmsg import KernelRing, boot_id, kernel_version
from engine.facts import Fact, Retraction
from tests.clocks import SYSTEM
from tests.contract.logs.parts import Remembering, Words, running

Step = bytes | int
"""A record, or the errno of a read."""


class Device:
    """Scripted reads of one descriptor: a pipe's that is always ready, so that it can be watched."""

    def __init__(self, *steps: Step) -> None:
        self.steps = list(steps)
        self.reader, self.writer = os.pipe()
        os.write(self.writer, b"x")

    def open(self, path: str) -> int:
        """As open_kmsg does; `path` is only named."""
        assert path
        return os.dup(self.reader)

    def add(self, *steps: Step) -> None:
        """More to read."""
        self.steps += steps

    def read(self, descriptor: int, count: int) -> bytes:
        """The next step."""
        assert descriptor >= 0
        assert count == kmsg.RECORD_BYTES
        step = self.steps.pop(0) if self.steps else errno.EAGAIN
        if isinstance(step, int):
            raise OSError(step, os.strerror(step))
        return step


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Iterator[Device]:
    """A device whose reads go by its script."""
    device = Device()
    monkeypatch.setattr("connectors.logs.kmsg.os.read", device.read)
    yield device
    os.close(device.reader)
    os.close(device.writer)


def ring(device: Device, boot: str = "b007", kernel: tuple[int, int] = (6, 1)) -> KernelRing:
    """A source on it."""
    return KernelRing(Words(), clock=SYSTEM, open_device=device.open, boot=boot, kernel=kernel)


def record(sequence: int, text: str, prefix: int = 6, flags: str = "-") -> bytes:
    """A record as the kernel gives it, said right after boot."""
    return f"{prefix},{sequence},1000000,{flags};{text}\n".encode()


async def test_overrun_is_counted(device: Device) -> None:
    """EPIPE is a loss of as many records as sequence numbers are missing; reading goes on."""
    device.add(record(10, "BOOM 1"), errno.EPIPE, record(110, "BOOM 2"))
    sink = Remembering()
    async with running(ring(device), sink, "b007:9"):
        emitted = await sink.until_status("gap")
    assert sink.texts == ["BOOM 1", "BOOM 2"]
    assert emitted.lost == 99
    assert sink.cursor == "b007:110"


async def test_loss_while_away(device: Device) -> None:
    """The ring was overwritten beyond the cursor: the missing records are counted."""
    device.add(record(50, "BOOM"))
    sink = Remembering()
    async with running(ring(device), sink, "b007:9"):
        emitted = await sink.until_status("gap")
    assert emitted.lost == 40
    assert sink.texts == ["BOOM"]


async def test_only_the_kernel_is_evidence(device: Device) -> None:
    """Records that a process wrote make no fact, and are no gap."""
    device.add(record(1, "BOOM forged", prefix=12), record(2, "BOOM forged", prefix=8), record(3, "BOOM", prefix=7))
    sink = Remembering()
    async with running(ring(device), sink, "b007:0"):
        await sink.until_events(1)
        await sink.until_status("ok")
    assert sink.texts == ["BOOM"]
    assert sink.sources[-1].lost == 0


async def test_another_boot(device: Device) -> None:
    """The machine was started anew since: all that this boot has said is emitted, and its sequence numbers are no gap."""
    device.add(record(0, "BOOM early"), record(1, "BOOM late"))
    sink = Remembering()
    async with running(ring(device), sink, "0ff1ce:123456"):
        await sink.until_events(2)
    assert sink.texts == ["BOOM early", "BOOM late"]
    assert [fact.fact_id for fact in sink.events] == ["kmsg-b007-0", "kmsg-b007-1"]
    assert all(source.status == "ok" for source in sink.sources)


async def test_fragments_are_one_line(device: Device) -> None:
    """Fragments are put together, named after the first; the cursor does not stand between them."""
    device.add(record(1, "BOOM in "), record(2, "/docker/ab", flags="c"), record(3, "BOOM 2"))
    sink = Remembering()
    async with running(ring(device), sink, "b007:0"):
        await sink.until_events(2)
    assert sink.texts == ["BOOM in /docker/ab", "BOOM 2"]
    assert [fact.fact_id for fact in sink.events] == ["kmsg-b007-1", "kmsg-b007-3"]


async def test_cursor_waits_for_the_rest_of_a_line(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch that ends within a line leaves the cursor before the line."""
    monkeypatch.setattr(kmsg, "BATCH_RECORDS", 2)
    device.add(record(1, "BOOM 1"), record(2, "BOOM in "), record(3, "two", flags="c"))
    cursors: list[str | None] = []
    sink = Remembering()
    put = sink.put

    async def remembered(facts: list[Fact | Retraction], *, cursor: str | None = None) -> None:
        cursors.append(cursor)
        await put([*facts], cursor=cursor)

    monkeypatch.setattr(sink, "put", remembered)
    async with running(ring(device), sink, "b007:0"):
        await sink.until_events(2)
    assert cursors[0] == "b007:1"
    assert sink.texts == ["BOOM 1", "BOOM in two"]


@pytest.mark.parametrize("bad", [b"", b"nonsense", b"6,x,1,-;BOOM", errno.EINVAL])
async def test_unreadable_record(device: Device, bad: Step) -> None:
    """A record that is none, or does not fit the buffer, is counted; the next one is emitted."""
    device.add(record(1, "BOOM 1"), bad, record(2, "BOOM 2"))
    sink = Remembering()
    async with running(ring(device), sink, "b007:0"):
        await sink.until_events(2)
    assert sink.texts == ["BOOM 1", "BOOM 2"]
    assert any(source.lost or source.status == "lost" for source in sink.sources)


async def test_permission_denied() -> None:
    """Without CAP_SYSLOG the source says so, with what to do."""
    attempts = 0

    def refuse(path: str) -> int:
        nonlocal attempts
        attempts += 1
        raise PermissionError(errno.EPERM, "Operation not permitted", path)

    sink = Remembering()
    async with running(KernelRing(Words(), clock=SYSTEM, open_device=refuse), sink):
        emitted = await sink.until_status("lost")
    assert "CAP_SYSLOG" in (emitted.error or "")
    assert attempts >= 1


async def test_time_of_a_live_record(device: Device) -> None:
    """A record that was not there a moment ago is of this moment, however far the kernel's clock is off."""
    sink = Remembering()
    async with running(ring(device), sink, "b007:0"):
        await sink.until_status("ok")
        before = datetime.now(UTC)
        device.add(b"6,1,1,-;BOOM one microsecond after boot\n")
        await sink.until_events(1)
    assert before - timedelta(seconds=kmsg.HEARTBEAT_S + 1) <= sink.events[0].at <= datetime.now(UTC)


async def test_time_of_an_old_record(device: Device) -> None:
    """What was there before has the time of its stamp."""
    device.add(record(1, "BOOM one second after boot"))
    sink = Remembering()
    async with running(ring(device), sink, "b007:0"):
        await sink.until_events(1)
    uptime = time.monotonic()
    age = (datetime.now(UTC) - sink.events[0].at).total_seconds()
    assert age == pytest.approx(uptime - 1, abs=2)


def test_this_machine() -> None:
    """Boot and kernel version are read from this kernel."""
    assert len(boot_id()) == 32
    assert kernel_version() >= (3, 10)
