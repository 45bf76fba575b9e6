"""Where to go on in the stream, when to list anew, how a source is doing, how long to pause."""

import asyncio
import json
from datetime import UTC, datetime

import pytest

from connectors.docker.api.event import DockerEvent, read_event
from connectors.docker.containers.resync import Resync
from connectors.docker.events.resume import NANO, Resume
from connectors.sources.status import SourceStatus

NOW = 1_763_657_512_525_487_123


def event(nano: int, *, container: str = "a", exec_id: str = "") -> DockerEvent:
    """An event at that nanosecond."""
    actor = {"ID": container, "Attributes": {"execID": exec_id} if exec_id else {}}
    return read_event(json.dumps({"Type": "container", "Action": "start", "Actor": actor, "timeNano": nano}).encode())


def test_resuming_begins_a_second_before_the_newest() -> None:
    """Whole and fractional seconds, nine digits, so that nothing is rounded."""
    assert Resume(str(NOW), now=NOW).since() == "1763657511.525487123"
    assert Resume(str(5 * NANO + 7), now=NOW).since() == "4.000000007"


@pytest.mark.parametrize("cursor", [None, "", "x", "-5", "1" * 40, "9" * 19, "٣"])
def test_without_a_cursor_the_last_second_is_asked_for(cursor: str | None) -> None:
    """Never an empty `since`: only with it does Docker hand over what happened while it subscribed us."""
    resume = Resume(cursor, now=NOW)
    assert resume.since() == "1763657511.525487123"
    assert resume.cursor is None
    assert not resume.expects_overlap


def test_events_of_the_overlap_are_new_once() -> None:
    """The same event again is not; one at the same nanosecond that differs in container or exec is."""
    resume = Resume(None, now=NOW)
    assert resume.is_new(event(5))
    assert not resume.is_new(event(5))
    assert resume.is_new(event(5, container="b"))
    assert resume.is_new(event(5, exec_id="1"))
    assert resume.is_new(event(4))
    assert resume.cursor == "5"


def test_a_gap_is_a_first_event_newer_than_all_seen() -> None:
    """One that was seen, or is older than the newest, shows that Docker's memory reaches back far enough."""
    resume = Resume(None, now=NOW)
    assert not resume.misses(event(5))
    resume.is_new(event(5))
    assert not resume.misses(event(5))
    assert not resume.misses(event(4))
    assert resume.misses(event(6))


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_clock_that_was_set_moves_the_place_in_the_stream(hours: int) -> None:
    """What comes now is after what was seen, by whichever clock; a new connection begins a second before it."""
    resume, step = Resume(str(NOW), now=NOW), hours * 3600 * NANO
    resume.shift(step)
    assert resume.since() == Resume(str(NOW + step), now=NOW + step).since()
    assert resume.is_new(event(NOW + step + 1))
    assert resume.cursor == str(NOW + step + 1)


def test_a_cursor_names_what_was_removed_of_late() -> None:
    """Within bounds: those of the last seconds, and no more than a busy host removes."""
    resume = Resume(None, now=NOW)

    def removed(number: int, nano: int) -> DockerEvent:
        actor = {"ID": f"{number:064x}"[::-1], "Attributes": {}}
        return read_event(json.dumps({"Type": "container", "Action": "destroy", "Actor": actor, "timeNano": nano}).encode())

    resume.is_new(removed(1, NOW))
    resume.is_new(removed(2, NOW + NANO))
    assert resume.cursor == f"{NOW + NANO}:100000000000,200000000000"
    again = Resume(resume.cursor, now=NOW + NANO)
    assert again.gone_before == ["100000000000", "200000000000"]
    assert again.cursor == str(NOW + NANO)
    for number in range(10_000):
        resume.is_new(removed(number + 3, NOW + 10 * NANO + number))
    assert len(resume.cursor or "") < 7_000
    assert "100000000000," not in (resume.cursor or "")


def test_what_was_seen_is_remembered_within_bounds() -> None:
    """Docker can send 256 again; a stream of a million leaves some thousand behind."""
    resume = Resume(None, now=NOW)
    for nano in range(1, 10_000):
        resume.is_new(event(nano))
    assert len(resume._seen) == 4_096


async def test_a_listing_answers_the_requests_from_before_it_began() -> None:
    """One that came while the listing was under way is not answered by it."""
    resync = Resync()
    done: list[int] = []
    resync.on_done(lambda: done.append(1))
    first, second = resync.request(), resync.request()
    assert await resync.wait(0.0)
    began = resync.begin()
    third = resync.request()
    resync.finish(began)
    assert [resync.is_done(number) for number in (first, second, third)] == [True, True, False]
    assert done == [1]
    assert await resync.wait(0.0)
    resync.finish(resync.begin())
    assert not await resync.wait(0.01)
    waiting = asyncio.create_task(resync.wait(5.0))
    await asyncio.sleep(0)
    resync.request()
    assert await asyncio.wait_for(waiting, 1.0)


def test_a_source_s_state_is_told_when_it_changes() -> None:
    """Status, losses or reason; `since` is when the status began."""
    state = SourceStatus("docker", immediate=True)
    t1, t2, t3 = (datetime(2026, 11, 20, 16, 0, second, tzinfo=UTC) for second in (1, 2, 3))
    (first,) = state.report("ok", t1)
    assert (first.name, first.status, first.since) == ("docker", "ok", t1)
    assert state.report("ok", t2) == []
    state.lost = 3
    (more,) = state.report("ok", t2)
    assert (more.lost, more.since) == (3, t1)
    (lost,) = state.report("lost", t3, "x\x07")
    assert (lost.since, lost.error) == (t3, "x\ufffd")
