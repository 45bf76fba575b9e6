"""The lease: at no moment do two engines hold it, and one takes over soon."""

import random
from itertools import pairwise

import pytest

from engine.fleet.lease import LEASE_S, MARGIN_S, Lease


class Topic:
    """A broker's topic: one order for all, each message after a delay of its own per subscriber."""

    def __init__(self, engines: list[Lease], draw: random.Random, *, longest_s: float) -> None:
        self._engines = engines
        self._draw = draw
        self._longest_s = longest_s
        self._order: list[bytes] = []
        self._arrivals: list[list[float]] = [[] for _ in engines]

    def publish(self, payload: bytes, now: float) -> None:
        """It reaches everybody, in one order."""
        self._order.append(payload)
        for arrivals in self._arrivals:
            earliest = arrivals[-1] if arrivals else 0.0
            arrivals.append(max(earliest, now + self._draw.uniform(0.0, self._longest_s)))

    def deliver(self, place: int, came: int, now: float) -> int:
        """What has arrived at an engine by now; how many it has then."""
        while came < len(self._order) and self._arrivals[place][came] <= now:
            self._engines[place].receive(self._order[came], now, retained=False)
            came += 1
        return came


@pytest.mark.parametrize("seed", range(20))
def test_two_engines_never_hold_it_at_once_whatever_the_delays(seed: int) -> None:
    """Messages are late by up to two seconds, engines stop and come back; still one at a time holds it, and often one does."""
    draw = random.Random(seed)
    engines = [Lease("a", 0.0), Lease("b", 0.0)]
    topic = Topic(engines, draw, longest_s=draw.choice((0.01, 0.5, 2.0)))
    came, paused = [0, 0], [0.0, 0.0]
    held = 0
    for step in range(6_000):
        now = step * 0.02
        for place, engine in enumerate(engines):
            if now < paused[place]:
                continue
            if draw.random() < 0.001:
                paused[place] = now + draw.uniform(0.0, 8.0)
                continue
            came[place] = topic.deliver(place, came[place], now)
            message = engine.due(now)
            if message is not None:
                topic.publish(message, now)
        holders = [engine.holds(now) for engine in engines]
        assert sum(holders) <= 1
        held += sum(holders)
    assert held > 1_000


def test_the_other_takes_over_within_two_leases() -> None:
    """And a holder that hears nothing of itself stops before anybody else may begin."""
    first, second = Lease("a", 0.0), Lease("b", 0.0)
    now = 0.0

    def step(alive: tuple[Lease, ...]) -> None:
        nonlocal now
        now += 0.1
        for engine in alive:
            message = engine.due(now)
            if message is not None:
                for other in alive:
                    other.receive(message, now, retained=False)

    while not first.holds(now):
        step((first, second))
        assert now < LEASE_S + 1
    died = now
    while not second.holds(now):
        step((second,))
        assert not first.holds(now) or now < died + LEASE_S - MARGIN_S
        assert now < died + 2 * LEASE_S
    assert second.holder == "b"


def test_a_retained_lease_gives_its_holder_the_time_it_may_have() -> None:
    """Who starts late waits a whole lease; an own one from before a restart is no right to command."""
    lease = Lease("a", 10.0)
    lease.receive(b'{"term": 7, "engine": "a", "id": "a##1"}', 10.0, retained=True)
    assert not lease.holds(10.0)
    assert lease.due(10.0 + LEASE_S - 0.1) is None
    claim = lease.due(10.0 + LEASE_S + 0.1)
    assert claim is not None
    assert b'"term": 8' in claim


@pytest.mark.parametrize("payload", [b"", b"{}", b"[1]", b"\xff", b'{"term": -1, "engine": "x", "id": "y"}', b"x" * 5_000])
def test_what_is_no_lease_changes_nothing(payload: bytes) -> None:
    """Anybody may publish anything."""
    lease = Lease("a", 0.0)
    lease.receive(payload, 0.0, retained=False)
    assert lease.holder == ""


def test_numbers_of_claims_rise() -> None:
    """No two messages of one engine are alike, so an old one that comes back late renews nothing."""
    lease = Lease("a", 0.0)
    claims = [claim for claim in (lease.due(4.0 + second) for second in range(5)) if claim]
    assert all(one != other for one, other in pairwise(claims))
