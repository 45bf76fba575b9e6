"""`dockwarden rules init DIR`."""

from pathlib import Path

from engine.reference.schemas import schema_of, schema_text
from engine.rules.new_repository import make_repository


def init(folder: Path) -> int:
    """Make the repository, and print what is in it.

    Raises:
        DockwardenError: the folder is there and not empty, or cannot be written.
    """
    git = make_repository(folder, schema_text(schema_of("rules")))
    print(f"{folder}: rules, their tests and runbooks, schema.json, a pre-commit hook, CI for GitHub and GitLab")
    print(f"  {git}")
    print(f"  try: dockwarden check {folder} && dockwarden test {folder}")
    return 0
