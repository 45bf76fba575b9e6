"""`dockwarden status`."""

import asyncio
import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from engine.cli.targets import state_of
from engine.cli.terminal import console as terminal
from engine.cli.terminal import short_ids
from engine.errors import DockwardenError
from engine.sidecar.status_socket import ask

_COLOURS = {"critical": "bold red", "error": "red", "warning": "yellow", "info": "cyan"}


def ask_running(state: Path, question: dict[str, Any]) -> dict[str, Any]:
    """Ask the sidecar that runs with this state folder.

    Raises:
        DockwardenError: none does.
    """
    socket = state / "status.sock"
    try:
        return asyncio.run(ask(socket, question))
    except (OSError, TimeoutError, ValueError) as error:
        why = str(error) or "no answer in time"
        raise DockwardenError(
            f"no sidecar answers at {socket} ({why}). Does it run, as this user? Name its state folder with --state."
        ) from error


def show_status(*, state: Path | None, config: Path | None, output: str, republish: bool = False) -> int:
    """Print it; `republish`: before that, have every alert that fires published anew (for a broker that lost what it kept)."""
    if republish:
        ask_running(state_of(state, config), {"ask": "republish"})
    data = ask_running(state_of(state, config), {"ask": "status"})
    if output == "json":
        print(json.dumps(data, indent=2))
        return 0
    console = terminal()
    _head(console, data)
    _alerts(console, data)
    _jobs(console, data)
    for problem in data.get("troubles", []):
        console.print(Text(f"problem: {problem}", style="red"))
    return 0


def _head(console: Console, data: dict[str, Any]) -> None:
    frozen = ", FROZEN" if data.get("frozen") else ""
    console.print(
        Text(f"{data['host']}: dockwarden {data['version']}, mode {data.get('mode')}{frozen}, since {data.get('since')}")
    )
    broker = data["broker"]
    link = f"connected (MQTT {broker['protocol']})" if broker["connected"] else "NOT connected"
    console.print(Text(f"rules    {data.get('rules')} ({data.get('rules_version')})"))
    console.print(Text(f"broker   {broker['where']}, {link}, {data.get('outbox_depth', 0)} waiting"))
    console.print(
        Text(f"facts    {data['counters'].get('facts', 0)} received, {data['memory']['facts']} held: {_pairs(data['kinds'])}")
    )
    console.print(Text(f"sources  {_pairs(data.get('sources', {})) or 'no problem reported'}"))
    if data.get("losses"):
        console.print(Text(f"losses   {_pairs(data['losses'])}", style="yellow"))


def _pairs(counts: dict[str, Any]) -> str:
    return ", ".join(f"{name} {number}" for name, number in counts.items())


def _alerts(console: Console, data: dict[str, Any]) -> None:
    if not data["alerts"]:
        console.print(Text("alerts   none fires", style="green"))
        return
    table = Table(title=f"{data.get('firing')} firing", title_justify="left")
    for name in ("severity", "rule", "key", "since", "what"):
        table.add_column(name, no_wrap=name in ("severity", "since"), overflow="fold")
    for alert in data["alerts"]:
        colour = _COLOURS.get(alert["severity"], "")
        row = [
            Text(alert["severity"], style=colour),
            *map(Text, (alert["rule"], short_ids(alert["key"]), alert["since"][:19], short_ids(alert["text"]))),
        ]
        table.add_row(*row)
    console.print(table)


def _jobs(console: Console, data: dict[str, Any]) -> None:
    if not data["jobs"]:
        return
    table = Table(title=f"{data['jobs_scheduled']} scheduled", title_justify="left")
    for name in ("action", "target", "rule", "attempts", "due"):
        table.add_column(name, no_wrap=name == "due", overflow="fold")
    for job in data["jobs"]:
        cells = (job["action"], short_ids(job["target"]), job["rule"], str(job["attempts"]), job["due"][:19])
        table.add_row(*map(Text, cells))
    console.print(table)
