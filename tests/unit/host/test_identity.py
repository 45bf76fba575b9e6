"""connectors.host.identity: what is reported of a host that is another than it was."""

import asyncio
import contextlib
from datetime import UTC, datetime
from pathlib import Path

import pytest

from connectors.host import identity
from connectors.host.identity import HostIdentity, Identity
from engine.facts import Fact, Retraction
from engine.facts.host import Host, HostChange
from tests.clocks import FixedClock

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
A = Identity("a", "6.1", "b-1")


class Sink:
    """Keeps what it is given; after `last` puts the source is cancelled."""

    def __init__(self, last: int) -> None:
        self.facts: list[Fact | Retraction] = []
        self.cursors: list[str | None] = []
        self.last = last

    async def put(self, facts: list[Fact | Retraction], *, cursor: str | None = None) -> None:
        """Keep them."""
        self.facts += facts
        self.cursors.append(cursor)
        if len(self.cursors) >= self.last:
            raise asyncio.CancelledError


async def emitted(cursor: str | None, *states: Identity) -> Sink:
    """What the source emits when the host is one thing after another."""
    sink = Sink(len(states))
    left = list(states)
    source = HostIdentity(clock=FixedClock.of(NOW), read=lambda: left.pop(0))
    with contextlib.suppress(asyncio.CancelledError):
        await source.run(sink, cursor)
    return sink


def changes(sink: Sink) -> list[tuple[str, str, str]]:
    """The changes emitted."""
    return [(fact.field, fact.old, fact.new) for fact in sink.facts if isinstance(fact, HostChange)]


async def test_first_time() -> None:
    """Never seen before: who it is, and no change."""
    sink = await emitted(None, A)
    (fact,) = sink.facts
    assert isinstance(fact, Host)
    assert (fact.hostname, fact.kernel, fact.boot_id, fact.source) == ("a", "6.1", "b-1", "host")
    assert sink.cursors == [A.to_cursor()]


async def test_changed_while_away() -> None:
    """Everything that differs from what was last seen is emitted, once each; the cursor is what is seen now."""
    new = Identity("b", "6.2", "b-2")
    sink = await emitted(A.to_cursor(), new)
    assert changes(sink) == [("hostname", "a", "b"), ("kernel", "6.1", "6.2"), ("boot_id", "b-1", "b-2")]
    assert sink.cursors == [new.to_cursor()]
    assert len({fact.fact_id for fact in sink.facts}) == 4


async def test_unchanged() -> None:
    """The same host after a restart is no change."""
    assert changes(await emitted(A.to_cursor(), A)) == []


async def test_changed_while_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Found by looking, also where the kernel does not report it."""
    monkeypatch.setattr(identity, "HOSTNAME", Path("/nowhere"))
    monkeypatch.setattr(identity, "FIRST_LOOK_S", 0.01)
    sink = await emitted(A.to_cursor(), A, Identity("b", "6.1", "b-1"))
    assert changes(sink) == [("hostname", "a", "b")]


async def test_unreadable_is_no_change() -> None:
    """What cannot be read, or was not known, is no change."""
    assert changes(await emitted(A.to_cursor(), Identity("a", "6.1", ""))) == []
    assert changes(await emitted(Identity("", "6.1", "").to_cursor(), A)) == []


async def test_unreadable_is_not_forgotten() -> None:
    """What cannot be read for once stays in the cursor as it was: a change in between is emitted later."""
    sink = await emitted(A.to_cursor(), Identity("a", "6.1", ""))
    assert sink.cursors == [A.to_cursor()]
    assert changes(await emitted(sink.cursors[0], Identity("a", "6.1", "b-2"))) == [("boot_id", "b-1", "b-2")]


@pytest.mark.parametrize("cursor", ["", "[]", "null", "7", "{", "\0", '{"hostname": null, "odd": 1}'])
async def test_foreign_cursor(cursor: str) -> None:
    """A cursor that is none is taken for never seen."""
    assert Identity.from_cursor(cursor) == Identity()
    assert changes(await emitted(cursor, A)) == []


def test_this_machine() -> None:
    """Name, kernel and boot of this machine are read."""
    now = Identity.read()
    assert now.hostname
    assert now.kernel
    assert len(now.boot_id) == 36
