"""Images and unused volumes: from Docker's lists to facts."""

from datetime import UTC, datetime

from connectors.docker.api import readings
from connectors.docker.fake import FakeDocker
from connectors.docker.storage import MOST_IMAGES, StorageLists
from engine.facts import Retraction
from engine.facts.docker import DockerStorage, Image, Volume
from engine.ports.docker import ImageSummary, VolumeSummary
from tests.clocks import FixedClock

AT = datetime(2026, 11, 24, 12, tzinfo=UTC)


def test_images_of_a_list() -> None:
    """Names, size and time; what has no name, in the words of old APIs and new ones, is dangling; odd entries are left out."""
    answer = [
        {"Id": "sha256:a", "RepoTags": ["nginx:1", "web:2"], "Size": 7, "Created": 1_700_000_000},
        {"Id": "sha256:b", "RepoTags": ["<none>:<none>"], "Size": 8},
        {"Id": "sha256:c", "RepoTags": None, "Size": "x", "Created": 10**18},
        {"RepoTags": ["x"]},
        7,
    ]
    named, old, new = readings.images(answer)
    assert named == ImageSummary("sha256:a", ("nginx:1", "web:2"), 7, datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC))
    assert (named.dangling, old.dangling, new.dangling) == (False, True, True)
    assert (new.size, new.created_at) == (0, None)
    assert readings.images(None) == []


def test_volumes_of_a_list() -> None:
    """Name, driver and time; a list without any is null in Docker's words."""
    answer = {"Volumes": [{"Name": "v", "Driver": "local", "CreatedAt": "2026-11-24T12:00:00Z"}, {"Driver": "x"}, None]}
    assert readings.volumes(answer) == [VolumeSummary("v", "local", AT)]
    assert readings.volumes({"Volumes": None}) == []


async def test_what_changed_is_emitted() -> None:
    """Everything at first, nothing while nothing changes, and what is gone is retracted."""
    docker = FakeDocker()
    docker.add_dangling_images(2)
    docker.add_unused_volume("old")
    source = StorageLists(docker, clock=FixedClock.of(AT))
    facts = await source.look()
    assert [type(fact) for fact in facts] == [DockerStorage, Image, Image, Volume]
    assert isinstance(facts[0], DockerStorage)
    assert (facts[0].dangling_images, facts[0].dangling_bytes, facts[0].unused_volumes) == (2, 2_000_000, 1)
    assert await source.look() == []
    await docker.prune_images()
    after = await source.look()
    assert [fact.retract for fact in after if isinstance(fact, Retraction)] == ["image", "image"]
    assert [fact.dangling_images for fact in after if isinstance(fact, DockerStorage)] == [0]


async def test_facts_are_bounded() -> None:
    """A host with thousands of images has facts of the most telling ones, and the sum of all."""
    docker = FakeDocker()
    docker.add_dangling_images(1000)
    facts = await StorageLists(docker, clock=FixedClock.of(AT)).look()
    assert len(facts) == 1 + MOST_IMAGES
    assert isinstance(facts[0], DockerStorage)
    assert facts[0].images == 1000
