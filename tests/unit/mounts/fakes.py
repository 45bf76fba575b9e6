"""Fakes for the scanner and Docker."""

from collections.abc import Iterator
from datetime import UTC, datetime

from connectors.mounts.holders import HeldMount, Holder, MountScanner, Scan
from connectors.mounts.mountinfo import Mount
from engine.errors import DockerError

AT = datetime(2026, 11, 20, tzinfo=UTC)
VICTIM, MONITOR, OTHER = "a1" * 32, "b2" * 32, "c3" * 32


def held(
    path: str = "/d/shm", *, owner: str = VICTIM, holder: str | None = MONITOR, shared: bool = False, number: int = 11
) -> HeldMount:
    """A mount of the owner in the holder's namespace."""
    mount = Mount(number, 10, b"0:41", b"/", path.encode(), None, None, b"tmpfs", b"shm", b"rw")
    return HeldMount(Holder(30, 9000, 5000, holder), owner, mount, shared)


class FakeScanner(MountScanner):
    """Finds what it is asked is there."""

    def __init__(self, *there: HeldMount, blind: int = 0) -> None:
        super().__init__(lambda: None)
        self.there = list(there)
        self.others: list[HeldMount] = []
        self.moved: dict[int, str | None] = {}
        self.blind = blind

    def scan(self, container: str | None = None) -> Scan:
        found = tuple(each for each in self.there if container in (None, each.owner))
        return Scan(found, 0 if self.blind else 1, self.blind)

    def container_of(self, holder: Holder) -> str | None:
        return self.moved.get(holder.pid, holder.container)

    def holders(self) -> Iterator[Holder | None]:
        return iter({each.holder.pid: each.holder for each in self.there + self.others}.values())

    def mounts_of(self, holder: Holder) -> dict[int, Mount]:
        return {each.mount.id: each.mount for each in self.there + self.others if each.holder == holder}


class FakeDocker:
    """Says of each container what it is asked, and counts how often it is asked."""

    def __init__(self, **status: str) -> None:
        self.status = {VICTIM: "dead"} | status
        self.asked: list[str] = []

    async def status_of(self, container: str) -> str:
        self.asked.append(container)
        said = self.status.get(container, "gone")
        if said == "silent":
            raise DockerError("no answer", kind="timeout")
        return said
