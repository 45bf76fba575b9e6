"""Real processes for tests to signal and to change."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from connectors.sources import proc
from connectors.sources.proc import Stat


@contextmanager
def child(*command: str, stdout: int | None = None) -> Iterator[tuple[subprocess.Popen[bytes], Stat]]:
    """Start a program and say who it is; it is gone afterwards."""
    process = subprocess.Popen(command or ("sleep", "1000"), stdout=stdout)
    try:
        who = proc.stat(process.pid)
        assert who is not None
        yield process, who
    finally:
        process.kill()
        process.wait(10)


def comm(pid: int) -> str:
    """Its name."""
    return Path(f"/proc/{pid}/comm").read_text().strip()
