"""`dockwarden parse`."""

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import BinaryIO, Literal

from connectors.parsers import LineParser

LINE_BYTES = 1024 * 1024
"""A longer line is looked at as far as this: what says what it is stands at its beginning."""


def parse_lines(source: Literal["kernel", "dockerd", "kubelet"]) -> int:
    """One JSON value for each line of standard input, in UTF-8 whatever the locale."""
    parser = LineParser(source)
    out = sys.stdout.buffer
    for raw in _lines(sys.stdin.buffer):
        line = raw.decode("utf-8", "replace").rstrip("\r\n")
        fact = parser.feed(line, datetime.now(UTC))
        # Decoding has replaced what UTF-8 has no form for, so nothing in the fact can keep it from being JSON.
        out.write(b"null\n" if fact is None else fact.to_json().encode() + b"\n")
    out.flush()
    return 0


def _lines(stream: BinaryIO) -> Iterator[bytes]:
    """Lines, the long ones cut: something that never ends a line fills no memory."""
    while line := stream.readline(LINE_BYTES):
        yield line
        while len(line) == LINE_BYTES and not line.endswith(b"\n"):
            line = stream.readline(LINE_BYTES)
