from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.journal import Journal


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a test's journal is."""
    return tmp_path / "state" / "journal.db"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    """A fresh journal whose outbox counts on from 1,000."""
    with Journal.open(path, now=1_000_000) as journal:
        yield journal
