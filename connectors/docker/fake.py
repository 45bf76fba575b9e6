"""Docker in memory, for tests of rules, runtime and operators' own code; it passes the real one's suite.

It has the traits that matter and that one would not expect: after a failed removal the list says `removing` while inspect says
`dead`; labels override an event's own attributes; only 256 events are remembered; a slow subscriber silently loses events; a
removal that fails, and a start that fails, make no event.
"""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime

from connectors.docker.api.errors import refused
from connectors.docker.api.readings import command_of
from connectors.sources.text import clean_labels
from engine.errors import DockerError
from engine.facts.docker import ContainerStatus
from engine.ports.clock import Clock, SystemClock, event_time
from engine.ports.docker import ContainerDetail, ContainerSummary, DockerInfo, DockerVersion, ImageSummary, Pruned, VolumeSummary

REMEMBERED = 256
"""Events Docker remembers, of all types (daemon/events/events.go, eventsLimit)."""
BUFFERED = 1_024
"""Events kept for one subscriber that does not read (bufferSize in the same file); further ones are dropped."""

_STATUSES = ("created", "running", "paused", "restarting", "removing", "exited", "dead")


@dataclass(slots=True)
class _Box:
    detail: ContainerDetail
    labels: dict[str, str]
    """As they were given: events bring them uncut."""
    removal_fails: str = ""
    """What Docker says when it is removed; "" when it can be."""
    start_fails: str = ""
    removing: bool = False


@dataclass(slots=True)
class _State:
    boxes: dict[str, _Box] = field(default_factory=dict)
    ring: deque[tuple[int, bytes]] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    subscribers: list["asyncio.Queue[bytes | None]"] = field(default_factory=list)
    hanging: set[str] = field(default_factory=set)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    down: str = ""
    dangling: int = 0
    unused_volumes: list[str] = field(default_factory=list)
    created: int = 0
    nano: int = 0


class FakeDocker:
    """Fulfils `engine.ports.docker.DockerApi`; the methods below the port's are what happens to the daemon."""

    def __init__(self, *, clock: Clock | None = None) -> None:
        """A daemon without containers. `clock`: None for the machine's own."""
        self._clock = clock or SystemClock()
        self._state = _State()
        self.calls: list[str] = []
        """Names of the calls made, oldest first: what a test may count."""
        self.info_given = DockerInfo(version="20.10.24", kernel="6.1.0", storage_driver="overlay2", cgroup_driver="systemd")

    # --- the port ---

    async def ping(self) -> None:
        """See the port."""
        await self._call("ping")

    async def version(self) -> DockerVersion:
        """See the port."""
        await self._call("version")
        return DockerVersion(version=self.info_given.version, api_version="1.41", kernel=self.info_given.kernel)

    async def info(self) -> DockerInfo:
        """See the port."""
        await self._call("info")
        boxes = [box.detail.status for box in self._state.boxes.values()]
        return replace(
            self.info_given, containers=len(boxes), running=boxes.count("running"), stopped=len(boxes) - boxes.count("running")
        )

    async def list_containers(self, *, ids: Collection[str] = (), statuses: Collection[str] = ()) -> list[ContainerSummary]:
        """See the port."""
        await self._call("list")
        for status in statuses:
            if status not in _STATUSES:
                raise refused(400, f"Unrecognised filter value for status: {status}")
        found = [self._summary(box) for box in self._state.boxes.values()]
        return [entry for entry in found if (not ids or entry.id in ids) and (not statuses or entry.status in statuses)]

    def _summary(self, box: _Box) -> ContainerSummary:
        detail = box.detail
        return ContainerSummary(
            id=detail.id,
            name=detail.name,
            image=detail.image,
            command=detail.command,
            # The list looks at a copy that was saved when the removal began.
            status="removing" if detail.status == "dead" else detail.status,
            exit_code=detail.exit_code if detail.status == "exited" else None,
            health=detail.health,
            created_at=detail.created_at.replace(microsecond=0) if detail.created_at else None,
            labels=dict(detail.labels),
        )

    async def inspect(self, container: str) -> ContainerDetail:
        """See the port."""
        await self._call("inspect", container)
        return self._box(container).detail

    async def remove(self, container: str, *, force: bool = False, volumes: bool = False) -> None:  # noqa: ARG002 - it has no volumes
        """See the port."""
        await self._call("remove", container)
        box = self._box(container)
        if box.removing:
            raise refused(409, f"removal of container {container} is already in progress")
        if box.detail.status in ("running", "paused"):
            if not force:
                text = (
                    f"You cannot remove a {box.detail.status} container {container}. Stop the container before attempting removal"
                )
                raise refused(409, f"{text} or force remove")
            self.die(container, exit_code=137)
        if box.removal_fails:
            text = box.removal_fails.format(id=container)
            box.detail = replace(box.detail, status="dead", error=text)
            raise refused(500, text)
        self._event("destroy", box)
        del self._state.boxes[box.detail.id]

    async def restart(self, container: str, *, timeout_s: int | None = None) -> None:  # noqa: ARG002 - its containers stop at once
        """See the port."""
        await self._call("restart", container)
        box = self._box(container)
        if box.detail.status == "running":
            self.die(container, exit_code=137)
        self.start(container)
        self._event("restart", box)

    async def start_container(self, container: str) -> None:
        """See the port."""
        await self._call("start", container)
        if self._box(container).detail.status not in ("running", "paused"):
            self.start(container)

    async def prune_images(self) -> Pruned:
        """See the port."""
        await self._call("prune")
        count, self._state.dangling = self._state.dangling, 0
        return Pruned(count=count, bytes=count * 1_000_000)

    async def list_images(self) -> list[ImageSummary]:
        """See the port."""
        await self._call("images")
        return [ImageSummary(f"sha256:{number:064x}", (), 1_000_000, None) for number in range(self._state.dangling)]

    async def list_unused_volumes(self) -> list[VolumeSummary]:
        """See the port."""
        await self._call("volumes")
        return [VolumeSummary(name, "local", None) for name in self._state.unused_volumes]

    @asynccontextmanager
    async def events(self, *, since: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """See the port."""
        await self._call("events")
        seconds, _, nanos = since.partition(".")
        start = int(seconds) * 1_000_000_000 + int((nanos or "0").ljust(9, "0"))
        queue: asyncio.Queue[bytes | None] = asyncio.Queue(BUFFERED)
        for nano, line in self._state.ring:
            if nano >= start:
                queue.put_nowait(line)
        self._state.subscribers.append(queue)
        try:
            yield self._chunks(queue)
        finally:
            if queue in self._state.subscribers:
                self._state.subscribers.remove(queue)

    async def _chunks(self, queue: "asyncio.Queue[bytes | None]") -> AsyncIterator[bytes]:
        while (line := await queue.get()) is not None:
            yield line

    async def close(self) -> None:
        """See the port."""

    async def _call(self, name: str, container: str = "") -> None:
        self.calls.append(name)
        state = self._state
        # Gives way even when it answers at once, as a real call does.
        await asyncio.sleep(0)
        while not state.down and ({name, "everything", f"{name} {container}"} & state.hanging):
            await state.go_on.wait()
        if state.down:
            raise DockerError(state.down, kind="unreachable")

    def _box(self, container: str) -> _Box:
        boxes = self._state.boxes
        box = boxes.get(container)
        if box is None:
            by_name = [one for one in boxes.values() if one.detail.name == container]
            by_prefix = [one for id_, one in boxes.items() if container and id_.startswith(container)]
            box = by_name[0] if by_name else by_prefix[0] if len(by_prefix) == 1 else None
        if box is None:
            raise refused(404, f"No such container: {container}")
        return box

    # --- what happens to containers ---

    def create(self, *command: str, image: str = "box:1", name: str = "", labels: dict[str, str] | None = None) -> str:
        """Create a container; its full id."""
        state = self._state
        state.created += 1
        container = f"{state.created:064x}"[::-1]
        detail = ContainerDetail(
            id=container,
            name=name or f"box_{state.created}",
            image=image,
            command=command_of(command[0] if command else "sh", list(command[1:])),
            status="created",
            oom_killed=False,
            created_at=self._at(),
            labels=clean_labels(labels),
        )
        state.boxes[container] = box = _Box(detail, dict(labels or {}))
        self._event("create", box)
        return container

    def start(self, container: str) -> None:
        """Start it; one whose start fails stays as it is, with an error, without an event."""
        box = self._box(container)
        if box.start_fails:
            box.detail = replace(box.detail, error=box.start_fails, exit_code=127)
            return
        box.detail = replace(
            box.detail, status="running", started_at=self._at(), finished_at=None, exit_code=None, error=None, pid=4_711
        )
        self._event("start", box)

    def die(self, container: str, *, exit_code: int = 0) -> None:
        """Its first process ends."""
        box = self._box(container)
        box.detail = replace(box.detail, status="exited", exit_code=exit_code, finished_at=self._at(), pid=None)
        self._event("die", box, exitCode=str(exit_code))

    def become(self, container: str, status: ContainerStatus, *, action: str = "") -> None:
        """It gets into a state, with an event of this action ("": none)."""
        box = self._box(container)
        box.detail = replace(box.detail, status=status)
        if action:
            self._event(action, box)

    def emit(self, container: str, action: str, **attributes: str) -> None:
        """An event of this container, which changes nothing in it."""
        self._event(action, self._box(container), **attributes)

    def rename(self, container: str, name: str) -> None:
        """It is called something else now."""
        box = self._box(container)
        old, box.detail = box.detail.name, replace(box.detail, name=name)
        self._event("rename", box, oldName=f"/{old}")

    def fail_start(self, container: str, text: str) -> None:
        """From now on it cannot be started."""
        self._box(container).start_fails = text

    def fail_removal(self, container: str, text: str = "unable to remove filesystem for {id}: device or resource busy") -> None:
        """From now on it cannot be removed; {id} in the text is the container's."""
        self._box(container).removal_fails = text

    def repair_removal(self, container: str) -> None:
        """From now on it can be removed again."""
        self._box(container).removal_fails = ""

    def begin_removal(self, container: str) -> None:
        """Somebody is removing it, and it takes long."""
        box = self._box(container)
        box.removing = True
        box.detail = replace(box.detail, status="removing")

    # --- what happens to Docker ---

    def hang(self, *calls: str) -> None:
        """These calls are not answered from now on: ping, list, version, …, `inspect ID` for one container, or everything."""
        self._state.hanging |= set(calls)

    def go_on(self) -> None:
        """All calls are answered again, also those that were made meanwhile."""
        self._state.hanging.clear()
        self._wake()

    def go_down(self, error: str = "nobody listens at fake: Docker has stopped") -> None:
        """Nobody answers; streams end; what Docker remembered of events is gone."""
        self._state.down = error
        self._state.ring.clear()
        self.disconnect()
        self._wake()

    def come_back(self) -> None:
        """It answers again."""
        self._state.down = ""

    def disconnect(self) -> None:
        """All event streams end."""
        subscribers, self._state.subscribers = self._state.subscribers, []
        for queue in subscribers:
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(None)

    def add_unused_volume(self, name: str) -> None:
        """A volume that no container uses."""
        self._state.unused_volumes.append(name)

    def add_dangling_images(self, count: int) -> None:
        """Images that nothing uses."""
        self._state.dangling += count

    def send(self, line: bytes) -> None:
        """Any bytes on the event streams, not remembered."""
        for queue in self._state.subscribers:
            if not queue.full():
                queue.put_nowait(line)

    def _wake(self) -> None:
        self._state.go_on.set()
        self._state.go_on = asyncio.Event()

    def _at(self) -> datetime:
        return event_time(self._clock)

    def _event(self, action: str, box: _Box, **own: str) -> None:
        state = self._state
        state.nano = nano = max(self._clock.wall() * 1000, state.nano + 1)
        detail = box.detail
        attributes = own | box.labels | {"image": detail.image, "name": detail.name}
        event = {"Type": "container", "Action": action, "Actor": {"ID": detail.id, "Attributes": attributes}}
        line = json.dumps(event | {"scope": "local", "time": nano // 1_000_000_000, "timeNano": nano}).encode() + b"\n"
        state.ring.append((nano, line))
        self.send(line)
