"""What a chat says of an incident: a title and a text of a few lines, without markup. Pure."""

from datetime import UTC, datetime

from connectors.consumers.notes import Note
from connectors.consumers.summary import defused, details, runbook_link, summary_line

COLOURS = {"critical": "#b00020", "error": "#e0562c", "warning": "#e0a32c", "info": "#3a7bd5"}
RESOLVED_COLOUR = "#2e8b57"


def chat_title(note: Note) -> str:
    """The summary line; of a digest, how much it holds."""
    if note.kind == "digest":
        return f"{note.total} alerts were held back, {note.firing} still firing"
    alert = note.alert
    return defused(summary_line(alert, 250)) if alert is not None else note.thread


def chat_text(note: Note, runbooks_url: str = "") -> str:
    """The lines below the title."""
    if note.kind == "digest":
        return "\n".join(defused(line) for line in note.lines)
    alert = note.alert
    if alert is None:
        return ""
    lines = []
    if note.kind == "test":
        lines.append("This is a TEST of the way that alarms go. Nothing is wrong.")
    if note.kind == "escalation":
        lines.append(f"Now {note.severity}.")
    lines.append(defused(details(alert, 800)))
    if note.unannounced:
        lines.append(f"It began {_clock(note.opened_at)}, while this chat could not be reached.")
    if note.firing > 1 and note.firing_now:
        lines.append(f"{note.firing} alerts of this incident are firing.")
    if note.flaps:
        lines.append(
            f"It seemed over and began anew {note.flaps} time{'s' if note.flaps > 1 else ''} since {_clock(note.opened_at)}."
        )
    link = runbook_link(alert, runbooks_url)
    if link is not None and note.firing_now:
        lines.append(f"Runbook: {link}")
    return "\n".join(lines)


def colour(note: Note) -> str:
    """For services that have one."""
    return COLOURS.get(note.severity, COLOURS["info"]) if note.firing_now else RESOLVED_COLOUR


def _clock(moment: float) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M:%S} UTC"
