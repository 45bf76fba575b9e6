"""One HTTP request to a receiver, and what came of it. Knows nothing of what stands in it.

Addresses and headers may be secrets: neither is ever part of a reason or of a log line.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import aiohttp

from connectors.consumers.notes import Note
from connectors.consumers.outcomes import Outcome, no_answer, outcome
from engine.ports.clock import Clock

_ANSWER_BYTES = 64 * 1024
"""Read of an answer; more is of no use."""
_MICROS = 1_000_000


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request with a JSON body."""

    url: str
    body: Any
    headers: Mapping[str, str] = field(default_factory=dict)
    method: Literal["POST", "PUT"] = "POST"


class Sender(Protocol):
    """Hands notes to one receiver. One call at a time."""

    async def send(self, note: Note, ref: str | None) -> Outcome:
        """Try once; bounded in time, and raises nothing for what a receiver may do.

        Args:
            note: what to tell.
            ref: how the receiver named the message about the same thread before.
        """


async def request_once(
    session: aiohttp.ClientSession, request: Request, *, timeout_s: float, clock: Clock
) -> tuple[Outcome, bytes]:
    """Send a request; its outcome, and the beginning of the answer's body."""
    try:
        # Redirects are for browsers: a POST that is redirected becomes a GET (RFC 9110, 15.4).
        async with session.request(
            request.method,
            request.url,
            data=json.dumps(request.body, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace"),
            headers={"Content-Type": "application/json", **request.headers},
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=timeout_s),
        ) as answer:
            body = await answer.content.read(_ANSWER_BYTES)
            text = body.decode("utf-8", "replace")
            return outcome(answer.status, answer.headers, clock.wall() / _MICROS, text), body
    except TimeoutError:
        return no_answer(f"no answer within {timeout_s:g} s"), b""
    except (aiohttp.ClientError, OSError, ValueError) as error:
        # The kind alone: aiohttp repeats the address in some of its messages.
        why = (
            error.strerror if isinstance(error, OSError) and error.strerror and not isinstance(error, aiohttp.ClientError) else ""
        )
        return no_answer(f"cannot be reached: {why or type(error).__name__}"), b""
