"""Logs: key=value for people on a terminal, JSON lines for machines elsewhere. On standard error, always."""

import contextlib
import logging
import sys
from collections.abc import MutableMapping
from typing import Any, Literal, TextIO

import structlog


def set_up(form: Literal["auto", "text", "json"] = "auto", *, level: int = logging.INFO) -> None:
    """Set the logs up, once, before anything is logged."""
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
        logger_factory=structlog.PrintLoggerFactory(BestEffortStream(sys.stderr)),  # type: ignore[arg-type]  # all that is used of a file
        cache_logger_on_first_use=True,
    )
    # What libraries log by the standard library's logging comes out the same way, from warnings up.
    logging.basicConfig(
        format="%(levelname)s %(name)s: %(message)s", level=logging.WARNING, stream=BestEffortStream(sys.stderr), force=True
    )


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


def _printable(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Names of containers are whatever somebody called them: nothing in them reaches the terminal as a command to it."""
    for name, value in event.items():
        if isinstance(value, str) and not value.isprintable():
            event[name] = "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in value)
    return event
