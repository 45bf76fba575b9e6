"""The queue file: what waits, what is merged, what dies, and that all of it is bounded."""

from pathlib import Path

import pytest

from connectors.consumers.notes import Note
from connectors.consumers.records import Changes, Row
from connectors.consumers.store import Store
from engine.errors import JournalError


def _store(folder: Path, *, max_rows: int = 100, max_bytes: int = 1_000_000) -> Store:
    return Store(folder / "state/queues.sqlite", max_rows=max_rows, max_bytes=max_bytes)


def _note(thread: str = "t", kind: str = "first", seq: int = 1) -> Note:
    return Note(kind, thread, {"seq": seq})  # type: ignore[arg-type]  # one of the kinds


def _queue(store: Store, *notes: Note, receiver: str = "a", now: float = 1.0) -> None:
    store.commit(Changes(notes=[(receiver, note) for note in notes]), now)


def _head(store: Store, receiver: str = "a") -> Row:
    row = store.head(receiver)
    assert row is not None
    return row


def _drained(store: Store, receiver: str = "a") -> list[tuple[str, str]]:
    found = []
    while (row := store.head(receiver)) is not None:
        found.append((row.thread, row.kind))
        store.taken(row, 2.0)
    return found


def test_everything_survives_closing(tmp_path: Path) -> None:
    """Alerts, threads, hosts, notes, names of messages, pauses and replies."""
    with _store(tmp_path) as store:
        changes = Changes({"k": (7, "firing")}, {("a", "t"): "{}"}, {"h": "{}"}, [("a", _note()), ("b", _note())])
        store.commit(changes, 1.0)
        row = _head(store)
        store.failed(row, "HTTP 503", paused_until=9.0)
        store.taken(_head(store, "b"), 2.0, ref="m1", reply=("topic", b"x"))
    with _store(tmp_path) as store:
        assert store.known(["k", "other"]) == {"k": (7, "firing")}
        assert store.threads("a") == [("t", "{}")]
        assert store.hosts() == [("h", "{}")]
        assert store.paused_until("a") == 9.0
        assert store.ref("b", "t") == "m1"
        assert store.replies() == [(1, "topic", b"x")]
        again = _head(store)
        assert (again.note, again.attempts, again.error) == (_note(), 1, "HTTP 503")


def test_the_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    """Alerts say a lot about hosts."""
    with _store(tmp_path) as store:
        assert store.path.stat().st_mode & 0o077 == 0


def test_what_waits_about_one_thing_is_merged_but_not_into_what_is_being_sent(tmp_path: Path) -> None:
    """A receiver that is down gets the newest state; one that is just being told gets the newer state afterwards."""
    with _store(tmp_path) as store:
        _queue(store, _note(seq=1), _note("u"), _note(kind="escalation", seq=2))
        row = _head(store)
        assert (row.kind, row.note.data["seq"]) == ("first", 2)
        _queue(store, _note(kind="end", seq=3))
        store.taken(row, 2.0)
        assert _drained(store) == [("u", "first"), ("t", "end")]


def test_a_refused_note_is_a_dead_letter_until_it_is_put_back_or_dropped(tmp_path: Path) -> None:
    """With its reason, under its number; put back it comes last."""
    with _store(tmp_path) as store:
        _queue(store, _note("a"), _note("b"), _note("c"))
        for _ in range(2):
            store.refused(_head(store), "HTTP 400", 5.0)
        first, second = store.dead_letters()
        assert (first.thread, first.error, first.died_at, first.attempts) == ("a", "HTTP 400", 5.0, 1)
        assert store.retry([first.id, 999]) == 1
        assert store.drop([second.id]) == 1
        assert store.dead_letters("a") == []
        assert _drained(store) == [("c", "first"), ("a", "first")]


@pytest.mark.parametrize("bounds", [{"max_rows": 3}, {"max_bytes": 900}])
def test_a_queue_that_is_full_buries_its_oldest(tmp_path: Path, bounds: dict[str, int]) -> None:
    """By rows and by bytes; the one that is being sent stays, and another receiver is not touched."""
    with _store(tmp_path, **bounds) as store:
        _queue(store, _note("t0"), receiver="b")
        _queue(store, _note("t0"))
        sent = _head(store)
        for number in range(1, 10):
            _queue(store, _note(f"t{number}"))
        dead = store.dead_letters()
        assert {row.error for row in dead} == {"the queue is full"}
        assert dead[0].thread == "t1"
        left = [thread for thread, _ in _drained(store)]
        assert left[0] == sent.thread
        assert left[-1] == "t9"
        assert len(left) + len(dead) == 10
        assert _drained(store, "b") == [("t0", "first")]


def test_dead_letters_are_bounded_and_those_that_went_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest stay."""
    monkeypatch.setattr("connectors.consumers.store.DEAD_ROWS", 2)
    with _store(tmp_path) as store:
        _queue(store, *(_note(f"t{number}") for number in range(5)))
        for _ in range(5):
            store.refused(_head(store), "HTTP 400", 5.0)
        assert [row.thread for row in store.dead_letters()] == ["t3", "t4"]
        assert store.receiver_states(["a"])[0].lost == 3


def test_how_a_receiver_stands(tmp_path: Path) -> None:
    """Counts, the oldest that waits, the last error; one that never was asked has nothing."""
    with _store(tmp_path) as store:
        _queue(store, _note("a"), _note("b"), now=3.0)
        store.taken(_head(store), 4.0)
        store.failed(_head(store), "HTTP 503", paused_until=7.0)
        state, none = store.receiver_states(["a", "z"])
        assert (state.taken, state.taken_at, state.waiting, state.oldest_at, state.error) == (1, 4.0, 1, 3.0, "HTTP 503")
        assert (none.taken, none.waiting, none.dead, none.error) == (0, 0, 0, "")


def test_a_file_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    """It says which."""
    with _store(tmp_path) as store:
        store._db.execute("PRAGMA user_version = 99")
    with pytest.raises(JournalError, match="format 99"):
        _store(tmp_path)


def test_a_commit_that_fails_stores_nothing(tmp_path: Path) -> None:
    """All of it or none."""
    with _store(tmp_path) as store:
        bad = Changes(alerts={"k": (1, "firing")}, hosts={"h": object()})  # type: ignore[dict-item]  # what SQLite does not take
        with pytest.raises(JournalError):
            store.commit(bad, 1.0)
        assert store.known(["k"]) == {}
