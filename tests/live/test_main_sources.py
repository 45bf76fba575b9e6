"""What a real engine and a real kernel do becomes facts: once each, none lost, none forged."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.lab import faults
from tests.lab.engine import TAGS, ScratchEngine
from tests.lab.proxy import CountingProxy
from tests.lab.rules import rules_folder
from tests.lab.waiting import until
from tests.lab.watched import Watched
from tests.live.conftest import Watch

pytestmark = pytest.mark.live

HOG_LINE = (
    "Memory cgroup out of memory: Killed process {pid} (hog) total-vm:102400kB, anon-rss:20480kB, file-rss:0kB, shmem-rss:0kB"
)


def created(seen: Watched) -> Counter[str]:
    """How many creations of each container were told, by id; the same one told again after a restart has the same fact id."""
    told = {(fact["id"], fact["fact_id"]) for fact in seen.facts("container_event", action="create")}
    return Counter(container for container, _ in told)


TEN = """
rules:
  - rule: ten-made
    title: Ten containers were made
    severity: info
    when:
      made: {count: {fact: container_event, action: create}, by: [image], within: 10m, at_least: 10}
    key: "{made.image}"
    then:
      - alert: "{made.count} made"
"""


async def test_events_go_on_after_a_restart_of_the_sidecar(engine: ScratchEngine, watch: Watch) -> None:
    """Nine containers made before, while it was away and after its restart are nine, though some were told again; then ten."""
    with rules_folder(TEN) as rules:
        async with watch(engine, rules=rules) as seen:
            before = [await engine.create("true") for _ in range(3)]
            await until(lambda: len(created(seen)) == 3, what="the first three")
            await seen.sidecar.stop()
            away = [await engine.create("true") for _ in range(3)]
            seen.sidecar.start()
            await seen.sidecar.ready(seen.subscriber)
            after = [await engine.create("true") for _ in range(3)]
            await until(lambda: len(created(seen)) == 9, what="all nine")
            assert created(seen) == Counter([*before, *away, *after])
            assert not seen.alerts("ten-made")
            await engine.create("true")
            assert (await seen.alert("ten-made"))["annotations"]["description"] == "10 made"


async def test_events_go_on_after_a_kill_of_the_sidecar(engine: ScratchEngine, watch: Watch) -> None:
    """The same when it is killed in the middle of it: nothing is lost."""
    async with watch(engine) as seen:
        ids = [await engine.create("true") for _ in range(5)]
        await seen.sidecar.kill()
        ids += [await engine.create("true") for _ in range(5)]
        seen.sidecar.start()
        await seen.sidecar.ready(seen.subscriber)
        ids += [await engine.create("true") for _ in range(5)]
        await until(lambda: set(created(seen)) >= set(ids), what="all fifteen")


async def test_a_restart_of_the_engine_is_a_gap_that_a_list_closes(own_engine: ScratchEngine, watch: Watch) -> None:
    """Docker forgets its events: that is said, and what ended meanwhile is seen in the list; nothing is told twice."""
    running = await own_engine.run("sleep", "1000000", name="survivor")
    async with watch(own_engine) as seen:
        first = await own_engine.create("true")
        await until(lambda: created(seen)[first], what="the first creation")
        await own_engine.restart()
        await seen.fact("source", name="docker", status="gap")
        await seen.fact("container", id=running, status="exited")
        await until(lambda: seen.facts("source", name="docker")[-1]["status"] == "ok", what="the gap to be closed", within_s=30)
        second = await own_engine.create("true")
        await until(lambda: created(seen)[second], what="the second creation")
        assert created(seen) - Counter([running]) == Counter([first, second])


async def test_more_than_the_engine_remembers_is_a_gap(engine: ScratchEngine, watch: Watch) -> None:
    """Docker keeps 256 events: after 300 while the sidecar was away it says so, and knows every container all the same."""
    async with watch(engine) as seen:
        await engine.create("true")
        await until(lambda: created(seen), what="the first creation")
        await seen.sidecar.stop()
        made = await faults.storm(engine, 300, start=False)
        seen.sidecar.start()
        await seen.sidecar.ready(seen.subscriber)
        gap = await seen.fact("source", name="docker", status="gap")
        assert "256 events" in gap["error"]
        await until(lambda: {fact["id"] for fact in seen.facts("container")} >= set(made.ids), what="all 300 in facts")


async def test_a_label_forges_no_exit_code(engine: ScratchEngine, watch: Watch) -> None:
    """Docker's own event says 0, because a label does; the fact says 7, because inspect does."""
    async with watch(engine) as seen:
        liar = await engine.run("sh", "-c", "exit 7", labels={"exitCode": "0", "signal": "9"})
        died = await seen.fact("container_event", action="die", id=liar)
        assert died["exit_code"] == 7
        await seen.fact("container", id=liar, status="exited", exit_code=7)


async def test_a_storm_costs_no_inspection_each(engine: ScratchEngine, watch: Watch) -> None:
    """The commands of 200 new containers are known, and Docker was asked a few dozen times, not 200."""
    async with CountingProxy(engine) as proxy, watch(engine, act=False, DOCKER_HOST=proxy.url) as seen:
        proxy.asked.clear()
        made = await faults.storm(engine, 200, image=TAGS[1], command=("/run.sh", "look-around"), start=False)
        await until(lambda: set(created(seen)) >= set(made.ids), what="all creations")
        facts = seen.facts("container_event", action="create")
        assert {fact["command"] for fact in facts} == {"/run.sh look-around"}
        asked = proxy.asked.total()
        assert asked < 100, proxy.asked
        assert proxy.asked["GET /containers/ID/json"] < 20, proxy.asked


async def test_a_kill_by_the_kernel_is_read_from_its_log(engine: ScratchEngine, watch: Watch) -> None:
    """The real lines of /dev/kmsg become a fact that names the container and the process."""
    async with watch(engine, KERNEL_LOG="/dev/kmsg") as seen:
        container = await faults.oom_kill(engine)
        fact = await seen.fact("kernel_event", {"class": "memcg_oom_kill", "container_id": container})
        assert fact["comm"] == "dd"
        oom = await seen.fact("container_event", action="oom", id=container)
        assert oom["name"]


async def test_what_a_user_writes_to_the_kernel_log_is_not_the_kernels_word(engine: ScratchEngine, watch: Watch) -> None:
    """A line written to /dev/kmsg that looks like a kill (facility above 0) becomes no fact; the next real one does."""
    async with watch(engine, KERNEL_LOG="/dev/kmsg") as seen:
        Path("/dev/kmsg").write_text(f"<14>{HOG_LINE.format(pid=4242)}\n")
        await faults.oom_kill(engine)
        await seen.fact("kernel_event", comm="dd")
        assert not seen.facts("kernel_event", pid=4242)


async def test_a_log_file_is_followed_across_rotation_and_truncation(engine: ScratchEngine, watch: Watch, tmp_path: Path) -> None:
    """Lines written before and after a rename, and after a truncation, are all told, each once."""
    log = tmp_path / "kern.log"
    log.write_text("")

    def say(pid: int) -> None:
        with log.open("a") as file:
            file.write(f"Nov 20 16:51:52 h kernel: [  88.2] {HOG_LINE.format(pid=pid)}\n")

    def told() -> list[Any]:
        return [fact["pid"] for fact in seen.facts("kernel_event", {"class": "memcg_oom_kill"})]

    async with watch(engine, KERNEL_LOG=str(log)) as seen:
        say(1001)
        await until(lambda: 1001 in told(), what="the first line")
        log.rename(tmp_path / "kern.log.1")
        log.write_text("")
        say(1002)
        await until(lambda: 1002 in told(), what="the line after the rotation")
        log.write_text("")
        say(1003)
        await until(lambda: 1003 in told(), what="the line after the truncation")
        assert told() == [1001, 1002, 1003]


async def test_an_engine_that_hangs_is_told_by_the_probes(own_engine: ScratchEngine, watch: Watch) -> None:
    """A stopped containerd: ping and list answer, version does not; the fact says so, and when it is over."""
    fast = {"PROBES__DAEMON_S": "1", "PROBES__DAEMON_TIMEOUT_S": "2"}
    async with watch(own_engine, **fast) as seen:
        await seen.fact("daemon", reachable=True)
        async with faults.stopped(own_engine.containerd_pid):
            hung = await seen.fact("daemon", hung="version")
            assert hung["ping_ms"] is not None
        await until(lambda: not seen.facts("daemon")[-1].get("hung"), what="the end of the hang")


async def test_the_engines_own_log_names_the_busy_container(engine: ScratchEngine, watch: Watch) -> None:
    """The daemon logs the failed deletion; the fact has the container and the cause."""
    async with watch(engine, act=False) as seen, faults.dead_containers(engine) as dead:
        (container,) = dead
        fact = await seen.fact("daemon_log", container_id=container)
        assert "operation not permitted" in fact["text"]
