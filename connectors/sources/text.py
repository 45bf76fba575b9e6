"""Makes text from outside fit for facts, and bytes from outside text. Pure.

Names, labels, commands, messages, paths and log lines come from whoever may start a container, so anything may stand in them.
"""

import re

NAME_CHARS = 255
VALUE_CHARS = 4_096
"""More than any label that rules look at, and small enough to be kept a thousand times."""
LABELS = 200
"""Labels kept of one container; Kubernetes and Compose set a dozen or two."""

DECISIVE_LABELS = ("dockwarden.protect", "exitCode", "signal")
"""Kept whatever stands beside them: one protects the container, the others show that its events' values may be forged."""

_UNFIT = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
"""C0 and C1 control characters other than tab and newline (a terminal would obey them), and lone surrogates (no UTF-8)."""


def clean(text: object, limit: int = VALUE_CHARS) -> str:
    """As text of at most `limit` characters, with U+FFFD in place of control characters and broken ones; "" for what is none."""
    if not isinstance(text, str):
        return ""
    cut = text[:limit]
    # Nearly all text is fit: isprintable() is a quick test that is right whenever it says yes.
    return cut if cut.isprintable() else _UNFIT.sub("\ufffd", cut)


def clean_labels(labels: object) -> dict[str, str]:
    """Keys and values as text; keys that are too long and labels beyond the bound are left out."""
    if not isinstance(labels, dict) or not labels:
        return {}
    kept = {key: clean(labels[key]) for key in DECISIVE_LABELS if isinstance(labels.get(key), str)}
    for key, value in labels.items():
        if len(kept) >= LABELS:
            break
        if isinstance(key, str) and isinstance(value, str) and 0 < len(key) <= NAME_CHARS:
            kept[clean(key, NAME_CHARS)] = clean(value)
    return kept


def decode(raw: bytes) -> tuple[str, bool]:
    """A line as text, and whether it was damaged.

    Damaged is what is not valid UTF-8 or has NUL bytes in it (a crash or a truncated file leaves them behind). Broken bytes
    become U+FFFD, NUL bytes go, and so does a carriage return at the end.
    """
    damaged = False
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        text = raw.decode(errors="replace")
        damaged = True
    if "\0" in text:
        text = text.replace("\0", "")
        damaged = True
    return text.rstrip("\r"), damaged


def one_line(text: str) -> str:
    """As one line: what a stranger put into a message must not begin a line of its own."""
    return text.replace("\n", " ").replace("\r", " ")


def shown(name: bytes) -> str:
    r"""A file's name as facts and people see it: what is no UTF-8, and control characters, as `\xNN`. For showing only."""
    text = name.decode("utf-8", "backslashreplace")
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)
