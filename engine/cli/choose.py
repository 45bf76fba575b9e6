"""Which rules and which state folder a verb works on."""

from pathlib import Path

from engine.settings import Settings, load_settings
from engine.shipped import shipped_rules


def chosen_rules(settings: Settings) -> Path:
    """The rules that the settings name, else those that ship."""
    return settings.rules or shipped_rules()


def rules_folder(named: Path | None) -> Path:
    """The rules that the command line names, else those of the environment, else those that ship."""
    return named if named is not None else chosen_rules(load_settings(None))


def state_of(state: Path | None, config: Path | None) -> Path:
    """The state folder of the sidecar that is meant."""
    return state if state is not None else load_settings(config).state
