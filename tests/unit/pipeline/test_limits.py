"""Rates, caps and breakers, on a clock of the test's own."""

import pytest

from engine.pipeline.limits import HOUR_S, Breaker, HourlyCap, Pace


class TestPace:
    def test_turns_are_evenly_spread(self) -> None:
        """Five a second: one every 0.2 seconds, however many ask at once."""
        pace = Pace(5, 1.0)
        assert [pace.turn(100.0) for _ in range(4)] == pytest.approx([100.0, 100.2, 100.4, 100.6])

    def test_a_pause_earns_no_burst(self) -> None:
        """After a quiet hour the second one still waits for its turn."""
        pace = Pace(1, 60.0)
        assert pace.turn(0.0) == 0.0
        assert [pace.turn(3600.0), pace.turn(3600.0)] == [3600.0, 3660.0]


class TestHourlyCap:
    def test_it_counts_any_hour_not_the_clocks(self) -> None:
        """Two in the last minute of an hour leave none for the first minute of the next."""
        cap = HourlyCap(2)
        for at in (3590.0, 3599.0):
            assert cap.free_at(at) == at
            cap.take(at)
        assert cap.free_at(3601.0) == 3590.0 + HOUR_S
        assert cap.free_at(3590.0 + HOUR_S) == 3590.0 + HOUR_S

    def test_what_is_older_than_an_hour_is_forgotten(self) -> None:
        """What it remembers is bounded by the cap."""
        cap = HourlyCap(1)
        for hour in range(5):
            at = hour * (HOUR_S + 1)
            assert cap.free_at(at) == at
            cap.take(at)
        assert len(cap._taken) == 1


class TestBreaker:
    def test_it_opens_at_failures_on_so_many_targets(self) -> None:
        """Different targets that fail are the action's fault."""
        breaker = Breaker(3, 60.0)
        opened = [breaker.finish(target, ok=False, now=1.0) for target in ("a", "b", "c")]
        assert opened == [False, False, True]
        assert breaker.free_at(1.0) == 61.0

    def test_one_target_that_cannot_be_mended_does_not_open_it(self) -> None:
        """It fails as often as it likes, and counts once."""
        breaker = Breaker(2, 60.0)
        assert not any(breaker.finish("a", ok=False, now=float(now)) for now in range(100))
        assert not breaker.is_open

    def test_a_success_clears_the_failures(self) -> None:
        """Failures in a row count, not failures of a life."""
        breaker = Breaker(2, 60.0)
        breaker.finish("a", ok=False, now=0.0)
        breaker.finish("b", ok=True, now=0.0)
        assert not breaker.finish("c", ok=False, now=0.0)

    def test_after_the_pause_one_attempt_probes(self) -> None:
        """While it is under way, no other one may."""
        breaker = Breaker(1, 60.0)
        breaker.finish("a", ok=False, now=0.0)
        assert breaker.free_at(60.0) == 60.0
        breaker.start()
        assert breaker.free_at(60.0) == 120.0

    def test_a_probe_that_succeeds_closes_it(self) -> None:
        """And says so once."""
        breaker = Breaker(1, 60.0)
        breaker.finish("a", ok=False, now=0.0)
        breaker.start()
        assert breaker.finish("b", ok=True, now=61.0)
        assert (breaker.is_open, breaker.free_at(61.0)) == (False, 61.0)
        assert not breaker.finish("b", ok=True, now=62.0)

    def test_a_probe_that_fails_keeps_it_open_for_another_pause(self) -> None:
        """That is no news, and no further target is remembered."""
        breaker = Breaker(1, 60.0)
        breaker.finish("a", ok=False, now=0.0)
        for round_ in range(1, 50):
            breaker.start()
            assert not breaker.finish(f"t{round_}", ok=False, now=round_ * 60.0)
        assert breaker.free_at(49 * 60.0) == 50 * 60.0
        assert len(breaker._failed) == 1

    def test_a_probe_that_abstains_leaves_the_next_one_to_find_out(self) -> None:
        """The breaker stays open, and free for another probe."""
        breaker = Breaker(1, 60.0)
        breaker.finish("a", ok=False, now=0.0)
        breaker.start()
        breaker.abstain()
        assert (breaker.is_open, breaker.free_at(61.0)) == (True, 61.0)
