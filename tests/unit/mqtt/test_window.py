from collections.abc import Sequence
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.mqtt.window import PoisonMessageDetector, Window
from engine.ports.broker import OutboxRow


def row(seq: int, topic: str = "t") -> OutboxRow:
    """A row that waits."""
    return OutboxRow(topic=topic, payload=b"", kind="alert", seq=seq)


def all_next(window: Window) -> list[int]:
    """Numbers of all rows that may be sent now."""
    found = []
    while (one := window.next()) is not None:
        found.append(one.seq)
    return found


def test_the_oldest_row_that_may_be_sent_is_next_and_one_of_a_topic_at_a_time() -> None:
    """Rows of other topics pass one that is under way; its own topic waits for the answer."""
    window = Window(size=10, in_flight=10)
    window.add([row(1, "a"), row(2, "a"), row(3, "b"), row(4, "c")])
    assert all_next(window) == [1, 3, 4]
    window.settled(3)
    assert all_next(window) == []
    window.settled(1)
    assert all_next(window) == [2]


def test_no_more_than_so_many_are_under_way_and_no_more_are_held_than_fit() -> None:
    """Both bounds hold; `room` says how many rows more may be read."""
    window = Window(size=5, in_flight=2)
    window.add([row(seq, f"{seq}") for seq in range(1, 6)])
    assert window.room == 0
    assert all_next(window) == [1, 2]
    assert window.flying == 2
    window.settled(2)
    assert window.room == 1
    assert all_next(window) == [3]


def test_a_denied_topic_waits_and_is_read_again_when_it_is_due() -> None:
    """Its rows take no room; later ones of it are passed over; after its time everything is read from the beginning."""
    window = Window(size=5, in_flight=5)
    window.add([row(1, "a"), row(2, "a"), row(3, "b")])
    assert all_next(window) == [1, 3]
    window.denied(1, until=60)
    window.add([row(4, "a")])
    assert (window.room, window.due) == (4, 60)
    assert window.release(59.9) == ()
    assert window.after == 4
    assert window.release(60) == ("a",)
    assert (window.after, window.due) == (0, None)
    window.add([row(1, "a"), row(2, "a"), row(3, "b"), row(4, "a")], sent={2})
    assert all_next(window) == [1]
    window.settled(1)
    assert all_next(window) == [4]


def test_topics_may_be_put_aside_from_the_beginning() -> None:
    """What was learned on an earlier connection is kept to."""
    window = Window(size=5, in_flight=5, held={"b": 9, "a": 5})
    window.add([row(1, "a"), row(2, "c")])
    assert all_next(window) == [2]
    assert window.due == 5


@settings(max_examples=300)
@given(
    topics=st.lists(st.sampled_from("abc"), max_size=30),
    answers=st.lists(st.sampled_from(["taken", "denied"]), max_size=200),
    in_flight=st.integers(1, 4),
)
def test_whatever_is_denied_nothing_is_lost_doubled_or_overtaken(topics: str, answers: Sequence[str], in_flight: int) -> None:
    """Random topics and answers: every row is taken once in the end, in order within its topic."""
    outbox = {seq: row(seq, topic) for seq, topic in enumerate(topics, 1)}
    window = Window(size=6, in_flight=in_flight)
    flying: list[OutboxRow] = []
    taken: list[OutboxRow] = []
    script = iter(answers)
    now = 0.0
    for _ in range(1000):
        if not outbox:
            break
        now += 1
        window.release(now)
        window.add([found for seq, found in outbox.items() if seq > window.after][: window.room])
        while (one := window.next()) is not None:
            flying.append(one)
        assert len(flying) <= in_flight
        assert len({one.topic for one in flying}) == len(flying)
        if flying:
            one = flying.pop(0)
            if next(script, "taken") == "taken":
                window.settled(one.seq)
                taken.append(outbox.pop(one.seq))
            else:
                window.denied(one.seq, now + 3)
    assert not outbox
    assert len({one.seq for one in taken}) == len(taken) == len(topics)
    for topic in "abc":
        assert all(before.seq < after.seq for before, after in pairwise([one for one in taken if one.topic == topic]))


def test_a_row_that_ends_connection_after_connection_is_found() -> None:
    """Twice with others, twice alone; then it is named, and the counting begins anew."""
    detector = PoisonMessageDetector()
    rows = [row(1), row(2)]
    assert detector.lost(rows, answered=5, soon=True) is None
    one_at_a_time = [detector.one_at_a_time]
    for _ in range(2):
        assert detector.lost(rows, answered=0, soon=True) is None
        one_at_a_time.append(detector.one_at_a_time)
    assert one_at_a_time == [False, False, True]
    assert detector.lost(rows[:1], answered=0, soon=True) is None
    assert detector.lost(rows[:1], answered=0, soon=True) == rows[0]
    assert not detector.one_at_a_time


def test_an_ordinary_loss_makes_no_row_suspect() -> None:
    """Progress, nothing under way, or a loss long after the last row: the network's doing."""
    detector = PoisonMessageDetector()
    for _ in range(20):
        for unanswered, answered, soon in ([row(1)], 1, True), ([], 0, True), ([row(1)], 0, False):
            assert detector.lost(unanswered, answered=0, soon=True) is None
            assert detector.lost(unanswered, answered=answered, soon=soon) is None
            assert not detector.one_at_a_time


def test_another_row_alone_is_not_the_one_before() -> None:
    """Each has to end two connections of its own."""
    detector = PoisonMessageDetector()
    for _ in range(2):
        detector.lost([row(1)], answered=0, soon=True)
    assert detector.lost([row(1)], answered=0, soon=True) is None
    assert detector.lost([row(2)], answered=0, soon=True) is None
    assert detector.lost([row(2)], answered=0, soon=True) == row(2)
