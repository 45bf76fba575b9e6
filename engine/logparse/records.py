"""Log records of Go programs: logrus' `key="value"` and JSON, klog's header, text and structured values. Pure.

Knows how a record is written, and nothing of what it says.
"""

import json
import re
from datetime import datetime
from itertools import islice
from typing import NamedTuple

from engine.logparse.framing import moment_utc

_PAIR = re.compile(
    r'([A-Za-z_][\w.-]{0,63}+)=(?:"([^"\\]*(?:\\.[^"\\]*)*)"|(\[[^\]]*\]|\{[^}]*\}|[^\s"]\S*)?)', re.ASCII | re.DOTALL
)
"""key=value; the value quoted by Go's strconv.Quote, a list, a map, or a word."""

MAX_PAIRS = 64
"""Pairs of one line that are kept. Real records have a dozen; the bound keeps a line made of opening brackets from costing the
square of its length."""

_LOGFMT = re.compile(r"(?:^|\s)(?:time|level|msg)=")

_CONTAINER_LOG = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d) std(?:out|err) [FP] ", re.ASCII)
"""The prefix that a CRI runtime writes before each line of a container: a daemon may run in one."""

_JSON = re.compile(r"(?:[^{\"=\]\t]{0,200}(?:\[\d{1,10}\])?: ?)?(?=\{)", re.ASCII)
"""What may stand before a record in JSON: nothing, or syslog's prefix. Text of a message may hold JSON, too."""

_TAG = re.compile(
    r"(?:[^\"'=\t]{0,64}?(?:\d\d:\d\d:\d\d\S{0,16}|\d{9,10}\.\d{1,9})(?:\s+[^\s:]{1,255})?\s+)?"
    r"(?:docker|containerd)[\w.-]{0,32}(?:\[\d{1,10}\])?: ",
    re.ASCII,
)
"""Syslog's prefix: a time, a host, the program."""

_CONSOLE = re.compile(
    # logrus on a terminal: `INFO[0010] `; Docker until 1.5: `2014/05/08 19:14:57 `, `[info] `
    r"(?:INFO|WARN|ERRO|FATA|DEBU|PANI)\[[\w:.+-]{1,40}\] "
    r"|(?:\d{4}/\d\d/\d\d \d\d:\d\d:\d\d )?(?:\[(?:debug|info|error|warning)\] )?",
    re.ASCII,
)

_USUAL = re.compile(
    r'level=\w{1,16} msg=(?:"([^"\\]*(?:\\.[^"\\]*)*)"|([^\s"=]{1,64}))(?=$| [\w.-]{1,64}=)', re.ASCII | re.DOTALL
)
"""A record as logrus writes it behind its time, up to its message."""

_STAMPED = re.compile(r'(?:[^{"=]{0,300}\s)?time="([^"\\]{1,64})" (?=level=)', re.ASCII)
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?)(Z|[+-]\d\d:\d\d)", re.ASCII)

_KLOG = re.compile(r"(?:[^\t]{0,300}? )?[IWEF]\d{4} \d\d:\d\d:\d\d\.\d{1,9}\s+\d{1,10} [\w.-]{1,128}:\d{1,7}\] ?", re.ASCII)
"""klog's header: `I0617 03:05:13.803095    5478 eviction_manager.go:346] `. It has neither year nor zone."""

_SOME_HEADER = "E0101 00:00:00.000000 1 a.go:1] "
_CONTINUED = re.compile(r"(?:[^\t]{0,200}: )?\t")
_QUOTED = re.compile(r'"([^"\\]*(?:\\.[^"\\]*)*)"(?=\s|$)', re.DOTALL)
_CLOSED = re.compile(r'[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_AFTER = re.compile(r"\s+[\w.-]{1,64}=|\s*$", re.ASCII)
_LAST_QUOTE = re.compile(r'"(?=\s+[\w.-]{1,64}=|\s*$)', re.ASCII)
_GO_ESCAPE = re.compile(r'\\(?:([abfnrtv"\\])|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4}))', re.ASCII)
_GO_LETTERS = {"a": "\ufffd", "b": "\ufffd", "f": "\ufffd", "v": "\ufffd", "n": "\n", "r": "\n", "t": "\t", '"': '"', "\\": "\\"}

Values = dict[str, str]


class Record(NamedTuple):
    """A record: what it says, the values beside it, and its time in UTC where it bears one with a zone."""

    message: str
    values: Values
    at: datetime | None = None


def unquote(text: str) -> str:
    """The inside of a Go string literal; unknown escapes stay as they are, control characters become U+FFFD."""
    if "\\" not in text:
        return text
    return _GO_ESCAPE.sub(_unescaped, text)


def _unescaped(found: "re.Match[str]") -> str:
    if found[1]:
        return _GO_LETTERS[found[1]]
    letter = chr(int(found[2] or found[3], 16))
    return letter if letter.isprintable() else "\ufffd"


def pairs(text: str) -> Values:
    """All `key=value` of a text; of a key that comes twice, the first; at most `MAX_PAIRS`."""
    values: Values = {}
    for found in islice(_PAIR.finditer(text), MAX_PAIRS):
        key, quoted, bare = found.groups()
        values.setdefault(key, unquote(quoted) if quoted else bare or "")
    return values


def _torn(text: str, key: str) -> str | None:
    """The value of `key` when its quotes are broken, else None.

    Pagers and `systemctl status` cut long lines, and people who post logs lose the backslashes before inner quotes. The value
    then goes on to the next quote that a pair or the end follows, or to the end.
    """
    _, found, rest = text.partition(f'{key}="')
    if not found:
        return None
    whole = _CLOSED.match(rest)
    if whole is not None and _AFTER.match(rest, whole.end()):
        return None
    end = _LAST_QUOTE.search(rest)
    return unquote(rest[: end.start()] if end is not None else rest)


def _time(stamp: str) -> datetime | None:
    found = _TIME.match(stamp)
    return None if found is None else moment_utc(found[1], found[2])


def _from_json(line: str) -> Record | None:
    try:
        data = json.loads(line[line.index("{") :])
    except (ValueError, RecursionError):  # not JSON, an integer of 5,000 digits, or nested deeper than the interpreter goes
        return None
    if not isinstance(data, dict) or not isinstance(data.get("msg"), str):
        return None
    values = {key: _as_text(value) for key, value in data.items()}
    return Record(values.pop("msg"), values, _time(values.get("time", "")))


def _as_text(value: object) -> str:
    """A value of a JSON record as the text form writes it: an object reference of klog (a pod, say) is `namespace/name`."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "[" + " ".join(_as_text(part) for part in value) + "]"
    if isinstance(value, dict) and isinstance(value.get("name"), str):
        return f"{value.get('namespace') or ''}/{value['name']}"
    if isinstance(value, dict) and isinstance(value.get("ID"), str):  # a container id with its kind beside it
        return str(value["ID"])
    return "" if value is None else str(value)


def without_container_log(line: str) -> str:
    """The line inside what a log driver (json-file) or a CRI runtime wrote around it; a daemon may run in a container."""
    if line.startswith('{"log":'):
        try:
            data = json.loads(line)
        except (ValueError, RecursionError):
            return line
        return data["log"].rstrip("\r\n") if isinstance(data, dict) and isinstance(data.get("log"), str) else line
    found = _CONTAINER_LOG.match(line)
    return line if found is None else line[found.end() :]


def split_logrus(line: str) -> tuple[str, datetime | None]:
    """A line of dockerd in its part that comes again when the same happens again, and its time where that stands before it."""
    found = _STAMPED.match(line)
    return (line, None) if found is None else (line[found.end() :], _time(found[1]))


def read_logrus(line: str) -> Record:
    """A line of dockerd or containerd: JSON, `key="value"`, or any other text, which is all message."""
    if (usual := _USUAL.match(line)) is not None:
        quoted, word = usual.groups()
        rest = line[usual.end() :]
        return Record(unquote(quoted) if quoted else word or "", pairs(rest) if rest else {})
    if '"msg"' in line and _JSON.match(line) is not None and (record := _from_json(line)) is not None:
        return record
    if "=" not in line or (begin := _LOGFMT.search(line)) is None:
        text = line.strip()
        tag = _TAG.match(text)
        text = text[tag.end() :] if tag is not None else text
        console = _CONSOLE.match(text)
        return Record(text[console.end() :] if console is not None else text, {})
    line = line[begin.start() :]
    values = pairs(line)
    message = values.pop("msg", "")
    return Record(_torn(line, "msg") or message, values, _time(values.get("time", "")))


def split_klog(line: str) -> tuple[str, datetime | None]:
    """Likewise of the kubelet; its header becomes one that is always the same. klog's time has neither year nor zone: none."""
    if '"msg"' in line or (header := _KLOG.match(line)) is None:
        return line, None
    return f"{_SOME_HEADER}{line[header.end() :]}", None


def read_klog(line: str) -> Record:
    """A line of the kubelet: klog's text or structured form, its JSON form, or any other text, which is all message.

    A structured record's message keeps its case; `err` and the other values are in `values`. Lines of a value that goes on begin
    with a tab; what stands there is a user's as often as not, and no header is sought behind one.
    """
    if '"msg"' in line and _JSON.match(line) is not None and (record := _from_json(line)) is not None:
        return record
    if "\t" in line and _CONTINUED.match(line) is not None:
        return Record("", {})
    header = _KLOG.match(line)
    message = line[header.end() :] if header is not None else line.strip()
    if (quoted := _QUOTED.match(message)) is not None:
        rest = message[quoted.end() :]
        values = pairs(rest)
        if error := _torn(rest, "err"):
            values["err"] = error
        return Record(unquote(quoted[1]), values)
    return Record(message, {})
