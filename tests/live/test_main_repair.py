"""What is broken is mended on a real engine: within the guardrails, at the pace the rules set, and through any restart."""

import asyncio
import itertools
import sqlite3
from collections import Counter
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.lab import faults
from tests.lab.engine import TAGS, ScratchEngine
from tests.lab.rules import rules_folder
from tests.lab.waiting import until
from tests.lab.watched import Watched
from tests.live.conftest import Watch

pytestmark = pytest.mark.live

QUICK = {
    "retry: {first: 5s, factor: 2, max: 30m, jitter: 0.2, attempts: 12}": "retry: {first: 1s, factor: 2, jitter: 0, attempts: 3}"
}
"""The shipped rules with retries that a test can wait for."""

REMOVE_EXITED = """
rules:
  - rule: tidy
    title: Remove what has exited
    severity: info
    when:
      left: {fact: container, status: exited}
    key: "{left.id}"
    then:
      - alert: "{left.name} has exited"
      - do: remove_container
        container: $left.id
        retry: {first: 1s, factor: 1, max: 1s, attempts: 20}
"""
"""A rule that would remove anything: what it may not touch is the guardrails' business."""


def attempts(seen: Watched, container: str) -> list[dict[str, Any]]:
    """Attempts to remove a container so far. One message may come twice (QoS 1), with the same number."""
    told = {outcome["seq"]: outcome for outcome in seen.outcomes("remove_container") if outcome["target"] == container}
    return list(told.values())


def seconds(one: dict[str, Any], other: dict[str, Any]) -> float:
    """Between two outcomes."""
    return (datetime.fromisoformat(other["at"]) - datetime.fromisoformat(one["at"])).total_seconds()


# --- the chain -----------------------------------------------------------------------------------------------------------


async def test_a_busy_deletion_leads_to_the_holder_the_unmount_and_the_deletion(engine: ScratchEngine, watch: Watch) -> None:
    """Rules that do not know each other do it together, and `explain` tells the whole way of it."""
    victim = await engine.run("sleep", "1000000", name="victim", options=("--ipc", "shareable"))
    async with watch(engine) as seen, faults.leaky_monitor(engine) as monitor, faults.busy_directory(engine, victim):
        failed = await engine.docker("rm", "--force", victim, check=False)
        assert "device or resource busy" in failed.err
        alert = await seen.alert("dead-container", where=lambda received: victim.encode() in received.payload)
        assert alert["key"] == victim
        resolved = await seen.alert("dead-container", "resolved", within_s=30)
        assert resolved["key"] == victim
        assert not await engine.has(victim)
        assert await engine.status(monitor) == "running"
        unmounted = await seen.outcome("unmount", ok=True, container_id=victim)
        assert unmounted["target"].startswith(monitor)
        removed = attempts(seen, victim)[-1]
        assert removed["ok"], removed
        done = {action["action"] for action in resolved["actions"]}
        assert done >= {"remove_container", "unmount"}, resolved["actions"]
        # The holder is named, with the advice, and that alert ends too.
        held = await seen.alert("held-mounts")
        assert held["key"] == monitor
        assert "cadvisor" in held["summary"]
        assert "rslave" in held["summary"]
        await seen.alert("held-mounts", "resolved")
        code, chain, _ = await seen.sidecar.ask("explain", "remove_container")
        assert code == 0
        for step in ("inspect_mounts", "held-mount-release", "unmounted", "released-mount", "removed"):
            assert step in chain, chain


async def test_mounts_of_the_living_are_left_alone(engine: ScratchEngine, watch: Watch) -> None:
    """A monitor holds mounts of a running container: no rule asks for them, and one that does is refused."""
    greedy = """
        rules:
          - rule: look
            title: Look at each container's mounts
            severity: info
            when:
              up: {fact: container, status: running, name: victim}
            key: "{up.id}"
            then:
              - do: inspect_mounts
                container: $up.id
                retry: {first: 1s, attempts: 9}
          - rule: unmount-all
            title: Unmount whatever is held
            severity: info
            when:
              held: {fact: mount_leak}
            key: "{held.path}"
            then:
              - do: unmount
                holder: $held.holder_id
                path: $held.path
                container: $held.owner_id
        """
    victim = await engine.run("sleep", "1000000", name="victim", options=("--ipc", "shareable"))
    with rules_folder(greedy) as rules:
        async with faults.leaky_monitor(engine), watch(engine, rules=rules) as seen:
            leak = await seen.fact("mount_leak", owner_id=victim)
            assert leak["owner_status"] == "running"
            await until(lambda: "container victim is running" in seen.sidecar.output, what="a refusal")
            assert not seen.outcomes("unmount")
            code, chain, _ = await seen.sidecar.ask("explain", "unmount")
            assert code == 0
            assert "refused" in chain
            table = (await engine.docker("exec", "cadvisor", "cat", "/proc/mounts")).out
            assert victim in table


# --- retries -------------------------------------------------------------------------------------------------------------


async def test_a_deletion_is_tried_again_with_backoff_until_it_works(engine: ScratchEngine, watch: Watch) -> None:
    """1 s after the first attempt, 2 s after the second; mended meanwhile, it is gone with the third."""
    with rules_folder(shipped=True, replace=QUICK) as rules:
        async with watch(engine, rules=rules) as seen, faults.dead_containers(engine) as dead:
            ((container, file),) = dead.items()
            await until(lambda: len(attempts(seen, container)) == 2, what="two attempts")
            await file.mend()
            await seen.alert("dead-container", "resolved")
            tries = attempts(seen, container)
            assert [(one["attempt"], one["ok"]) for one in tries] == [(1, False), (2, False), (3, True)]
            assert "operation not permitted" in tries[0]["error"]
            gaps = [seconds(*pair) for pair in itertools.pairwise(tries)]
            assert 0.9 < gaps[0] < 1.8, gaps
            assert 1.9 < gaps[1] < 2.8, gaps
            assert not await engine.has(container)


async def test_when_the_attempts_are_used_up_that_is_said(engine: ScratchEngine, watch: Watch) -> None:
    """After the last attempt there is an alert of its own, no further attempt, and it resolves when somebody mends it by hand."""
    with rules_folder(shipped=True, replace=QUICK) as rules:
        async with watch(engine, rules=rules) as seen, faults.dead_containers(engine) as dead:
            ((container, file),) = dead.items()
            stays = await seen.alert("dead-container-stays", within_s=20)
            assert "after 3 attempts" in stays["summary"]
            assert stays["severity"] == "error"
            await file.mend()
            await engine.docker("rm", "--force", container)
            await seen.alert("dead-container-stays", "resolved")
            assert len(attempts(seen, container)) == 3


async def test_retries_survive_a_kill(engine: ScratchEngine, watch: Watch) -> None:
    """Killed between two attempts and started again, it goes on counting where it was, and does not begin anew."""
    with rules_folder(shipped=True, replace={"first: 5s, factor: 2": "first: 3s, factor: 2"}) as rules:
        async with watch(engine, rules=rules) as seen, faults.dead_containers(engine) as dead:
            ((container, file),) = dead.items()
            await seen.outcome("remove_container", target=container, attempt=1, ok=False)
            await seen.sidecar.kill()
            seen.sidecar.start()
            await seen.sidecar.ready(seen.subscriber)
            second = await seen.outcome("remove_container", target=container, attempt=2)
            first = attempts(seen, container)[0]
            assert 2.0 < seconds(first, second) < 5.5
            await file.mend()
            await seen.alert("dead-container", "resolved")
            numbers = [one["attempt"] for one in attempts(seen, container)]
            assert numbers == sorted(set(numbers)), numbers
            alerts = [alert for alert in seen.alerts("dead-container") if alert["status"] == "firing"]
            assert {alert["count"] for alert in alerts} == {1}


async def test_a_container_that_is_gone_is_a_success(engine: ScratchEngine, watch: Watch) -> None:
    """404: a rule asks for the removal of what was destroyed a moment ago, and that is well."""
    late = """
        rules:
          - rule: late
            title: Remove what is gone
            severity: info
            when:
              gone: {fact: container_event, action: destroy}
            key: "{gone.id}"
            then:
              - do: remove_container
                container: $gone.id
                retry: {first: 1s, attempts: 3}
        """
    with rules_folder(late) as rules:
        async with watch(engine, rules=rules) as seen:
            container = await engine.create("true")
            await engine.docker("rm", container)
            outcome = await seen.outcome("remove_container", target=container)
            assert (outcome["ok"], outcome["detail"], outcome["attempt"]) == (True, "it was gone already", 1)


async def test_a_removal_under_way_is_waited_for(engine: ScratchEngine, watch: Watch) -> None:
    """409: while somebody else's removal takes 5 s, attempts end as in progress and none of them counts."""
    with rules_folder(REMOVE_EXITED.replace("status: exited", "status: removing")) as rules:
        container = await engine.run("true", name="slow")
        await until(lambda: _exited(engine, container), what="its end")
        async with faults.busy_directory(engine, container, held=lambda: True, where="layer"):
            removing = asyncio.create_task(engine.docker("rm", container, check=False), name="somebody else's removal")
            try:
                await asyncio.sleep(0.5)  # its removal is under way for 5 s; there is nothing to see that could be awaited
                async with watch(engine, rules=rules) as seen:
                    waited = await seen.outcome("remove_container", target=container, error_kind="in_progress")
                    assert waited["attempt"] == 1
                    assert "already in progress" in waited["error"]
                    await removing
                    assert not waited["exhausted"]
            finally:
                await removing


def _says(seen: Watched, text: str) -> bool:
    return text in seen.sidecar.output


async def _exited(engine: ScratchEngine, container: str) -> bool:
    return await engine.status(container) == "exited"


async def test_thirty_dead_at_once_are_deleted_at_the_rules_rate(engine: ScratchEngine, watch: Watch) -> None:
    """2 a second, evenly, however many there are."""
    async with faults.dead_containers(engine, 30) as dead:
        for file in dead.values():
            await file.mend()
        async with watch(engine) as seen:
            await until(lambda: len(seen.outcomes("remove_container")) >= 30, what="all of them", within_s=40)
            tries = seen.outcomes("remove_container")
            starts = sorted(datetime.fromisoformat(one["at"]).timestamp() - one["duration_ms"] / 1000 for one in tries)
            gaps = [later - earlier for earlier, later in itertools.pairwise(starts)]
            assert min(gaps) > 0.4, gaps
            assert max(gaps) < 1.0, gaps


async def test_what_a_storm_left_behind_is_removed_once_each(engine: ScratchEngine, watch: Watch) -> None:
    """Twenty-two removals are decided, not one of them anew when Docker tells of the end before it answers the deletion."""
    async with watch(engine) as seen:
        made = await faults.storm(engine, 22, image=TAGS[1], command=("/run.sh", "look-around"))
        await until(lambda: len(seen.outcomes("remove_container")) >= 22, what="all removals", within_s=30)
        assert not set(made.ids) & set(await engine.containers())
        await seen.sidecar.stop()
        journal = sqlite3.connect(f"file:{seen.sidecar.state / 'journal.db'}?mode=ro", uri=True)
        try:
            verdicts = journal.execute("SELECT verdict FROM audit WHERE action = 'remove_container'").fetchall()
        finally:
            journal.close()
        assert Counter(verdict for (verdict,) in verdicts) == {"scheduled": 22, "done": 22}


async def test_a_runc_that_waits_for_a_dead_init_is_killed_and_the_hang_ends(engine: ScratchEngine, watch: Watch) -> None:
    """Incident I2: the hang is reported with the container, its stacks are taken once, the runc is killed, the alert resolves."""
    quick = {"PROBES__DAEMON_S": "1", "PROBES__DAEMON_TIMEOUT_S": "2", "EXEC_ROOT": str(engine.exec_root)}
    async with watch(engine, **quick) as seen, faults.blocked_runc(engine) as caught:
        alert = await seen.alert("daemon-hung", within_s=30)
        assert caught.container in str(alert["evidence"])
        killed = await seen.outcome("kill_runc", within_s=40, ok=True)
        assert killed["target"] == str(caught.runc)
        await seen.alert("daemon-hung", "resolved", within_s=30)
        assert len([one for one in seen.outcomes("collect_stacks") if one["ok"]]) == 1


# --- guardrails ----------------------------------------------------------------------------------------------------------


async def test_mode_observe_says_what_it_would_do(engine: ScratchEngine, watch: Watch) -> None:
    """The alert says that the removal was only observed, and the container is still there."""
    async with watch(engine, act=False) as seen, faults.dead_containers(engine) as dead:
        (container,) = dead
        alert = await seen.alert("dead-container", where=lambda received: b"observe" in received.payload)
        assert [(one["action"], one["verdict"]) for one in alert["actions"]] == [("remove_container", "observed")]
        assert "mode observe" in alert["summary"]
        assert await engine.status(container) == "dead"
        assert not seen.outcomes()
        code, chain, _ = await seen.sidecar.ask("explain", "remove_container")
        assert code == 0
        assert "observe" in chain


async def test_protected_and_living_containers_and_volumes_are_untouched(engine: ScratchEngine, watch: Watch) -> None:
    """By label, by name and by state; the volume of one that goes stays."""
    with rules_folder(REMOVE_EXITED.replace("status: exited", "status: [exited, running]")) as rules:
        async with watch(engine, rules=rules, PROTECT__NAMES='["db-*"]') as seen:
            labelled = await engine.run("true", labels={"dockwarden.protect": "true"})
            named = await engine.run("true", name="db-1")
            living = await engine.run("sleep", "1000000")
            fleeting = await engine.run("true", options=("--volume", "/data"))
            found = await engine.inspect(fleeting)
            await seen.outcome("remove_container", target=fleeting, ok=True)
            for reason in ("is protected", "db-1 is protected", "is running"):
                await until(partial(_says, seen, reason), what=f"the refusal because it {reason}")
            assert {labelled, named, living} <= set(await engine.containers())
            assert await engine.status(living) == "running"
            assert not [one for one in seen.outcomes("remove_container") if one["target"] in (labelled, named, living)]
            volumes = (await engine.docker("volume", "ls", "-q")).out.split()
            mounts = found["Mounts"] if found is not None else []
            assert len(volumes) == 1
            assert not mounts or mounts[0]["Name"] in volumes
            await engine.docker("volume", "rm", *volumes)


async def test_a_freeze_file_stops_all_actions(engine: ScratchEngine, watch: Watch) -> None:
    """While it is there nothing is done and the status says so; when it goes, what was decided is done."""
    with rules_folder(REMOVE_EXITED) as rules:
        async with watch(engine, rules=rules) as seen:
            freeze = seen.sidecar.state / "freeze"
            freeze.touch()
            await until(lambda: seen.status().get("frozen"), what="the status to say frozen")
            container = await engine.run("true")
            await seen.alert("tidy")
            code, shown, _ = await seen.sidecar.ask("status")
            assert code == 0
            assert "FROZEN" in shown
            assert not seen.outcomes()
            assert await engine.has(container)
            freeze.unlink()
            await seen.outcome("remove_container", target=container, ok=True)


async def test_the_mode_of_one_action(engine: ScratchEngine, watch: Watch, tmp_path: Path) -> None:
    """In mode act with removal set to observe, removal alone is only said."""
    config = tmp_path / "settings.yaml"
    config.write_text("policy: {actions: {remove_container: {mode: observe}}}\n")
    async with watch(engine, config=config) as seen, faults.dead_containers(engine) as dead:
        (container,) = dead
        alert = await seen.alert("dead-container", where=lambda received: b"observed" in received.payload)
        assert alert["key"] == container
        assert not seen.outcomes()
