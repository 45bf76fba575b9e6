"""Names of MQTT topics and of alerts: how any text at all becomes one topic level, one dedup key, one line. Pure.

The specification: MQTT 5.0, 1.5.4 (UTF-8 strings), 4.7 (topic names).
"""

import hashlib
import re
from urllib.parse import unquote_to_bytes

ROOT = "dockwarden"

MAX_LEVEL = 1024
"""Bytes of one encoded level. A topic of ours has four at most, and so stays below 4,096 bytes, which is what EMQX lets through;
MQTT itself ends at 65,535."""

MAX_DEDUP_KEY = 255
"""What PagerDuty's Events API v2 takes, in characters; kept in bytes, which is stricter."""

MAX_SUMMARY = 1024
"""What PagerDuty's Events API v2 takes, in characters."""

_EMPTY = "-"
_HASH_DIGITS = 16
"""64 bits of SHA-256: two of a host's names that are cut to the same beginning do not meet."""

_NONCHARACTERS = "\ufdd0-\ufdef" + "".join(
    chr(plane + last) for plane in range(0, 0x110000, 0x10000) for last in (0xFFFE, 0xFFFF)
)
"""Code points that Unicode sets aside for no character: the last two of each plane, and 32 others."""

# What a level must not contain as it is: the separator and the wildcards; the escape character; control characters, surrogates
# and non-characters, for which a server may close the connection (MQTT 5.0, 1.5.4; Mosquitto does); and the space, on which NATS
# closes it. Up to 0.1 the space stayed as it was: `level_text` reads both.
_ESCAPED = re.compile(f"[ /+#%\x00-\x1f\x7f-\x9f\ud800-\udfff{_NONCHARACTERS}]")

_LOOKS_CUT = re.compile(f"~[0-9a-f]{{{_HASH_DIGITS}}}$")
"""A text that ends so by itself gets a hash as if it were cut: it must not pass for another one that was."""

# Line breaks of every kind, and what a terminal would act on.
_NO_LINE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")


def level(text: str) -> str:
    """The text as one topic level: percent-encoded where MQTT has a meaning for it, `-` when empty, cut when too long.

    Different texts give different levels (one that is cut ends with `~` and a hash of all of it). `level_text` reads it back.
    """
    if not text:
        return _EMPTY
    if text == _EMPTY:
        return "%2D"
    if len(text) > MAX_LEVEL or _LOOKS_CUT.search(text):  # the length first, so that a megabyte is not encoded to be thrown away
        return _cut_level(text)
    encoded = _ESCAPED.sub(_escape, text)
    return encoded if len(encoded.encode()) <= MAX_LEVEL else _cut_level(text)


def level_text(encoded: str) -> str:
    """What a level was made from (of one that was cut: its beginning and the hash)."""
    return "" if encoded == _EMPTY else unquote_to_bytes(encoded).decode("utf-8", "surrogatepass")


def present_topic(topic: str) -> str:
    """The topic as it is written now, of one that a version up to 0.1 wrote."""
    return topic.replace(" ", "%20")


def host_topic(host: str, *levels: str) -> str:
    """`dockwarden/HOST/…`, each part encoded."""
    return "/".join((ROOT, level(host), *(level(part) for part in levels)))


def alert_topic(host: str, rule: str, key: str) -> str:
    """Where the newest state of an alert is retained."""
    return host_topic(host, "alert", rule, key)


def action_topic(host: str, action: str, target: str) -> str:
    """Where the outcomes of an action on a target are published."""
    return host_topic(host, "action", action, target)


def fact_topic(host: str, kind: str) -> str:
    """Where facts of a kind are published."""
    return host_topic(host, "fact", kind)


def status_topic(host: str) -> str:
    """Where the status is retained, and the last will lands."""
    return host_topic(host, "status")


def reply_topic(host: str, request: str) -> str:
    """Where the reply to a command is published."""
    return host_topic(host, "reply", request)


def dedup_key(host: str, rule: str, key: str) -> str:
    """One key for one problem: `host/rule/key`, at most 255 bytes; cut ones end with a hash of the whole.

    Host and rule are encoded as topic levels, so that no two problems share a key, whatever a host is called.
    """
    whole = f"{level(host)}/{level(rule)}/{key}"
    clean = clean_text(whole)
    if clean == whole and len(clean.encode()) <= MAX_DEDUP_KEY and not _LOOKS_CUT.search(key):
        return clean
    # Also when something was replaced, which may have made two keys alike.
    return f"{cut_bytes(clean, MAX_DEDUP_KEY - _HASH_DIGITS - 1)}~{_digest(whole)}"


def one_line(text: str, limit: int = MAX_SUMMARY) -> str:
    """The text on one line, without control characters, at most `limit` characters; cut ones end with `…`."""
    line = clean_text(_NO_LINE.sub(" ", text[: 4 * limit])).strip()
    return line if len(line) <= limit and len(text) <= 4 * limit else f"{line[: limit - 1].rstrip()}…"


def clean_text(text: str) -> str:
    """The text with U+FFFD for each lone surrogate, so that it has a form in UTF-8; NUL, which databases choke on, goes too."""
    if text.isascii():
        return text.replace("\x00", "\ufffd")
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").replace("\x00", "\ufffd")


def cut_bytes(text: str, limit: int) -> str:
    """The beginning of the text that fits into so many bytes of UTF-8, whole characters only."""
    return text.encode("utf-8", "replace")[:limit].decode("utf-8", "ignore")


def _escape(match: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in match[0].encode("utf-8", "surrogatepass"))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH_DIGITS]


def _cut_level(text: str) -> str:
    kept: list[str] = []
    room = MAX_LEVEL - _HASH_DIGITS - 1
    for character in text:
        encoded = _ESCAPED.sub(_escape, character)
        room -= len(encoded.encode())
        if room < 0:
            break
        kept.append(encoded)
    return f"{''.join(kept)}~{_digest(text)}"
