"""What stands before a kernel message."""

from datetime import UTC, datetime

import pytest

from engine.logparse.framing import Frame, clean, may_follow, unwrap_kernel
from tests.unit.logparse.support import answer, says

MESSAGE = "VFS: file-max limit 9 reached"

PREFIXES = [
    "",
    "[   12.345678] ",
    "[12345.678901] ",
    "[   12.345678][    T1] ",
    "[   12.345678] [ C3] ",
    "<4>[   12.345678] ",
    "<4>",
    "[   12.345678 <    0.000012>] ",
    "[  +0.000950] ",
    "[ +42.975903] ",
    "[Apr14 02:46] ",
    "[4月14 02:46] ",
    "[Thu Apr  1 16:45:10 2021] ",
    "[四 3月 18 18:47:12 2021] ",
    "[Do Mär 18 18:47:12 2021] ",
    "2021-04-01T16:45:10,123456+02:00 ",
    "kern  :warn  : [   12.345678] ",
    "kern  :err   : 2021-04-01T16:45:10,123456+02:00 ",
    "4,1234,12345678,-;",
    "6,1234,12345678,-,caller=T31;",
    "Jun  8 03:03:28 node kernel: ",
    "Jun  8 03:03:28 node kernel: [88820.247535] ",
    "Jun  8 03:03:28 [node hostname] kernel: [88820.247535] ",
    "Jun  8 03:03:28.123456 node kernel: ",
    "12月 25 21:16:17 node kernel: ",
    "166255 Apr 18 00:37:34   kernel: [14049899.298773] ",
    "Thu 2021-04-01 16:45:10 UTC node kernel: ",
    "2021-04-01T16:45:10.123456+02:00 node kernel: ",
    "2021-04-01T16:45:10+0200 node kernel: [   12.345678] ",
    "2021-04-01 16:45:10 node kernel: ",
    "<4>1 2021-04-01T16:45:10Z node kernel - - - ",
    "Jan  1 00:00:00 node kern.warn kernel: [   12.345678] ",
    "[   12.345678] node kernel: ",
    "node kernel: ",
    "1529034124.123456 node kernel: ",
    "1529034124 node kernel: [88820.247535] ",
    "1529034124.123456 node [88820.247535] ",
    "1529034124 [88820.247535] ",
    "2021-04-01T16:45:10.123456+02:00 node [   12.345678] ",
    "Jun  8 03:03:28 node [88820.247535] ",
    "[Thu Apr  1 16:45:10 2021] [   12.345678] ",
    "[2021-04-01 16:45:10] [   12.345678] ",
    "[2021-04-01T16:45:10.123456+02:00] [88820.247535] ",
    "[88820.247535] [88820.247536] ",
    "[ 9453.578188 ] ",
    "kernel:: ",
    "Jun  8 03:03:28 node kernel:: [88820.247535] ",
    "Jun  8 03:03:28 node kernel: : [88820.247535] ",
    "Jun  8 03:03:28 node kernel:: ",
    "2016-07-29 17:09:06 +0000 UTC kern.err kernel: [   12.345678] ",
    "2025 Apr 28 05:18:18.739295 sonic INFO kernel: [  932.470402] ",
    "node login: [   12.345678] ",
    '<4>1 2021-04-01T16:45:10Z node kernel - - [meta sequenceId="7"] ',
    "Apr  1 16:45:10 mac com.docker.driver.amd64-linux[321]: [   12.345678] ",
    "Apr  1 16:45:10 mac com.docker.hyperkit[321] <Notice>: moby-console: [   12.345678] ",
    "default\t16:45:10.123456 +0200\tcom.docker.hyperkit\t[   12.345678] ",
    "2021-04-01 16:45:10.123456+0200 0x1a2b Default 0x0 321 0 com.docker.hyperkit: [   12.345678] ",
    " kernel:",
    "kernel: ",
]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_prefix(prefix: str) -> None:
    """The message is found behind every form of prefix."""
    says(answer("kernel", prefix + MESSAGE), "file_max", {"limit": 9})


@pytest.mark.parametrize(
    "prefix",
    [
        "12,345,678,-;",
        "14,1234,12345678,-;",
        "<12>",
        "<13>Jun  8 03:03:28 node kernel: ",
        "user  :warn  : [   12.345678] ",
        "daemon:info  : ",
        "Jan  1 00:00:00 node user.warn kernel: ",
        "Jun  8 03:03:28 node logger[1]: ",
        "Jun  8 03:03:28 node logger[1]: kernel: ",
        "Jun  8 03:03:28 node logger[1]: [88820.247535] ",
        "Jun  8 03:03:28 node 0123456789ab[1]: [88820.247535] ",
        "1529034124.123456 node logger[1]: ",
        "1529034124.123456 node logger[1]: [88820.247535] ",
        "2021-04-01T16:45:10.123456789Z stderr F ",
        "2021-04-01T16:45:10.123456789Z stderr F [   12.345678] ",
        "2021-04-01T16:45:10.123456789Z stdout F kernel: ",
        'time="2021-04-01T16:45:10Z" level=error msg="[   12.345678] ',
        "web_1  | [   12.345678] ",
        "type=USER_CMD msg=audit(1529034124.123:7): ",
    ],
)
def test_foreign_writer(prefix: str) -> None:
    """What a process wrote to /dev/kmsg or to syslog is no evidence."""
    assert answer("kernel", prefix + MESSAGE) is None


@pytest.mark.parametrize(
    ("prefix", "at"),
    [
        ("2021-04-01T16:45:10.123456+02:00 node kernel: ", datetime(2021, 4, 1, 14, 45, 10, 123456, tzinfo=UTC)),
        ("2021-04-01T16:45:10Z node kernel: ", datetime(2021, 4, 1, 16, 45, 10, tzinfo=UTC)),
        ("2021-04-01T16:45:10,5-0130 ", datetime(2021, 4, 1, 18, 15, 10, 500000, tzinfo=UTC)),
        ("Thu 2021-04-01 16:45:10 UTC node kernel: ", datetime(2021, 4, 1, 16, 45, 10, tzinfo=UTC)),
        ("2021-04-01T16:45:10 node kernel: ", None),
        ("[Thu Apr  1 16:45:10 2021] ", None),
        ("Jun  8 03:03:28 node kernel: ", None),
        ("2021-13-01T16:45:10Z node kernel: ", None),
        ("0001-01-01T00:00:00+14:00 node kernel: ", None),
    ],
)
def test_time(prefix: str, at: datetime | None) -> None:
    """A time is taken from the line only when date, time and zone are all there and make sense."""
    frame = unwrap_kernel(prefix + MESSAGE)
    assert frame is not None
    assert frame.at == at


def test_kmsg_escapes() -> None:
    """Bytes that /dev/kmsg writes as escapes are put together again, and control characters among them replaced."""
    frame = unwrap_kernel(r"6,1,2,-;caf\xc3\xa9 a\x5cb \x1b[31m")
    assert frame is not None
    assert frame.text == "café a\\b"


def test_clean() -> None:
    """Colours go; control characters and half surrogates become U+FFFD; tabs and letters of any script stay."""
    assert clean("\x1b[31mä\tb\x00\udcff\x07\r\n") == "ä\tb\ufffd\ufffd\ufffd".replace("\t", "\t")


@pytest.mark.parametrize(
    ("earlier", "later", "expected"),
    [
        ("[  10.000000] a", "[  10.000001] b", True),
        ("[  10.000000] a", "[  16.000000] b", False),
        ("[  10.000000] a", "[   8.000000] b", False),
        ("[  10.000000] a", "Jun  8 03:03:28 node kernel: b", False),
        ("Jun  8 03:03:28 x kernel: a", "Jun  8 03:03:28 y kernel: b", False),
        ("Jun  8 03:03:28 x kernel: a", "Jun  8 03:03:30 x kernel: b", True),
        ("Jun  8 03:03:28 x kernel: a", "Jun  9 03:03:28 x kernel: b", False),
        ("Jun  8 23:59:59 x kernel: a", "Jun  9 00:00:01 x kernel: b", True),
        ("[Apr14 02:46] a", "[  +0.000006] b", True),
        ("[Apr14 02:46] a", "[ +42.000000] b", False),
        ("6,1,1000000,-;a", "6,2,1000009,-;b", True),
        ("6,1,1000000,-;a", "6,2,9000009,-;b", False),
        ("a", "b", True),
    ],
)
def test_may_follow(earlier: str, later: str, expected: bool) -> None:
    """Lines of one report share form and host and are seconds apart."""
    frames = [unwrap_kernel(line) for line in (earlier, later)]
    assert all(isinstance(frame, Frame) for frame in frames)
    assert may_follow(*(frame for frame in frames if frame is not None)) is expected
