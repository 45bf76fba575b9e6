"""`dockwarden explain`."""

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.text import Text
from rich.tree import Tree

from engine.cli.status import ask_running
from engine.cli.targets import chosen_layers, load_rules, rules_folder, state_of
from engine.cli.terminal import console as terminal
from engine.cli.terminal import open_facts
from engine.errors import DockwardenError
from engine.facts.timestamps import Micros, rfc3339, to_micros
from engine.inference.diagnosis import why_not as why_not_in
from engine.journal.audit_trail import Chain, Link, describe, find, read_audit, withheld
from engine.messages.incident_page import incident_page
from engine.messages.timeline import Entry
from engine.replay.player import core_at

_OUTCOMES = 20


def explain_what(
    what: str | None,
    *,
    state: Path | None,
    config: Path | None,
    why_not: str | None,
    at: str | None,
    recording: Path | None,
    rules: Path | None,
    output: str,
    page: Path | None = None,
    host: str | None = None,
    groups: list[str] | None = None,
) -> int:
    """Print a chain, or why there is none; with `page`, write it as one HTML file.

    Raises:
        DockwardenError: there is no journal, nothing so called, or no sidecar to ask.
    """
    if why_not is not None:
        if recording is None:
            return _show_why_not(why_not, _ask_why_not(why_not, state, config, at), output)
        ruleset = load_rules(rules_folder(rules, config), chosen_layers(host, groups, config))
        with open_facts(str(recording)) as lines:
            answer = why_not_in(core_at(ruleset, lines, _moment(at)), why_not)
        return _show_why_not(why_not, answer, output)
    if at is not None or recording is not None:
        raise DockwardenError("--at and --replay go with --why-not RULE")
    rows = read_audit(state_of(state, config) / "journal.db")
    row = find(rows, what)
    chain = Chain(rows)
    link, outcomes = chain.explain(row), chain.outcomes(row)
    if page is not None:
        return _write_page(page, describe(row), chain.entries(row), chain.evidence(row))
    if output == "json":
        entries = [{"at": rfc3339(entry.at), "what": describe(entry)} for entry in outcomes]
        print(json.dumps({**link.to_json_dict(), "outcomes": entries}, indent=2))
        return 0
    console = terminal()
    console.print(_tree(link))
    if outcomes:
        console.print(Text("what was done:", style="bold"))
        for entry in outcomes[-_OUTCOMES:]:
            console.print(Text(f"  {_time(entry.at)}  {describe(entry)}"))
    return 0


def _write_page(page: Path, title: str, entries: list[Entry], facts: list[Mapping[str, Any]]) -> int:
    try:
        page.write_text(incident_page(title, f"{len(entries)} events, as the audit has them.", entries, facts), encoding="utf-8")
    except OSError as error:
        raise DockwardenError(f"{page}: cannot be written: {error.strerror}") from error
    print(page)
    return 0


def _moment(at: str | None) -> Micros | None:
    if at is None:
        return None
    try:
        return to_micros(datetime.fromisoformat(at))
    except (ValueError, TypeError) as error:
        raise DockwardenError(f"--at {at}: not a time such as 2026-11-20T16:51:52Z") from error


def _tree(link: Link, tree: Tree | None = None) -> Tree:
    style = {"alert": "bold", "action": "cyan", "fact": ""}.get(link.kind, "green")
    label = Text(f"{_time(link.at)}  ", style="dim") + Text(link.what, style=style)
    node = Tree(label) if tree is None else tree.add(label)
    for cause in link.because:
        _tree(cause, node)
    return node


def _time(at: Micros) -> str:
    """To the millisecond; with the day, for what led to it may be of the day before."""
    return rfc3339(at)[:23].replace("T", " ")


def _ask_why_not(rule: str, state: Path | None, config: Path | None, at: str | None) -> dict[str, Any]:
    if at is not None:
        raise DockwardenError("--at needs recorded facts: give them with --replay FILE")
    folder = state_of(state, config)
    answer = ask_running(folder, {"ask": "why-not", "rule": rule})
    answer["kept_back"] = withheld(folder / "journal.db", rule)
    return answer


def _show_why_not(rule: str, answer: dict[str, Any], output: str) -> int:
    if output == "json":
        print(json.dumps(answer, indent=2))
    else:
        console = terminal()
        console.print(Text(f"rule {rule}: {answer.get('matches', 0)} matches", style="bold"))
        for reason in answer["reasons"] or ["nothing prevents it: it fires with the next fact"]:
            console.print(Text(f"  {reason}"))
        if answer.get("kept_back"):
            console.print(Text("decided, and held back:", style="bold"))
            for entry in answer["kept_back"]:
                console.print(Text(f"  {entry}"))
    return 0 if answer["known"] else 1
