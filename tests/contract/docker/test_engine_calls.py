"""Every engine answers the port's calls alike."""

from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta

import pytest

from connectors.docker.api.event import read_event
from connectors.sources.lines import LineSplitter
from engine.errors import DockerError
from engine.ports.docker import DockerApi
from tests.contract.docker.harness import Harness

NOBODY = "f" * 64


async def _kind(call: Awaitable[object]) -> tuple[str, int | None]:
    with pytest.raises(DockerError) as caught:
        await call
    return caught.value.kind, caught.value.status


async def test_list_and_inspect_tell_the_same_of_a_running_container(harness: Harness) -> None:
    """Name, image, command, labels and time of creation agree; both say that it runs."""
    container = await harness.create("sh", "-c", "sleep 1000", name="web", labels={"a": "b c", "exitCode": "0"})
    await harness.start(container)
    engine = harness.client()
    (entry,) = await engine.list_containers()
    detail = await engine.inspect(container)
    for field in ("id", "name", "image", "command", "labels"):
        assert getattr(entry, field) == getattr(detail, field), field
    assert (entry.name, entry.image, entry.command) == ("web", "box:1", "sh -c 'sleep 1000'")
    assert entry.labels == {"a": "b c", "exitCode": "0"}
    assert (entry.status, detail.status) == ("running", "running")
    assert (entry.exit_code, detail.exit_code) == (None, None)
    assert detail.pid is not None
    assert detail.created_at is not None
    assert entry.created_at is not None
    assert abs(detail.created_at - entry.created_at) < timedelta(seconds=1.1)
    assert abs(detail.created_at - datetime.now(UTC)) < timedelta(seconds=20)


async def test_list_and_inspect_tell_the_same_of_an_exited_container(harness: Harness) -> None:
    """Both know the exit code, whatever a label says, and inspect when it ended."""
    container = await harness.exited(7, labels={"exitCode": "0"})
    engine = harness.client()
    (entry,) = await engine.list_containers(ids=[container])
    detail = await engine.inspect(container)
    assert (entry.status, entry.exit_code) == ("exited", 7)
    assert (detail.status, detail.exit_code, detail.oom_killed, detail.pid) == ("exited", 7, False, None)
    assert detail.finished_at is not None


async def test_list_is_filtered_by_ids_and_statuses(harness: Harness) -> None:
    """Only what was asked for is listed; a filter that matches nothing lists nothing."""
    created, running = await harness.create("true"), await harness.running()
    engine = harness.client()
    assert {entry.id for entry in await engine.list_containers()} == {created, running}
    assert [entry.id for entry in await engine.list_containers(ids=[created])] == [created]
    assert [entry.id for entry in await engine.list_containers(statuses=["running"])] == [running]
    assert await engine.list_containers(ids=[NOBODY]) == []


async def test_unknown_status_is_refused(harness: Harness) -> None:
    """A filter that Docker does not know is an error of kind failed with its status, not an empty list."""
    kind, status = await _kind(harness.client().list_containers(statuses=["sleeping"]))
    assert (kind, status) == ("failed", 400)


async def test_a_container_that_is_not_there_is_not_found(harness: Harness) -> None:
    """Inspecting, removing and restarting say not_found."""
    engine = harness.client()
    assert await _kind(engine.inspect(NOBODY)) == ("not_found", 404)
    assert await _kind(engine.remove(NOBODY)) == ("not_found", 404)
    assert await _kind(engine.restart(NOBODY)) == ("not_found", 404)


async def test_a_running_container_is_not_removed_without_force(harness: Harness) -> None:
    """Docker itself refuses, with kind running, and the container goes on running; with force it goes."""
    container = await harness.running()
    engine = harness.client()
    assert await _kind(engine.remove(container)) == ("running", 409)
    assert (await engine.inspect(container)).status == "running"
    await engine.remove(container, force=True)
    assert await _kind(engine.inspect(container)) == ("not_found", 404)


async def test_a_failed_removal_is_removing_in_the_list_and_dead_in_inspect(harness: Harness) -> None:
    """This is why lists are looked through for `removing` too: the filter for `dead` finds nothing."""
    container = await harness.exited(0)
    await harness.break_removal(container)
    engine = harness.client()
    assert await _kind(engine.remove(container, force=True)) == ("failed", 500)
    (entry,) = await engine.list_containers(ids=[container])
    detail = await engine.inspect(container)
    assert (entry.status, detail.status) == ("removing", "dead")
    assert detail.error is not None
    assert "unable to remove filesystem" in detail.error
    assert await engine.list_containers(statuses=["dead"]) == []
    assert [found.id for found in await engine.list_containers(statuses=["removing", "dead"])] == [container]
    await harness.repair_removal(container)
    await engine.remove(container, force=True)
    assert await engine.list_containers() == []


async def test_restart_brings_an_exited_container_back(harness: Harness) -> None:
    """Its process is another one afterwards."""
    container = await harness.running()
    engine = harness.client()
    before = (await engine.inspect(container)).started_at
    await engine.restart(container, timeout_s=0)
    detail = await engine.inspect(container)
    assert detail.status == "running"
    assert detail.started_at is not None
    assert before is not None
    assert detail.started_at > before


async def test_a_start_that_failed_leaves_its_reason(harness: Harness) -> None:
    """The container is still `created`, and inspect says why."""
    container = await harness.unstartable()
    detail = await harness.client().inspect(container)
    assert detail.status == "created"
    assert detail.error is not None
    assert "no such file" in detail.error


async def test_version_and_info_say_what_it_is(harness: Harness) -> None:
    """Version, kernel, drivers and counts are there."""
    await harness.exited(0)
    engine = harness.client()
    await engine.ping()
    version, info = await engine.version(), await engine.info()
    assert version.version == info.version != ""
    assert version.api_version.startswith("1.")
    assert info.storage_driver == "overlay2"
    assert info.cgroup_driver != ""
    assert (info.containers, info.running, info.stopped) == (1, 0, 1)


async def test_events_since_a_moment_come_again_and_go_on(harness: Harness) -> None:
    """The stream begins with what happened since, in order, and continues with what happens."""
    container = await harness.create("true", name="one")
    engine = harness.client()
    seen: list[str] = []
    async with engine.events(since=f"{int(datetime.now(UTC).timestamp()) - 30}.0") as chunks:
        splitter = LineSplitter()
        removed = False
        async for chunk in chunks:
            for _, line in splitter.feed(chunk):
                event = read_event(line)
                if event.id == container:
                    seen.append(event.action)
            if "create" in seen and not removed:
                removed = True
                await engine.remove(container)
            if "destroy" in seen:
                break
    assert seen == ["create", "destroy"]


async def test_a_stopped_engine_is_unreachable(breakable: Harness) -> None:
    """Every call says unreachable, and what to do about it; after Docker is back the same connection works again."""
    engine = breakable.client()
    await engine.ping()
    await breakable.stop()
    for call in (engine.ping(), engine.list_containers(), engine.inspect(NOBODY), engine.version()):
        kind, _ = await _kind(call)
        assert kind == "unreachable"
    with pytest.raises(DockerError, match="Docker"):
        await engine.ping()
    await breakable.restart()
    assert await engine.list_containers() == []


async def test_a_stream_ends_when_the_engine_stops(breakable: Harness) -> None:
    """It ends, or says unreachable; it does not stay silent."""
    engine: DockerApi = breakable.client()
    with pytest.raises((DockerError, StopAsyncIteration)) as caught:  # noqa: PT012 - entering and reading belong together
        async with engine.events(since="0.0") as chunks:
            await breakable.stop()
            while True:
                await anext(chunks)
    assert not isinstance(caught.value, DockerError) or caught.value.kind == "unreachable"
