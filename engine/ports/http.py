"""What a monitoring system is answered over HTTP."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer to a GET."""

    status: int
    body: bytes
    content_type: str = "text/plain; charset=utf-8"


Answerer = Callable[[], Awaitable[Answer]]
"""Answers one path; called for each request, several at a time."""
