"""`dockwarden tune RULE NAME=VALUE,… …`: how often a rule would have fired with other values, and on what."""

import json
import sys
from pathlib import Path

from rich.table import Table
from rich.text import Text

from engine.cli.targets import chosen_layers, rules_folder
from engine.cli.terminal import console, open_facts, print_faults, recorded, short_ids
from engine.errors import DockwardenError
from engine.facts.timestamps import rfc3339
from engine.replay.backtest import Firings, Variant, count_firings, variants
from engine.replay.recording import Faults
from engine.rules.findings import Report
from engine.rules.reader import read_texts

_KEYS_SHOWN = 3


def tune_rule(
    rule: str,
    settings: list[str],
    *,
    since: str,
    recording: Path | None,
    rules: Path | None,
    state: Path | None,
    output: str,
) -> int:
    """Print one row for each combination of values; 1 when lines could not be read.

    Raises:
        DockwardenError: no recording, no such rule or value.
    """
    values = dict(_setting(text) for text in settings)
    texts = read_texts(rules_folder(rules), chosen_layers(None, None), Report())
    tried = list(variants(texts, rule, values))
    faults, ids = Faults(), frozenset({rule})
    rulesets = [(variant.ruleset, ids) for variant in tried]
    if recording is not None:
        with open_facts(str(recording)) as lines:
            found = count_firings(rulesets, lines, faults)
    else:
        lines, moment = recorded(state, None, since)
        found = count_firings(rulesets, lines, faults, moment)
    rows = [(variant, firings[rule]) for variant, firings in zip(tried, found, strict=True)]
    if output == "json":
        for variant, firings in rows:
            sys.stdout.write(json.dumps(_json(variant, firings)) + "\n")
    else:
        _print(rule, rows)
    return print_faults(faults)


def _setting(text: str) -> tuple[str, list[str]]:
    name, equals, values = text.partition("=")
    if not equals or not name or not values:
        raise DockwardenError(f"`{text}`: write NAME=VALUE or NAME=VALUE,VALUE such as within=5m,10m")
    return name, values.split(",")


def _json(variant: Variant, firings: Firings) -> dict[str, object]:
    line: dict[str, object] = {"values": dict(variant.values), "fired": firings.number, "keys": dict(firings.keys.most_common())}
    if firings.number:
        line |= {"first_at": rfc3339(firings.first_at), "last_at": rfc3339(firings.last_at)}
    return line


def _print(rule: str, rows: list[tuple[Variant, Firings]]) -> None:
    table = Table(title=f"{rule} would have fired", title_justify="left")
    for path, _ in rows[0][0].values:
        table.add_column(path.removeprefix("when."), justify="right")
    for name in ("times", "things", "on"):
        table.add_column(name, justify="left" if name == "on" else "right", overflow="fold")
    for variant, firings in rows:
        on = ", ".join(f"{short_ids(key) or '(no key)'} ({number})" for key, number in firings.keys.most_common(_KEYS_SHOWN))
        more = len(firings.keys) - _KEYS_SHOWN
        cells = [value for _, value in variant.values] + [str(firings.number), str(len(firings.keys))]
        table.add_row(*map(Text, cells), Text(on + (f", and {more} more" if more > 0 else "")))
    console().print(table)
