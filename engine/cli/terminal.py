"""Where verbs print for people: the terminal, or a pipe that has no width of its own; and recordings with a progress bar."""

import os
import re
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from engine.cli.targets import state_of
from engine.errors import DockwardenError
from engine.facts.timestamps import Micros
from engine.journal.fact_log import RECORDING_FOLDER, recorded_lines
from engine.replay.recording import Faults, bounded_lines, open_recording
from engine.rules.units import DURATION_SHAPE, parse_duration

PIPE_WIDTH = 200
"""Columns in a pipe or file, where rich would assume 80 and cut what somebody greps for."""

_EVERY = 4096
"""Lines between two updates of the progress bar: often enough for an eye, too seldom to be felt."""

_FULL_ID = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{52}\b")

out = Console(highlight=False, soft_wrap=True)
"""Where decisions are shown: the same as the bar, which then stays below them."""


def console() -> Console:
    """A console of the terminal's width, or wide."""
    return Console() if sys.stdout.isatty() else Console(width=PIPE_WIDTH)


def short_ids(text: str) -> str:
    """The text with container ids as Docker's own command line shows them: their first 12 digits."""
    return _FULL_ID.sub(r"\1", text)


def print_faults(faults: Faults) -> int:
    """Print on standard error what could not be read; the exit code."""
    for line in faults.lines():
        print(f"dockwarden: {line}", file=sys.stderr)
    return 1 if faults.number else 0


def recorded(state: Path | None, config: Path | None, since: str) -> tuple[Iterator[bytes], Micros]:
    """The sidecar's own recording, and the moment from which on it is asked for.

    Raises:
        DockwardenError: there is none, or `since` is not a duration.
    """
    folder = state_of(state, config) / RECORDING_FOLDER
    try:
        moment = time.time_ns() // 1000 - parse_duration(since)
    except ValueError as error:
        raise DockwardenError(f"--since {since}: {error}; write {DURATION_SHAPE}") from error
    if not folder.is_dir():
        raise DockwardenError(f"there is no recording at {folder}. Name the state folder of a sidecar with --state.")
    return recorded_lines(folder, moment), moment


@contextmanager
def open_facts(file: str) -> Iterator[Iterable[bytes]]:
    """The lines of a recording, or of standard input for `-`; with a progress bar where a person waits for a file.

    Raises:
        DockwardenError: it cannot be read.
    """
    with open_recording(file) as opened:
        size = 0 if file == "-" else os.fstat(opened.fileno()).st_size
        bar = out if out.is_terminal else Console(stderr=True)
        if not (bar.is_terminal and size):
            yield bounded_lines(opened)
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=bar, transient=True) as progress:
            yield _counted(bounded_lines(opened), progress, Path(file).name, size)


def _counted(lines: Iterable[bytes], progress: Progress, title: str, size: int) -> Iterator[bytes]:
    """The lines; the bar moves by their bytes."""
    task = progress.add_task(title, total=size)
    done = 0
    for number, line in enumerate(lines):
        done += len(line)
        if number % _EVERY == 0:
            progress.update(task, completed=done)
        yield line
