"""journald as a source of facts, by `journalctl -f -o json` as a child process.

The child begins with the entry that the cursor names, not after it: that this entry comes first proves that nothing is missing;
when another does, the journal was cut off in between, and that is a gap. Without a cursor it begins with the moment the source
was started, also when the child has to be started again before there was an entry.
"""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime

from connectors.logs.assembly import Assembly, LineAssembler
from connectors.logs.journal_entry import Entry, parse_entry
from connectors.sources.backoff import backoff
from connectors.sources.emitter import FactEmitter
from connectors.sources.lines import LineSplitter
from connectors.sources.status import SourceStatus
from engine.facts import Fact
from engine.ports.clock import Clock, event_time
from engine.ports.sources import Sink

KERNEL_MATCHES = ("_TRANSPORT=kernel",)
"""What `-k` looks for, without its restriction to this boot: what the kernel said before it died is reported by the next boot."""

ENTRY_BYTES = 1 << 20
"""Bytes of one entry that are kept, all fields and JSON's wordiness included; a longer one is counted and passed over."""

CHUNK_BYTES = 32_768
STOP_S = 2.0
"""Seconds that journalctl has to end when asked to, before it is killed."""
PROBE_S = 10.0
"""Seconds that journalctl has to show one entry: on a cold disk with many journal files, some."""
STEADY_S = 60.0
"""A child that ran for so long was no failure: the next pause is a short one again."""
TICK_S = 2.0
"""Seconds of silence after which what is due is emitted: the state of the source, the end of a report."""
SETTLE_S = 0.25
"""The same until journalctl is known to run well: what it cannot do it says at once."""
PENDING_S = 0.1
"""The same while a report is under way."""
_STDERR_CHARS = 512
"""Characters kept of what it complains of: the last ones."""


class Journald:
    """Follows the journal and emits what its entries say."""

    def __init__(
        self,
        assembler: LineAssembler,
        *,
        matches: Sequence[str],
        name: str,
        source: str,
        clock: Clock,
        journalctl: Sequence[str] = ("journalctl",),
    ) -> None:
        """Nothing is started yet.

        Args:
            assembler: recognises the messages.
            matches: what journalctl is to select: `-u`, `docker.service`, or `FIELD=value`.
            name: of the cursor, the task and the `source` fact.
            source: the facts' `source`: kernel, dockerd, kubelet.
            clock: for the time of lines that have none, and for pauses.
            journalctl: the program and arguments before all others (`--directory=…`, say).
        """
        self.name = name
        self._clock = clock
        self._source = source
        self._matches = tuple(matches)
        self._unit = self._matches[self._matches.index("-u") + 1] if "-u" in self._matches else None
        self._journalctl = tuple(journalctl)
        self._status = SourceStatus(name)
        self._assembly: Assembly[tuple[str, str | None]] = Assembly(
            assembler, source=source, name_of=lambda mark: f"journal-{_digest(mark[0])}"
        )
        self._last: str | None = None
        self._expected: str | None = None
        self._begun = event_time(clock)
        self._resumed = False
        self._stderr = ""

    async def run(self, sink: Sink, cursor: str | None) -> None:
        """Emit facts until cancelled. A journalctl that is missing or ends is a `source` fact and is started again."""
        # A cursor of another kind of log is none of ours.
        self._last = cursor if cursor is not None and re.match(r"s=[0-9a-f]+;", cursor) else None
        self._resumed = self._last is not None
        self._begun = event_time(self._clock)
        emitter = FactEmitter(sink, self._status, cursor, clock=self._clock)
        pauses = backoff()
        while True:
            started = self._clock.monotonic()
            error = await self._once(emitter)
            self._status.lose(event_time(self._clock), error)
            await emitter.emit([], self._cursor)
            if self._clock.monotonic() - started > STEADY_S:
                pauses = backoff()
            await self._clock.sleep(next(pauses))

    def _command(self) -> list[str]:
        # --all: without it a field of 4,096 bytes or more is printed as null. --no-tail: -f alone shows ten entries of the past.
        begin = f"--since=@{int(self._begun.timestamp())}" if self._last is None else f"--cursor={self._last}"
        return [*self._journalctl, "--quiet", "--follow", "--output=json", "--all", "--no-tail", begin, *self._matches]

    async def _once(self, emitter: FactEmitter) -> str:
        """Run journalctl until it ends; why it did."""
        try:
            if not await self._sees_something():
                return (
                    "journalctl shows no entry at all; is journald running on this host, and may its journal be read from here?"
                )
            async with self._child() as child:
                await self._follow(child, emitter)
                async with asyncio.timeout(STOP_S):  # it has closed its output, and may go on for ever all the same
                    code = await child.wait()
        except TimeoutError:
            return "journalctl closed its output and did not end"
        except OSError as error:
            return (
                f"{self._journalctl[0]} cannot be started ({error.strerror or error}); install systemd's journalctl, "
                "or name a log file, or `off`, in the settings"
            )
        said = self._stderr.strip()
        if "seek to cursor" in said:
            self._status.gap(event_time(self._clock), f"journald does not know the cursor any more: {said}")
            self._last = None
        return f"journalctl ended with status {code}" + (f": {said}" if said else "")

    async def _sees_something(self) -> bool:
        """There is a journal, and it may be read. One that follows nothing says nothing about it, not even on stderr."""
        probe = await asyncio.create_subprocess_exec(
            *self._journalctl,
            *("--quiet", "--system", "--lines=1", "--output=json"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            async with asyncio.timeout(PROBE_S):
                return probe.stdout is not None and await probe.stdout.read(1) != b""
        except TimeoutError:
            return False
        finally:
            await _stop(probe)

    @asynccontextmanager
    async def _child(self) -> AsyncIterator[asyncio.subprocess.Process]:
        pipe = asyncio.subprocess.PIPE
        child = await asyncio.create_subprocess_exec(
            *self._command(), stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe, limit=2 * CHUNK_BYTES
        )
        self._expected = self._last
        self._stderr = ""
        listener = asyncio.create_task(self._listen(child.stderr), name=f"{self.name}: stderr of journalctl")
        try:
            yield child
        finally:
            await _stop(child)
            await asyncio.wait([listener], timeout=STOP_S)  # its last words; somebody else may hold the pipe open for ever
            listener.cancel()
            await asyncio.wait([listener])

    async def _listen(self, stderr: asyncio.StreamReader | None) -> None:
        """What journalctl complains of, always drained; the end of it is kept."""
        while stderr is not None and (chunk := await stderr.read(_STDERR_CHARS)):
            self._stderr = (self._stderr + chunk.decode(errors="replace"))[-_STDERR_CHARS:]

    async def _follow(self, child: asyncio.subprocess.Process, emitter: FactEmitter) -> None:
        stdout = child.stdout
        splitter = LineSplitter(limit=ENTRY_BYTES)
        received = False
        while stdout is not None:
            try:
                async with asyncio.timeout(self._patience_s()):
                    chunk = await stdout.read(CHUNK_BYTES)
            except TimeoutError:
                now = event_time(self._clock)
                self._silence(now, received=received)
                await emitter.emit(self._assembly.flush(now), self._cursor)
                continue
            if not chunk:
                return
            facts: list[Fact] = []
            for _, raw in splitter.feed(chunk):
                received = True
                facts += self._take(raw)
            await emitter.emit(facts, self._cursor)
            await asyncio.sleep(0)

    def _patience_s(self) -> float:
        if self._assembly.held is not None:
            return PENDING_S
        return TICK_S if self._status.status == "ok" else SETTLE_S

    def _silence(self, now: datetime, *, received: bool) -> None:
        """No entry for a while: fine, unless journalctl has complained instead of showing any."""
        said = self._stderr.strip()
        if not said:
            self._status.ok(now)
            return
        if received:
            self._status.gap(now, f"journalctl: {said}")
        else:
            self._status.lose(now, f"journalctl: {said}; is journald running, and may its journal be read?")
            return
        self._stderr = ""

    def _take(self, raw: bytes) -> list[Fact]:
        now = event_time(self._clock)
        try:
            entry = parse_entry(raw)
        except ValueError as error:
            self._status.damage(now, f"journald: an entry that cannot be read ({error}) or is longer than {ENTRY_BYTES} bytes")
            return []
        self._status.ok(now)
        before, self._last = self._last, entry.cursor
        expected, self._expected = self._expected, None
        if expected is not None:
            if entry.cursor == expected:
                return []  # the one that was read last
            self._status.gap(now, "the journal was cut off beyond what was read last; entries may be missing")
        elif not self._resumed and entry.at < self._begun:
            return []  # --since counts whole seconds
        if not self._is_evidence(entry):
            return []
        if entry.damaged:
            self._status.damage(now, "journald: messages that are not valid UTF-8, hold NUL bytes, or cannot be read")
        if entry.text is None:
            return []
        return self._assembly.feed(entry.text, entry.at, (entry.cursor, before))

    def _is_evidence(self, entry: Entry) -> bool:
        if self._source == "kernel":
            return entry.by_kernel
        return entry.own_unit != "" and self._unit in (None, entry.own_unit) and not entry.of_container

    def _cursor(self) -> str | None:
        held = self._assembly.held
        return self._last if held is None else held[1]


async def _stop(child: asyncio.subprocess.Process) -> None:
    """End it: asked first, killed after `STOP_S` seconds, and after as many more left to the kernel. Cancelling hurries it."""
    if child.returncode is not None:
        return
    try:
        child.terminate()
        # Not asyncio.timeout: before CPython 3.11.3 (Debian 12) its end is taken for a cancellation under way.
        await asyncio.wait_for(child.wait(), STOP_S)
    except ProcessLookupError:
        pass
    except TimeoutError:
        child.kill()
        with suppress(TimeoutError):
            await asyncio.wait_for(child.wait(), STOP_S)
    except asyncio.CancelledError:
        child.kill()
        raise


def _digest(cursor: str) -> str:
    return hashlib.sha256(cursor.encode()).hexdigest()[:24]
