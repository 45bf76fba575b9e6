"""connectors.logs.journal_entry: entries as journalctl prints them."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.logs.journal_entry import parse_entry

AT = datetime(2026, 11, 20, 16, 51, 52, 525487, tzinfo=UTC)
MICROS = str(int(AT.timestamp()) * 1_000_000 + 525_487)


def entry(**fields: object) -> bytes:
    """An entry with cursor and time."""
    return json.dumps({"__CURSOR": "s=1;i=2", "__REALTIME_TIMESTAMP": MICROS, **fields}).encode()


def test_plain_entry() -> None:
    """Cursor, time and message."""
    parsed = parse_entry(entry(MESSAGE="hello", _SYSTEMD_UNIT="docker.service"))
    assert (parsed.cursor, parsed.at, parsed.text, parsed.damaged) == ("s=1;i=2", AT, "hello", False)
    assert not parsed.by_kernel
    assert not parsed.of_container


@pytest.mark.parametrize(
    ("message", "text", "damaged"),
    [
        ([104, 105, 32, 255], "hi \ufffd", True),
        (list(b"\x1b[31mred"), "\x1b[31mred", False),
        ("two\nlines", "two lines", False),
        ("nul \u0000 byte", "nul  byte", True),
        ("\ud800", "?", False),
        (["first", "second"], "first", False),
        ([[104, 105], "second"], "hi", False),
        (None, None, False),
        ([300], None, True),
        ([-1, 2], None, True),
        ([], "", False),
        ({"nested": {"junk": []}}, None, True),
        (7, None, True),
        ([[["deep"]]], None, True),
    ],
)
def test_message(message: object, text: str | None, damaged: bool) -> None:
    """A message is text, bytes, several of those, or nothing; anything else cannot be read."""
    parsed = parse_entry(entry(MESSAGE=message))
    assert (parsed.text, parsed.damaged) == (text, damaged)


def test_no_message() -> None:
    """An entry without a message still moves the cursor."""
    assert parse_entry(entry()).text is None


def test_container_output_is_no_evidence() -> None:
    """What a container prints reaches journald through dockerd, under dockerd's unit: it is distinguished."""
    assert parse_entry(entry(MESSAGE="BOOM", _SYSTEMD_UNIT="docker.service", CONTAINER_ID="abc")).of_container


@pytest.mark.parametrize(
    ("fields", "unit"),
    [
        ({}, "docker.service"),
        ({"_TRANSPORT": "syslog"}, ""),
        ({"_TRANSPORT": "journal"}, ""),
        ({"_TRANSPORT": None}, ""),
        ({"_SYSTEMD_UNIT": ["docker.service", "x"]}, ""),
        ({"_SYSTEMD_CGROUP": "/system.slice/docker.service"}, "docker.service"),
        ({"_SYSTEMD_CGROUP": "/system.slice/docker.service/docker/" + "a1" * 32}, ""),
        ({"UNIT": "docker.service", "_SYSTEMD_UNIT": "init.scope"}, "init.scope"),
    ],
)
def test_only_what_a_unit_s_own_process_prints_is_its_word(fields: dict[str, object], unit: str) -> None:
    """The log driver `syslog` of dockerd sends what containers print by the socket of syslog, under dockerd's own unit."""
    own = {"MESSAGE": "x", "_TRANSPORT": "stdout", "_SYSTEMD_UNIT": "docker.service"}
    assert parse_entry(entry(**own | fields)).own_unit == unit


def test_kernel_entry() -> None:
    """The kernel's own records have its transport and facility 0, and the time at which they were said."""
    fields = {"_TRANSPORT": "kernel", "__MONOTONIC_TIMESTAMP": "9000000", "_SOURCE_MONOTONIC_TIMESTAMP": "4000000"}
    parsed = parse_entry(entry(MESSAGE="x", SYSLOG_FACILITY="0", **fields))
    assert parsed.by_kernel
    assert parsed.at == AT - timedelta(seconds=5)
    assert not parse_entry(entry(MESSAGE="x", SYSLOG_FACILITY="1", **fields)).by_kernel
    assert not parse_entry(entry(MESSAGE="x", SYSLOG_FACILITY="0")).by_kernel


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"__CURSOR": 1}',
        b'{"__CURSOR": "s=1"}',
        b'{"__CURSOR": "s=1", "__REALTIME_TIMESTAMP": "-5"}',
        b'{"__CURSOR": "s=1", "__REALTIME_TIMESTAMP": "99999999999999999999999"}',
        b'{"__CURSOR": "s=1", "__REALTIME_TIMESTAMP": 12}',
        b"[" * 100_000,
        b"\xff\xfe",
    ],
)
def test_no_entry(line: bytes) -> None:
    """What is no entry is refused, also when it is nested beyond all measure."""
    with pytest.raises(ValueError):  # noqa: PT011 -- that it is refused is all that is promised
        parse_entry(line)


@given(
    st.dictionaries(
        st.sampled_from(["__CURSOR", "__REALTIME_TIMESTAMP", "MESSAGE", "_TRANSPORT"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text() | st.floats(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        ),
    )
)
def test_any_object(data: dict[str, object]) -> None:
    """Whatever the object: an entry or a ValueError."""
    try:
        parse_entry(json.dumps(data).encode())
    except ValueError:
        return
