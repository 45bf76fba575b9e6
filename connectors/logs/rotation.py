"""Log files under rotation: which file is the one that was read, and what is there to be read after it. Synchronous.

Every way of rotating is one of two. Renamed: the file gets another name (`log.1`, `log-20261120`) and a new one takes its place;
it is known again by device and inode. Copied and truncated (logrotate's `copytruncate`): the file stays, its contents move to a
copy; the copy is known by the first bytes. Inodes are used again, by some file systems at once, so an inode alone proves nothing:
the first bytes must be the same, too.

Files are opened and read without a thread: the logs of a host's own daemons are on local disks.
"""

import hashlib
import json
import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from engine.errors import SourceError

HEAD_BYTES = 256
"""First bytes by which a file is known again: more than one line with its time of day."""

_SUFFIX = re.compile(r"[.-][\d._-]+")
"""What rotation adds to a name: `.1`, `-20261120`, `.2026-11-20`. Compressed copies (`.2.gz`) are not read."""

_SIBLINGS = 64
"""Rotated files looked at, at most: the youngest."""


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a log file that is found again after a restart; written down, it is the cursor."""

    path: str
    device: int
    inode: int
    offset: int
    head_bytes: int
    head: str
    """SHA-256 of the first `head_bytes` bytes, shortened."""

    def to_cursor(self) -> str:
        """As one line of JSON."""
        return json.dumps(
            {"path": self.path, "dev": self.device, "ino": self.inode, "offset": self.offset}
            | {"head_bytes": self.head_bytes, "head": self.head}
        )

    @classmethod
    def from_cursor(cls, cursor: str | None) -> Self | None:
        """The place, or None when this is the cursor of something else (the settings named another kind of log before)."""
        try:
            data = json.loads(cursor or "")
            place = cls(
                str(data["path"]),
                int(data["dev"]),
                int(data["ino"]),
                int(data["offset"]),
                int(data["head_bytes"]),
                str(data["head"]),
            )
        except (ValueError, TypeError, KeyError):
            return None
        return place if place.offset >= 0 and 0 <= place.head_bytes <= HEAD_BYTES else None


class LogFile:
    """One open log file. Its identity does not change with its name."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Open it.

        Raises:
            OSError: it is not there or may not be read.
            SourceError: it is a directory, a pipe or a device.
        """
        self.path = os.fspath(path)
        # O_NONBLOCK: opening a pipe by mistake must not wait for a writer; on regular files it changes nothing.
        self.fd = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            self.device, self.inode = self._identity()
            self.learn_head()
        except BaseException:
            self.close()
            raise

    def _identity(self) -> tuple[int, int]:
        status = os.fstat(self.fd)
        if not stat.S_ISREG(status.st_mode):
            raise SourceError(f"{self.path} is not a regular file")
        return status.st_dev, status.st_ino

    def close(self) -> None:
        """Give the descriptor back; a second time does nothing."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def size(self) -> int:
        """Bytes in it now."""
        return os.fstat(self.fd).st_size

    def read(self, offset: int, count: int) -> bytes:
        """Up to `count` bytes from `offset` on."""
        return os.pread(self.fd, count, offset)

    def head(self, count: int) -> str:
        """Digest of the first `count` bytes."""
        return _digest(os.pread(self.fd, count, 0))

    def place(self, offset: int) -> Place:
        """A place in this file; also when it is closed already."""
        return Place(self.path, self.device, self.inode, offset, self._head_bytes, self._head)

    def learn_head(self) -> None:
        """Take the first bytes as they are now for this file's own: after opening, and after truncation."""
        data = os.pread(self.fd, HEAD_BYTES, 0)
        self._head_bytes, self._head = len(data), _digest(data)

    def is_the_same(self) -> bool:
        """Its first bytes are what they were. Otherwise it was truncated, even if it has grown beyond the old length since.

        While there are fewer than `HEAD_BYTES`, those that came since are learned.
        """
        data = os.pread(self.fd, HEAD_BYTES, 0)
        same = _digest(data[: self._head_bytes]) == self._head
        if same and len(data) > self._head_bytes:
            self._head_bytes, self._head = len(data), _digest(data)
        return same

    def holds(self, place: Place) -> bool:
        """Its first bytes are those of the place, and it reaches that far."""
        return self.size() >= place.offset and self.head(place.head_bytes) == place.head


@dataclass(frozen=True, slots=True)
class Stretch:
    """A file and where to begin in it."""

    file: LogFile
    offset: int


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def rotated(path: str) -> list[str]:
    """Files beside `path` that rotation made of it, oldest first by the time of their last change."""
    folder, name = os.path.split(os.fspath(path))
    try:
        with os.scandir(folder or ".") as entries:
            found = [
                (entry.stat().st_mtime_ns, entry.path)
                for entry in entries
                if entry.name.startswith(name) and _SUFFIX.fullmatch(entry.name[len(name) :])
            ]
    except OSError:
        return []
    return [file for _, file in sorted(found)[-_SIBLINGS:]]


def find_rest(place: Place) -> list[Stretch] | None:
    """What there is to read from `place` on, before the file that bears the name now is read from its beginning.

    The file itself when it still bears its name (then it is the only stretch); otherwise the rest of the rotated file and, whole,
    every file that was rotated after it. None: the file of that place is gone. The caller closes the files.
    """
    current = _open(place.path)
    if current is not None:
        if current.inode == place.inode and current.device == place.device and current.holds(place):
            return [Stretch(current, place.offset)]
        current.close()
    siblings = [file for file in map(_open, rotated(place.path)) if file is not None]
    position = _position(siblings, place)
    kept = [] if position is None else siblings[position:]
    for file in siblings:
        if file not in kept:
            file.close()
    if not kept:
        return None
    return [Stretch(kept[0], place.offset), *(Stretch(file, 0) for file in kept[1:])]


def _position(files: Sequence[LogFile], place: Place) -> int | None:
    holding = [position for position, file in enumerate(files) if file.holds(place)]
    for position in holding:
        if (files[position].device, files[position].inode) == (place.device, place.inode):
            return position
    # A copy has another inode. Without first bytes every file would do: then none is it.
    return holding[-1] if holding and place.head_bytes else None


def _open(path: str) -> LogFile | None:
    try:
        return LogFile(path)
    except (OSError, SourceError):
        return None


def is_character_device(path: str) -> bool:
    """What `path` names now is a character device, as /dev/kmsg is."""
    try:
        return stat.S_ISCHR(Path(path).stat().st_mode)
    except OSError:
        return False
