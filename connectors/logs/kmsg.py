"""The kernel's ring buffer, /dev/kmsg, as a source of facts.

What is read at start: with a cursor of this boot, what came after it; with one of an earlier boot, all that the ring holds,
because all of it was said since dockwarden last looked; without one, nothing but what comes from now on, because old problems may
be long over. There is no seeking to a sequence number: the ring is read from its beginning (some thousand records, milliseconds)
and what is known is passed over.
"""

import asyncio
import errno
import os
import re
import select
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from connectors.logs.assembly import Assembly, LineAssembler
from connectors.logs.inotify import readable
from connectors.logs.kmsg_record import Joiner, KernelLine, moment, parse_record
from connectors.sources.backoff import backoff
from connectors.sources.emitter import FactEmitter
from connectors.sources.status import SourceStatus
from engine.errors import SourceError
from engine.facts import Fact
from engine.ports.clock import Clock, event_time
from engine.ports.sources import Sink

KMSG = "/dev/kmsg"

RECORD_BYTES = 16_384
"""Buffer for one record. The kernel refuses a record that does not fit (EINVAL) and drops it; its own buffer has 8,192 bytes
(CONSOLE_EXT_LOG_MAX, later PRINTK_MESSAGE_MAX in kernel/printk/internal.h)."""

BATCH_RECORDS = 256
"""Records read before the rest of the process gets its turn: about 3 ms."""

HEARTBEAT_S = 2.0
"""Seconds between two reads of a silent ring: each shows for certain that a later record is younger, which keeps times right
where the kernel's clock has drifted. One system call."""

PENDING_S = 0.1
"""The same while a report is under way, so that its end is noticed soon."""


def open_kmsg(path: str = KMSG) -> int:
    """A descriptor of the device, at the oldest record it holds.

    Raises:
        OSError: it is not there, or may not be read (CAP_SYSLOG where kernel.dmesg_restrict is 1).
    """
    return os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)


def boot_id() -> str:
    """Names this boot of the machine: 32 hexadecimal digits; empty where the kernel does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip().replace("-", "")
    except OSError:
        return ""


def kernel_version() -> tuple[int, int]:
    """Major and minor of the running kernel."""
    found = re.match(r"(\d+)\.(\d+)", os.uname().release)
    return (int(found[1]), int(found[2])) if found else (0, 0)


class KernelRing:
    """Emits what the kernel says.

    Records that processes wrote are passed over; records that were overwritten before they were read are counted as lost, by
    their sequence numbers.
    """

    def __init__(
        self,
        assembler: LineAssembler,
        *,
        clock: Clock,
        name: str = "kernel",
        source: str = "kernel",
        path: str = KMSG,
        open_device: Callable[[str], int] = open_kmsg,
        boot: str | None = None,
        kernel: tuple[int, int] | None = None,
    ) -> None:
        """What every log source takes, and for tests another device, boot and kernel."""
        self.name = name
        self._clock = clock
        self._path = path
        self._open = open_device
        self._boot = boot_id() if boot is None else boot
        self._status = SourceStatus(name)
        self._assembly: Assembly[int] = Assembly(
            assembler, source=source, name_of=lambda sequence: f"kmsg-{self._boot[:8]}-{sequence}"
        )
        self._joiner = Joiner(kernel_version() if kernel is None else kernel)
        self._last: int | None = None
        self._only_new = False
        self._drained: float | None = None

    async def run(self, sink: Sink, cursor: str | None) -> None:
        """Emit facts until cancelled. A device that cannot be read is a `source` fact and is tried again."""
        self._resume(cursor)
        emitter = FactEmitter(sink, self._status, cursor, clock=self._clock)
        pauses = backoff()
        while True:
            opened = self._clock.monotonic()
            try:
                device = self._open(self._path)
                try:
                    await self._read(device, emitter)
                finally:
                    os.close(device)
            except (OSError, SourceError) as error:
                if self._drained is not None and self._drained >= opened:
                    pauses = backoff()  # it was read to its end: this is a new problem
                self._status.lose(event_time(self._clock), _advice(self._path, error))
                await emitter.emit([], self._cursor)
                await self._clock.sleep(next(pauses))

    def _resume(self, cursor: str | None) -> None:
        boot, colon, sequence = (cursor or "").partition(":")
        if not colon or not re.fullmatch(r"[0-9a-f]*", boot) or not re.fullmatch(r"-?\d{1,20}", sequence):
            self._only_new = True  # no cursor, or the cursor of another kind of log
        elif boot == self._boot:
            self._last = int(sequence)

    def _cursor(self) -> str | None:
        """Sequence of the last record that need not be read again."""
        first_held = self._assembly.held
        if first_held is None:
            first_held = self._joiner.held
        last = self._last if first_held is None else first_held - 1
        return None if last is None else f"{self._boot}:{last}"

    async def _read(self, device: int, emitter: FactEmitter) -> None:
        # An overrun makes kmsg report POLLERR beside POLLIN, and libuv, under uvloop, takes a descriptor with POLLERR for broken
        # and stops watching it. An epoll descriptor around it is merely readable.
        with select.epoll() as ready:
            ready.register(device, select.EPOLLIN)
            while True:
                began = self._clock.monotonic()
                facts, drained = self._read_batch(device)
                if not drained:
                    await emitter.emit(facts, self._cursor)
                    await asyncio.sleep(0)
                    continue
                self._drained = began
                self._only_new = False
                now = event_time(self._clock)
                self._status.ok(now)
                facts += self._assembly.flush(now)
                await emitter.emit(facts, self._cursor)
                await readable(ready.fileno(), HEARTBEAT_S if self._assembly.held is None else PENDING_S)

    def _read_batch(self, device: int) -> tuple[list[Fact], bool]:
        """Facts of the next records, and whether there are no more for now."""
        now = event_time(self._clock)
        monotonic = self._clock.monotonic()
        boot = now - timedelta(seconds=monotonic)
        not_before = None if self._drained is None else now - timedelta(seconds=monotonic - self._drained)
        facts: list[Fact] = []
        for _ in range(BATCH_RECORDS):
            try:
                data = os.read(device, RECORD_BYTES)
            except BlockingIOError:
                for line in self._joiner.drain():
                    facts += self._assembly.feed(line.text, line.at, line.sequence)
                return facts, True
            except OSError as error:
                if error.errno == errno.EPIPE:
                    continue  # overwritten before it was read: the next sequence number shows how many were
                if error.errno == errno.EINVAL:
                    self._status.damage(now, f"{self._path}: a record longer than {RECORD_BYTES} bytes")
                    continue
                raise
            if not data:
                raise SourceError(f"{self._path} has ended")
            facts += self._take(data, now, boot, not_before)
        return facts, False

    def _take(self, data: bytes, now: datetime, boot: datetime, not_before: datetime | None) -> list[Fact]:
        try:
            record = parse_record(data)
        except ValueError:
            self._status.damage(now, f"{self._path}: a record that cannot be read: {data[:80]!r}")
            return []
        if self._last is not None and record.sequence <= self._last:
            return []
        if self._last is not None and not self._only_new and record.sequence > self._last + 1:
            lost = record.sequence - self._last - 1
            self._status.gap(now, f"{lost} kernel records were overwritten before they were read", lost)
        self._last = record.sequence
        if self._only_new or not record.by_kernel:
            return []
        text, damaged = record.text()
        if damaged:
            self._status.damage(now, f"{self._path}: records that are not valid UTF-8 or hold NUL bytes")
        line = KernelLine(record.sequence, moment(record.micros, boot, not_before=not_before, now=now), text)
        facts: list[Fact] = []
        for whole in self._joiner.add(line, record.flags):
            facts += self._assembly.feed(whole.text, whole.at, whole.sequence)
        return facts


def _advice(path: str, error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return f"{path} does not exist; in a container, hand it in (--device {path}), or name a kernel log file"
    if isinstance(error, PermissionError):
        return f"{path} may not be read; run as root or with CAP_SYSLOG, or name a kernel log file"
    return f"{path} cannot be read: {getattr(error, 'strerror', None) or error}"
