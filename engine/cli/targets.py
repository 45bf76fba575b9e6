"""Which rules and which state folder a verb works on."""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from engine.rules.model import RuleSet
from engine.rules.overrides import layers
from engine.rules.reader import usable_rules
from engine.rules.shipped import shipped_rules
from engine.settings import Settings, load_settings


def chosen_rules(settings: Settings) -> Path:
    """The rules that the settings name, else those that ship."""
    return settings.rules or shipped_rules()


def rules_folder(named: Path | None, config: Path | None = None) -> Path:
    """The rules that the command line names, else those of the settings, else those that ship."""
    return named if named is not None else chosen_rules(load_settings(config))


def load_rules(folder: Path, with_layers: Iterable[str] = ()) -> RuleSet:
    """The rules of a folder; what overrides change is printed on standard error.

    Raises:
        RulesError: they cannot be used; the message is the whole report.
    """
    ruleset, changes = usable_rules(folder, with_layers)
    for change in changes:
        print(f"dockwarden: {change}", file=sys.stderr)
    return ruleset


def chosen_layers(host: str | None, groups: Sequence[str] | None, config: Path | None = None) -> tuple[str, ...]:
    """Override files for the host and groups that the command line names; when it names none, those that `run` applies here."""
    if host is None and not groups:
        settings = load_settings(config)
        return layers(settings.host, settings.repo.groups)
    return layers(host or "", groups or ())


def state_of(state: Path | None, config: Path | None) -> Path:
    """The state folder of the sidecar that is meant."""
    return state if state is not None else load_settings(config).state
