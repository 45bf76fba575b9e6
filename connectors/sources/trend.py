"""When will it be full: a straight line through what was used of late. Pure: time comes in with each point."""

from collections import deque

_FALL_THAT_ENDS_A_TREND = 0.1
"""A fall by a tenth of the most that was used is a clean-up: what came before says nothing of what comes after."""

_SHARE_OF_WINDOW = 10
"""A line through less than a tenth of the window would take one large download for a trend."""

_FEWEST_POINTS = 3
"""Two points always lie on a line; a third can contradict."""


class Trend:
    """Least squares over a bounded window of (time, used).

    Bounded in memory too: at most `max_points` points and the newest are kept, at least `window_s / max_points`
    apart, so that frequent readings do not shorten the time that is looked back on.
    """

    def __init__(self, *, window_s: float = 3600.0, max_points: int = 120) -> None:
        """An empty trend.

        Args:
            window_s: seconds to look back; points older than that are forgotten.
            max_points: how many points to keep within the window, 3 at least.

        Raises:
            ValueError: the window is not positive, or there would be fewer than 3 points.
        """
        if window_s <= 0 or max_points < _FEWEST_POINTS:
            raise ValueError(f"a trend needs a window above 0 s and {_FEWEST_POINTS} points at least")
        self._window_s = window_s
        self._spacing_s = window_s / max_points
        self._points: deque[tuple[float, float]] = deque(maxlen=max_points + 2)

    def __len__(self) -> int:
        return len(self._points)

    def add(self, t: float, used: float) -> None:
        """Take in what was used at `t` (seconds on any clock that does not go back; an older point is ignored)."""
        points = self._points
        if points and t <= points[-1][0]:
            return
        if points and used < max(point[1] for point in points) * (1 - _FALL_THAT_ENDS_A_TREND):
            points.clear()
        while points and points[0][0] < t - self._window_s:
            points.popleft()
        if len(points) > 1 and t - points[-2][0] < self._spacing_s:
            points.pop()  # the newest stays known, the spacing of the others stays as it is
        points.append((t, used))

    def slope(self) -> float | None:
        """Growth in units a second; None while there are too few points."""
        points = self._points
        if len(points) < _FEWEST_POINTS or points[-1][0] - points[0][0] < self._window_s / _SHARE_OF_WINDOW:
            return None
        mean_t = sum(t for t, _ in points) / len(points)
        mean_used = sum(used for _, used in points) / len(points)
        spread = sum((t - mean_t) ** 2 for t, _ in points)
        return sum((t - mean_t) * (used - mean_used) for t, used in points) / spread

    def seconds_until(self, total: float) -> float | None:
        """Seconds from the newest point until `total` is used; 0 when it already is.

        None when it does not grow, when there are too few points, or when it would take longer than a
        hundred windows: so far no line reaches.
        """
        if not self._points:
            return None
        left = total - self._points[-1][1]
        if left <= 0:
            return 0.0
        slope = self.slope()
        if slope is None or slope <= 0:
            return None
        seconds = left / slope
        return seconds if seconds <= 100 * self._window_s else None
