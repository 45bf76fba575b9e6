"""What the publisher promises, on the broker in memory and on a real Mosquitto alike."""

import asyncio
from collections.abc import Sequence
from functools import partial
from itertools import pairwise

from connectors.mqtt.fake import MemoryOutbox
from engine.errors import JournalError
from engine.ports.broker import Message, OutboxRow
from tests.contract.mqtt.brokers import Broker
from tests.contract.mqtt.conftest import STATUS, Publishing, publishing
from tests.lab.waiting import until

ALERT = "dockwarden/h1/alert/r/k"


def rows(count: int, *, first: int = 1, topics: int = 1, retain: bool = False) -> list[OutboxRow]:
    """Rows over so many topics; the payload is the number."""
    return [
        OutboxRow(topic=f"dockwarden/h1/action/a/{seq % topics}", payload=b"%d" % seq, kind="action", retain=retain, seq=seq)
        for seq in range(first, first + count)
    ]


def alert(seq: int, payload: bytes, *, topic: str = ALERT, expiry_s: int | None = None) -> OutboxRow:
    """A retained alert."""
    return OutboxRow(topic=topic, payload=payload, kind="alert", retain=True, expiry_s=expiry_s, seq=seq)


async def test_rows_arrive_in_order_and_leave_the_outbox(broker: Broker) -> None:
    """Three hundred rows on seven topics: all received, in order within each topic, and the outbox is empty."""
    with broker.listen("dockwarden/h1/action/#") as received:
        async with publishing(broker) as at_work:
            await at_work.outbox.put(*rows(300, topics=7))
            async with asyncio.timeout(20):
                await at_work.outbox.wait_empty()
            await until(lambda: len(received) >= 300, what="every row to be received")
            for topic in range(7):
                numbers = [int(payload) for name, payload, _ in received if name.endswith(f"/{topic}")]
                assert numbers == [seq for seq in range(1, 301) if seq % 7 == topic]
            assert at_work.publisher.state.published == 300


async def test_rows_that_come_later_are_sent_at_once(broker: Broker) -> None:
    """A publisher that has nothing to do wakes up for a row."""
    with broker.listen("dockwarden/h1/action/#") as received:
        async with publishing(broker) as at_work:
            for seq in range(1, 6):
                await at_work.outbox.put(*rows(1, first=seq))
                await until(lambda seq=seq: len(received) == seq, what=f"row {seq}")  # type: ignore[misc]  # mypy: default argument
            assert not at_work.outbox.rows


async def test_the_status_comes_first_then_whenever_it_changes_and_offline_at_the_end(broker: Broker) -> None:
    """Retained, before any row; announced again on request; replaced by offline when the publisher stops in order."""
    with broker.listen("dockwarden/h1/#") as received:
        async with publishing(broker) as at_work:
            await at_work.outbox.put(*rows(1))
            await until(lambda: len(received) == 2, what="status and row")
            assert [payload for _, payload, _ in received] == [b"online", b"1"]
            at_work.status = b"busy"
            at_work.publisher.announce()
            await until(lambda: (STATUS, b"busy", False) in received, what="the new status")
            await at_work.stop()
        await until(lambda: (STATUS, b"offline", False) in received, what="the farewell")
        assert [payload for topic, payload, _ in received if topic == STATUS] == [b"online", b"busy", b"offline"]
    with broker.listen(STATUS) as late:
        await until(lambda: (STATUS, b"offline", True) in late, what="the retained farewell")


def _reached(at_work: Publishing, count: int) -> bool:
    return at_work.publisher.state.published >= count


async def test_nothing_is_lost_when_the_broker_dies_in_the_middle(broker: Broker) -> None:
    """Killed twice within 1,000 rows and started again: every row is received, none overtakes another of its topic."""
    received_in_all: list[tuple[str, bytes]] = []
    async with publishing(broker) as at_work:
        await at_work.outbox.put(*rows(1000, topics=5))
        for published in (200, 600):
            with broker.listen("dockwarden/h1/action/#") as received:
                await until(partial(_reached, at_work, published), what="a part of the rows", pause_s=0)
                broker.kill()
                await until(lambda: not at_work.publisher.state.connected, what="the loss to be noticed")
                received_in_all += [(topic, payload) for topic, payload, _ in received]
            assert at_work.publisher.state.last_error
            assert at_work.outbox.rows
            broker.start()
        with broker.listen("dockwarden/h1/action/#") as received:
            async with asyncio.timeout(30):
                await at_work.outbox.wait_empty()
            await until(lambda: any(payload == b"1000" for _, payload, _ in received), what="the last row")
            received_in_all += [(topic, payload) for topic, payload, _ in received]
        assert at_work.publisher.state.connections >= 3
        assert at_work.publisher.state.last_error is None
        assert at_work.publisher.state.published >= 1000
    # A listener that was away may have missed what others received; the outbox may not: what it let go was acknowledged.
    for topic in range(5):
        numbers = [int(payload) for name, payload in received_in_all if name.endswith(f"/{topic}")]
        # Repetitions after a loss go back once each; apart from them the numbers rise.
        falls = sum(1 for before, after in pairwise(numbers) if after <= before)
        assert falls <= 2


async def test_retained_alerts_survive_the_broker_and_reach_late_subscribers(broker: Broker) -> None:
    """The newest state of every alert that was acknowledged is there after the broker was killed and started again."""
    async with publishing(broker) as at_work:
        await at_work.outbox.put(*(alert(seq, b"%d" % seq, topic=f"{ALERT}{seq % 20}") for seq in range(1, 101)))
        async with asyncio.timeout(20):
            await at_work.outbox.wait_empty()
        await asyncio.sleep(1.1)  # Mosquitto writes at most once a second (autosave_interval 1); there is nothing to look at
    broker.kill()
    broker.start()
    with broker.listen("dockwarden/h1/alert/#") as late:
        await until(lambda: len(late) >= 20, what="the retained alerts")
        assert sorted((topic, payload, retained) for topic, payload, retained in late) == sorted(
            (f"{ALERT}{seq % 20}", b"%d" % seq, True) for seq in range(81, 101)
        )


async def test_a_message_with_an_expiry_is_forgotten_by_the_broker(broker_of_5: Broker) -> None:
    """A resolved alert replaces the firing one at once, and is gone when its time is over; others stay."""
    async with publishing(broker_of_5) as at_work:
        await at_work.outbox.put(alert(1, b"firing"), alert(2, b"resolved", expiry_s=2), alert(3, b"stays", topic=f"{ALERT}2"))
        async with asyncio.timeout(10):
            await at_work.outbox.wait_empty()

    with broker_of_5.listen("dockwarden/h1/alert/#") as late:
        await until(lambda: len(late) == 2, what="both alerts")
        assert sorted(payload for _, payload, _ in late) == [b"resolved", b"stays"]

    async def gone() -> bool:
        with broker_of_5.listen("dockwarden/h1/alert/#") as late:
            await until(lambda: any(payload == b"stays" for _, payload, _ in late), what="the one that stays")
            broker_of_5.publish(Message("dockwarden/h1/alert/end", b"end", retain=False))
            await until(lambda: any(payload == b"end" for _, payload, _ in late), what="the end of the retained ones")
            return all(payload != b"resolved" for _, payload, _ in late)

    await until(gone, what="the resolved alert to expire")


async def test_a_denied_topic_keeps_its_rows_and_holds_up_no_other(broker_of_5: Broker) -> None:
    """The broker says no: the row stays and the state says so; the rest is published; when it is allowed, it arrives."""
    denied = [alert(1, b"first", topic="dockwarden/h1/denied/x"), alert(3, b"second", topic="dockwarden/h1/denied/x")]
    async with publishing(broker_of_5) as at_work:
        await at_work.outbox.put(denied[0], *rows(1, first=2), denied[1], *rows(500, first=4))
        await until(lambda: set(at_work.outbox.rows) == {1, 3}, what="everything else to be published")
        state = at_work.publisher.state
        assert "ot authorized" in state.denied_topics["dockwarden/h1/denied/x"]
        assert state.published == 501
        await until(lambda: state.denied >= 2, what="a second try")
        assert set(at_work.outbox.rows) == {1, 3}

        await broker_of_5.allow_all()
        async with asyncio.timeout(10):
            await at_work.outbox.wait_empty()
        assert state.denied_topics == {}
    with broker_of_5.listen("dockwarden/h1/denied/x") as late:
        await until(lambda: late, what="the retained alert")
        assert [payload for _, payload, _ in late] == [b"second"]


async def test_a_row_that_no_broker_takes_is_given_up_and_told(broker: Broker) -> None:
    """A topic with a wildcard would be denied for ever, or cost the connection: it is refused, the next row goes on."""
    async with publishing(broker) as at_work:
        await at_work.outbox.put(OutboxRow(topic="bad/#", payload=b"x", kind="fact", seq=1), *rows(1, first=2))
        async with asyncio.timeout(10):
            await at_work.outbox.wait_empty()
        assert list(at_work.outbox.refusals) == [1]
        assert at_work.publisher.state.refused == 1
        assert at_work.publisher.state.connections == 1


async def test_commands_are_received_if_allowed_and_a_failing_one_stops_nothing(broker: Broker) -> None:
    """Name and payload reach the handler; retained ones (which may be years old) do not; an error is logged, no more."""
    got: list[tuple[str, bytes]] = []

    async def handle(name: str, payload: bytes) -> None:
        got.append((name, payload))
        if name == "fail":
            raise ValueError(name)

    broker.publish(Message("dockwarden/h1/command/old", b"", retain=True))
    async with publishing(broker, on_command=handle, commands=True) as at_work:
        await until(lambda: at_work.publisher.state.connected, what="the connection")
        # The subscription follows the connection; a command sent before it would be nobody's.

        def ping() -> bool:
            broker.publish(Message("dockwarden/h1/command/ping", b"", retain=False))
            return bool(got)

        await until(ping, what="a first command")
        got.clear()
        broker.publish(Message("dockwarden/h1/command/fail", b"1", retain=False))
        broker.publish(Message("dockwarden/h1/command/freeze", b"x" * 70_000, retain=False))
        broker.publish(Message("dockwarden/h1/command/freeze", b"2", retain=False))
        await until(lambda: ("freeze", b"2") in got, what="the last command")
        assert [item for item in got if item[0] != "ping"] == [("fail", b"1"), ("freeze", b"2")]
        assert at_work.publisher.state.connections == 1


async def test_commands_are_off_by_default(broker: Broker) -> None:
    """A handler alone does not make us listen: the settings must say so."""
    got: list[str] = []

    async def handle(name: str, _: bytes) -> None:
        got.append(name)

    async with publishing(broker, on_command=handle) as at_work:
        await at_work.outbox.put(*rows(1))
        async with asyncio.timeout(10):
            await at_work.outbox.wait_empty()
        broker.publish(Message("dockwarden/h1/command/freeze", b"", retain=False))
        await at_work.outbox.put(*rows(1, first=2))
        async with asyncio.timeout(10):
            await at_work.outbox.wait_empty()
    assert got == []


async def test_a_half_dead_session_is_ended_before_the_new_one_begins(broker: Broker) -> None:
    """One session per host name: the older one's will comes before the newer one's status, never after it."""
    async with publishing(broker, retry_first_s=60, retry_max_s=60) as first:
        await until(lambda: first.publisher.state.connected, what="the first connection")
        async with publishing(broker) as second:
            await until(lambda: second.publisher.state.connected, what="the second connection")
            await until(lambda: first.publisher.state.last_error, what="the first to notice")
            with broker.listen(STATUS) as late:
                await until(lambda: (STATUS, b"online", True) in late, what="the status")
                assert len(late) == 1


async def test_two_that_fight_for_one_name_say_so(broker: Broker) -> None:
    """Two sidecars of one host name end each other's sessions: after a few times the error names the cause."""
    async with publishing(broker) as first, publishing(broker) as second:
        states = (first.publisher.state, second.publisher.state)
        await until(lambda: any("second dockwarden" in (state.last_error or "") for state in states), what="the hint")


class FailingOutbox(MemoryOutbox):
    """An outbox whose journal is on a full disk for a while."""

    def __init__(self) -> None:
        super().__init__()
        self.full = True

    async def done(self, seqs: Sequence[int]) -> None:
        if self.full:
            raise JournalError("the disk is full")
        await super().done(seqs)


async def test_a_journal_that_refuses_makes_no_row_go_twice(broker: Broker) -> None:
    """What the broker took is not sent again while the outbox cannot let go of it; later it goes."""
    outbox = FailingOutbox()
    with broker.listen("dockwarden/h1/action/#") as received:
        async with publishing(broker, outbox=outbox) as at_work:
            await outbox.put(*rows(50, topics=3))
            await until(lambda: len(received) == 50, what="every row")
            await outbox.put(*rows(10, first=51))
            await until(lambda: len(received) == 60, what="later rows")
            assert len(outbox.rows) == 60
            outbox.full = False
            async with asyncio.timeout(10):
                await outbox.wait_empty()
            assert at_work.publisher.state.published == len(received) == 60
