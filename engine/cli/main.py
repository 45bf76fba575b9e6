"""The command line: one verb, one module. Nothing is imported for a verb that is not asked for, so that each starts quickly.

Exit codes: 0 well, 1 faults found, 2 could not run (what to do stands in the message).
"""

import importlib.metadata
import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from engine.errors import DockwardenError

app = typer.Typer(
    name="dockwarden",
    help="Notices, explains, repairs and reports what kills container hosts.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
rules_app = typer.Typer(help="Rules repositories.", no_args_is_help=True)
fleet_app = typer.Typer(no_args_is_help=False)
app.add_typer(rules_app, name="rules")
app.add_typer(fleet_app, name="fleet")

RulesOption = Annotated[
    Path | None, typer.Option("--rules", help="Folder of rules; without it those of the settings, or those that ship.")
]
HostOption = Annotated[
    str | None, typer.Option("--host", help="Host whose overrides are applied (replay, explain: else those of the settings).")
]
GroupOption = Annotated[list[str] | None, typer.Option("--group", help="Group whose overrides are applied; may be repeated.")]
ConfigOption = Annotated[Path | None, typer.Option("--config", help="Settings file (YAML).")]
StateOption = Annotated[Path | None, typer.Option("--state", help="State folder.")]
SinceOption = Annotated[str, typer.Option("--since", help="How far back in the sidecar's own recording, such as 12h or 7d.")]
CheckFormat = Annotated[Literal["text", "json", "sarif"], typer.Option("--format", help="For people, for tools, for code hosts.")]
FormatOption = Annotated[Literal["text", "json"], typer.Option("--format", help="For people, or for tools.")]


def without_rich() -> None:
    """Keep a sidecar small: import structlog as on a machine without rich. To be called before anything that logs is imported.

    structlog's console renderer imports rich whenever it is there (for tracebacks), and rich with its highlighter is 14 MiB of
    resident memory, a fifth of the whole process, on every host. The verbs that draw tables import it themselves.
    """
    if "structlog" in sys.modules or "rich" in sys.modules:
        return
    # An entry of None makes `import rich` an ImportError (importlib, "sys.modules"), which structlog is prepared for.
    sys.modules["rich"] = None  # type: ignore[assignment]
    try:
        import structlog  # noqa: F401  imported for its own sake
    finally:
        del sys.modules["rich"]


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"dockwarden {importlib.metadata.version('dockwarden')}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """Notices, explains, repairs and reports what kills container hosts."""
    del version


@app.command()
def run(
    config: ConfigOption = None,
    rules: RulesOption = None,
    state: StateOption = None,
    act: Annotated[bool | None, typer.Option("--act/--observe", help="Repair too, or only look and report.")] = None,
    record: Annotated[Path | None, typer.Option("--record", help="Write every fact to this file, for replay.")] = None,
) -> None:
    """Run the sidecar on this host."""
    without_rich()
    from engine.cli.run import run_sidecar

    _exit(lambda: run_sidecar(config=config, rules=rules, state=state, act=act, record=record))


@app.command()
def check(
    folder: Annotated[Path | None, typer.Argument(help="Folder of rules; without it those that ship.")] = None,
    output: CheckFormat = "text",
    config: ConfigOption = None,
    since: Annotated[str | None, typer.Option("--since", help="Try changed rules on the sidecar's recording: 7d.")] = None,
    recording: Annotated[Path | None, typer.Option("--replay", help="Also try all rules on these recorded facts.")] = None,
    at_most: Annotated[int, typer.Option("--at-most", min=0, help="Firings in the recording that need no warning.")] = 100,
    state: StateOption = None,
) -> None:
    """Find every error of a rules folder at once: in rules, tests, runbooks and overrides."""
    from engine.cli.check import check_rules

    _exit(lambda: check_rules(folder, output, config, since=since, recording=recording, at_most=at_most, state=state))


@app.command()
def test(
    folder: Annotated[Path | None, typer.Argument(help="Folder of rules; without it those that ship.")] = None,
    junit: Annotated[Path | None, typer.Option("--junit", help="Write the results as JUnit XML too.")] = None,
    coverage: Annotated[bool, typer.Option("--coverage", help="Say which patterns no test exercised.")] = False,
    host: HostOption = None,
    group: GroupOption = None,
) -> None:
    """Run the tests of rules (*.test.yaml); needs no Docker and no broker."""
    from engine.cli.test import test_rules

    _exit(lambda: test_rules(folder, junit=junit, coverage=coverage, host=host, groups=group))


@app.command()
def replay(
    file: Annotated[
        str | None, typer.Argument(help="Facts as JSON lines, or - for standard input; without it the sidecar's own recording.")
    ] = None,
    rules: RulesOption = None,
    since: SinceOption = "7d",
    state: StateOption = None,
    against: Annotated[Path | None, typer.Option("--against", help="Other rules: say what would be different.")] = None,
    host: HostOption = None,
    group: GroupOption = None,
    output: FormatOption = "text",
) -> None:
    """Say what rules decide on recorded facts, by the facts' own clock."""
    from engine.cli.replay import replay_facts

    _exit(
        lambda: replay_facts(file, rules=rules, against=against, output=output, host=host, groups=group, since=since, state=state)
    )


@app.command()
def tune(
    rule: Annotated[str, typer.Argument(help="Id of a rule.")],
    values: Annotated[list[str], typer.Argument(help="NAME=VALUE,… for each value to try, such as within=5m,10m.")],
    since: SinceOption = "7d",
    recording: Annotated[Path | None, typer.Option("--replay", help="Recorded facts; else the sidecar's own recording.")] = None,
    rules: RulesOption = None,
    state: StateOption = None,
    output: FormatOption = "text",
) -> None:
    """Show how often a rule would have fired with other values, and on what."""
    from engine.cli.tune import tune_rule

    _exit(lambda: tune_rule(rule, values, since=since, recording=recording, rules=rules, state=state, output=output))


@app.command()
def demo(
    seconds: Annotated[float, typer.Option("--seconds", min=0, help="How long the story takes; 0: print it at once.")] = 10.0,
) -> None:
    """Tell what happens on a failing host, from a recording: no root, no Docker, nothing is touched."""
    from engine.cli.demo import show_demo

    _exit(lambda: show_demo(seconds))


@app.command()
def parse(
    source: Annotated[Literal["kernel", "dockerd", "kubelet"], typer.Option("--source", help="Whose log it is.")],
) -> None:
    """Read log lines from standard input; print one JSON fact a line, null for a line that is none."""
    from engine.cli.parse import parse_lines

    _exit(lambda: parse_lines(source))


@app.command()
def record(
    file: Annotated[Path, typer.Argument(help="File to write to; appended to if it is there.")],
    config: ConfigOption = None,
) -> None:
    """Write the facts of this host as they come, as JSON lines that replay takes. Decides and does nothing."""
    from engine.cli.record import record_facts

    _exit(lambda: record_facts(file, config=config))


@app.command()
def explain(
    what: Annotated[
        str | None, typer.Argument(help="RULE or RULE/KEY of an alert, an action, its target, or any words of it.")
    ] = None,
    state: StateOption = None,
    config: ConfigOption = None,
    why_not: Annotated[str | None, typer.Option("--why-not", help="A rule: say why it did not fire.")] = None,
    at: Annotated[str | None, typer.Option("--at", help="With --why-not and --replay: the moment (RFC 3339).")] = None,
    recording: Annotated[Path | None, typer.Option("--replay", help="With --why-not: recorded facts to look at.")] = None,
    rules: RulesOption = None,
    host: HostOption = None,
    group: GroupOption = None,
    output: FormatOption = "text",
    html: Annotated[Path | None, typer.Option("--html", help="Write it to this file as one HTML page with a time axis.")] = None,
) -> None:
    """Show the facts, rules and outcomes that led to an alert or action; or why a rule did not fire."""
    from engine.cli.explain import explain_what

    _exit(
        lambda: explain_what(
            what,
            state=state,
            config=config,
            why_not=why_not,
            at=at,
            recording=recording,
            rules=rules,
            output=output,
            page=html,
            host=host,
            groups=group,
        )
    )


@app.command()
def schema(
    what: Annotated[Literal["rules", "facts", "alert"], typer.Argument(help="Which schema.")] = "rules",
) -> None:
    """Print a JSON Schema."""
    from engine.cli.schema import print_schema

    _exit(lambda: print_schema(what))


@app.command()
def status(
    state: StateOption = None,
    config: ConfigOption = None,
    output: FormatOption = "text",
    republish: Annotated[bool, typer.Option("--republish", help="First have it publish every alert that fires anew.")] = False,
) -> None:
    """Show what a running sidecar sees and does."""
    from engine.cli.status import show_status

    _exit(lambda: show_status(state=state, config=config, output=output, republish=republish))


@app.command()
def command(
    name: Annotated[
        Literal["ack", "explain", "freeze", "retry-now", "silence", "unfreeze"], typer.Argument(help="What the sidecar is to do.")
    ],
    key_file: Annotated[Path, typer.Option("--key-file", help="Your key, OPERATOR.key.")],
    host: Annotated[str | None, typer.Option("--host", help="Host that is commanded; without it this one.")] = None,
    rule: Annotated[str, typer.Option("--rule", help="ack, silence, explain: the rule.")] = "",
    key: Annotated[str | None, typer.Option("--key", help="ack, silence, explain: the alert's key.")] = None,
    container: Annotated[str, typer.Option("--container", help="retry-now: the container.")] = "",
    action: Annotated[str, typer.Option("--action", help="freeze, unfreeze: this action alone.")] = "",
    seconds: Annotated[float, typer.Option("--seconds", help="silence: for so long.")] = 3600.0,
    reason: Annotated[str, typer.Option("--reason", help="Stands in the audit.")] = "",
    url: Annotated[str | None, typer.Option("--url", help="Broker, mqtt://… or mqtts://…; else that of the settings.")] = None,
    config: ConfigOption = None,
    state: StateOption = None,
    timeout: Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds to wait for the reply.")] = 15.0,
) -> None:
    """Sign a command to a sidecar, send it, and print the reply."""
    from engine.cli.command import give_command

    params: dict[str, object] = {
        "rule": rule, "key": key, "container": container, "action": action, "seconds": seconds, "reason": reason,
    }  # fmt: skip
    _exit(
        lambda: give_command(
            name, host=host, key_file=key_file, config=config, url=url, state=state, timeout_s=timeout, params=params
        )
    )


@app.command("operator-key")
def operator_key(
    file: Annotated[Path, typer.Argument(help="OPERATOR.key, which must not be there.")],
    allow: Annotated[list[str] | None, typer.Option("--allow", help="Command that the key allows; all without it.")] = None,
) -> None:
    """Make a key with which an operator commands sidecars."""
    from engine.cli.command import make_key

    _exit(lambda: make_key(file, allow or []))


@app.command("alarm-test")
def alarm_test(
    state: StateOption = None,
    config: ConfigOption = None,
    wait: Annotated[float, typer.Option("--wait", min=0, max=3600, help="Seconds to wait for receivers.")] = 60.0,
    output: FormatOption = "text",
) -> None:
    """Send a test alarm the whole way to the receivers, and wait until they have it. 1: none took it in time."""
    from engine.cli.alarm_test import send_alarm_test

    _exit(lambda: send_alarm_test(state=state, config=config, wait_s=wait, output=output))


@fleet_app.callback(invoke_without_command=True)
def fleet(
    context: typer.Context,
    config: ConfigOption = None,
    rules: RulesOption = None,
    state: StateOption = None,
    url: Annotated[str | None, typer.Option("--url", help="Broker of the hosts; else that of the settings.")] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="Which engine of a pair this is; without it the host's name.")
    ] = None,
    port: Annotated[int | None, typer.Option("--port", min=0, max=65535, help="Of the page; 0: any that is free.")] = None,
    act: Annotated[bool | None, typer.Option("--act/--observe", help="Stop an action everywhere, or only report.")] = None,
) -> None:
    """Watch all hosts of a broker: conclude by rules/fleet, serve the page. Two of them run as a hot pair."""
    if context.invoked_subcommand is not None:
        return
    from engine.cli.fleet import run_fleet

    _exit(lambda: run_fleet(config=config, rules=rules, state=state, url=url, name=name, port=port, act=act))


@fleet_app.command("simulate-hosts")
def fleet_simulate_hosts(
    config: ConfigOption = None,
    url: Annotated[str | None, typer.Option("--url", help="Broker; else that of the settings.")] = None,
    hosts: Annotated[int, typer.Option("--hosts", min=1, max=100_000, help="How many hosts.")] = 5_000,
    rate: Annotated[float, typer.Option("--rate", min=0, help="Messages of each host a second.")] = 0.5,
    alerts: Annotated[int, typer.Option("--alerts", min=0, max=1_000_000, help="Alerts that fire.")] = 10_000,
    seconds: Annotated[float, typer.Option("--seconds", min=0, help="For so long; 0: until stopped.")] = 0.0,
) -> None:
    """Publish what so many hosts would, to try the fleet's engine and the page on."""
    from engine.cli.fleet import simulate_hosts

    _exit(lambda: simulate_hosts(config=config, url=url, hosts=hosts, rate=rate, alerts=alerts, seconds=seconds))


@rules_app.command("init")
def rules_init(folder: Annotated[Path, typer.Argument(help="Folder to make; must not be there, or be empty.")]) -> None:
    """Make a rules repository: the shipped rules, their tests, the schema, a pre-commit hook and a CI file."""
    from engine.cli.rules_init import init

    _exit(lambda: init(folder))


def _exit(verb: Callable[[], Any]) -> None:
    """Run a verb; what is foreseen to go wrong is one message and exit code 2, never a traceback."""
    try:
        code = verb()
    except DockwardenError as error:
        for line in str(error).splitlines():
            typer.echo(f"dockwarden: {line}", err=True)
        raise typer.Exit(2) from None
    except BrokenPipeError:  # whoever read our output has seen enough
        raise typer.Exit(0) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    raise typer.Exit(code or 0)


def main() -> None:
    """Entry point of the program."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # What containers are called is not ours to choose: a terminal that knows no é is shown \xe9, as stderr always does.
        sys.stdout.reconfigure(errors="backslashreplace")
    app()
