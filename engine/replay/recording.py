"""Recorded facts: JSON lines from a file or standard input, read in constant memory. Knows nothing of rules."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from pydantic_core import from_json
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from engine.errors import BadFactError, DockwardenError
from engine.facts import Fact, FactKinds, Retraction

LINE_BYTES = 4 * 1024 * 1024
"""A longer line is no fact; it is passed over without being held."""

SHOWN_FAULTS = 20
"""Faults that are shown; the number of all is said."""

out = Console(highlight=False, soft_wrap=True)
"""Where decisions are shown: the same as the bar, which then stays below them."""

_EVERY = 4096
"""Lines between two looks at how far we are: often enough for an eye, too seldom to be felt."""


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

    def take(self, faults: list[str]) -> None:
        """Those that a core gathered; the list is emptied, so that it cannot grow with the recording."""
        for fault in faults:
            self.add(fault)
        faults.clear()

    def say(self) -> int:
        """Say them on standard error; the exit code."""
        for fault in self.shown:
            print(f"dockwarden: {fault}", file=sys.stderr)
        if self.number > len(self.shown):
            print(f"dockwarden: … and {self.number - len(self.shown)} more", file=sys.stderr)
        return 1 if self.number else 0


@contextmanager
def open_facts(file: str) -> Iterator[Iterable[bytes]]:
    """The lines of the file, or of standard input for `-`; with a progress bar where a person waits for a file.

    Raises:
        DockwardenError: it cannot be read.
    """
    if file == "-":
        yield bounded_lines(sys.stdin.buffer)
        return
    try:
        opened = Path(file).open("rb")  # noqa: SIM115  closed below; opening alone is what may fail here
        size = Path(file).stat().st_size
    except OSError as error:
        raise DockwardenError(f"{file}: cannot be read: {error.strerror}") from error
    with opened:
        console = out if out.is_terminal else Console(stderr=True)
        if console.is_terminal and size:
            with _bar(file, size, console) as lines:
                yield lines(bounded_lines(opened))
        else:
            yield bounded_lines(opened)


def bounded_lines(file: BinaryIO) -> Iterator[bytes]:
    """The lines; of one that is longer than any fact its beginning, just long enough to be seen as too long."""
    while line := file.readline(LINE_BYTES + 1):
        yield line
        while len(line) > LINE_BYTES and not line.endswith(b"\n"):
            line = file.readline(LINE_BYTES + 1)


@contextmanager
def _bar(title: str, size: int, console: Console) -> Iterator["_Counting"]:
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        yield _Counting(progress, Path(title).name, size)


class _Counting:
    """Hands lines on and moves the bar by their bytes."""

    def __init__(self, progress: Progress, title: str, size: int) -> None:
        self._progress = progress
        self._task = progress.add_task(title, total=size)

    def __call__(self, lines: Iterable[bytes]) -> Iterator[bytes]:
        done = 0
        for number, line in enumerate(lines):
            done += len(line)
            if number % _EVERY == 0:
                self._progress.update(self._task, completed=done)
            yield line


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
            data = from_json(line)  # a third of the time of json.loads
            if not isinstance(data, dict):
                raise BadFactError("a fact is a JSON object")  # noqa: TRY301
            if not data.get("fact_id"):
                data["fact_id"] = f"line-{number}"
            yield kinds.read(data)
        except (BadFactError, ValueError) as error:
            faults.add_here(error)
