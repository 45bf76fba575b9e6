"""`dockwarden schema`."""

from typing import Literal

from engine.reference.schemas import schema_of, schema_text


def print_schema(what: Literal["rules", "facts", "alert"]) -> int:
    """Print it."""
    print(schema_text(schema_of(what)), end="")
    return 0
