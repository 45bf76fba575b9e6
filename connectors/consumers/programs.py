"""The programs `dockwarden-pager` and `dockwarden-chat`: their command lines, and how they start and stop.

Exit codes: 0 well, 1 something is wrong with what was looked at, 2 could not run (what to do stands in the message).
"""

import asyncio
import fcntl
import importlib.metadata
import json
import signal
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import structlog
import typer

from connectors.consumers.config import Config, Program, load_config
from connectors.consumers.consumer import Consumer, check_secrets
from connectors.consumers.records import ReceiverState, Row
from connectors.consumers.store import Store
from connectors.consumers.summary import summary_line
from connectors.consumers.together import end
from engine.errors import DockwardenError, SettingsError
from engine.logging import set_up
from engine.ports.clock import SystemClock

_log = structlog.get_logger(__name__)

_FOLDER = Path("/etc/dockwarden")
_WHAT: dict[Program, str] = {
    "pager": "Hands dockwarden's alerts to pagers: PagerDuty, Alertmanager, Opsgenie and other webhooks.",
    "chat": "Tells dockwarden's incidents in chats: Slack, Mattermost, Teams, Matrix, Telegram, ntfy, mail and others.",
}
_FormatOption = Annotated[Literal["text", "json"], typer.Option("--format", help="For people, or for tools.")]
_ReceiverOption = Annotated[str | None, typer.Option("--receiver", help="Only of this receiver.")]


def program_app(program: Program) -> typer.Typer:
    """The command line of one program."""
    app = typer.Typer(
        name=f"dockwarden-{program}",
        help=_WHAT[program],
        no_args_is_help=True,
        add_completion=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    config_option = typer.Option("--config", help="Configuration file (YAML).")
    ConfigOption = Annotated[Path, config_option]  # noqa: N806  a type
    default = _FOLDER / f"{program}.yaml"

    @app.callback()
    def root(
        version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
    ) -> None:
        del version

    @app.command()
    def run(config: ConfigOption = default) -> None:
        """Listen to the broker and tell the receivers, until stopped."""
        _guard(lambda: run_program(program, load_config(config, program)))

    @app.command()
    def check(config: ConfigOption = default) -> None:
        """Say every fault of the configuration and of the files it names."""

        def look() -> int:
            faults = check_secrets(load_config(config, program))
            for fault in faults:
                typer.echo(f"{config}: {fault}", err=True)
            return 1 if faults else 0

        _guard(look)

    @app.command()
    def status(config: ConfigOption = default, output: _FormatOption = "text") -> None:
        """Say how the broker and each receiver stand; 1 where something is stuck or dead."""
        _guard(lambda: _show_status(load_config(config, program), output))

    @app.command("dead-letters")
    def dead_letters(config: ConfigOption = default, receiver: _ReceiverOption = None, output: _FormatOption = "text") -> None:
        """Show what receivers will never take, and why."""
        _guard(lambda: _show_dead(load_config(config, program), receiver, output))

    @app.command()
    def retry(
        numbers: Annotated[list[int] | None, typer.Argument(help="Numbers of dead letters; none: all.")] = None,
        config: ConfigOption = default,
        receiver: _ReceiverOption = None,
    ) -> None:
        """Put dead letters back into their queues."""
        _guard(lambda: _move(load_config(config, program), numbers, receiver, Store.retry, "put back"))

    @app.command()
    def drop(
        numbers: Annotated[list[int], typer.Argument(help="Numbers of dead letters.")], config: ConfigOption = default
    ) -> None:
        """Throw dead letters away."""
        _guard(lambda: _move(load_config(config, program), numbers, None, Store.drop, "thrown away"))

    return app


def pager() -> None:
    """`dockwarden-pager`."""
    program_app("pager")()


def chat() -> None:
    """`dockwarden-chat`."""
    program_app("chat")()


def run_program(program: Program, config: Config) -> int:
    """Run until SIGTERM or SIGINT.

    Raises:
        SettingsError: a file with a secret cannot be used, or another process uses the same queues.
        JournalError: the queues cannot be opened.
    """
    set_up(config.log_format)
    faults = check_secrets(config)
    if faults:
        raise SettingsError("\n".join(faults))
    with _open(config, create=True) as store:
        lock = config.state / "lock"
        with lock.open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise SettingsError(f"another process uses the queues in {config.state}: give each its own `state`") from None
            _log.info("starting", program=f"dockwarden-{program}", version=importlib.metadata.version("dockwarden"))
            asyncio.run(_run(Consumer(program, config, store, clock=SystemClock())))
    _log.info("stopped")
    return 0


async def _run(consumer: Consumer) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    work = asyncio.get_running_loop().create_task(consumer.run(), name="consumer")
    stopped = asyncio.get_running_loop().create_task(stop.wait(), name="stop")
    await asyncio.wait({work, stopped}, return_when=asyncio.FIRST_COMPLETED)
    failed = work.done()
    await end([work, stopped])
    if failed:
        work.result()


def _open(config: Config, *, create: bool = False) -> Store:
    """The queues. Who only looks makes none: they would belong to the wrong user."""
    path = config.state / "queues.sqlite"
    if not create and not path.exists():
        raise SettingsError(f"there are no queues in {config.state} (state): nothing has run with this configuration yet")
    return Store(path, max_rows=config.queue_rows, max_bytes=config.queue_bytes)


def _show_status(config: Config, output: str) -> int:
    with _open(config) as store:
        link, states = store.link_state(), store.receiver_states(config.receivers)
    if output == "json":
        broker = None if link is None else {"connected": link[0], "since": link[1], "error": link[2]}
        body = {"broker": broker, "receivers": [{name: getattr(state, name) for name in state.__slots__} for state in states]}
        typer.echo(json.dumps(body, indent=2))
    else:
        if link is None:
            typer.echo("broker: never connected")
        else:
            connected, since, error = link
            typer.echo(
                f"broker: {'connected' if connected else 'not connected'} since {_clock(since)}{f': {error}' if error else ''}"
            )
        for state in states:
            typer.echo(_state_line(state))
    stuck = any(state.dead or state.error for state in states)
    return 1 if stuck or link is None or not link[0] else 0


def _state_line(state: ReceiverState) -> str:
    parts = [f"{state.name}: {state.taken} delivered", f"{state.waiting} waiting"]
    if state.taken_at is not None:
        parts[0] += f" (last {_clock(state.taken_at)})"
    if state.oldest_at is not None:
        parts[1] += f" (oldest {_clock(state.oldest_at)}, {state.waiting_bytes} bytes)"
    if state.dead:
        parts.append(f"{state.dead} dead letters (dead-letters shows them, retry puts them back)")
    if state.lost:
        parts.append(f"{state.lost} dead letters were thrown away because there were too many")
    if state.error:
        parts.append(f"last error: {state.error}")
    return ", ".join(parts)


def _show_dead(config: Config, receiver: str | None, output: str) -> int:
    with _open(config) as store:
        rows = store.dead_letters(receiver)
    for row in rows:
        typer.echo(json.dumps(_dead_json(row), ensure_ascii=False) if output == "json" else _dead_line(row))
    return 1 if rows else 0


def _dead_line(row: Row) -> str:
    return (
        f"{row.id}  {row.receiver}  {row.kind}  queued {_clock(row.queued_at)}, died {_clock(row.died_at or 0.0)}"
        f" after {row.attempts} attempts: {row.error}\n    {_line(row)}"
    )


def _dead_json(row: Row) -> dict[str, object]:
    fields: dict[str, object] = {name: getattr(row, name) for name in row.__slots__ if name != "note"}
    return fields | {"line": _line(row)}


def _line(row: Row) -> str:
    alert = row.note.alert
    text = summary_line(alert) if alert is not None else "; ".join(row.note.lines)
    return "".join(char if char.isprintable() else "\ufffd" for char in text)


def _move(
    config: Config, numbers: list[int] | None, receiver: str | None, how: Callable[[Store, list[int]], int], word: str
) -> int:
    with _open(config) as store:
        wanted = numbers or [row.id for row in store.dead_letters(receiver)]
        count = how(store, wanted)
    typer.echo(f"{count} {word}")
    return 0 if count == len(wanted) else 1


def _clock(moment: float) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"dockwarden {importlib.metadata.version('dockwarden')}")
        raise typer.Exit


def _guard(work: Callable[[], int]) -> None:
    """Do it; what is foreseen is one sentence on standard error."""
    try:
        code = work()
    except DockwardenError as error:
        typer.echo(str(error), err=True)
        code = 2
    raise typer.Exit(code)
