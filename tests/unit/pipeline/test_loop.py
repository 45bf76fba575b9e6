"""The loop: what a batch leads to is kept before it leaves, and a death at any moment neither loses nor doubles it."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from engine.facts.docker import ContainerEvent
from engine.facts.logs import DaemonLog
from engine.facts.timestamps import SECOND, from_micros, to_micros
from engine.guardrails import Policy
from engine.inference.memory import Bounds
from engine.journal import writer as writer_module
from engine.journal.records import Batch, Committed
from engine.journal.store import Journal
from engine.journal.writer import REOPEN_S, RETRY_S
from engine.pipeline import actions
from engine.pipeline.intake import JournalNote, RulesAccepted
from engine.pipeline.jobs import Job
from engine.pipeline.schedule import BLOCKED_RECHECK_S
from engine.ports.actions import Outcome
from tests.clocks import SYSTEM
from tests.lab.waiting import until
from tests.unit.pipeline.loop import DEAD, House, Refusing, container, gone, rules
from tests.unit.pipeline.support import BUSY, IN_PROGRESS, START, cid, settle


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    """A sidecar that acts, with one rule for dead containers."""
    house = House(tmp_path)
    yield house
    await house.writer.close()


class TestDeath:
    async def test_between_commit_and_act_a_job_is_not_lost(self, house: House) -> None:
        """What was decided and kept is done after the restart."""
        await house.emit(container(1))
        assert house.attempts == []
        after = await house.restarted()
        await after.act()
        assert after.attempts == [cid(1)]
        await after.writer.close()

    async def test_the_same_conclusion_is_not_drawn_twice(self, house: House) -> None:
        """After a restart the list tells the same container again: no second alert, no second job."""
        await house.emit(container(1))
        after = await house.restarted()
        await after.emit(container(1))
        await after.act()
        assert after.alerts() == [("firing", cid(1))]
        assert after.attempts == [cid(1)]
        assert after.journal.load().retries == {}
        await after.writer.close()

    async def test_a_scheduled_retry_keeps_its_count_and_its_time(self, house: House) -> None:
        """The second attempt after a restart is the second, and comes when it was due."""
        house.outcomes[cid(1)] = [BUSY]
        await house.emit(container(1))
        await house.act()
        after = await house.restarted()
        (job,) = after.jobs.values()
        assert job.attempts_made == 1
        assert 3500 < (job.due - house.clock.wall()) / SECOND <= 3600
        await after.act()
        assert after.attempts == []
        await after.writer.close()

    async def test_a_job_whose_reason_went_meanwhile_is_dropped(self, house: House) -> None:
        """The container was deleted by hand while the process was down: nothing is done, and that is in the audit."""
        await house.emit(container(1))
        after = await house.restarted()
        await after.emit(gone(1))
        await after.act()
        assert after.attempts == []
        assert after.verdicts("action") == ["scheduled", "cancelled"]
        assert after.journal.load().retries == {}
        await after.writer.close()

    async def test_a_resolved_alert_that_waited_for_its_repair_is_published_after_the_restart(self, house: House) -> None:
        """Otherwise the broker would keep it as firing for ever: the core knows already that it is over."""
        await house.emit(container(1))
        await house.emit(gone(1))  # the deletion is under way when Docker reports that the container is gone
        assert house.alerts() == [("firing", cid(1))]
        after = await house.restarted()
        await after.turn()
        assert after.alerts() == [("firing", cid(1)), ("resolved", cid(1))]
        again = await after.restarted()
        await again.turn()
        assert len(again.alerts()) == 2
        await again.writer.close()

    async def test_a_stop_publishes_what_would_have_waited(self, house: House) -> None:
        """Nobody will answer any more."""
        await house.emit(container(1))
        await house.emit(gone(1))
        await house.loop.finish()
        assert house.alerts() == [("firing", cid(1)), ("resolved", cid(1))]

    async def test_a_scheduled_retry_that_means_nothing_is_dropped_and_the_others_go_on(self, house: House) -> None:
        """A row that an older version or a bad disk left is no reason not to start."""
        house.freeze.set()
        await house.emit(container(1))
        house.loop._batch.put_retry("bad", '{"id": 7')
        (job,) = house.jobs.values()
        house.loop._batch.put_retry("unknown", job.model_copy(update={"id": "unknown", "action": "fly"}).to_json())
        await house.turn()
        after = await house.restarted()
        await after.turn()
        assert len(after.jobs) == 1
        assert after.journal.load().retries.keys() == {job.id}
        await after.writer.close()

    async def test_two_jobs_for_one_thing_are_one_after_the_restart(self, house: House) -> None:
        """Whatever the journal holds, one target is tried by one job."""
        house.freeze.set()
        await house.emit(container(1))
        (job,) = house.jobs.values()
        house.loop._batch.put_retry("twin", job.model_copy(update={"id": "twin", "activation": "another"}).to_json())
        await house.turn()
        after = await house.restarted()
        await after.turn()
        assert len(after.jobs) == len(after.journal.load().retries) == 1
        await after.writer.close()


class TestJobs:
    async def test_a_cancelled_job_is_committed_in_the_turn_that_cancels_it(self, house: House) -> None:
        """On a quiet host no further entry may come for hours, and a crash would bring the job back."""
        house.outcomes[cid(1)] = [BUSY]
        await house.emit(container(1))
        await house.act()
        await house.emit(gone(1))
        house.clock.advance(3600)
        await house.turn()
        assert house.verdicts("action") == ["scheduled", "will be tried again", "cancelled"]
        assert house.journal.load().retries == {}
        assert house.attempts == [cid(1)]

    async def test_no_attempt_begins_before_its_turn_is_committed(self, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
        """A slow disk holds the act back, not only the message."""
        gate, commit = threading.Event(), house.journal.commit

        def slow(batch: Batch) -> Committed:
            assert gate.wait(10.0)
            return commit(batch)

        monkeypatch.setattr(house.journal, "commit", slow)
        turn = asyncio.create_task(house.emit(container(1)), name="turn")
        await settle()
        assert (house.attempts, len(house.jobs)) == ([], 1)
        gate.set()
        await turn
        await settle()
        assert house.attempts == [cid(1)]

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
        house = House(tmp_path, self.TWO)
        await house.emit(container(1))
        await house.act()
        assert house.attempts == [cid(1)]
        assert sorted(house.verdicts("action")) == ["done", "merged", "scheduled"]
        await house.writer.close()

    async def test_a_job_stays_for_as_long_as_one_of_its_reasons(self, tmp_path: Path) -> None:
        """The rule that asked first has nothing to say any more, the one that joined has: the job goes on."""
        house = House(tmp_path, self.TWO)
        house.outcomes[cid(1)] = [BUSY, BUSY]
        await house.emit(container(1))
        (job,) = house.jobs.values()
        await house.act()
        assert house.attempts == [cid(1)]
        job.activation = "over"
        house.clock.advance(3600)
        await house.act()
        assert house.attempts == [cid(1)] * 2
        job.other_activations = []
        house.clock.advance(3600)
        await house.act()
        assert house.attempts == [cid(1)] * 2
        assert house.verdicts("action")[-1] == "cancelled"
        await house.writer.close()

    async def test_a_failure_is_tried_again_and_the_last_one_is_said_to_be_the_last(self, house: House) -> None:
        """Three attempts as the rule says; the third outcome is marked exhausted, and the job is over."""
        house.outcomes[cid(1)] = [BUSY, BUSY, BUSY]
        await house.emit(container(1))
        for _ in range(3):
            await house.act()
            house.clock.advance(3600)
        results = house.messages("action")
        assert [(one["attempt"], one["exhausted"], one["error_kind"]) for one in results] == [
            (1, False, "busy"),
            (2, False, "busy"),
            (3, True, "busy"),
        ]
        assert (house.jobs, house.journal.load().retries) == ({}, {})

    async def test_docker_that_is_at_it_already_costs_no_attempt(self, house: House) -> None:
        """A 409 waits: after any number of them the first failure is attempt one."""
        house.outcomes[cid(1)] = [IN_PROGRESS, IN_PROGRESS, BUSY]
        await house.emit(container(1))
        for _ in range(3):
            (job,) = house.jobs.values()
            await house.act()
            house.clock.advance(3600)
        (job,) = house.jobs.values()
        assert (job.attempts_made, job.waits) == (1, 2)

    async def test_waiting_for_docker_has_an_end_too(self, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
        """After so many times, "in progress" counts as a failure."""
        monkeypatch.setattr(actions, "MAX_WAITS", 1)
        house.outcomes[cid(1)] = [IN_PROGRESS, IN_PROGRESS]
        await house.emit(container(1))
        for _ in range(2):
            (job,) = house.jobs.values()
            await house.act()
            house.clock.advance(3600)
        assert job.attempts_made == 1

    async def test_a_permanent_failure_is_not_tried_again(self, house: House) -> None:
        """What trying again cannot fix is over at once."""
        house.outcomes[cid(1)] = [Outcome(ok=False, error="no", error_kind="denied", permanent=True)]
        await house.emit(container(1))
        await house.act()
        assert house.jobs == {}
        assert house.verdicts("action") == ["scheduled", "failed"]

    async def test_what_an_outcome_learned_is_taken_after_the_outcome(self, house: House) -> None:
        """A deletion that says that the container is gone resolves the alert, which names the deletion as done."""
        await house.emit(container(1))
        house.outcomes[cid(1)] = [Outcome(ok=True, facts=(gone(1),))]
        await house.act()
        (resolved,) = house.messages("resolved")
        assert [(one["action"], one["verdict"]) for one in resolved["actions"]] == [("remove_container", "done")]

    async def test_in_mode_observe_nothing_is_done_and_all_is_said(self, tmp_path: Path) -> None:
        """The decision stands in the audit and in the alert, the container stays."""
        house = House(tmp_path, policy=Policy(mode="observe"))
        await house.emit(container(1))
        await house.act()
        assert (house.attempts, house.verdicts("action")) == ([], ["observed"])
        (alert,) = house.messages("alert")
        assert alert["actions"][0]["verdict"] == "observed"
        await house.writer.close()

    async def test_what_was_observed_is_done_once_the_mode_is_act(self, tmp_path: Path) -> None:
        """After a restart in mode act, what is still wanted is done, and what is over is not; in mode observe it waits on."""
        house = House(tmp_path, policy=Policy(mode="observe"))
        await house.emit(container(1), container(2))
        house = await house.restarted()
        await house.emit(gone(2))
        await house.act()
        assert house.attempts == []
        house.policy = Policy(mode="act")
        house = await house.restarted()
        await house.act()
        assert house.attempts == [cid(1)]
        await house.writer.close()

    async def test_a_protected_container_is_refused_with_the_reason(self, house: House) -> None:
        """It is in the audit and in the alert, and nothing is tried."""
        await house.emit(container(1, protected=True))
        await house.act()
        (row,) = [row for row in house.journal.audit() if row.kind == "action"]
        assert (house.attempts, row.verdict) == ([], "refused")
        assert "protected" in row.reason

    async def test_a_container_that_was_started_meanwhile_is_left_alone(self, house: House) -> None:
        """The verdict is asked again just before the attempt, in the same turn or after a wait."""
        house.freeze.set()
        await house.emit(container(1))
        await house.emit(container(1, "running"), container(2), container(2, "running"))
        house.freeze.clear()
        house.clock.advance(BLOCKED_RECHECK_S)
        await house.act()
        assert house.attempts == []


class TestFacts:
    async def test_a_fact_from_the_future_is_set_to_now(self, house: House) -> None:
        """A clock that is wrong by a day must not make the core wait for a day."""
        await house.emit(container(1, at=from_micros(house.clock.wall()) + timedelta(days=1)))
        assert house.loop.core.now <= house.clock.wall()
        assert house.loop.counters["facts_from_the_future"] == 1
        item = house.loop.core.memory.get(("container", cid(1)))
        assert item is not None
        assert item.fact.at_micros == to_micros(item.fact.at) <= house.clock.wall()

    async def test_a_retraction_from_the_future_is_set_to_now_too(self, house: House) -> None:
        """It takes back what it means."""
        await house.emit(container(1))
        late = gone(1)
        await house.emit(late.model_copy(update={"at": late.at + timedelta(days=1)}))
        assert house.loop.core.memory.get(("container", cid(1))) is None

    async def test_a_fact_that_cannot_be_used_is_counted_and_the_next_one_is_taken(self, house: House) -> None:
        """A retraction of what is no state is nobody's end."""
        bad = gone(1).model_copy(update={"retract": "container_event"})
        await house.emit(bad, container(2))
        assert house.loop.counters["bad_facts"] == 1
        assert house.alerts() == [("firing", cid(2))]

    async def test_a_name_that_is_no_utf_8_goes_all_the_way(self, house: House) -> None:
        """Into the core, the journal, an alert and a job, and back after a restart."""
        broken = "box\udcff\x00\x1b"
        await house.emit(container(1, name=broken, id=broken))
        assert house.journal.load().outbox_rows == 1
        after = await house.restarted()
        await after.act()
        assert after.attempts == [broken]
        await after.writer.close()

    async def test_the_host_is_filled_in(self, house: House) -> None:
        """Facts without a host are about this one."""
        await house.emit(container(1))
        item = house.loop.core.memory.get(("container", cid(1)))
        assert item is not None
        assert item.fact.host == "h1"

    async def test_the_cursor_is_kept_with_what_the_facts_led_to(self, house: House) -> None:
        """One transaction: a restart neither misses nor repeats."""
        await house.emit(container(1), cursor="42")
        state = house.journal.load()
        assert state.cursors == {"docker": "42"}
        assert state.outbox_rows == len(state.retries) == 1


class TestRoom:
    async def test_what_went_for_want_of_room_is_a_fact_and_stands_in_the_status(self, tmp_path: Path) -> None:
        """With the count and the kind; once, not with every turn of a storm; and it counts on under other rules."""
        text = DEAD.replace(b"{fact: container, status: dead}", b"{fact: container_event, action: oom}")
        house = House(tmp_path, text, bounds=Bounds(per_kind=5))
        for number in range(3):
            at = from_micros(START + number)
            await house.emit(*(ContainerEvent(fact_id=f"{number}-{n}", at=at, action="oom", id=cid(n)) for n in range(10)))
        await house.turn()
        lost = house.loop.core.memory.get(("source", "memory:container_event"))
        assert lost is not None
        assert (lost.values["status"], lost.values["lost"]) == ("gap", 5)
        assert house.loop.core.status()["dropped"] == [{"kind": "container_event", "bound": "per_kind", "count": 25}]
        await house.intake.put(RulesAccepted(rules(text.replace(b"oom", b"die")), "v2"))
        house.clock.advance(11)
        await house.emit(*(ContainerEvent(fact_id=f"x-{n}", at=from_micros(START), action="die", id=cid(n)) for n in range(10)))
        await house.turn()
        lost = house.loop.core.memory.get(("source", "memory:container_event"))
        assert lost is not None
        assert lost.values["lost"] == 35
        await house.writer.close()


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
        body = {"class": "docker_rm_busy", "container_id": short, "at": from_micros(START), "fact_id": f"line {short}"}
        return DaemonLog.model_validate(body)

    async def test_a_line_with_a_short_id_joins_with_its_container(self, tmp_path: Path) -> None:
        """Rules join on ids; logs cut them to twelve digits."""
        house = House(tmp_path, self.RULE)
        await house.emit(container(0xABC << 240), self.line(cid(0xABC << 240)[:12]))
        assert house.alerts() == [("firing", "")]
        await house.writer.close()

    async def test_a_short_id_that_fits_two_containers_stays_as_it_is(self, tmp_path: Path) -> None:
        """A wrong container is worse than none."""
        house = House(tmp_path, self.RULE)
        await house.emit(container(1), container(2), self.line(cid(1)[:12]))
        assert house.alerts() == []
        await house.writer.close()


class TestFullDisk:
    async def test_acting_stops_and_observing_goes_on(self, house: House) -> None:
        """A job waits while nothing can be kept; alerts are raised all the same, and so is one about the journal itself."""
        disk = Refusing(house.journal)
        disk.full = True
        await house.emit(container(1))
        await house.act()
        assert house.attempts == []
        assert [row.kind for row in await house.writer.batch(10)] == ["alert"]
        told = house.loop.core.memory.get(("source", "journal"))
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
        house = House(tmp_path, self.LOST)
        disk = Refusing(house.journal)
        disk.full = True
        await house.emit(container(1))
        assert house.loop.pause_s() == 0.0
        await house.turn()
        disk.full = False
        house.clock.advance(RETRY_S)
        await house.turn()
        assert house.loop.pause_s() == 0.0
        await house.turn()
        house.clock.advance(BLOCKED_RECHECK_S)
        await house.act()
        assert house.attempts == [cid(1)]
        assert house.alerts() == [("firing", cid(1)), ("firing", "journal"), ("resolved", "journal")]
        await house.writer.close()


class TestHangingDisk:
    async def test_acting_stops_alerts_go_out_and_it_goes_on_when_the_disk_answers(
        self, house: House, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A turn waits for the disk no longer than a few seconds; what hangs is reported, and nothing is done meanwhile."""
        monkeypatch.setattr(writer_module, "ANSWER_S", 0.05)
        gate, commit = threading.Event(), house.journal.commit

        def hanging(batch: Batch) -> Committed:
            assert gate.wait(10.0)
            return commit(batch)

        monkeypatch.setattr(house.journal, "commit", hanging)
        await house.emit(container(1))
        await house.act()
        assert house.attempts == []
        assert [row.kind for row in await house.writer.batch(10)] == ["alert"]
        told = house.loop.core.memory.get(("source", "journal"))
        assert told is not None
        assert told.values["status"] == "lost"
        gate.set()
        await until(lambda: not house.writer.hangs, what="the disk", pause_s=0.001)
        await house.turn()
        assert house.writer.healthy
        house.clock.advance(BLOCKED_RECHECK_S)
        await house.act()
        assert house.attempts == [cid(1)]


class TestNoFile:
    """The journal's file is damaged while it runs, or could not be opened at the start."""

    async def test_damage_while_running_costs_the_file_and_nothing_else(self, house: House) -> None:
        """A fresh file has all that is known, acting goes on, and a restart does not draw the same conclusions again."""
        house.outcomes[cid(1)] = [BUSY]
        await house.intake.put(JournalNote(memory={"rules": "the last good ones"}))
        await house.emit(container(1), cursor="42")
        await house.act()
        _damage(house)
        await house.emit(container(2))
        for _ in range(3):
            await house.turn()
        assert house.writer.healthy
        assert list(house.path.parent.glob("journal.db.damaged-*"))
        house.clock.advance(BLOCKED_RECHECK_S)
        await house.act()
        assert house.attempts == [cid(1), cid(2)]
        assert {row.kind for row in await house.writer.batch(100)} >= {"alert", "action"}
        after = await house.restarted()
        state = after.journal.load()
        assert state.cursors == {"docker": "42"}
        assert state.memory["rules"] == "the last good ones"
        assert [job.attempts_made for job in after.jobs.values()] == [1]
        await after.emit(container(1), container(2))
        assert [key for status, key in after.alerts() if key == cid(2) and status == "firing"] == [cid(2)]
        await after.writer.close()

    async def test_without_a_file_it_observes_and_goes_on_in_one_as_soon_as_it_can(self, tmp_path: Path) -> None:
        """Alerts go out, nothing is done, it is reported; then the file has everything and what waited is done."""
        blocked = tmp_path / "journal.db"
        blocked.mkdir()
        house = House(tmp_path, journal=Journal.in_memory("the disk is full", now=START))
        await house.emit(container(1), cursor="7")
        await house.act()
        assert house.attempts == []
        assert [row.kind for row in await house.writer.batch(10)] == ["alert"]
        await house.turn()
        told = house.loop.core.memory.get(("source", "journal"))
        assert told is not None
        assert (told.values["status"], told.values["error"]) == ("lost", "the disk is full")
        house.clock.advance(REOPEN_S)
        await house.turn()
        assert house.writer.problem is not None
        blocked.rmdir()
        house.clock.advance(REOPEN_S)
        for _ in range(3):
            await house.turn()
        assert house.writer.healthy
        house.clock.advance(BLOCKED_RECHECK_S)
        await house.act()
        assert house.attempts == [cid(1)]
        await house.die()
        with Journal.open(tmp_path / "journal.db", now=SYSTEM.wall()) as journal:
            assert journal.load().cursors == {"docker": "7"}
            assert [row.kind for row in journal.outbox(10)] == ["alert", "action"]
            assert [row.verdict for row in journal.audit() if row.kind == "action"] == ["scheduled", "done"]

    async def test_what_an_older_process_left_in_the_file_does_not_come_back(self, house: House, tmp_path: Path) -> None:
        """It could not be read at the start, so the world went on without it: its jobs and alerts are of the past."""
        await house.emit(container(1))
        await house.die()
        after = House(tmp_path, journal=Journal.in_memory("the disk is full", now=START))
        await after.emit(container(2))
        after.freeze.set()
        after.clock.advance(REOPEN_S)
        for _ in range(3):
            await after.turn()
        assert after.writer.healthy
        await after.die()
        with Journal.open(tmp_path / "journal.db", now=SYSTEM.wall()) as journal:
            state = journal.load()
            assert [Job.from_json(text).target for text in state.retries.values()] == [cid(2)]
            assert not any(cid(1) in key for _, key in state.core)
            assert [json.loads(row.payload)["data"]["key"] for row in journal.outbox(10)] == [cid(2)]


def _damage(house: House) -> None:
    """Write over the journal's pages, past SQLite."""
    house.journal._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    house.journal._db.execute("PRAGMA cache_size = 0")
    house.journal._db.execute("PRAGMA shrink_memory")
    with house.path.open("r+b") as file:
        size = file.seek(0, 2)
        file.seek(4096)
        file.write(b"\xff" * (size - 4096))


class TestRules:
    async def test_other_rules_keep_what_is_unchanged(self, house: House) -> None:
        """A rule that stays keeps its alert and its job; one that goes resolves its own."""
        house.outcomes[cid(1)] = [BUSY]
        await house.emit(container(1))
        await house.act()
        more = DEAD.replace(b"dead-container", b"dead-other").split(b"rules:\n")[1]
        await house.intake.put(RulesAccepted(rules(DEAD + more), "v2"))
        await house.turn()
        assert len(house.jobs) == 1
        assert house.alerts() == [("firing", cid(1)), ("firing", cid(1))]
        await house.intake.put(RulesAccepted(rules(DEAD), "v3"))
        await house.turn()
        assert house.alerts()[2:] == [("resolved", cid(1))]

    async def test_messages_name_the_rules_in_force(self, house: House) -> None:
        """The version changes with the rules."""
        await house.intake.put(RulesAccepted(rules(DEAD), "v2"))
        await house.emit(container(1))
        assert house.messages("alert")[0]["rules_version"] == "v2"


async def test_the_loop_runs_until_it_is_cancelled(house: House) -> None:
    """What became due while the process was down is decided at the start; afterwards every entry is taken."""
    task = asyncio.create_task(house.loop.run(), name="loop")
    await house.intake.sink("docker").put([container(1)])
    async with asyncio.timeout(5.0):
        await house.writer.wait(after=0)
    task.cancel()
    await asyncio.wait({task}, timeout=1.0)
    assert task.cancelled()
    await settle()
