"""What stands before a kernel message: takes it off, and says when and where the message was written.

Knows the forms of `dmesg` (util-linux, all `--time-format`s, `-x`), `/dev/kmsg` records, syslog in its many variants and
journalctl's output; knows no message. Pure.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple

MAX_LINE_CHARS = 65_536
"""Longer lines are cut before anything looks at them. The kernel's own limit is 1,024 bytes a record (PRINTK_MESSAGE_MAX in
kernel/printk/internal.h: 2,048); dockerd quotes whole request bodies, which say nothing that the first 64 KiB do not."""

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


class Frame(NamedTuple):
    """A kernel message and what was written before it. A tuple, because one is made of every line that is worth a look."""

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

_ISO = r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?"
_ZONE = r"Z|[+-]\d\d:?\d\d"
_SYSLOG = re.compile(
    rf"""
    (?:\d{{4,10}}\s+(?=[^\d\s]\S*\s+\d{{1,2}}\s))?                  # line number of an editor or pager
    (?:
        (?P<iso>{_ISO})(?:\ ?(?P<zone>{_ZONE}))?(?:\ UTC)?
      | (?P<epoch>\d{{9,10}}(?:\.\d{{1,9}})?)(?=\s)                  # journalctl -o short-unix
      | (?P<day>(?:\S{{1,16}}\s+){{0,4}}?)(?P<time>\d\d?:\d\d:\d\d(?:[.,]\d{{1,9}})?)
        (?:\s+\d{{4}})?(?P<utc>\s+(?:UTC|GMT))?(?:\s+(?:[A-Z]{{2,5}}|[+-]\d{{4}}))?
    )?
    \s*
    (?:(?P<host>[^\s:\[\]]{{1,255}}|\[[^\]]{{1,64}}\])\s+)?             # posters write [node hostname] for theirs
    (?:(?P<facility>[a-z]+\d?)\.[a-z]+\s+)?                         # busybox: kern.warn
    (?:(?:EMERG|ALERT|CRIT|ERR|WARNING|NOTICE|INFO|DEBUG)\s+)?      # switches: the severity as a word
    kernel(?:\[\d+\])?(?::(?:\ ?:)?|\ -\ -\ (?:-|\[[^\]]{{0,256}}\]))\ ?
    """,
    re.ASCII | re.VERBOSE,
)

_BRACKET = re.compile(
    r"""
    \[\s*(?:
        (?P<uptime>\d{1,12}\.\d{1,9})(?:\s*<\s*[+-]?\d{1,12}\.\d{1,9}>)?       # [    1.234567], dmesg -d adds <    0.000012>
      | \+\s*(?P<delta>\d{1,12}\.\d{1,9})                                      # dmesg -e: [  +0.000950]
      | (?P<minute>[^\[\]:]{1,16}\s\d\d:\d\d)                                  # dmesg -e: [Apr14 02:46]
      | (?P<before>[^\[\]:]{3,32}?)(?P<time>\d\d:\d\d:\d\d)(?P<after>[^\[\]]{0,32})  # dmesg -T, in any language
    )\s*\]:?\ ?
    """,
    re.ASCII | re.VERBOSE,
)

_STAMPED_BRACKET = re.compile(
    rf"(?:(?P<iso>{_ISO})(?: ?(?P<zone>{_ZONE}))?|(?P<epoch>\d{{9,10}}(?:\.\d{{1,9}})?)"
    r"|\S{2,9}\s+\d{1,2}\s+\d\d:\d\d:\d\d)"
    r"\s+(?:(?P<host>[A-Za-z0-9][\w.-]{0,254})\s+)?(?=\[\s*\d{1,12}\.\d{1,9}\s*\])|[\w.-]{1,64} login: (?=\[)",
    re.ASCII,
)
"""A stamp, perhaps a host, and the kernel's bracket without the word kernel (remote consoles); the prompt of a serial one."""

_MACOS = re.compile(
    # Docker Desktop hands its machine's console on to the log of macOS; `log show`, Console.app, system.log differ in columns
    r"(?:(?:[Dd]efault|[Ii]nfo|[Ee]rror|[Ff]ault|[Dd]ebug|[Nn]otice)\s+)?(?:\S{1,24}\s+){0,8}?"
    r"(?:com\.docker\.[\w.-]{1,64}|Docker(?: Desktop)?|moby)(?:\[\d{1,10}(?::[0-9a-f]{1,16})?\])?"
    r"(?: \(\w{1,64}\))?(?: <\w{1,16}>)?[:\t] ?"
    r"(?:\[[\w.-]{1,64}\] )?(?:(?:moby|moby-(?:console|syslog)|console|kmsg|linuxkit)(?::|\t) ?)?",
    re.ASCII,
)

_ISO_DMESG = re.compile(r"(?P<iso>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d,\d{1,9})(?P<zone>Z|[+-]\d\d:?\d\d) ", re.ASCII)
"""`dmesg --time-format iso` writes a comma before the fraction, which no syslog does."""

_CALLER = re.compile(r"\[\s*[TC]\d{1,10}[^\]]{0,32}\] ?", re.ASCII)
"""CONFIG_PRINTK_CALLER: `[   T31]` a task, `[    C2]` a processor."""

_JOURNAL_TAG = re.compile(r"(?P<host>[^\s:\[\]]{1,255}) kernel: ", re.ASCII)
"""`journalctl -o short-monotonic`: `[  12.345678] host kernel: `."""

_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_DAY = timedelta(days=1)
_ESCAPE = re.compile(rb"\\x([0-9a-fA-F]{2})")


def unwrap_kernel(line: str) -> Frame | None:
    """The message in a line of a kernel log; None when somebody other than the kernel wrote it.

    A process may write to /dev/kmsg; such records bear a facility above 0, which is a priority of 8 and more
    (kernel/printk/printk.c, devkmsg_write). Where the form shows the priority, it tells them apart.
    """
    line = line.strip()
    if line[:1] == "[" and (frame := _bracket(line, "bare", "", None)) is not None:
        return frame
    # Most patterns can begin with one sort of character only; asking for it first spares most of them.
    if line[:1].isdecimal() and (record := _KMSG.match(line)) is not None:
        if int(record[1]) > 7:  # noqa: PLR2004 -- levels are 0 to 7, facilities count in eights above
            return None
        return Frame(_unescape(line[record.end() :]).strip(), "kmsg", clock="uptime", seconds=int(record[2]) / 1e6)
    if line[:1] == "<" and (priority := _PRIORITY.match(line)) is not None:
        if int(priority[1]) > 7:  # noqa: PLR2004
            return None
        line = line[priority.end() :]
    if line[:1].islower() and (decoded := _DECODED.match(line)) is not None:
        if decoded[1] != "kern":
            return None
        line = line[decoded.end() :]
    if "kernel" in line and (syslog := _SYSLOG.match(line)) is not None:
        return _syslog(line[syslog.end() :], syslog)
    if line[:1].isdecimal() and (iso := _ISO_DMESG.match(line)) is not None:
        at, seconds = _moment(iso["iso"], iso["zone"])
        return Frame(_without_caller(line[iso.end() :]), "iso", "", at, "wall", seconds)
    return _bracket(line, "bare", "", None) or _console(line) or Frame(_without_caller(line))  # behind `<4>`, or `kern :warn :`


def _console(line: str) -> Frame | None:
    """What follows the prefix of a console that was read from outside; None where there is none."""
    if "[" in line and (stamped := _STAMPED_BRACKET.match(line)) is not None:
        at = _moment(stamped["iso"], stamped["zone"])[0] if stamped["iso"] else _of_epoch(stamped["epoch"])
        return _bracket(line[stamped.end() :], "stamped", stamped["host"] or "", at)
    if ("ocker" in line or "moby" in line) and (mac := _MACOS.match(line)) is not None:
        return _bracket(line[mac.end() :], "macos", "", None)
    return None


def _syslog(line: str, found: "re.Match[str]") -> Frame | None:
    """What follows a prefix of syslog. Where a bracket follows, its clock counts: it is the kernel's own."""
    iso, zone, epoch, day, time, utc, host, facility = found.groups()
    if facility not in (None, "kern"):
        return None
    host = host or ""
    if iso:
        at, seconds = _moment(iso, zone)
        return _bracket(line, "iso-syslog", host, at) or Frame(_without_caller(line), "iso-syslog", host, at, "wall", seconds)
    if epoch:
        at, seconds = _of_epoch(epoch), float(epoch)
        return _bracket(line, "epoch", host, at) or Frame(_without_caller(line), "epoch", host, at, "wall", seconds)
    if not time:
        return _bracket(line, "tagged", host, None) or Frame(_without_caller(line), "tagged", host)
    at = None
    if utc and (date := _DATE.search(day)):  # journalctl -o short-full: Thu 2021-04-01 16:45:10 UTC
        at = moment_utc(f"{date[0]}T{time.zfill(8)}", "Z")
    return _bracket(line, "syslog", host, at) or Frame(
        _without_caller(line), "syslog", host, at, "day", _of_day(time), day.strip()
    )


def _bracket(line: str, before: str, host: str, at: datetime | None) -> Frame | None:
    """The message behind the kernel's own bracket, None where there is none. `before` is the form of what stood before it."""
    if line[:1] != "[" or (found := _BRACKET.match(line)) is None:
        return None
    uptime, delta, minute, day_before, time, day_after = found.groups()
    line = line[found.end() :]
    if not uptime and line[:1] == "[" and (second := _BRACKET.match(line)) is not None and second["uptime"]:
        uptime, line = second["uptime"], line[second.end() :]  # a tool wrote its own stamp before the kernel's
    elif uptime and line[:1] == "[" and (second := _BRACKET.match(line)) is not None:
        line = line[second.end() :]
    if not host and " kernel: " in line and (tag := _JOURNAL_TAG.match(line)) is not None:
        host, line = tag["host"], line[tag.end() :]
    text = _without_caller(line)
    if uptime:
        return Frame(text, f"{before}+bracket", host, at, "uptime", float(uptime))
    if delta:
        return Frame(text, "human", host, at, "delta", float(delta))
    if minute:
        return Frame(text, "human", host, at)
    return Frame(text, "ctime", host, at, "day", _of_day(time), day_before + day_after)


def _without_caller(line: str) -> str:
    if line[:1] == "[" and (caller := _CALLER.match(line)) is not None:
        line = line[caller.end() :]
    return line.strip()


def moment_utc(stamp: str, zone: str | None) -> datetime | None:
    """`2021-04-01T16:45:10[.fraction]` in a zone (`Z`, `+02:00`, `+0200`) as UTC; None without a zone or for what is no date."""
    return _moment(stamp, zone)[0]


def _moment(stamp: str, zone: str | None) -> tuple[datetime | None, float]:
    """The moment in UTC where the zone is known, and seconds that moments of the same zone can be compared by."""
    if stamp.startswith("24:", 11):  # the next day's midnight to ISO 8601 and to Python from 3.14 on, to no log
        return None, 0.0
    try:
        moment = datetime.fromisoformat(stamp + "+00:00")  # cuts what is beyond microseconds
        if zone is None:
            return None, moment.timestamp()
        if zone != "Z":
            offset = timedelta(hours=int(zone[1:3]), minutes=int(zone[-2:]))
            if offset >= _DAY:
                return None, 0.0
            moment += offset if zone[0] == "-" else -offset
        return moment, moment.timestamp()
    except (ValueError, OverflowError):  # month 13, year 1 east of Greenwich
        return None, 0.0


def _of_epoch(seconds: str | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(float(seconds), UTC)


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
