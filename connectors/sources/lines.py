"""Bytes into lines, whatever the bytes: bounded, with the offset of each line. The one splitter of all sources; sans-I/O.

No line grows beyond the limit, however long its end does not come; what was longer is cut or left out, and counted. (aiohttp's
own line iteration fails on lines above 128 KiB (3.13) or 512 KiB (3.14), and a container with large labels makes one.)
"""

LINE_BYTES = 65_536
"""Bytes of one line that are kept. Nothing that a kernel, a daemon or a kubelet reports needs more; what is longer is cut."""


class LineSplitter:
    """Cuts a stream of bytes at newlines. `offset` counts the stream's bytes from where it began."""

    def __init__(self, offset: int = 0, limit: int = LINE_BYTES, *, leave_out: bool = False) -> None:
        """At this offset of the stream. `leave_out`: lines beyond the limit are left out instead of shortened."""
        self._limit = limit
        self._leave_out = leave_out
        self._begin = offset
        self._length = 0
        self._kept = bytearray()
        self.cut = 0
        """Lines that were longer than the limit, so far."""

    @property
    def offset(self) -> int:
        """Where the line begins that is not complete yet: where to read on after a restart."""
        return self._begin

    @property
    def read_to(self) -> int:
        """How far the stream was read."""
        return self._begin + self._length

    def feed(self, chunk: bytes) -> list[tuple[int, bytes]]:
        """The lines that are complete now, each with the offset of its first byte and without its newline."""
        pieces = chunk.split(b"\n")
        rest = pieces.pop()
        lines: list[tuple[int, bytes]] = []
        if pieces:
            self._grow(pieces[0])
            lines += self._take(newline=1)
            begin, limit = self._begin, self._limit
            for piece in pieces[1:]:
                length = len(piece)
                if length <= limit:
                    lines.append((begin, piece))
                else:
                    lines += self._too_long(begin, piece[:limit])
                begin += length + 1
            self._begin = begin
        self._grow(rest)
        return lines

    def end(self) -> list[tuple[int, bytes]]:
        """The stream has ended for good: what stands without a newline is a line, too."""
        return self._take(newline=0) if self._length else []

    def _too_long(self, begin: int, kept: bytes) -> list[tuple[int, bytes]]:
        self.cut += 1
        return [] if self._leave_out else [(begin, kept)]

    def _grow(self, piece: bytes) -> None:
        self._length += len(piece)
        room = self._limit - len(self._kept)
        if room > 0:
            self._kept += piece[:room]

    def _take(self, newline: int) -> list[tuple[int, bytes]]:
        begin, kept = self._begin, bytes(self._kept)
        lines = [(begin, kept)] if self._length <= self._limit else self._too_long(begin, kept)
        self._begin += self._length + newline
        self._length = 0
        self._kept.clear()
        return lines
