"""Mounts found as facts, and which of those emitted before are gone. No reading of the system here."""

from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime

from connectors.mounts.holders import HeldMount
from engine.facts import Fact, Retraction
from engine.facts.docker import MountLeak

StatusOf = Callable[[str], Awaitable[str]]
"""Status of a container by its full id, `gone` for one that Docker does not know. May raise DockerError."""

NameOf = Callable[[str], str]
"""Name of a container by its full id; empty when it is not known."""

RELEASABLE = frozenset({"dead", "removing", "gone"})
"""Owners in these states have no use for their mounts any more."""

_LONGEST_KEY = 4096
"""Bound of a retraction's key; a mount point that does not fit could never be retracted, so it is not emitted."""

_MOST_LEAKS = 10_000
"""Emitted at a time; beyond, only the count grows. A monitoring container on a host of 1,000 containers holds about 2,000."""

Key = tuple[str, str]


def no_name(container: str) -> str:  # noqa: ARG001 - the shape of NameOf
    """For when names are not known."""
    return ""


def leak_fact(held: HeldMount, *, status: str, name_of: NameOf, at: datetime) -> MountLeak:
    """What one held mount is as a fact."""
    return MountLeak(
        at=at,
        source="mounts",
        holder_id=held.holder.id,
        holder_name=name_of(held.holder.container) if held.holder.container else "",
        holder_pid=held.holder.pid,
        owner_id=held.owner,
        owner_name=name_of(held.owner),
        owner_status=status,
        path=held.path,
        fstype=held.mount.fstype.decode("utf-8", "backslashreplace"),
        shared=held.shared,
    )


class LeakBook:
    """Which leaks have been emitted. Sweep, inspection and unmount share one: each can retract what another emitted."""

    def __init__(self) -> None:
        self._last_emitted: dict[Key, MountLeak] = {}
        self.left_out = 0
        """Leaks that were not emitted: too many, or a mount point too long."""

    def __len__(self) -> int:
        return len(self._last_emitted)

    def settle(
        self, found: Iterable[MountLeak], *, at: datetime, owner: str | None = None, repeat: bool = False
    ) -> list[Fact | Retraction]:
        """What is to be emitted after a look: retractions first, then the facts.

        Args:
            found: all leaks seen; of one holder and path the first counts.
            at: time of the look.
            owner: the look was for this container's mounts only; None: for all.
            repeat: emit also what has not changed.
        """
        by_key: dict[Key, MountLeak] = {}
        for leak in found:
            by_key.setdefault((leak.holder_id, leak.path), leak)
        gone = [key for key, leak in self._last_emitted.items() if key not in by_key and owner in (None, leak.owner_id)]
        facts: list[Fact | Retraction] = [self.retract(key, at=at) for key in gone]
        for key, leak in by_key.items():
            before = self._last_emitted.get(key)
            if before is None and (len(self._last_emitted) >= _MOST_LEAKS or len("|".join(key)) > _LONGEST_KEY):
                self.left_out += 1
                continue
            self._last_emitted[key] = leak
            if repeat or before is None or before.model_copy(update={"at": leak.at}) != leak:
                facts.append(leak)
        return facts

    def retract(self, key: Key, *, at: datetime) -> Retraction:
        """This leak is gone, whether it had been emitted or not."""
        self._last_emitted.pop(key, None)
        return Retraction(retract=MountLeak.KIND, key="|".join(key)[:_LONGEST_KEY], at=at, source="mounts")
