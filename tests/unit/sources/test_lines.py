"""connectors.sources.lines: bytes into lines."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.sources.lines import LineSplitter
from connectors.sources.text import decode

STREAMS = st.lists(st.sampled_from([b"\n", b"a", b"bcd", b"\r", b"\0", b"\xff", b"x" * 20]), max_size=40).map(b"".join)


@given(stream=STREAMS, cuts=st.lists(st.integers(min_value=0, max_value=200), max_size=8), begin=st.integers(0, 1000))
def test_cut_anywhere(stream: bytes, cuts: list[int], begin: int) -> None:
    """However the stream is cut into chunks, the lines and their offsets are the same, and every byte is accounted for."""
    edges = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    splitter = LineSplitter(begin)
    lines = [line for first, last in pairwise(edges) for line in splitter.feed(stream[first:last])]
    assert [raw for _, raw in lines] == stream.split(b"\n")[:-1]
    assert all(stream[offset - begin :].startswith(raw + b"\n") for offset, raw in lines)
    assert splitter.read_to == begin + len(stream)
    assert splitter.offset == begin + stream.rfind(b"\n") + 1
    rest = stream[stream.rfind(b"\n") + 1 :]
    assert splitter.end() == ([(begin + len(stream) - len(rest), rest)] if rest else [])


@pytest.mark.parametrize("step", [1, 7, 64, 1000])
def test_long_line_is_cut(step: int) -> None:
    """A line beyond the limit is cut to it and counted once, however it comes; the next line is whole and in its place."""
    stream = b"y" * 100 + b"\nnext\n"
    splitter = LineSplitter(limit=10)
    lines = [line for first in range(0, len(stream), step) for line in splitter.feed(stream[first : first + step])]
    assert lines == [(0, b"y" * 10), (101, b"next")]
    assert splitter.cut == 1


def test_endless_line_keeps_little() -> None:
    """64 MiB without a newline take no more memory than the limit."""
    splitter = LineSplitter(limit=1000)
    for _ in range(1024):
        assert splitter.feed(b"z" * 65_536) == []
    assert len(splitter._kept) == 1000
    assert splitter.end() == [(0, b"z" * 1000)]


@pytest.mark.parametrize(
    ("raw", "text", "damaged"),
    [
        (b"plain", "plain", False),
        ("gr\u00fcn \u2713".encode(), "gr\u00fcn \u2713", False),
        (b"end\r", "end", False),
        (b"\x1b[31mred\x1b[0m", "\x1b[31mred\x1b[0m", False),
        (b"a\0b", "ab", True),
        (b"\xff\xfe", "\ufffd\ufffd", True),
        (b"cut \xe2\x9c", "cut \ufffd", True),
        (b"", "", False),
    ],
)
def test_decode(raw: bytes, text: str, damaged: bool) -> None:
    """Broken UTF-8 and NUL bytes are replaced and said; colours and accents are ordinary."""
    assert decode(raw) == (text, damaged)
