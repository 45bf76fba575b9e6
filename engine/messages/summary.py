"""The sentence that a pager shows: what is wrong, since when, what was done about it, what to do next. Pure functions."""

from collections.abc import Sequence

from engine.facts.timestamps import from_micros
from engine.inference.decision import AlertDetails
from engine.messages.models import AlertAction


def summary(details: AlertDetails, actions: Sequence[AlertAction], *, firing: bool) -> str:
    """One line about an alert and the actions about its subjects, oldest first."""
    parts = [details.text.rstrip(". ")]
    since = from_micros(details.starts_at)
    if firing:
        parts[0] += f", since {since:%Y-%m-%d %H:%M:%S} UTC"
        if details.count > 1:
            parts[0] += f" (fired {details.count} times)"
    else:
        ended = from_micros(details.ends_at or details.updated_at)
        parts[0] = f"Resolved: {parts[0]}, from {since:%Y-%m-%d %H:%M:%S} to {ended:%H:%M:%S} UTC"
    if actions:
        parts.append("Done: " + "; ".join(_done(action) for action in actions[-3:]))
    elif firing:
        parts.append("Done: nothing yet")
    if firing and details.advice:
        parts.append("Next: " + details.advice.rstrip(". "))
    return ". ".join(parts) + "."


def _done(action: AlertAction) -> str:
    target = ":".join(part[:12] if len(part) == 64 else part for part in action.target.split(":"))  # noqa: PLR2004  a full id
    text = f"{action.action} {target}: {action.verdict}"
    return f"{text} ({action.reason[:120]})" if action.reason else text
