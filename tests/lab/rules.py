"""Rules of a test's own, written to a folder as an operator would: short times where the shipped ones wait for minutes."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent

from tests.lab import leftovers

SHIPPED = Path(__file__).parents[2] / "rules"


@contextmanager
def rules_folder(text: str = "", *, shipped: bool = False, replace: dict[str, str] | None = None) -> Iterator[Path]:
    """A folder with these rules; it is gone on leaving.

    Args:
        text: a rules file, indented as it stands in the test; empty: none.
        shipped: beside the shipped ones.
        replace: what to replace in the shipped ones; each must be there.
    """
    folder = Path(tempfile.mkdtemp(prefix=leftovers.PREFIX))
    leftovers.claim(folder)
    try:
        rules = folder / "rules"
        rules.mkdir()
        if text:
            (rules / "test.yaml").write_text(dedent(text))
        for file in SHIPPED.glob("*.yaml") if shipped else ():
            (rules / file.name).write_text(file.read_text())
        for old, new in (replace or {}).items():
            files = [file for file in rules.glob("*.yaml") if old in file.read_text()]
            if not files:
                msg = f"no shipped rule says {old!r}"
                raise LookupError(msg)
            for file in files:
                file.write_text(file.read_text().replace(old, new))
        yield rules
    finally:
        shutil.rmtree(folder, ignore_errors=True)
