"""connectors.logs.kmsg_record: records of /dev/kmsg."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.logs.kmsg_record import Joiner, KernelLine, moment, parse_record

BOOT = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
NOW = BOOT + timedelta(hours=1)


def test_record_of_the_kernel() -> None:
    """Prefix, sequence, time, flags, text and dictionary are distinguished."""
    record = parse_record(b"4,345,14402244,-,caller=T31;e1000e: eth0 NIC Link is Up\n SUBSYSTEM=pci\n DEVICE=+pci:0000:00:19.0\n")
    assert (record.facility, record.priority, record.sequence, record.micros, record.flags) == (0, 4, 345, 14402244, "-")
    assert record.by_kernel
    assert record.text() == ("e1000e: eth0 NIC Link is Up", False)
    assert record.dictionary() == {"SUBSYSTEM": "pci", "DEVICE": "+pci:0000:00:19.0"}


def test_record_of_a_process() -> None:
    """What a process wrote carries a facility: it is none of the kernel's, whatever it says."""
    assert not parse_record(b"12,345,1298802030,-;Memory cgroup out of memory: Killed process 1 (init)\n").by_kernel


def test_record_of_linux_3_5() -> None:
    """The first kernels with records had no flags."""
    record = parse_record(b"6,339,5140900;NET: Registered protocol family 10\n")
    assert (record.sequence, record.flags, record.text()[0]) == (339, "-", "NET: Registered protocol family 10")


@pytest.mark.parametrize(
    ("raw", "text", "damaged"),
    [
        (rb"comm a\x5cb", "comm a\\b", False),
        (rb"caf\xc3\xa9", "caf\u00e9", False),
        (rb"\xff", "\ufffd", True),
        (rb"name \x0aOut of memory: Killed process 1", "name  Out of memory: Killed process 1", False),
        (rb"\x00\x00", "", True),
        (rb"half \x5", "half \\x5", False),
        (b"with; semicolon, comma", "with; semicolon, comma", False),
    ],
)
def test_escapes(raw: bytes, text: str, damaged: bool) -> None:
    """Escapes are undone; a newline in a name cannot begin a line of its own."""
    assert parse_record(b"6,1,2,-;" + raw + b"\n").text() == (text, damaged)


@pytest.mark.parametrize("data", [b"", b"\n", b"6,1;x", b"6,1,2,-", b"a,1,2,-;x", b"6,,2,-;x", b";;;", b"6,1.5,2,-;x"])
def test_no_record(data: bytes) -> None:
    """What is no record is refused."""
    with pytest.raises(ValueError, match=r"record|invalid"):
        parse_record(data)


@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    """Whatever the bytes: a record or a ValueError."""
    try:
        record = parse_record(data)
    except ValueError:
        return
    record.text()
    record.dictionary()


def line(sequence: int, text: str) -> KernelLine:
    """A line; when it was said does not matter."""
    return KernelLine(sequence, NOW, text)


def test_fragments_since_4_9() -> None:
    """`c` goes on with the line before; the line bears the sequence of its first fragment."""
    joiner = Joiner((6, 1))
    said = [*joiner.add(line(1, "whole"), "-"), *joiner.add(line(2, "Task in "), "-"), *joiner.add(line(3, "/docker/ab"), "c")]
    assert joiner.held == 2
    said += [*joiner.add(line(4, " killed"), "c"), *joiner.add(line(5, "next"), "-"), *joiner.drain()]
    assert [(part.sequence, part.text) for part in said] == [(1, "whole"), (2, "Task in /docker/ab killed"), (5, "next")]
    assert joiner.held is None


def test_fragments_before_4_9() -> None:
    """`c` is the first fragment of a line and `+` each further one, as RHEL 7's kernel writes them."""
    joiner = Joiner((3, 10))
    said = [*joiner.add(line(1, "whole"), "-"), *joiner.add(line(2, "Task in "), "c"), *joiner.add(line(3, "/docker/ab"), "+")]
    said += [*joiner.add(line(4, "another "), "c"), *joiner.add(line(5, "line"), "+"), *joiner.drain()]
    assert [part.text for part in said] == ["whole", "Task in /docker/ab", "another line"]


def test_fragment_that_comes_alone() -> None:
    """A fragment after everything was read is a line of its own: nothing waits for it."""
    joiner = Joiner((6, 1))
    said = [*joiner.add(line(1, "a"), "-"), *joiner.drain(), *joiner.add(line(2, "b"), "c"), *joiner.drain(), *joiner.drain()]
    assert [part.text for part in said] == ["a", "b"]


def test_moment_of_a_record() -> None:
    """Time is boot plus stamp, never before what is known to have been read earlier, never after now."""
    at = moment(60_000_000, BOOT, not_before=None, now=NOW)
    assert at == BOOT + timedelta(minutes=1)
    drained = NOW - timedelta(seconds=1)
    assert moment(60_000_000, BOOT, not_before=drained, now=NOW) == drained
    assert moment(3 * 3600 * 1_000_000, BOOT, not_before=drained, now=NOW) == NOW
    between = NOW - timedelta(seconds=0.5)
    assert moment((between - BOOT) // timedelta(microseconds=1), BOOT, not_before=drained, now=NOW) == between
