"""Logs: key=value for people on a terminal, JSON lines for machines elsewhere. On standard error, always."""

import atexit
import contextlib
import logging
import sys
import threading
from collections import deque
from collections.abc import MutableMapping
from typing import Any, Literal, TextIO

import structlog

WAITING_CHARS = 4 * 1024 * 1024
"""Of lines that wait for whoever reads the log; further ones are dropped and counted. Some twenty thousand lines."""

EXIT_FLUSH_S = 1.0
"""At the end of the process the lines that wait have so long to go out."""


def set_up(form: Literal["auto", "text", "json"] = "auto", *, level: int = logging.INFO, background: bool = False) -> None:
    """Set the logs up, once, before anything is logged.

    Args:
        form: text for people, JSON for machines; auto: text on a terminal.
        level: the lowest that is written.
        background: lines are written by a thread of their own, so that a log that nobody reads stops nothing.
    """
    streams: list[Any] = [BestEffortStream(sys.stderr), BestEffortStream(sys.stderr)]
    if background:
        writer = LogThread(BestEffortStream(sys.stderr))
        atexit.register(writer.drain, EXIT_FLUSH_S)
        streams = [ThreadStream(writer), ThreadStream(writer)]
    text = form == "text" or (form == "auto" and sys.stderr.isatty())
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: Any = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=0) if text else structlog.processors.JSONRenderer()
    )
    shared.append(_printable if text else structlog.processors.format_exc_info)
    structlog.configure(
        processors=[*shared, last],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(streams[0]),
        cache_logger_on_first_use=True,
    )
    # What libraries log by the standard library's logging comes out the same way, from warnings up.
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", level=logging.WARNING, stream=streams[1], force=True)


class BestEffortStream:
    """Writes to a stream, and goes on when that refuses: a full disk under the log must not stop what is logged.

    What was written goes out with `flush`, past the stream's own buffer: what a buffer could not write it tries again when the
    process ends, which then ends with 120 in place of its own exit code.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._raw = getattr(getattr(stream, "buffer", None), "raw", None)
        self._pending = ""

    def write(self, text: str) -> int:
        """Keep it for `flush`, which loggers call after every line."""
        self._pending += text
        return len(text)

    def flush(self) -> None:
        """Write it, or lose what cannot be written."""
        text, self._pending = self._pending, ""
        with contextlib.suppress(OSError, ValueError):  # ValueError: the stream is closed
            if self._raw is None:
                self._stream.write(text)
                self._stream.flush()
                return
            data = text.encode(self._stream.encoding, self._stream.errors or "backslashreplace")
            while data and (written := self._raw.write(data)):
                data = data[written:]


class LogThread:
    """Writes lines in the background. A pipe that nobody empties (a stuck log driver, journald that hangs) blocks it alone."""

    def __init__(self, stream: BestEffortStream) -> None:
        self._stream = stream
        self._lines: deque[str] = deque()
        self._waiting = 0
        self._dropped = 0
        self._changed = threading.Condition()
        threading.Thread(target=self._run, name="log", daemon=True).start()

    def put(self, line: str) -> None:
        """Have a line written, or drop it when too much waits. Never waits."""
        with self._changed:
            if self._waiting + len(line) > WAITING_CHARS:
                self._dropped += 1
                return
            self._waiting += len(line)
            self._lines.append(line)
            self._changed.notify_all()

    def drain(self, timeout_s: float) -> bool:
        """Wait until everything is written; False when that takes longer."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting, timeout_s)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._lines))
                line = self._lines.popleft()
            self._stream.write(line)
            self._stream.flush()
            with self._changed:
                self._waiting -= len(line)
                dropped, self._dropped = (0, self._dropped) if self._lines else (self._dropped, 0)
                self._changed.notify_all()
            if dropped:
                structlog.get_logger(__name__).warning("log_lines_dropped", lines=dropped)


class ThreadStream:
    """Hands lines to a `LogThread`: what a logger takes for a file. One for each logger, which locks it."""

    def __init__(self, writer: LogThread) -> None:
        self._writer = writer
        self._pending = ""

    def write(self, text: str) -> int:
        """Keep it for `flush`, which loggers call after every line."""
        self._pending += text
        return len(text)

    def flush(self) -> None:
        """Hand it over."""
        text, self._pending = self._pending, ""
        if text:
            self._writer.put(text)


def _printable(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Names of containers are whatever somebody called them: nothing in them reaches the terminal as a command to it."""
    for name, value in event.items():
        if isinstance(value, str) and not value.isprintable():
            event[name] = "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in value)
    return event
