r"""Records of /dev/kmsg (Documentation/ABI/testing/dev-kmsg in the kernel source). Pure.

A record is `prefix,sequence,microseconds,flags[,more…];text\n`, then dictionary lines that begin with a space (` SUBSYSTEM=pci`).
The prefix is the syslog one, `facility * 8 + priority`. Bytes of the text that are not printable ASCII, and the backslash, stand
as `\xNN`. What may follow the flags in time to come is to be passed over.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from connectors.sources.text import decode, one_line

FRAGMENTS_CHANGED_IN = (4, 9)
"""Linux 4.9 ("printk: remove games with previous record flags") changed what the flag `c` says. Before, `c` was the first
fragment of a line and `+` each further one; since, `c` is a fragment that goes on with the line before."""

_ESCAPE = re.compile(rb"\\x([0-9a-fA-F]{2})")
_FEWEST_FIELDS = 3
"""Linux 3.5, the first with records, had no flags."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record, its text still as the kernel wrote it."""

    facility: int
    priority: int
    sequence: int
    micros: int
    """Microseconds since boot, not counting suspension."""
    flags: str
    raw: bytes

    @property
    def by_kernel(self) -> bool:
        """The kernel itself said it. What a process writes to /dev/kmsg never has facility 0: it is no evidence."""
        return self.facility == 0

    def text(self) -> tuple[str, bool]:
        """The text without escapes and without its dictionary, and whether it was damaged.

        A newline within the text becomes a space: one record is one line. The kernel puts names that users chose (of files, of
        processes) into its texts, and such a name must not be able to begin a line of its own.
        """
        raw = self.raw.partition(b"\n")[0]
        if b"\\" in raw:
            raw = _ESCAPE.sub(lambda match: bytes((int(match[1], 16),)), raw)
        text, damaged = decode(raw)
        return one_line(text), damaged

    def dictionary(self) -> dict[str, str]:
        """What stands below the text: the device it is about, say."""
        lines = (line[1:].partition(b"=") for line in self.raw.split(b"\n")[1:] if line.startswith(b" "))
        return {decode(name)[0]: decode(value)[0] for name, _, value in lines}


def parse_record(data: bytes) -> Record:
    """A record as one read of /dev/kmsg gives it.

    Raises:
        ValueError: it is none.
    """
    head, semicolon, raw = data.partition(b";")
    fields = head.split(b",")
    if not semicolon or len(fields) < _FEWEST_FIELDS:
        raise ValueError("no record of /dev/kmsg")
    prefix = int(fields[0])
    flags = fields[3].decode("ascii", "replace") if len(fields) > _FEWEST_FIELDS else "-"
    return Record(prefix >> 3, prefix & 7, int(fields[1]), int(fields[2]), flags, raw)


def moment(micros: int, boot: datetime, *, not_before: datetime | None, now: datetime) -> datetime:
    """Wall-clock time of a record.

    The kernel's stamp is its scheduler clock: it stands still while the machine is suspended and drifts against the wall clock,
    by seconds in a long uptime. What is known for certain wins over it: a record that was not there when everything had been
    read was written after that, and none was written after now.

    Args:
        micros: the stamp.
        boot: wall clock minus monotonic clock, taken now; for records from before a suspension this is too late by its length.
        not_before: when everything had been read; None for what was there when reading began.
        now: the moment of reading.
    """
    stamped = boot + timedelta(microseconds=micros)
    if not_before is not None and stamped < not_before:
        stamped = not_before
    return min(stamped, now)


@dataclass(frozen=True, slots=True)
class KernelLine:
    """A line of the kernel's, put together from its fragments; `sequence` is that of the first."""

    sequence: int
    at: datetime
    text: str


class Joiner:
    """Puts fragments of lines together.

    A record is held until the next one, or the end of what there is, shows that nothing is added to it.
    """

    def __init__(self, kernel: tuple[int, int]) -> None:
        """`kernel` is major and minor of the running kernel."""
        self._old_flags = kernel < FRAGMENTS_CHANGED_IN
        self._held: KernelLine | None = None

    @property
    def held(self) -> int | None:
        """Sequence of the line that is held, None when there is none."""
        return None if self._held is None else self._held.sequence

    def add(self, line: KernelLine, flags: str) -> Iterator[KernelLine]:
        """The lines that are complete now."""
        held = self._held
        goes_on = flags == "+" or (flags == "c" and not self._old_flags)
        if held is not None and goes_on:
            self._held = KernelLine(held.sequence, held.at, held.text + line.text)
            return
        self._held = line
        if held is not None:
            yield held

    def drain(self) -> Iterator[KernelLine]:
        """Everything was read: the held line is complete.

        The kernel writes fragments within microseconds, and a fragment that comes later all the same is a line of its own.
        """
        held, self._held = self._held, None
        if held is not None:
            yield held
