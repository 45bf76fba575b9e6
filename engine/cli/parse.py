"""`dockwarden parse`."""

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from io import RawIOBase
from typing import Literal

from engine.logparse import LineParser

LINE_BYTES = 1024 * 1024
"""A longer line is looked at as far as this: what says what it is stands at its beginning."""

_BLOCK_BYTES = 64 * 1024
"""Read at once: what a pipe of Linux holds (pipe(7)). Some 400 lines; to decode, write and ask the clock for each costs as much
as half of them cost to parse."""


def parse_lines(source: Literal["kernel", "dockerd", "kubelet"]) -> int:
    """One JSON value for each line of standard input, in UTF-8 whatever the locale; written as soon as what came is read."""
    feed = LineParser(source).feed
    out = sys.stdout.buffer
    with open(sys.stdin.fileno(), "rb", buffering=0, closefd=False) as stream:
        for lines in _blocks(stream):
            now = datetime.now(UTC)
            # Decoding has replaced what UTF-8 has no form for, so nothing in a fact can keep it from being JSON.
            answers = ["null" if (fact := feed(line, now)) is None else fact.to_json() for line in lines]
            out.write("\n".join([*answers, ""]).encode())
            out.flush()
    return 0


def _blocks(stream: RawIOBase) -> Iterator[list[str]]:
    """The lines that came at once, without their ends; the long ones cut: something that never ends a line fills no memory."""
    begun = b""  # a line whose end has not come
    while block := stream.read(_BLOCK_BYTES):
        ended, newline, rest = block.rpartition(b"\n")
        if not newline:
            begun = (begun + block)[:LINE_BYTES]
            continue
        yield _lines(begun + ended)
        begun = rest
    if begun:
        yield _lines(begun)


def _lines(raw: bytes) -> list[str]:
    if len(raw) > LINE_BYTES:
        raw = b"\n".join(line[:LINE_BYTES] for line in raw.split(b"\n"))
    return [line.rstrip("\r") for line in raw.decode("utf-8", "replace").split("\n")]
