"""Bytes into lines, whatever the bytes: bounded, with the offset of each line. Pure.

No line grows beyond the limit, however long its end does not come; what was cut is counted.
"""

LINE_BYTES = 65_536
"""Bytes of one line that are kept. Nothing that a kernel, an engine or a kubelet reports needs more; what is longer is cut."""


class LineSplitter:
    """Cuts a stream of bytes at newlines. `offset` counts the stream's bytes from where it began."""

    def __init__(self, offset: int = 0, limit: int = LINE_BYTES) -> None:
        self._limit = limit
        self._begin = offset
        self._length = 0
        self._kept = bytearray()
        self.cut = 0
        """Lines that were longer than the limit, so far; each was shortened to it."""

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
            lines.append(self._take(newline=1))
            begin, limit = self._begin, self._limit
            for piece in pieces[1:]:
                length = len(piece)
                if length > limit:
                    self.cut += 1
                    piece = piece[:limit]  # noqa: PLW2901 -- the loop has no other use for the whole of it
                lines.append((begin, piece))
                begin += length + 1
            self._begin = begin
        self._grow(rest)
        return lines

    def end(self) -> list[tuple[int, bytes]]:
        """The stream has ended for good: what stands without a newline is a line, too."""
        return [self._take(newline=0)] if self._length else []

    def _grow(self, piece: bytes) -> None:
        self._length += len(piece)
        room = self._limit - len(self._kept)
        if room > 0:
            self._kept += piece[:room]

    def _take(self, newline: int) -> tuple[int, bytes]:
        line = (self._begin, bytes(self._kept))
        self.cut += self._length > self._limit
        self._begin += self._length + newline
        self._length = 0
        self._kept.clear()
        return line


def decode(raw: bytes) -> tuple[str, bool]:
    """A line as text, and whether it was damaged.

    Damaged is what is not valid UTF-8 or has NUL bytes in it (a crash or a truncated file leaves them behind). Broken bytes
    become U+FFFD, NUL bytes go, and so does a carriage return at the end.
    """
    damaged = False
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        text = raw.decode(errors="replace")
        damaged = True
    if "\0" in text:
        text = text.replace("\0", "")
        damaged = True
    return text.rstrip("\r"), damaged
