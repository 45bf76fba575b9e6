"""Logs: key=value for people on a terminal, JSON lines for machines elsewhere. On standard error, always."""

import logging
import sys
from typing import Any, Literal

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
    if not text:
        shared.append(structlog.processors.format_exc_info)
    structlog.configure(
        processors=[*shared, last],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    # What libraries log by the standard library's logging comes out the same way, from warnings up.
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", level=logging.WARNING, stream=sys.stderr, force=True)
