"""The emergency stop: a file in the state folder, and a flag in memory for when that folder cannot be written.

`touch STATE/freeze` stops all actions, `touch STATE/freeze.ACTION` one of them, when nothing else works any more.
"""

import os
from pathlib import Path

import structlog

_log = structlog.get_logger(__name__)

_ALL = ""


class Freeze:
    """Whether operators have stopped actions, all of them or some."""

    def __init__(self, path: Path) -> None:
        """Make one.

        Args:
            path: of the file that stops everything; those of single actions lie beside it.
        """
        self.path = path
        self._in_memory: set[str] = set()

    def is_set(self) -> bool:
        """Whether all actions are stopped."""
        return _ALL in self._in_memory or self.path.exists()

    def actions(self) -> frozenset[str]:
        """Actions that are stopped by themselves."""
        prefix = f"{self.path.name}."
        try:
            files = [name.removeprefix(prefix) for name in os.listdir(self.path.parent) if name.startswith(prefix)]  # noqa: PTH208  names, often
        except OSError:
            files = []
        return frozenset(files) | (self._in_memory - {_ALL})

    def stop_now(self) -> None:
        """Freeze everything in memory, before any disk is asked."""
        self._in_memory.add(_ALL)

    def set(self, action: str = _ALL) -> str:
        """Freeze, at once and in memory first; why it does not outlive the process, empty when it does."""
        self._in_memory.add(action)
        try:
            self._file(action).touch(mode=0o600)
        except OSError as error:
            _log.error("freeze_in_memory_only", error=str(error), frozen_action=action)
            return f"in memory only, until the process ends: {error.strerror or error}"
        return ""

    def clear(self, action: str = _ALL) -> None:
        """Unfreeze.

        Raises:
            OSError: the file cannot be removed; it stays frozen.
        """
        self._file(action).unlink(missing_ok=True)
        self._in_memory.discard(action)

    def _file(self, action: str) -> Path:
        return self.path if action == _ALL else self.path.with_name(f"{self.path.name}.{action}")
