"""Faults for real: each makes one trouble of the incident catalogue on a scratch engine or beside it, and undoes it.

Every fault is an async context manager: on leaving, it is undone whatever happened in between. Those whose end is part of what
a test shows can be ended earlier (`mend`, `resume`, `free`).
"""

from tests.lab.faults.deletion import (
    BusyDirectory,
    Immutable,
    Where,
    busy_directory,
    dead_containers,
    holds_mounts_of,
    immutable_file,
    leaky_monitor,
    tracer,
)
from tests.lab.faults.host import SmallDisk, UtsNamespace, fill, small_disk, uts_namespace
from tests.lab.faults.load import Storm, oom_kill, open_files_hog, storm
from tests.lab.faults.stops import CaughtInit, blocked_runc, killed_init, stopped, stopped_init

__all__ = [
    "BusyDirectory",
    "CaughtInit",
    "Immutable",
    "SmallDisk",
    "Storm",
    "UtsNamespace",
    "Where",
    "blocked_runc",
    "busy_directory",
    "dead_containers",
    "fill",
    "holds_mounts_of",
    "immutable_file",
    "killed_init",
    "leaky_monitor",
    "oom_kill",
    "open_files_hog",
    "small_disk",
    "stopped",
    "stopped_init",
    "storm",
    "tracer",
    "uts_namespace",
]
