"""Which lines are worth a closer look: those with a word of a known message, and those that a rule asks for. Sans-I/O.

Nearly all lines of a log are none of ours, and this test is all they cost. Many lines are tested at once by one expression, whose
time does not depend on how many words it has; a single line, by its words. Each word must be rare in ordinary lines and be in
every variant of the messages it stands for.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import re2

from engine.logparse.reading import LogSource

_NO_SPACE = "o space left on device"
_REMOVAL = ("failed to remove root filesystem", "failed to remove init filesystem", "nable to remove filesystem")

TRIGGERS: dict[LogSource, tuple[str, ...]] = {
    "kernel": (
        "emory",  # `Out of memory`, `Out of socket memory`, `No available memory`, `Unable to allocate memory`
        "oom-kill",  # `oom-kill:`, and `invoked oom-killer`
        "illed ",  # `Killed process`, `Task in … killed as`, `are going to be killed due to`
        "blocked ",
        "soft lockup",
        " stall",
        "unregister_net",
        "table overflow",
        "table full",
        "file-max",
        "-fs ",
        "FS",  # XFS, BTRFS
        "xfs_force",  # 2.6.3x, whose lines do not begin with XFS
        "ilesystem",
        "device-mapper: ",
    ),
    "dockerd": (
        *_REMOVAL,
        "failed to exit",
        "nmount",
        "already in progress",
        "removing mounted layer",
        "tarting daemon",
        "start daemon",
        "start containerd",
        "configure the Docker",
        "hin Pool has",
        "start container",
        "did not start before",
        "OCI runtime",
        "oci runtime error",
        _NO_SPACE,
    ),
    "kubelet": (
        *_REMOVAL,
        "viction manager: ",
        "PLEG is not healthy",
        "failed reinspection",
        "ontainer runtime is down",
        "ontainer runtime not ready",
        "garbage collect",
        "eadlineExceeded",
        "deadline exceeded",
        "operation timeout",
        " busy",
        _NO_SPACE,
    ),
}

_MAX_MEMORY = 4 << 20
"""Bytes that the words of all rules together may take when compiled; three logs have two expressions each."""


class Wanted(NamedTuple):
    """Lines that a rule asks for."""

    log: str
    """Name of the log; "" for any."""
    text: str
    """What the line's text must hold, or an expression of RE2 that must occur in it."""
    is_expression: bool = False

    @property
    def expression(self) -> str:
        """As an expression of RE2."""
        return f"(?:{self.text})" if self.is_expression else str(re2.escape(self.text))

    @property
    def is_of_one_line(self) -> bool:
        """Whether the expression may be sought in many lines at once: it names no begin or end of the whole text."""
        return not self.is_expression or not any(sign in self.text for sign in ("\\A", "\\z", "\\Z", "\\C", "-m", "-s", "(?U"))


class WantedLines:
    """What the rules in force ask for. One for all logs of a process; replaced when rules are."""

    def __init__(self, wanted: Iterable[Wanted] = ()) -> None:
        self.wanted: tuple[Wanted, ...] = ()
        self.version = 0
        self.replace(wanted)

    def replace(self, wanted: Iterable[Wanted]) -> None:
        """Other rules are in force. Expressions that RE2 does not take ask for nothing; the check of rules reports them."""
        self.wanted = tuple(want for want in dict.fromkeys(wanted) if want.text and _compiles(want.expression))
        self.version += 1


def _compiles(expression: str) -> bool:
    try:
        _compile(expression)
    except (re2.error, UnicodeEncodeError):
        return False
    return True


def _compile(expression: str) -> "re2._Regexp[bytes]":
    options = re2.Options()
    options.log_errors = False  # RE2 would write them to stderr
    options.max_mem = _MAX_MEMORY
    return re2.compile(expression.encode(), options)


class LineFilter:
    """The test of the lines of one log."""

    def __init__(self, source: LogSource, wanted: WantedLines | None = None) -> None:
        self._source: LogSource = source
        self._triggers = TRIGGERS[source]
        self._all_wanted = WantedLines() if wanted is None else wanted
        self._version = -1
        self._refresh()

    def _refresh(self) -> None:
        self._version = self._all_wanted.version
        mine = [want for want in self._all_wanted.wanted if want.log in ("", self._source)]
        self._asked = [_compile(want.expression).search for want in mine]
        words = [str(re2.escape(trigger)) for trigger in self._triggers]
        self._all_at_once = all(want.is_of_one_line for want in mine)
        try:
            self._search = _compile("|".join([*words, *(f"(?m:{want.expression})" for want in mine)])).search
        except re2.error:  # each is small enough, all together are not
            self._search = _compile("|".join(words)).search
            self._all_at_once = False

    def is_worth_reading(self, line: str) -> bool:
        """Whether any reader, or a rule, may want the line."""
        if self._version != self._all_wanted.version:
            self._refresh()
        if self._asked:
            return not self._all_at_once or self._search(line.encode(errors="replace")) is not None
        for trigger in self._triggers:  # noqa: SIM110 -- quicker than any(), as both are than the expression for a single line
            if trigger in line:
                return True
        return False

    def is_asked_for(self, text: str) -> bool:
        """Whether a rule wants a line of this text."""
        if not self._asked:
            return False
        raw = text.encode(errors="replace")
        return any(search(raw) is not None for search in self._asked)

    def pick(self, lines: Sequence[bytes]) -> Sequence[int]:
        """Numbers, from 0, of the lines that may be worth reading, in order; all of them where the lines are not sound text.

        Args:
            lines: without their ends, and with no newline in them.
        """
        if self._version != self._all_wanted.version:
            self._refresh()
        block = b"\n".join(lines)
        if not self._all_at_once or not _is_sound(block):
            return range(len(lines))
        picked = []
        search = self._search
        begin = number = 0
        while (found := search(block, begin)) is not None:
            at = found.start()
            number += block.count(b"\n", begin, at)
            picked.append(number)
            end = block.find(b"\n", at)
            if end < 0:
                break
            begin = end + 1
            number += 1
        return picked


def _is_sound(block: bytes) -> bool:
    if b"\0" in block or b"\r" in block:
        return False
    try:
        block.decode()
    except UnicodeDecodeError:
        return False
    return True
