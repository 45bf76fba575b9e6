"""How the event source asks the listing for the truth: after a gap, and after each connection. Knows neither of them.

It also passes on that the stream was lost or opened anew: whoever watches Docker's health need not wait for its next look.
"""

import asyncio
from collections.abc import Callable


class Resync:
    """Requests for a listing, numbered. Several requests before the listing starts are answered by one."""

    def __init__(self) -> None:
        self._asked = 0
        self._done = 0
        self._wake = asyncio.Event()
        self._watchers: list[Callable[[], None]] = []
        self._on_stream: list[Callable[[], None]] = []

    def request(self) -> int:
        """Ask for a full listing as soon as possible. Returns a number for `is_done`."""
        self._asked += 1
        self._wake.set()
        return self._asked

    def is_done(self, number: int) -> bool:
        """True when a listing that was started after this request has been emitted."""
        return self._done >= number

    def on_done(self, watcher: Callable[[], None]) -> None:
        """Have this called after each listing."""
        self._watchers.append(watcher)

    def on_stream(self, watcher: Callable[[], None]) -> None:
        """Have this called each time the event stream is lost or opened anew."""
        self._on_stream.append(watcher)

    def stream_changed(self) -> None:
        """The event stream was lost or opened anew."""
        for watcher in self._on_stream:
            watcher()

    async def wait(self, timeout_s: float) -> bool:
        """Wait for a request for up to `timeout_s` seconds; True when there is one."""
        if self._asked <= self._done:
            self._wake.clear()
            try:
                async with asyncio.timeout(timeout_s):
                    await self._wake.wait()
            except TimeoutError:
                return False
        return self._asked > self._done

    def begin(self) -> int:
        """A listing starts now; hand the number to `finish` when its facts have been emitted."""
        return self._asked

    def finish(self, number: int) -> None:
        """The listing that began with this number has been emitted."""
        self._done = max(self._done, number)
        for watcher in self._watchers:
            watcher()
