"""Whatever alerts come in whatever order: what a receiver is told of each incident is a story with a beginning and an end."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.consumers.alert import alert_from_data, rank
from connectors.consumers.notes import Note
from connectors.consumers.threads import FLAP_MEMORY_S, Policy, Threads

_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c"]),
        st.sampled_from(["i1", "i2"]),
        st.booleans(),
        st.sampled_from(["info", "warning", "error", "critical"]),
        st.sampled_from([0.0, 1.0, 30.0, 400.0, 5000.0]),
        st.sampled_from([None, None, 10.0, 600.0]),
        st.booleans(),
    ),
    max_size=40,
)
"""Key, incident, whether it fires, severity, seconds before it, how long it is held back, whether a restart comes after it."""
_POLICIES = st.builds(
    Policy,
    by_alert=st.booleans(),
    updates=st.booleans(),
    update_s=st.sampled_from([0.0, 5.0]),
    settle_s=st.sampled_from([0.0, 60.0]),
)


def _alert(key: str, incident: str, severity: str, seq: int, *, firing: bool) -> Any:
    return alert_from_data(
        {
            "dedup_key": f"h/{incident}/{key}",
            "status": "firing" if firing else "resolved",
            "severity": severity,
            "seq": seq,
            "host": "h",
            "rule": "r",
            "key": key,
            "incident_id": incident,
        }
    )


def _restarted(threads: Threads) -> Threads:
    other = Threads(threads.policy)
    other.load((name, text) for name in list(threads._threads) if (text := threads.stored(name)) is not None)
    return other


@settings(deadline=None)
@given(policy=_POLICIES, steps=_STEPS)
def test_each_story_has_one_beginning_and_one_end(policy: Policy, steps: list[Any]) -> None:
    """No end without a beginning, no second beginning before it, escalations that rise; at last all is told to be over."""
    threads, now, notes = Threads(policy), 0.0, list[Note]()
    for seq, (key, incident, firing, severity, passes, held, restart) in enumerate(steps):
        until = now + passes
        while (moment := threads.next_due) is not None and moment <= until:
            now = max(now, moment)
            notes += threads.due(now)
        now = until
        release_at = None if held is None else now + held
        notes += threads.take(_alert(key, incident, severity, seq, firing=firing), now, release_at)
        if restart:
            threads = _restarted(threads)
    for seq, (key, incident, _, severity, _, _, _) in enumerate(steps, 1000):
        notes += threads.take(_alert(key, incident, severity, seq, firing=False), now)
    for _ in range(20 * len(steps) + 20):
        if (moment := threads.next_due) is None:
            break
        now = max(now, moment)
        notes += threads.due(now)
    assert len(threads) == 0, "everything is forgotten in the end"
    _judge(notes)


def _judge(notes: list[Note]) -> None:
    told: dict[str, int] = {}
    for note in notes:
        if note.kind == "digest":
            continue  # it begins several at once; what follows of them is judged as far as it is told
        if note.kind == "first":
            assert note.thread not in told
            told[note.thread] = rank(note.severity)
        elif note.kind == "escalation" and note.thread in told:
            assert rank(note.severity) > told[note.thread]
            told[note.thread] = rank(note.severity)
        elif note.kind == "end":
            assert note.thread in told or any(other.kind == "digest" for other in notes)
            told.pop(note.thread, None)
    assert told == {}
    if not any(note.kind == "digest" for note in notes):
        assert sum(note.kind == "first" for note in notes) == sum(note.kind == "end" for note in notes)


def test_the_memory_of_flaps_is_longer_than_any_settling_time() -> None:
    """Else a loop could be forgotten while its end is waited for."""
    assert Policy().settle_max_s < FLAP_MEMORY_S
