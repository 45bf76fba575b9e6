"""Sockets and tracked connections of the host's network namespace. Knows nothing of who has them."""

import os
from pathlib import Path

from connectors.sources import proc as processes
from connectors.sources.periodic import Facts, PeriodicSource
from engine.errors import SourceError
from engine.facts.host import Sockets
from engine.ports.clock import Clock


def parse_sockstat(text: str) -> dict[str, dict[str, int]]:
    """`TCP: inuse 5 orphan 0 tw 7 alloc 9 mem 2` as `{"TCP": {"inuse": 5, …}}`; what is no such line is left out."""
    found: dict[str, dict[str, int]] = {}
    for line in text.splitlines():
        name, colon, rest = line.partition(":")
        words = rest.split()
        if colon and all(word.isdecimal() for word in words[1::2]):
            found[name] = {key: int(value) for key, value in zip(words[::2], words[1::2], strict=False)}
    return found


class SocketUsage(PeriodicSource):
    """Emits the `sockets` fact, when it changed by enough to matter.

    TIME_WAIT stands in sockstat only, for IPv4 and IPv6 together (net/ipv4/proc.c). A sidecar in a network namespace of its own
    reads the host's through process 1; connection tracking is counted there in /proc/1/net/stat/nf_conntrack.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        interval_s: float = 15.0,
        proc: Path = processes.PROC,
    ) -> None:
        super().__init__(name="sockets", interval_s=interval_s, clock=clock)
        self._proc = proc
        self._last_emitted: Sockets | None = None

    async def look(self) -> Facts:
        """Read five small files."""
        pid = self._seen_by()
        stat = self._text(f"{pid}/net/sockstat")
        if stat is None:
            raise SourceError(f"{self._proc}/{pid}/net/sockstat cannot be read")
        tcp = parse_sockstat(stat).get("TCP", {})
        tcp6 = parse_sockstat(self._text(f"{pid}/net/sockstat6") or "").get("TCP6", {})
        count, most = self._conntrack(pid)
        fact = Sockets(
            at=self._now(),
            source="probe",
            time_wait=tcp.get("tw", 0),
            in_use=tcp.get("inuse", 0) + tcp6.get("inuse", 0),
            conntrack=count,
            conntrack_max=most,
            conntrack_ratio=round(count / most, 3) if count is not None and most else None,
        )
        if not _differs(fact, self._last_emitted):
            return []
        self._last_emitted = fact
        return [fact]

    def _seen_by(self) -> str:
        """`self`, or 1 when process 1 can be seen to be in another network namespace: then that one is the host's."""
        first = processes.namespace(1, "net", self._proc)
        return "self" if first in (None, processes.namespace(os.getpid(), "net", self._proc)) else "1"

    def _conntrack(self, pid: str) -> tuple[int | None, int | None]:
        """Tracked connections and how many there may be; None each where nf_conntrack is not loaded."""
        folder = "sys/net/netfilter"
        most = _number(self._text(f"{folder}/nf_conntrack_max"))
        if pid == "self":
            return _number(self._text(f"{folder}/nf_conntrack_count")), most
        # One line for each processor behind a heading; the first column, hexadecimal, is the same in each: all entries.
        lines = (self._text(f"{pid}/net/stat/nf_conntrack") or "").splitlines()
        try:
            return int(lines[1].split()[0], 16), most
        except (IndexError, ValueError):
            return None, most

    def _text(self, path: str) -> str | None:
        raw = processes.read(self._proc / path)
        return None if raw is None else raw.decode("ascii", "replace")


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.strip().isdecimal() else None


def _differs(new: Sockets, old: Sockets | None) -> bool:
    """Counts move all the time: emitted is a twentieth more or less, or ten, and each percent of connection tracking."""
    if old is None or new.conntrack_max != old.conntrack_max or (new.conntrack is None) != (old.conntrack is None):
        return True
    if round(abs((new.conntrack_ratio or 0) - (old.conntrack_ratio or 0)), 3) >= 0.01:  # noqa: PLR2004 - one percent
        return True
    pairs = ((new.time_wait, old.time_wait), (new.in_use, old.in_use))
    return any(abs(now - then) > max(10, then // 20) for now, then in pairs)
