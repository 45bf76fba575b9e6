"""What stands before a kernel message: takes it off, and says when and where the message was written.

Knows the forms of `dmesg` (util-linux, all `--time-format`s, `-x`), `/dev/kmsg` records, syslog in its many variants and
journalctl's output; knows no message. Pure.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Literal

MAX_LINE_CHARS = 65_536
"""Longer lines are cut before anything looks at them. The kernel's own limit is 1,024 bytes a record (PRINTK_MESSAGE_MAX in
kernel/printk/internal.h: 2,048); dockerd quotes whole request bodies, which tell nothing that the first 64 KiB do not."""

_UNPRINTABLE = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_COLOUR = re.compile(r"\x1b\[[0-9;]{0,16}m")


def clean(line: str) -> str:
    """The line without its end and colours, cut to `MAX_LINE_CHARS`; control characters and stray surrogates become U+FFFD."""
    line = line[:MAX_LINE_CHARS].rstrip("\r\n")
    if line.isprintable():
        return line
    return _UNPRINTABLE.sub("\ufffd", _COLOUR.sub("", line))


Clock = Literal["none", "uptime", "wall", "day", "delta"]
"""What `Frame.seconds` counts from: nothing; the boot; an unknown but fixed moment; midnight; the line before (dmesg -e)."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A kernel message and what was written before it."""

    text: str
    form: str = "bare"
    """How the line was written. Lines of one report are written in one form."""
    origin: str = ""
    """Host name in the prefix."""
    at: datetime | None = None
    """UTC, when the prefix bears a date, a time and a zone."""
    clock: Clock = "none"
    seconds: float = 0.0
    day: str = ""
    """The date as it is written, when `clock` is `day`."""


_KMSG = re.compile(r"(\d{1,10}),\d{1,20},(\d{1,18}),[^;]{1,64};", re.ASCII)
"""/dev/kmsg record: `priority,sequence,microseconds,flags[,caller=T1];message` (Documentation/ABI/testing/dev-kmsg)."""

_PRIORITY = re.compile(r"<(\d{1,3})>(?:1 (?=\d{4}-))?", re.ASCII)
"""Priority before a raw console line, or a syslog line (RFC 3164; RFC 5424 adds the version 1)."""

_DECODED = re.compile(r"([a-z]+\d?) *:(?:emerg|alert|crit|err|warn|notice|info|debug) *: ", re.ASCII)
"""`dmesg -x`: `kern  :warn  : `."""

_SYSLOG = re.compile(
    r"""
    (?:\d{4,10}\s+(?=[^\d\s]\S*\s+\d{1,2}\s))?                      # line number of an editor or pager
    (?:
        (?P<iso>\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?)(?P<zone>Z|[+-]\d\d:?\d\d)?
      | (?P<day>(?:\S{1,16}\s+){0,4}?)(?P<time>\d\d?:\d\d:\d\d(?:[.,]\d{1,9})?)
        (?:\s+\d{4})?(?P<utc>\s+(?:UTC|GMT))?(?:\s+(?:[A-Z]{2,5}|[+-]\d{4}))?
    )?
    \s*
    (?:(?P<host>[^\s:\[\]]{1,255}|\[[^\]]{1,64}\])\s+)?             # posters write [node hostname] for theirs
    (?:(?P<facility>[a-z]+\d?)\.[a-z]+\s+)?                         # busybox: kern.warn
    kernel(?:\[\d+\])?(?::|\ -\ -\ -|\ -\ -)\ ?
    """,
    re.ASCII | re.VERBOSE,
)

_BRACKET = re.compile(
    r"""
    \[\s*(?:
        (?P<uptime>\d{1,12}\.\d{1,9})(?:\s*<\s*[+-]?\d{1,12}\.\d{1,9}>)?       # [    1.234567], dmesg -d adds <    0.000012>
      | \+\s*(?P<delta>\d{1,12}\.\d{1,9})                                      # dmesg -e: [  +0.000950]
      | (?P<minute>[^\[\]:]{1,16}\s\d\d:\d\d)                                  # dmesg -e: [Apr14 02:46]
      | (?P<before>[^\[\]:]{3,32}?)(?P<time>\d\d:\d\d:\d\d)(?P<after>[^\[\]]{1,16})  # dmesg -T, in any language
    )\]\ ?
    """,
    re.ASCII | re.VERBOSE,
)

_ISO_DMESG = re.compile(r"(?P<iso>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d,\d{1,9})(?P<zone>Z|[+-]\d\d:?\d\d) ", re.ASCII)
"""`dmesg --time-format iso` writes a comma before the fraction, which no syslog does."""

_CALLER = re.compile(r"\[\s*[TC]\d{1,10}[^\]]{0,32}\] ?", re.ASCII)
"""CONFIG_PRINTK_CALLER: `[   T31]` a task, `[    C2]` a processor."""

_JOURNAL_TAG = re.compile(r"(?P<host>[^\s:\[\]]{1,255}) kernel: ", re.ASCII)
"""`journalctl -o short-monotonic`: `[  12.345678] host kernel: `."""

_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_ESCAPE = re.compile(rb"\\x([0-9a-fA-F]{2})")


def unwrap_kernel(line: str) -> Frame | None:
    """The message in a line of a kernel log; None when somebody other than the kernel wrote it.

    A process may write to /dev/kmsg; such records bear a facility above 0, which is a priority of 8 and more
    (kernel/printk/printk.c, devkmsg_write). Where the form shows the priority, they are told apart by it.
    """
    line = line.strip()
    if (record := _KMSG.match(line)) is not None:
        if int(record[1]) > 7:  # noqa: PLR2004 -- levels are 0 to 7, facilities count in eights above
            return None
        return Frame(_unescape(line[record.end() :]).strip(), "kmsg", clock="uptime", seconds=int(record[2]) / 1e6)
    if (priority := _PRIORITY.match(line)) is not None:
        if int(priority[1]) > 7:  # noqa: PLR2004
            return None
        line = line[priority.end() :]
    if (decoded := _DECODED.match(line)) is not None:
        if decoded[1] != "kern":
            return None
        line = line[decoded.end() :]
    if (syslog := _SYSLOG.match(line)) is not None:
        if syslog["facility"] not in (None, "kern"):
            return None
        return _after_bracket(line[syslog.end() :], _syslog_frame(syslog))
    if (iso := _ISO_DMESG.match(line)) is not None:
        at, seconds = _moment(iso["iso"], iso["zone"])
        return _after_caller(line[iso.end() :], Frame("", "iso", at=at, clock="wall", seconds=seconds))
    return _after_bracket(line, Frame(""))


def _syslog_frame(found: "re.Match[str]") -> Frame:
    host = found["host"] or ""
    if found["iso"]:
        at, seconds = _moment(found["iso"], found["zone"])
        return Frame("", "iso-syslog", host, at, "wall", seconds)
    if found["time"]:
        day = found["day"].strip()
        at = None
        if found["utc"] and (date := _DATE.search(day)):  # journalctl -o short-full: Thu 2021-04-01 16:45:10 UTC
            at, _ = _moment(f"{date[0]}T{found['time'].zfill(8)}", "Z")
        return Frame("", "syslog", host, at, "day", _of_day(found["time"]), day)
    return Frame("", "tagged", host)


def _after_bracket(line: str, before: Frame) -> Frame:
    found = _BRACKET.match(line)
    if found is None:
        return _after_caller(line, before)
    form = f"{before.form}+bracket"
    clock: Clock = "none"
    seconds, day = 0.0, ""
    if found["uptime"]:
        clock, seconds = "uptime", float(found["uptime"])
    elif found["delta"]:
        clock, seconds, form = "delta", float(found["delta"]), "human"
    elif found["minute"]:
        form = "human"
    else:
        clock, seconds, day, form = "day", _of_day(found["time"]), found["before"] + found["after"], "ctime"
    line = line[found.end() :]
    host = before.origin
    if not host and (tag := _JOURNAL_TAG.match(line)) is not None:
        host, line = tag["host"], line[tag.end() :]
    return _after_caller(line, Frame("", form, host, before.at, clock, seconds, day))


def _after_caller(line: str, frame: Frame) -> Frame:
    if (caller := _CALLER.match(line)) is not None:
        line = line[caller.end() :]
    return Frame(line.strip(), frame.form, frame.origin, frame.at, frame.clock, frame.seconds, frame.day)


def moment_utc(stamp: str, zone: str | None) -> datetime | None:
    """`2021-04-01T16:45:10[.fraction]` in a zone (`Z`, `+02:00`, `+0200`) as UTC; None without a zone or for what is no date."""
    return _moment(stamp, zone)[0]


def _moment(stamp: str, zone: str | None) -> tuple[datetime | None, float]:
    """The moment in UTC where the zone is known, and seconds that moments of the same zone can be compared by."""
    whole, _, fraction = stamp.replace(",", ".").partition(".")
    try:
        moment = datetime.strptime(whole.replace(" ", "T"), "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC)
        moment += timedelta(microseconds=int(fraction[:6].ljust(6, "0")))
        if zone is None:
            return None, moment.timestamp()
        if zone != "Z":
            sign = -1 if zone[0] == "-" else 1
            offset = sign * timedelta(hours=int(zone[1:3]), minutes=int(zone[-2:]))
            moment = moment.replace(tzinfo=timezone(offset)).astimezone(UTC)
        return moment, moment.timestamp()
    except (ValueError, OverflowError):  # month 13, offset 99:00, year 1 west of Greenwich
        return None, 0.0


def _of_day(time: str) -> float:
    hours, minutes, seconds = time.replace(",", ".").split(":")
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)


def _unescape(text: str) -> str:
    r"""/dev/kmsg writes backslashes and what is not printable as `\x5c`, byte by byte (kernel/printk/printk.c)."""
    if "\\x" not in text:
        return text
    raw = _ESCAPE.sub(lambda found: bytes([int(found[1], 16)]), text.encode("utf-8", "replace"))
    return clean(raw.decode("utf-8", "replace"))


REPORT_GAP_S = 5.0
"""Seconds between two lines of one report, at most. The kernel prints a report in one go; what takes time is a slow console
(115,200 baud write about 120 lines a second), for which 5 s are 600 lines of other processors in between."""

_BACK_S = 1.0
"""Seconds that a line may be older than the one before it: printed by another processor, or stamped in whole seconds."""

_DAY_S = 86_400


def may_follow(earlier: Frame, later: Frame) -> bool:
    """Whether both lines can belong to one report: written in one form, on one host, close together in time.

    Lines without a clock pass; who asks must have another reason to join them.
    """
    if earlier.form != later.form or earlier.origin != later.origin:
        return False
    if later.clock == "delta":
        return later.seconds <= REPORT_GAP_S
    if earlier.clock != later.clock:
        return earlier.form == "human"
    if later.clock == "none":
        return True
    passed = later.seconds - earlier.seconds
    if later.clock == "day" and earlier.day != later.day:
        passed += _DAY_S  # over midnight; any other change of date leaves far more than the gap
    return -_BACK_S <= passed <= REPORT_GAP_S
