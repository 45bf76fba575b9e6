"""Images and unused volumes as facts, by two lists at a slow pace. Knows no HTTP: it asks through the port."""

from connectors.sources.periodic import Facts, PeriodicSource
from engine.errors import DockerError, SourceError
from engine.facts import Fact, Retraction
from engine.facts.docker import DockerStorage, Image, Volume
from engine.ports.clock import Clock
from engine.ports.docker import DockerApi, ImageSummary, VolumeSummary

MOST_IMAGES = 128
"""Facts of images: those without a name first, then the largest."""
MOST_VOLUMES = 128


class StorageLists(PeriodicSource):
    """Emits `image`, `volume` and `docker_storage` facts when they changed, and retracts what is gone or used again."""

    def __init__(self, docker: DockerApi, *, clock: Clock, interval_s: float = 300.0) -> None:
        """A source that asks this connection."""
        super().__init__(name="docker_storage", interval_s=interval_s, clock=clock)
        self._docker = docker
        self._last: dict[tuple[str, ...], Fact] = {}

    async def look(self) -> Facts:
        """Both lists, compared with the last ones."""
        try:
            images, volumes = await self._docker.list_images(), await self._docker.list_unused_volumes()
        except DockerError as error:
            raise SourceError(f"images and volumes cannot be listed: {error}") from error
        found = {fact.identity: fact for fact in self._facts(images, volumes)}
        at = self._now()
        gone = [
            Retraction(retract=identity[0], key="|".join(identity[1:]), at=at, source="docker")
            for identity in sorted(self._last.keys() - found.keys())
        ]
        changed = [fact for identity, fact in found.items() if not _same(fact, self._last.get(identity))]
        self._last = {identity: fact for identity, fact in self._last.items() if identity in found} | {
            fact.identity: fact for fact in changed
        }
        return [*gone, *changed]

    def _facts(self, images: list[ImageSummary], volumes: list[VolumeSummary]) -> list[Fact]:
        at = self._now()
        dangling = [image for image in images if image.dangling]
        storage = DockerStorage(
            at=at,
            source="docker",
            images=len(images),
            dangling_images=len(dangling),
            dangling_bytes=sum(image.size for image in dangling),
            unused_volumes=len(volumes),
        )
        facts: list[Fact] = [storage]
        for image in sorted(images, key=lambda image: (not image.dangling, -image.size, image.id))[:MOST_IMAGES]:
            fields = {
                "tags": list(image.tags),
                "dangling": image.dangling,
                "size_bytes": image.size,
                "created_at": image.created_at,
            }
            facts.append(Image(at=at, source="docker", id=image.id, **fields))
        facts.extend(
            Volume(at=at, source="docker", name=volume.name, driver=volume.driver, created_at=volume.created_at)
            for volume in sorted(volumes, key=lambda volume: volume.name)[:MOST_VOLUMES]
        )
        return facts


def _same(new: Fact, old: Fact | None) -> bool:
    return old is not None and new.model_dump(exclude={"at"}) == old.model_dump(exclude={"at"})
