"""Follows one log file by name: growth, rotation, truncation, disappearance and return. Synchronous; the caller sets the pace.

Rotation by renaming: the writer goes on in the old file until it is told to reopen, so the old one is read until the new one has
something in it, then once more to its end. Truncation is seen by the length, or by other first bytes when the file has already
grown beyond where reading stood; what a copy beside it still holds is read first.
"""

import os
from datetime import datetime, timedelta
from zlib import crc32

from connectors.logs.rotation import LogFile, Place, Stretch, find_rest
from connectors.sources.lines import LINE_BYTES, LineSplitter
from connectors.sources.status import SourceStatus
from engine.errors import SourceError

CHUNK_BYTES = 32_768
"""Read at once. About 250 lines: with 10 microseconds of parsing a line, 2.5 ms, for which nothing else of the process runs."""

CATCH_UP_BYTES = 64 << 20
"""How far behind the end of a file reading is taken up. More is some 600,000 lines of a sidecar that was away for long: event
facts of that age have expired, and lines without a date in them would be taken for new."""

GONE = timedelta(seconds=5)
"""A file may be missing for so long (between rename and create) before it counts as lost."""

Line = tuple["LinePlace", bytes]


class LinePlace:
    """Where one line stands: its file, its offset, and a checksum of it, because offsets and inodes are used again."""

    __slots__ = ("file", "offset", "raw")

    def __init__(self, file: LogFile, offset: int, raw: bytes) -> None:
        self.file = file
        self.offset = offset
        self.raw = raw

    @property
    def label(self) -> str:
        """`inode-offset-checksum`: the same for the same line, read again."""
        return f"{self.file.inode}-{self.offset}-{crc32(self.raw):08x}"


class Follower:
    """The state of following. `read` gives the next lines, `look` notices what became of the file when there are none."""

    def __init__(self, path: str, status: SourceStatus) -> None:
        self._path = path
        self._status = status
        self._file: LogFile | None = None
        self._lines = LineSplitter()
        self._at_end = True
        self._settled = True
        self._next: list[Stretch] = []
        self._missing_since: datetime | None = None
        self._absent = False
        self._resume: Place | None = None
        self._begun = False

    def begin(self, cursor: str | None, now: datetime) -> None:
        """Take up reading at the cursor; without one, at the end of what is there.

        Old lines report problems that may be long over, and what is still wrong is found by listing. A file that appears later
        is read from its beginning. One that is there and cannot be opened decides nothing: `look` tries again.

        Raises:
            OSError: it cannot be read; `look` tries again.
        """
        place = Place.from_cursor(cursor)
        self._resume = place if place is not None and place.path == self._path else None
        self._take_up(now)

    def _take_up(self, now: datetime) -> bool:
        """Find where to begin. False while there is nothing to read."""
        current = self._open_current(now)
        if current is None and not self._absent:
            return False
        place = self._resume
        rest = None if place is None else find_rest(place)
        if rest is not None:
            if current is not None:
                current.close()
            self._next = rest[1:]
            self._start(self._within_reach(rest[0], now))
        elif current is not None and place is None and not self._begun:
            self._start(Stretch(current, _last_line_start(current)))
        elif current is not None:
            self._start(self._within_reach(Stretch(current, 0), now))
        if place is not None and rest is None:
            self._status.gap(now, f"the rest of the log that was read last ({self._path}, from byte {place.offset} on) is gone")
        self._resume, self._begun = None, True
        return current is not None or rest is not None

    @property
    def file(self) -> LogFile | None:
        """The file that is read now."""
        return self._file

    @property
    def settled(self) -> bool:
        """That file bears the name. Otherwise it was renamed or deleted, and another one is to be expected."""
        return self._settled

    def close(self) -> None:
        """Close every file."""
        for stretch in self._next:
            stretch.file.close()
        self._next = []
        if self._file is not None:
            self._file.close()
            self._file = None

    def place(self) -> Place | None:
        """Where to read on after a restart: at the first line that is not complete. None before there was a file."""
        return None if self._file is None else self._file.place(self._lines.offset)

    def read(self, now: datetime) -> list[Line] | None:
        """The next lines; an empty list when what was read completes none; None at the end of what there is.

        Raises:
            OSError: the file cannot be read.
        """
        file = self._file
        if file is None:
            return None
        read_to = self._lines.read_to
        if self._at_end:
            # Something came, or it was truncated; `look` finds out which.
            size = file.size()
            if size <= read_to or not file.is_the_same():
                return None
            self._at_end = False
        chunk = file.read(read_to, CHUNK_BYTES)
        if not chunk:
            self._at_end = True
            return None
        return self._with_places(file, self._lines.feed(chunk), now)

    def look(self, now: datetime) -> list[Line] | None:
        """At the end of the file: see whether reading goes on elsewhere.

        The last line of a file that is left, where it has no newline, or an empty list; None when there is nothing new.

        Raises:
            OSError: the file cannot be looked at.
        """
        if self._file is None:
            return [] if self._take_up(now) else None
        if self._next:
            return self._leave(self._file, now)
        return self._look_at(self._file, now)

    def _look_at(self, file: LogFile, now: datetime) -> list[Line] | None:
        size = file.size()
        read_to = self._lines.read_to
        if size < read_to or not file.is_the_same():
            return self._truncated(file, now)
        try:
            named = os.stat(self._path)  # noqa: PTH116 -- often: no path object each time
        except OSError as error:
            self._settled = False
            self._missing(now, error)
            return None
        self._missing_since = None
        self._status.ok(now)
        self._settled = (named.st_dev, named.st_ino) == (file.device, file.inode)
        if self._settled or not named.st_size or size > read_to:
            return None
        # Another file bears the name and has something in it.
        current = self._open_current(now)
        if current is None:
            return None
        self._next = [*self._rotated_after(file), Stretch(current, 0)]
        return self._leave(file, now)

    def _rotated_after(self, file: LogFile) -> list[Stretch]:
        """Files that came and went between two looks."""
        rest = find_rest(file.place(self._lines.read_to)) or []
        for stretch in rest[:1]:
            stretch.file.close()
        same = bool(rest) and rest[0].file.inode == file.inode
        if not same:
            for stretch in rest[1:]:
                stretch.file.close()
        return rest[1:] if same else []

    def _truncated(self, file: LogFile, now: datetime) -> list[Line]:
        """First what a copy beside it still holds, then this file from its beginning."""
        # Not the file itself: its length or its first bytes are others now, and so `find_rest` passes it by.
        stretches = find_rest(file.place(self._lines.offset))
        # With a copy the line that was not complete is read again, from there, whole.
        lines = self._with_places(file, self._lines.end(), now) if stretches is None else []
        file.learn_head()
        self._next = [*(stretches or []), Stretch(file, 0)]
        self._start(self._next.pop(0))
        return lines

    def _leave(self, file: LogFile, now: datetime) -> list[Line]:
        lines = self._with_places(file, self._lines.end(), now)
        file.close()
        self._start(self._next.pop(0))
        return lines

    def _start(self, stretch: Stretch) -> None:
        self._file = stretch.file
        self._lines = LineSplitter(stretch.offset)
        self._at_end = True
        self._settled = True
        self._missing_since = None

    def _with_places(self, file: LogFile, lines: list[tuple[int, bytes]], now: datetime) -> list[Line]:
        if self._lines.cut:
            self._status.damage(now, f"{self._path}: lines longer than {LINE_BYTES} bytes were cut", self._lines.cut)
            self._lines.cut = 0
        return [(LinePlace(file, offset, raw), raw) for offset, raw in lines]

    def _within_reach(self, stretch: Stretch, now: datetime) -> Stretch:
        behind = stretch.file.size() - stretch.offset
        if behind <= CATCH_UP_BYTES:
            return stretch
        offset = stretch.file.size() - CATCH_UP_BYTES
        offset += stretch.file.read(offset, LINE_BYTES).find(b"\n") + 1
        self._status.gap(now, f"{self._path}: {offset - stretch.offset} bytes were skipped, reading was too far behind")
        return Stretch(stretch.file, offset)

    def _open_current(self, now: datetime) -> LogFile | None:
        try:
            file = LogFile(self._path)
        except (OSError, SourceError) as error:
            self._absent = isinstance(error, FileNotFoundError)
            self._missing(now, error)
            return None
        self._status.ok(now)
        return file

    def _missing(self, now: datetime, error: Exception) -> None:
        if self._missing_since is None:
            self._missing_since = now
        # Somebody who was never there is missed at once; one who was may be about to return.
        if self._file is None or now - self._missing_since >= GONE:
            self._status.lose(now, f"{advice(self._path, error)}; trying again")


def _last_line_start(file: LogFile) -> int:
    """The end of the file or, when its last line is not complete, where that begins: it will be a new line."""
    size = file.size()
    begin = max(0, size - LINE_BYTES)
    newline = file.read(begin, size - begin).rfind(b"\n")
    if newline < 0 and begin:
        return size
    return begin + newline + 1


def advice(path: str, error: Exception) -> str:
    """What is wrong with a log that cannot be read, and what to do."""
    if isinstance(error, FileNotFoundError):
        return f"{path} does not exist; name the log in the settings (a file, `journald`, or `off`)"
    if isinstance(error, PermissionError):
        return f"{path} may not be read; run as root, or let the sidecar's user read it"
    if isinstance(error, OSError):
        return f"{path} cannot be read: {error.strerror or error}"
    return f"{error}; name a log file in the settings"
