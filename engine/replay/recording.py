"""Recorded facts: JSON lines, written as facts come and read in constant memory. Knows nothing of rules."""

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Self

import structlog

from engine.errors import BadFactError, DockwardenError
from engine.facts import Fact, FactKinds, Retraction

_log = structlog.get_logger(__name__)

LINE_BYTES = 4 * 1024 * 1024
"""A longer line is no fact; it is passed over without being held."""

SHOWN_FAULTS = 20
"""Faults that are shown in full; the others are counted."""


class Faults:
    """What could not be read: the first ones as they are, of the others the number."""

    def __init__(self) -> None:
        self.number = 0
        self.shown: list[str] = []
        self.line = 0
        """Number of the line that was read last."""

    def add(self, fault: str) -> None:
        """One more."""
        self.number += 1
        if len(self.shown) < SHOWN_FAULTS:
            self.shown.append(fault)

    def add_here(self, fault: object) -> None:
        """One more, about the line that was read last."""
        self.add(f"line {self.line}: {fault}")

    def move_from(self, faults: list[str]) -> None:
        """Those that a core gathered; the list is emptied, so that it cannot grow with the recording."""
        for fault in faults:
            self.add(fault)
        faults.clear()

    def lines(self) -> Iterator[str]:
        """The first faults, and how many more there were."""
        yield from self.shown
        if self.number > len(self.shown):
            yield f"… and {self.number - len(self.shown)} more"


@contextmanager
def open_recording(file: str) -> Iterator[BinaryIO]:
    """The file, or standard input for `-`.

    Raises:
        DockwardenError: it cannot be read.
    """
    if file == "-":
        yield sys.stdin.buffer
        return
    try:
        opened = Path(file).open("rb")  # noqa: SIM115  closed below; opening alone is what may fail here
    except OSError as error:
        raise DockwardenError(f"{file}: cannot be read: {error.strerror}") from error
    with opened:
        yield opened


def bounded_lines(file: BinaryIO) -> Iterator[bytes]:
    """The lines; of one that is longer than any fact its beginning, just long enough to be seen as too long."""
    while line := file.readline(LINE_BYTES + 1):
        yield line
        while len(line) > LINE_BYTES and not line.endswith(b"\n"):
            line = file.readline(LINE_BYTES + 1)


def read_facts(lines: Iterable[bytes], kinds: FactKinds, faults: Faults) -> Iterator[Fact | Retraction]:
    """Facts from JSON lines. A line that is none is a fault with its number; the others go on.

    A fact without an id is given its line's number as one: the same file gives the same ids.
    """
    for number, line in enumerate(lines, start=1):
        faults.line = number
        try:
            if len(line) > LINE_BYTES:
                raise BadFactError(f"longer than {LINE_BYTES} bytes")  # noqa: TRY301
            if line.isspace():
                continue
            yield kinds.read_line(line, number)
        except (BadFactError, ValueError) as error:
            faults.add_here(error)


class RecordingWriter:
    """Appends facts to a file. A disk that refuses ends the recording, not who records."""

    def __init__(self, file: Path) -> None:
        """Open the file.

        Raises:
            DockwardenError: it cannot be written.
        """
        self.number = 0
        """Facts that were written."""
        self._file = file
        self._refused = False
        try:
            self._out = file.open("a", buffering=1, encoding="utf-8", errors="backslashreplace")  # by lines: a kill loses none
        except OSError as error:
            raise DockwardenError(f"{file}: cannot be written: {error.strerror}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):  # logged already, or nobody is there any more who could do something about it
            self._out.close()

    def write(self, fact: Fact | Retraction) -> None:
        """Append one fact."""
        if self._refused:
            return
        try:
            self._out.write(json.dumps(fact.to_json_dict(), ensure_ascii=False) + "\n")
            self.number += 1
        except OSError as error:
            self._refused = True
            _log.error("recording_ended", file=str(self._file), error=error.strerror)
