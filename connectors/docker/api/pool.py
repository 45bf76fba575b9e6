"""How full the storage driver's pool is, from the texts that `docker info` prints. Pure.

Figures as the devicemapper driver writes them (daemon/graphdriver/devmapper/driver.go, Status) by go-units' HumanSize: four
digits in powers of 1000, with a space before the unit up to Docker 1.12 ("16.2 GB", "40.19 MB") and without one later ("16.2GB").
Engines that speak the same API print powers of 1024 ("1.5GiB") or bare bytes.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

_SIZE = re.compile(r"\s*([0-9]{1,20}(?:\.[0-9]{1,12})?)\s*(?:([KMGTPEZY]?)(I?)B)?\s*\Z", re.IGNORECASE)
_POWERS = " KMGTPEZY"


def size(text: str) -> float | None:
    """Bytes; None when it is no size."""
    match = _SIZE.match(text)
    if match is None:
        return None
    base = 1024.0 if match[3] else 1000.0
    return float(match[1]) * base ** _POWERS.index((match[2] or " ").upper())


@dataclass(frozen=True, slots=True)
class Pool:
    """How full it is (shares from 0 to 1), and whether it deletes later what is busy now; None where the driver does not tell."""

    data_ratio: float | None = None
    metadata_ratio: float | None = None
    deferred_removal: bool | None = None
    deferred_deletion: bool | None = None


def read_pool(driver_status: Iterable[tuple[str, str]]) -> Pool:
    """The pool's state from the pairs of `docker info`; all None for drivers without a pool (overlay2)."""
    told = dict(driver_status)
    return Pool(
        data_ratio=_ratio(told, "Data Space"),
        metadata_ratio=_ratio(told, "Metadata Space"),
        deferred_removal=_flag(told, "Deferred Removal Enabled"),
        deferred_deletion=_flag(told, "Deferred Deletion Enabled"),
    )


def _ratio(told: dict[str, str], what: str) -> float | None:
    used, total = size(told.get(f"{what} Used", "")), size(told.get(f"{what} Total", ""))
    return None if used is None or not total else min(used / total, 1.0)


def _flag(told: dict[str, str], name: str) -> bool | None:
    return {"true": True, "false": False}.get(told.get(name, "").strip().lower())
