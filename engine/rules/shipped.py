"""Where the rules and the recording are that come with dockwarden."""

from pathlib import Path

_ENGINE = Path(__file__).parent.parent


def shipped_rules() -> Path:
    """Inside the package when it is installed, beside the code in a checkout."""
    inside = _ENGINE / "shipped_rules"
    return inside if inside.is_dir() else _ENGINE.parent / "rules"


def shipped_recording() -> Path:
    """The recording of `dockwarden demo`: beside the rules, where the example of the repository is linked."""
    return shipped_rules() / "demo.jsonl"
