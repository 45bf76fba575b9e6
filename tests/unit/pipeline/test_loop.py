"""The loop: what a batch leads to is kept before it leaves, and a death at any moment neither loses nor doubles it."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from engine.facts.logs import DaemonLog
from engine.facts.timestamps import SECOND, from_micros, to_micros
from engine.guardrails import Policy
from engine.pipeline import actions as repairs
from engine.pipeline.clock import wall_clock
from engine.ports.actions import Outcome
from tests.unit.pipeline.loop import DEAD, Loop, Refusing, container, gone, rules
from tests.unit.pipeline.support import BUSY, IN_PROGRESS, cid, settle


@pytest.fixture
async def loop(tmp_path: Path) -> AsyncIterator[Loop]:
    """A sidecar that acts, with one rule for dead containers."""
    loop = Loop(tmp_path)
    yield loop
    await loop.keeper.close()


class TestDeath:
    async def test_between_commit_and_act_a_job_is_not_lost(self, loop: Loop) -> None:
        """What was decided and kept is done after the restart."""
        await loop.tell(container(1))
        assert loop.attempts == []
        after = await loop.reborn()
        await after.act()
        assert after.attempts == [cid(1)]
        await after.keeper.close()

    async def test_the_same_conclusion_is_not_drawn_twice(self, loop: Loop) -> None:
        """After a restart the list tells the same container again: no second alert, no second job."""
        await loop.tell(container(1))
        after = await loop.reborn()
        await after.tell(container(1))
        await after.act()
        assert after.alerts() == [("firing", cid(1))]
        assert after.attempts == [cid(1)]
        assert after.journal.load().retries == {}
        await after.keeper.close()

    async def test_a_scheduled_retry_keeps_its_count_and_its_time(self, loop: Loop) -> None:
        """The second attempt after a restart is the second, and comes when it was due."""
        loop.outcomes[cid(1)] = [BUSY]
        await loop.tell(container(1))
        await loop.act()
        after = await loop.reborn()
        (job,) = after.executor.jobs.values()
        assert job.attempts_made == 1
        assert 3500 < (job.due - wall_clock()) / SECOND <= 3600
        await after.act()
        assert after.attempts == []
        await after.keeper.close()

    async def test_a_job_whose_reason_went_meanwhile_is_dropped(self, loop: Loop) -> None:
        """The container was deleted by hand while the process was down: nothing is done, and that is in the audit."""
        await loop.tell(container(1))
        after = await loop.reborn()
        await after.tell(gone(1))
        await after.act()
        await after.turn()
        assert after.attempts == []
        assert after.verdicts("action") == ["scheduled", "cancelled"]
        assert after.journal.load().retries == {}
        await after.keeper.close()

    async def test_a_resolved_alert_that_waited_for_its_mending_is_said_after_the_restart(self, loop: Loop) -> None:
        """Otherwise the broker would keep it as firing for ever: the core knows already that it is over."""
        await loop.tell(container(1))
        loop.executor._start_due()  # the deletion is under way when the engine tells that the container is gone
        await loop.tell(gone(1))
        assert loop.alerts() == [("firing", cid(1))]
        after = await loop.reborn()
        await after.turn()
        assert after.alerts() == [("firing", cid(1)), ("resolved", cid(1))]
        again = await after.reborn()
        await again.turn()
        assert len(again.alerts()) == 2
        await again.keeper.close()

    async def test_a_stop_says_what_would_have_waited(self, loop: Loop) -> None:
        """Nobody will answer any more."""
        await loop.tell(container(1))
        loop.executor._start_due()
        await loop.tell(gone(1))
        await loop.sidecar.last_turn()
        assert loop.alerts() == [("firing", cid(1)), ("resolved", cid(1))]

    async def test_a_scheduled_retry_that_means_nothing_is_dropped_and_the_others_go_on(self, loop: Loop) -> None:
        """A row that an older version or a bad disk left is no reason not to start."""
        await loop.tell(container(1))
        loop.sidecar._batch.put_retry("bad", '{"id": 7')
        (job,) = loop.executor.jobs.values()
        loop.sidecar._batch.put_retry("unknown", job.model_copy(update={"id": "unknown", "action": "fly"}).kept())
        await loop.turn()
        after = await loop.reborn()
        await after.turn()
        assert len(after.executor.jobs) == 1
        assert after.journal.load().retries.keys() == {job.id}
        await after.keeper.close()

    async def test_two_jobs_for_one_thing_are_one_after_the_restart(self, loop: Loop) -> None:
        """Whatever the journal holds, one target is tried by one job."""
        await loop.tell(container(1))
        (job,) = loop.executor.jobs.values()
        loop.sidecar._batch.put_retry("twin", job.model_copy(update={"id": "twin", "activation": "another"}).kept())
        await loop.turn()
        after = await loop.reborn()
        await after.turn()
        assert len(after.executor.jobs) == len(after.journal.load().retries) == 1
        await after.keeper.close()


class TestJobs:
    TWO = (
        DEAD
        + b"""
  - rule: dead-too
    title: The same again
    severity: warning
    when:
      dead: {fact: container, status: dead, name: box1}
    then:
      - do: remove_container
        container: $dead.id
"""
    )

    async def test_two_rules_that_ask_for_the_same_in_one_step_make_one_job(self, tmp_path: Path) -> None:
        """The second reason joins the first before either is kept."""
        loop = Loop(tmp_path, self.TWO)
        await loop.tell(container(1))
        await loop.act()
        assert loop.attempts == [cid(1)]
        assert sorted(loop.verdicts("action")) == ["done", "merged", "scheduled"]
        await loop.keeper.close()

    async def test_a_job_stays_for_as_long_as_one_of_its_reasons(self, tmp_path: Path) -> None:
        """The rule that asked first has nothing to say any more, the one that joined has: the job goes on."""
        loop = Loop(tmp_path, self.TWO)
        await loop.tell(container(1))
        (job,) = loop.executor.jobs.values()
        assert loop.sidecar.repairs.judge_now(job) is not None
        job.activation = "over"
        assert loop.sidecar.repairs.judge_now(job) is not None
        job.also = []
        assert loop.sidecar.repairs.judge_now(job) is None
        await loop.keeper.close()

    async def test_a_failure_is_tried_again_and_the_last_one_is_said_to_be_the_last(self, loop: Loop) -> None:
        """Three attempts as the rule says; the third outcome is marked exhausted, and the job is over."""
        loop.outcomes[cid(1)] = [BUSY, BUSY, BUSY]
        await loop.tell(container(1))
        for _ in range(3):
            for job in loop.executor.jobs.values():
                job.due = wall_clock()
                loop.executor.reschedule(job)
            await loop.act()
        results = loop.messages("action")
        assert [(one["attempt"], one["exhausted"], one["error_kind"]) for one in results] == [
            (1, False, "busy"),
            (2, False, "busy"),
            (3, True, "busy"),
        ]
        assert (loop.executor.jobs, loop.journal.load().retries) == ({}, {})

    async def test_an_engine_that_is_at_it_already_costs_no_attempt(self, loop: Loop) -> None:
        """A 409 waits: after any number of them the first failure is attempt one."""
        loop.outcomes[cid(1)] = [IN_PROGRESS, IN_PROGRESS, BUSY]
        await loop.tell(container(1))
        for _ in range(3):
            (job,) = loop.executor.jobs.values()
            job.due = wall_clock()
            loop.executor.reschedule(job)
            await loop.act()
        (job,) = loop.executor.jobs.values()
        assert (job.attempts_made, job.waits) == (1, 2)

    async def test_waiting_for_the_engine_has_an_end_too(self, loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
        """After so many times, "in progress" counts as a failure."""
        monkeypatch.setattr(repairs, "WAITS", 1)
        loop.outcomes[cid(1)] = [IN_PROGRESS, IN_PROGRESS]
        await loop.tell(container(1))
        for _ in range(2):
            (job,) = loop.executor.jobs.values()
            job.due = wall_clock()
            loop.executor.reschedule(job)
            await loop.act()
        assert job.attempts_made == 1

    async def test_a_permanent_failure_is_not_tried_again(self, loop: Loop) -> None:
        """What trying again cannot mend is over at once."""
        loop.outcomes[cid(1)] = [Outcome(ok=False, error="no", error_kind="denied", permanent=True)]
        await loop.tell(container(1))
        await loop.act()
        assert loop.executor.jobs == {}
        assert loop.verdicts("action") == ["scheduled", "failed"]

    async def test_what_an_outcome_learned_is_taken_after_the_outcome(self, loop: Loop) -> None:
        """A deletion that says that the container is gone resolves the alert, which names the deletion as done."""
        await loop.tell(container(1))
        loop.outcomes[cid(1)] = [Outcome(ok=True, facts=(gone(1),))]
        await loop.act()
        (resolved,) = loop.messages("resolved")
        assert [(one["action"], one["verdict"]) for one in resolved["actions"]] == [("remove_container", "done")]

    async def test_in_mode_observe_nothing_is_done_and_all_is_said(self, tmp_path: Path) -> None:
        """The decision stands in the audit and in the alert, the container stays."""
        loop = Loop(tmp_path, policy=Policy(mode="observe"))
        await loop.tell(container(1))
        await loop.act()
        assert (loop.attempts, loop.verdicts("action")) == ([], ["observed"])
        (alert,) = loop.messages("alert")
        assert alert["actions"][0]["verdict"] == "observed"
        await loop.keeper.close()

    async def test_what_was_observed_is_done_once_the_mode_is_act(self, tmp_path: Path) -> None:
        """After a restart in mode act, what is still wanted is done, and what is over is not; in mode observe it waits on."""
        loop = Loop(tmp_path, policy=Policy(mode="observe"))
        await loop.tell(container(1), container(2))
        loop = await loop.reborn()
        await loop.tell(gone(2))
        await loop.act()
        assert loop.attempts == []
        loop.policy = Policy(mode="act")
        loop = await loop.reborn()
        await loop.act()
        assert loop.attempts == [cid(1)]
        await loop.keeper.close()

    async def test_a_protected_container_is_refused_with_the_reason(self, loop: Loop) -> None:
        """It is in the audit and in the alert, and nothing is tried."""
        await loop.tell(container(1, protected=True))
        await loop.act()
        (row,) = [row for row in loop.journal.audit() if row.kind == "action"]
        assert (loop.attempts, row.verdict) == ([], "refused")
        assert "protected" in row.reason

    async def test_a_container_that_was_started_meanwhile_is_left_alone(self, loop: Loop) -> None:
        """The verdict is asked again just before the attempt."""
        await loop.tell(container(1))
        await loop.tell(container(1, "running"))
        await loop.act()
        assert loop.attempts == []


class TestFacts:
    async def test_a_fact_from_the_future_is_set_to_now(self, loop: Loop) -> None:
        """A clock that is wrong by a day must not make the core wait for a day."""
        await loop.tell(container(1, at=from_micros(wall_clock()) + timedelta(days=1)))
        assert loop.sidecar.core.now <= wall_clock()
        assert loop.sidecar.counters["facts_from_the_future"] == 1
        item = loop.sidecar.core.memory.get(("container", cid(1)))
        assert item is not None
        assert item.fact.at_micros == to_micros(item.fact.at) <= wall_clock()

    async def test_a_retraction_from_the_future_is_set_to_now_too(self, loop: Loop) -> None:
        """It takes back what it means."""
        await loop.tell(container(1))
        late = gone(1)
        await loop.tell(late.model_copy(update={"at": late.at + timedelta(days=1)}))
        assert loop.sidecar.core.memory.get(("container", cid(1))) is None

    async def test_a_fact_that_cannot_be_used_is_counted_and_the_next_one_is_taken(self, loop: Loop) -> None:
        """A retraction of what is no state is nobody's end."""
        bad = gone(1).model_copy(update={"retract": "container_event"})
        await loop.tell(bad, container(2))
        assert loop.sidecar.counters["bad_facts"] == 1
        assert loop.alerts() == [("firing", cid(2))]

    async def test_a_name_that_is_no_utf_8_goes_all_the_way(self, loop: Loop) -> None:
        """Into the core, the journal, an alert and a job, and back after a restart."""
        broken = "box\udcff\x00\x1b"
        await loop.tell(container(1, name=broken, id=broken))
        assert loop.journal.load().outbox_rows == 1
        after = await loop.reborn()
        await after.act()
        assert after.attempts == [broken]
        await after.keeper.close()

    async def test_the_host_is_filled_in(self, loop: Loop) -> None:
        """Facts without a host are about this one."""
        await loop.tell(container(1))
        item = loop.sidecar.core.memory.get(("container", cid(1)))
        assert item is not None
        assert item.fact.host == "h1"

    async def test_the_cursor_is_kept_with_what_the_facts_led_to(self, loop: Loop) -> None:
        """One transaction: a restart neither misses nor repeats."""
        await loop.tell(container(1), cursor="42")
        state = loop.journal.load()
        assert state.cursors == {"docker": "42"}
        assert state.outbox_rows == len(state.retries) == 1


class TestShortIds:
    RULE = b"""
rules:
  - rule: busy
    title: Busy
    severity: warning
    when:
      line: {fact: daemon_log, class: docker_rm_busy}
      left: {fact: container, id: $line.container_id}
    then:
      - alert: "{left.name} is busy"
"""

    @staticmethod
    def line(short: str) -> DaemonLog:
        """A line that names a container by a short id."""
        body = {"class": "docker_rm_busy", "container_id": short, "at": from_micros(wall_clock()), "fact_id": f"line {short}"}
        return DaemonLog.model_validate(body)

    async def test_a_line_with_a_short_id_joins_with_its_container(self, tmp_path: Path) -> None:
        """Rules join on ids; logs cut them to twelve digits."""
        loop = Loop(tmp_path, self.RULE)
        await loop.tell(container(0xABC << 240), self.line(cid(0xABC << 240)[:12]))
        assert loop.alerts() == [("firing", "")]
        await loop.keeper.close()

    async def test_a_short_id_that_fits_two_containers_stays_as_it_is(self, tmp_path: Path) -> None:
        """A wrong container is worse than none."""
        loop = Loop(tmp_path, self.RULE)
        await loop.tell(container(1), container(2), self.line(cid(1)[:12]))
        assert loop.alerts() == []
        await loop.keeper.close()


class TestFullDisk:
    async def test_acting_stops_and_observing_goes_on(self, loop: Loop) -> None:
        """A job waits while nothing can be kept; alerts are raised all the same, and so is one about the journal itself."""
        disk = Refusing(loop.journal)
        disk.full = True
        await loop.tell(container(1))
        await loop.act()
        assert loop.attempts == []
        assert [row.kind for row in await loop.keeper.batch(10)] == ["alert"]
        told = loop.sidecar.core.memory.get(("source", "journal"))
        assert told is not None
        assert told.values["status"] == "lost"

    LOST = (
        DEAD
        + b"""
  - rule: journal-lost
    title: The journal cannot be written
    severity: critical
    when:
      lost: {fact: source, name: journal, status: lost}
    key: journal
    then:
      - alert: "{lost.error}"
"""
    )

    async def test_when_the_disk_has_room_again_the_repairs_go_on(self, tmp_path: Path) -> None:
        """Nothing was forgotten; and what is said of the journal itself does not wait for the next event."""
        loop = Loop(tmp_path, self.LOST)
        disk = Refusing(loop.journal)
        disk.full = True
        await loop.tell(container(1))
        assert loop.sidecar._pause() == 0.0
        await loop.turn()
        disk.full = False
        loop.keeper._retry_at = 0.0
        await loop.turn()
        assert loop.sidecar._pause() == 0.0
        await loop.turn()
        loop.executor.hurry(cid(1), but_not="")
        await loop.act()
        assert loop.attempts == [cid(1)]
        assert loop.alerts() == [("firing", cid(1)), ("firing", "journal"), ("resolved", "journal")]
        await loop.keeper.close()


class TestRules:
    async def test_other_rules_keep_what_is_unchanged(self, loop: Loop) -> None:
        """A rule that stays keeps its alert and its job; one that goes resolves its own."""
        loop.outcomes[cid(1)] = [BUSY]
        await loop.tell(container(1))
        await loop.act()
        more = DEAD.replace(b"dead-container", b"dead-other").split(b"rules:\n")[1]
        loop.sidecar.replace_rules(rules(DEAD + more), "v2")
        await loop.turn()
        assert len(loop.executor.jobs) == 1
        assert loop.alerts() == [("firing", cid(1)), ("firing", cid(1))]
        loop.sidecar.replace_rules(rules(DEAD), "v3")
        await loop.turn()
        assert loop.alerts()[2:] == [("resolved", cid(1))]

    async def test_messages_name_the_rules_in_force(self, loop: Loop) -> None:
        """The version changes with the rules."""
        loop.sidecar.replace_rules(rules(DEAD), "v2")
        await loop.tell(container(1))
        assert loop.messages("alert")[0]["rules_version"] == "v2"


async def test_the_loop_runs_until_it_is_cancelled(loop: Loop) -> None:
    """What became due while the process was down is decided at the start; afterwards every entry is taken."""
    import asyncio  # noqa: PLC0415

    task = asyncio.create_task(loop.sidecar.run(), name="engine")
    await loop.intake.sink("docker").put([container(1)])
    async with asyncio.timeout(5.0):
        await loop.keeper.wait(after=0)
    task.cancel()
    await asyncio.wait({task}, timeout=1.0)
    assert task.cancelled()
    await settle()
