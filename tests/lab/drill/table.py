"""The drill's table."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from tests.lab.drill.row import Row, Times

CRON_MEAN_S = 15 * 60.0
"""A job that runs every 30 minutes comes 15 minutes after the fault on average."""


def show(results: Sequence[tuple[Row, Times]], took_s: float, console: Console) -> None:
    """Print one line a fault, and below it what is missing."""
    title = "Real faults on scratch engines, received by an independent MQTT client; times from when the fault took effect"
    table = Table(title=title, title_justify="left")
    table.add_column("incident", no_wrap=True)
    table.add_column("fault")
    for name in ("noticed", "alert received", "repaired", "resolved"):
        table.add_column(f"{name}\nafter", justify="right", no_wrap=True)
    table.add_column("the cron job\nevery 30 minutes")
    for row, times in results:
        repaired = _seconds(times.repaired) if row.repairs else "no remedy"
        cells = (_seconds(times.noticed), _seconds(times.received), repaired, _seconds(times.resolved))
        table.add_row(row.incident, row.fault, *cells, _against(row, times))
    console.print(table)
    for row, times in results:
        if times.missing:
            console.print(f"[red]missing[/red] {row.incident}, {row.fault}: ", end="")
            console.print(times.missing, markup=False, highlight=False)
    complete = sum(not times.missing for _, times in results)
    console.print(f"{complete} of {len(results)} rows complete, in {took_s:.0f} s")


def _seconds(value: float | None) -> str:
    if value is None:
        return "[red]missing[/red]"
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.1f} s"


def _against(row: Row, times: Times) -> str:
    done = times.repaired if row.repairs else times.received
    if done and "average" in times.cron:
        return f"{times.cron}, {CRON_MEAN_S / done:,.0f} times as long"
    return times.cron
