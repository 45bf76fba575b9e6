"""Combinations of facts that several patterns of a rule match: a filter, and one of two ways to combine what passes it.

durable-rules combines in every set-up that the repository makes. It needs a C compiler and one mended line; where it is not
installed, or is not the mended build, the native combination takes its place. Both pass the same tests.
"""

from functools import lru_cache
from importlib import metadata
from typing import Literal

from engine.inference.joins.candidates import Combination, KeysOf, Structure
from engine.inference.joins.native import NativeCombination

Kind = Literal["durable-rules", "native"]

_MENDED = "+bounded"
"""Ends the version of the build that scripts/durable-rules makes. The one without it reads beyond its memory: it is not run."""


@lru_cache(maxsize=1)
def kind_in_use() -> Kind:
    """Which combination this process uses; `status` shows it."""
    try:
        mended = metadata.version("durable-rules").endswith(_MENDED)
    except metadata.PackageNotFoundError:
        mended = False
    return "durable-rules" if mended else "native"


def new_combination(structure: Structure, keys_of: KeysOf, kind: Kind | None = None) -> Combination:
    """An empty combination of this structure, of the kind in use unless another one is asked for."""
    if (kind or kind_in_use()) == "native":
        return NativeCombination(structure, keys_of)
    from engine.inference.joins.durable import DurableCombination  # noqa: PLC0415  a library that need not be installed

    return DurableCombination(structure, keys_of)
