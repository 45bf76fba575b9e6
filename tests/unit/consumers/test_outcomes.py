"""What an answer means."""

from email.utils import formatdate

import pytest

from connectors.consumers.outcomes import no_answer, outcome, retry_after

NOW = 1_700_000_000.0


@pytest.mark.parametrize(
    ("statuses", "verdict"),
    [
        ((200, 201, 202, 204), "taken"),
        ((301, 302, 307, 401, 403, 404, 408, 409, 410, 425, 429, 500, 502, 503, 504), "later"),
        ((400, 406, 413, 415, 422), "never"),
    ],
)
def test_every_status_is_taken_later_or_never(statuses: tuple[int, ...], verdict: str) -> None:
    """What may be better another time comes again; what is wrong with the message itself does not."""
    assert {outcome(status, {}, NOW).verdict for status in statuses} == {verdict}


def test_no_answer_is_tried_again() -> None:
    """A receiver that is down refuses nothing."""
    assert no_answer("refused").verdict == "later"


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        (" 0 ", 0.0),
        (formatdate(NOW + 90, usegmt=True), 90.0),
        (formatdate(NOW - 90, usegmt=True), 0.0),
        ("999999999999999", 3600.0),
        ("soon", None),
        ("-3", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str | None, seconds: float | None) -> None:
    """What is neither says nothing; more than an hour is an hour."""
    assert retry_after(header, NOW) == seconds


def test_a_reason_is_short() -> None:
    """The beginning of the body, for the log."""
    assert outcome(400, {}, NOW, "x" * 5000).reason == f"HTTP 400: {'x' * 200}"
    assert outcome(429, {"Retry-After": "5"}, NOW).after_s == 5.0
