"""Rules that are right: the contract's example, and a folder that uses every part of the language."""

from pathlib import Path

DATA = Path(__file__).resolve().parents[2] / "data" / "rules"
GOOD = {path.name: path.read_bytes() for path in sorted(DATA.glob("*.yaml"))}


def rule(when: str, then: str = "[{alert: something}]", *, ident: str = "some-rule", more: str = "") -> bytes:
    """A file with one rule, of flow mappings."""
    head = f"rules:\n  - rule: {ident}\n    title: Something\n    severity: warning\n"
    return f"{head}    when: {when}\n    then: {then}\n{more}".encode()
