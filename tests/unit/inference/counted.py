"""A count of nothing, for tests that need an item and none of its values."""

from collections.abc import Iterator
from typing import Any


class _Nothing:
    def values(self) -> dict[str, Any]:
        return {}

    def evidence(self) -> dict[str, Any]:
        return {}

    def newest_ids(self, most: int) -> Iterator[str]:
        yield from ()[:most]


NOTHING_COUNTED = _Nothing()
