"""The journal's own recording: the last facts of this host, bounded by bytes, for `replay --since` and `tune`.

Segments of JSON lines in a folder of their own; full ones are compressed, the oldest go. Facts are handed over by the loop and
written by the journal's thread: `add` only remembers. Losing some loses nothing that was decided, so a disk that refuses costs
the recording and nothing else. Knows nothing of rules and of the journal's tables.
"""

import gzip
import os
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import structlog

from engine.facts import Fact, Retraction
from engine.facts.timestamps import Micros

_log = structlog.get_logger(__name__)

RECORDING_FOLDER = "recording"
"""Below the state folder."""

SEGMENT_BYTES = 2 * 1024 * 1024
"""Compressing one takes some 30 ms of the journal's thread."""
WAITING_FACTS = 20_000
"""Facts that wait for the disk, at most: beyond, the oldest go."""
EVERY_S = 1.0
"""Seconds between two writes: a burst shares one."""

_PLAIN, _PACKED = ".jsonl", ".jsonl.gz"


class FactLog:
    """Writes the facts of a host into a folder. `add` belongs to the loop, everything else to the journal's thread."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        """Nothing is written yet.

        Args:
            folder: is made, readable by its owner alone.
            max_bytes: of all segments together.
        """
        self._folder = folder
        self._max_bytes = max_bytes
        self._waiting: deque[Fact | Retraction] = deque(maxlen=WAITING_FACTS)
        self._due_at = float("-inf")
        self._file: Path | None = None
        self._written = 0
        self.problem: str | None = None
        """Why it cannot be written at present."""

    def add(self, fact: Fact | Retraction) -> None:
        """Remember a fact for the next write."""
        self._waiting.append(fact)

    def due(self, now_s: float) -> bool:
        """Whether it is time to write, by a monotonic clock; then the next time is a second later."""
        if not self._waiting or now_s < self._due_at:
            return False
        self._due_at = now_s + EVERY_S
        return True

    def write(self) -> None:
        """Append what waits. Never raises: what the disk refuses is given up, and reported once."""
        facts = [self._waiting.popleft() for _ in range(len(self._waiting))]
        try:
            for start in range(0, len(facts), 1000):
                self._append(facts[start : start + 1000])
        except OSError as error:
            if self.problem is None:
                _log.warning("recording_lost", folder=str(self._folder), error=error.strerror or str(error))
            self.problem = error.strerror or str(error)
            self._file = None
            return
        if self.problem is not None:
            self.problem = None
            _log.info("recording_resumed", folder=str(self._folder))

    def _append(self, facts: list[Fact | Retraction]) -> None:
        if not facts:
            return
        if self._file is None or self._written >= SEGMENT_BYTES:
            self._rotate(facts[0].at_micros)
        assert self._file is not None  # noqa: S101  rotated above
        data = "".join(f"{_line(fact)}\n" for fact in facts).encode("utf-8", "backslashreplace")
        descriptor = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, data)
        finally:
            os.close(descriptor)
        self._written += len(data)

    def _rotate(self, at: Micros) -> None:
        """Compress what is full, make room, begin another segment; what an earlier process left is compressed too."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for plain in self._folder.glob(f"*{_PLAIN}"):
            packed = plain.with_suffix(_PACKED)
            part = plain.with_suffix(".part")
            with gzip.open(part, "wb", compresslevel=1) as out:
                out.write(plain.read_bytes())
            part.chmod(0o600)
            part.rename(packed)
            plain.unlink()
        segments = _segments(self._folder)
        sizes = [segment.stat().st_size for segment in segments]
        while segments and sum(sizes) > self._max_bytes - SEGMENT_BYTES:
            segments.pop(0).unlink()
            sizes.pop(0)
        newest = int(segments[-1].name.partition(".")[0]) if segments else 0
        self._file = self._folder / f"{max(at, newest + 1):020}{_PLAIN}"
        self._written = 0


def _line(fact: Fact | Retraction) -> str:
    try:
        return fact.to_json() if isinstance(fact, Fact) else fact.model_dump_json(exclude_none=True)
    except ValueError:  # a lone surrogate, which UTF-8 has no form for
        return ""


def _segments(folder: Path) -> list[Path]:
    """All segments, oldest first: their names are the times of their first facts."""
    found = [path for path in folder.iterdir() if path.name.endswith((_PLAIN, _PACKED)) and path.name.partition(".")[0].isdigit()]
    return sorted(found)


def recorded_lines(folder: Path, since: Micros) -> Iterator[bytes]:
    """The lines of the recording from the segment on in which a moment lies, oldest first; some before it are among them.

    Raises:
        OSError: there is no recording, or it cannot be read.
    """
    segments = _segments(folder)
    starts = [int(segment.name.partition(".")[0]) for segment in segments]
    for number, segment in enumerate(segments):
        if number + 1 < len(starts) and starts[number + 1] <= since:
            continue
        with gzip.open(segment, "rb") if segment.name.endswith(_PACKED) else segment.open("rb") as file:
            yield from file
