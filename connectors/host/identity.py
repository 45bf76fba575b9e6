"""Who this host is, and the moment it becomes another: its name, its kernel, its boot.

What was last seen is the cursor, so that a name that changed while dockwarden was away is noticed too. The name is that of the
UTS namespace this process is in (uts_namespaces(7)): in a container that is the container's own, unless it was started with
`--uts=host`.
"""

import asyncio
import contextlib
import json
import os
import select
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path

import structlog

from engine.facts import Fact
from engine.facts.host import Host, HostChange
from engine.facts.timestamps import to_micros
from engine.ports.clock import Clock, event_time
from engine.ports.sources import Sink

_log = structlog.get_logger(__name__)

HOSTNAME = Path("/proc/sys/kernel/hostname")
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

LOOK_S = 30.0
"""Seconds between two looks where the kernel does not report a change, or its word was missed. One system call."""

FIRST_LOOK_S = 1.0
"""The first of them: a change while the loop began to watch is reported to nobody."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What a host is known by; empty what cannot be read."""

    hostname: str = ""
    kernel: str = ""
    boot_id: str = ""

    @classmethod
    def read(cls) -> "Identity":
        """As it is now."""
        system = os.uname()
        try:
            boot = BOOT_ID.read_text(encoding="ascii").strip()
        except OSError:
            boot = ""
        return cls(system.nodename, system.release, boot)

    def to_cursor(self) -> str:
        """As one line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_cursor(cls, cursor: str | None) -> "Identity":
        """What was last seen; empty what is not known."""
        try:
            data = json.loads(cursor or "{}")
        except ValueError:
            return cls()
        known = data if isinstance(data, dict) else {}
        return cls(**{field.name: value for field in fields(cls) if isinstance(value := known.get(field.name), str)})

    def filled_from(self, new: "Identity") -> "Identity":
        """The new one, with what cannot be read now as it was last known."""
        return Identity(*(is_now or was for is_now, was in zip(astuple(new), astuple(self), strict=True)))

    def changes(self, new: "Identity") -> list[tuple[str, str, str]]:
        """Field, old and new value of what differs; what is not known on either side is no change."""
        was, is_now = asdict(self), asdict(new)
        return [(name, was[name], is_now[name]) for name in was if was[name] and is_now[name] and was[name] != is_now[name]]


class HostIdentity:
    """Emits a `host` fact, and a `host_change` for everything that is not what it was when last seen."""

    name = "host"

    def __init__(self, *, clock: Clock, read: Callable[[], Identity] = Identity.read) -> None:
        self._clock = clock
        self._read = read

    async def run(self, sink: Sink, cursor: str | None) -> None:
        """Emit facts until cancelled."""
        seen = Identity.from_cursor(cursor)
        last_emitted: Identity | None = None
        async with _kernel_notices() as changed:
            look_s = FIRST_LOOK_S
            while True:
                changed.clear()
                current = self._read()
                if current != last_emitted:
                    facts = self._facts(seen, current)
                    seen, last_emitted = seen.filled_from(current), current
                    await sink.put([*facts], cursor=seen.to_cursor())
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(look_s):
                        await changed.wait()
                look_s = LOOK_S

    def _facts(self, old: Identity, new: Identity) -> list[Fact]:
        at = event_time(self._clock)
        envelope = {"at": at, "source": self.name}
        stamp = to_micros(at)
        facts: list[Fact] = [Host(fact_id=f"host-{stamp}", **asdict(new), **envelope)]
        for name, before, after in old.changes(new):
            _log.warning("host_changed", field=name, old=before, new=after)
            facts.append(HostChange(fact_id=f"host-change-{name}-{stamp}", field=name, old=before, new=after, **envelope))
        return facts


def _watch_hostname(stack: contextlib.ExitStack) -> select.epoll:
    file = stack.enter_context(HOSTNAME.open("rb", buffering=0))
    ready = stack.enter_context(select.epoll())
    ready.register(file.fileno(), select.EPOLLERR | select.EPOLLPRI)
    return ready


@contextlib.asynccontextmanager
async def _kernel_notices() -> AsyncIterator[asyncio.Event]:
    """An event that is set whenever the host name is set.

    A poll of /proc/sys/kernel/hostname answers POLLERR and POLLPRI once after each change (proc_sys_poll in
    fs/proc/proc_sysctl.c). Event loops watch neither, and the file is always readable; an epoll descriptor that watches it for
    these two alone is readable just then.
    """
    changed = asyncio.Event()
    loop = asyncio.get_running_loop()
    with contextlib.ExitStack() as stack:
        try:
            ready = _watch_hostname(stack)
        except OSError as error:
            _log.warning("host_name_not_watched", polled_every_s=LOOK_S, error=str(error))
            yield changed
            return

        def on_ready() -> None:
            ready.poll(0)
            changed.set()

        loop.add_reader(ready.fileno(), on_ready)
        try:
            yield changed
        finally:
            loop.remove_reader(ready.fileno())
