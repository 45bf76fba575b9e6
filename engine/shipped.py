"""Where the rules are that come with dockwarden."""

from pathlib import Path


def shipped_rules() -> Path:
    """Inside the package when it is installed, beside the code in a checkout."""
    inside = Path(__file__).parent / "shipped_rules"
    return inside if inside.is_dir() else Path(__file__).parent.parent / "rules"
