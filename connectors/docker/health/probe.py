"""A call to Docker that may hang, watched; and which containers to try it on. Knows nothing of what the call asks.

A call that does not answer is waited for further and not sent again: on a daemon that hangs, each list that is sent anew adds
one more that waits under the same lock. And when Docker goes on, the waiting call is the first to know.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from engine.errors import DockerError
from engine.ports.clock import Clock
from engine.ports.docker import ContainerSummary

T = TypeVar("T")

STARTING = 4
"""Newest ones in `created` or `restarting` in each look."""
RUNNING = 4
"""Running or paused ones in each look: with 60 of them each is inspected within 150 s."""
WHEN_THE_LIST_HANGS = 64
"""Then the culprit is looked for among many at once; one inspection takes a millisecond."""


class Probe(Generic[T]):
    """One kind of call, of which at most one is under way."""

    def __init__(self, name: str, call: Callable[[], Awaitable[T]], *, clock: Clock) -> None:
        """Nothing is called yet.

        Args:
            name: of the task.
            call: makes the call; bounded in time by itself, though generously. Raises DockerError and nothing else.
            clock: for how long it has waited.
        """
        self.name = name
        self._call = call
        self._clock = clock
        self._task: asyncio.Task[None] | None = None
        self._began = 0.0
        self.value: T | None = None
        """What the last call that was answered gave."""
        self.error: DockerError | None = None
        """What the last call that ended raised; None when it was answered."""
        self.took_ms: float | None = None
        """Milliseconds that the last call that was answered took."""

    @property
    def task(self) -> "asyncio.Task[None] | None":
        """The call under way, to wait for; None when there is none."""
        return self._task if self._task is not None and not self._task.done() else None

    @property
    def waited_s(self) -> float:
        """Seconds the call under way has taken so far; 0 when there is none."""
        return self._clock.monotonic() - self._began if self.task else 0.0

    def start(self) -> "asyncio.Task[None]":
        """Call, unless a call is under way already; the task to wait for."""
        if self.task is None:
            self._began = self._clock.monotonic()
            self._task = asyncio.create_task(self._run(), name=f"probe-{self.name}")
        assert self._task is not None  # noqa: S101 - it was made above; for the type checker
        return self._task

    async def _run(self) -> None:
        try:
            self.value = await self._call()
        except DockerError as error:
            self.error = error
        else:
            self.error = None
            self.took_ms = round((self._clock.monotonic() - self._began) * 1000, 3)

    async def stop(self) -> None:
        """Give up the call under way."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)


class Candidates:
    """Which containers to inspect next; remembers whose turn it is. Sans-I/O.

    A start under way leaves the container in `created` (or `restarting`), and a start that hangs leaves it there; so the newest
    of those are looked at every time. The running ones take turns.
    """

    def __init__(self) -> None:
        self._last = ""

    def choose(self, listed: Sequence[ContainerSummary], *, all_of_them: bool) -> list[str]:
        """Ids to inspect now.

        Args:
            listed: as in the last list that was answered.
            all_of_them: true while the list hangs.
        """
        starting = [entry for entry in listed if entry.status in ("created", "restarting")]
        newest = sorted(starting, key=lambda entry: (entry.created_at is not None, entry.created_at), reverse=True)
        in_turn = sorted(entry.id for entry in listed if entry.status in ("running", "paused"))
        at_most = WHEN_THE_LIST_HANGS if all_of_them else RUNNING
        after = [id_ for id_ in in_turn if id_ > self._last]
        turn = [*after, *in_turn[: len(in_turn) - len(after)]][:at_most]
        if turn:
            self._last = turn[-1]
        return [*(entry.id for entry in newest[: at_most if all_of_them else STARTING]), *turn]
