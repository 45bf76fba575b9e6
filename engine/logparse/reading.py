"""What all readers of messages return. Knows no message."""

from typing import Any

Fields = dict[str, Any]
Reading = tuple[str, Fields]
"""A class of the vocabulary and the fields that were found; no field stands for what the line does not say."""


def found_fields(groups: dict[str, str | None], numbers: frozenset[str] = frozenset()) -> Fields:
    """The named groups that took part in a match, those in `numbers` as int."""
    return {name: int(value) if name in numbers else value for name, value in groups.items() if value is not None}
