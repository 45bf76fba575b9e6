"""The straight line that shows when a disk or a pool will be full."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.sources.trend import Trend


def filled(*points: tuple[float, float], window_s: float = 100.0, max_points: int = 50) -> Trend:
    """A trend of these points."""
    trend = Trend(window_s=window_s, max_points=max_points)
    for t, used in points:
        trend.add(t, used)
    return trend


def test_steady_growth_tells_when_it_is_full() -> None:
    """Two units a second with 60 left are 30 seconds."""
    trend = filled(*((float(t), 2.0 * t) for t in range(21)))
    assert trend.seconds_until(100) == pytest.approx(30)


def test_noise_is_averaged() -> None:
    """A line with a saw on it is still the line."""
    trend = filled(*((float(t), 1000.0 + 2.0 * t + (t % 2)) for t in range(41)))
    assert trend.seconds_until(1180) == pytest.approx(50, rel=0.05)


def test_what_does_not_grow_is_never_full() -> None:
    """No growth, and shrinking, are None."""
    assert filled(*((float(t), 5.0) for t in range(30))).seconds_until(10) is None
    assert filled(*((float(t), 50.0 - t / 10) for t in range(30))).seconds_until(60) is None


def test_full_is_zero_seconds() -> None:
    """What is already full needs no trend."""
    assert filled((0.0, 10.0)).seconds_until(10) == 0


def test_too_little_to_tell() -> None:
    """Nothing, one point, and a jump within a tenth of the window are None."""
    assert Trend().seconds_until(1) is None
    assert filled((0.0, 1.0)).seconds_until(10) is None
    assert filled((0.0, 1.0), (1.0, 2.0), (2.0, 9.0)).seconds_until(10) is None


def test_a_clean_up_begins_a_new_trend() -> None:
    """After a fall of more than a tenth only the new growth counts."""
    before = [(float(t), 50.0 + t) for t in range(40)]
    after = [(40.0 + t, 10.0 + 2 * t) for t in range(20)]
    assert filled(*before, *after).seconds_until(68) == pytest.approx(10)


def test_old_points_are_forgotten() -> None:
    """Growth that ended longer ago than the window is no growth."""
    trend = filled(*((float(t), float(t)) for t in range(50)), *((50.0 + t, 50.0) for t in range(110)))
    assert trend.seconds_until(100) is None


def test_many_readings_keep_the_whole_window() -> None:
    """A thousand readings a window keep at most the bound, and the span stays."""
    trend = Trend(window_s=100, max_points=10)
    for n in range(5000):
        trend.add(n / 10, n / 10)
    assert len(trend) <= 12
    assert trend.seconds_until(600) == pytest.approx(100.1, rel=0.01)


def test_time_that_goes_back_is_ignored() -> None:
    """A point that is not newer changes nothing."""
    trend = filled((0.0, 0.0), (10.0, 10.0), (20.0, 20.0), (5.0, 90.0), (20.0, 90.0))
    assert trend.seconds_until(30) == pytest.approx(10)


@pytest.mark.parametrize(("window_s", "max_points"), [(0.0, 10), (-1.0, 10), (10.0, 2)])
def test_senseless_bounds_are_refused(window_s: float, max_points: int) -> None:
    """A window of nothing and fewer than three points are errors."""
    with pytest.raises(ValueError, match="trend needs"):
        Trend(window_s=window_s, max_points=max_points)


@given(st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 1e15)), max_size=300), st.floats(0, 1e15))
def test_any_readings_give_a_sensible_answer(points: list[tuple[float, float]], total: float) -> None:
    """Whatever comes in, the answer is None or a time that is not negative, and memory stays bounded."""
    trend = filled(*points, max_points=20)
    answer = trend.seconds_until(total)
    assert answer is None or answer >= 0
    assert len(trend) <= 22
