"""What an answer of a receiver means: taken, try again later, or never. Pure; the one place where that is decided."""

from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Literal

OK, REDIRECT, CLIENT_ERROR, SERVER_ERROR = 200, 300, 400, 500

_TEMPORARY = frozenset({408, 409, 423, 425, 429})
"""Time-out, conflict, locked, too early, too many requests: the same request may be taken later."""

_RECEIVER = frozenset({401, 402, 403, 404, 405, 407, 410})
"""About the receiver, not about this message: a key that is wrong or an address that is gone is corrected by somebody, and what
waits is sent then."""

LONGEST_WAIT_S = 3600.0
"""A receiver that asks for more is asked again after an hour all the same."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one attempt."""

    verdict: Literal["taken", "later", "never"]
    reason: str = ""
    after_s: float | None = None
    """Seconds that the receiver asked us to wait; None: as the back-off has it."""
    ref: str | None = None
    """How the receiver names the message, where it can be edited later."""


def outcome(status: int, headers: Mapping[str, str], now: float, text: str = "") -> Outcome:
    """What an HTTP answer means.

    Args:
        status: of HTTP.
        headers: names in any case (a case-insensitive mapping).
        now: seconds since the epoch; a `Retry-After` may be a date.
        text: beginning of the body, for the reason.
    """
    if OK <= status < REDIRECT:
        return Outcome("taken")
    reason = f"HTTP {status}: {text.strip()[:200]}" if text.strip() else f"HTTP {status}"
    wait = retry_after(headers.get("Retry-After"), now)
    if status >= SERVER_ERROR or status in _TEMPORARY or status in _RECEIVER or status < CLIENT_ERROR:
        # Below 400: a redirect is not followed, for a POST would become a GET (RFC 9110, 15.4); the address has to be corrected.
        return Outcome("later", reason, wait)
    return Outcome("never", reason)


def no_answer(reason: str) -> Outcome:
    """The receiver could not be reached or did not answer in time."""
    return Outcome("later", reason)


def retry_after(value: str | None, now: float) -> float | None:
    """Seconds to wait by a `Retry-After` (RFC 9110, 10.2.3: seconds or a date), at most an hour; None when it says nothing."""
    if value is None:
        return None
    text = value.strip()
    if text.isdecimal() and text.isascii():
        return min(float(text[:9]), LONGEST_WAIT_S)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError):
        return None
    return min(max(moment.timestamp() - now, 0.0), LONGEST_WAIT_S)
