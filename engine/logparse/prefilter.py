"""Which lines are worth a closer look: one of these words stands in every line that any reader recognises. Pure.

Nearly all lines of a log are none of ours, and this test is all they cost. Each word must be rare in ordinary lines and be in
every variant of the messages it stands for.
"""

from engine.logparse.reading import LogSource

_NO_SPACE = "o space left on device"
_REMOVAL = ("failed to remove root filesystem", "failed to remove init filesystem", "nable to remove filesystem")

TRIGGERS: dict[LogSource, tuple[str, ...]] = {
    "kernel": (
        "oom-kill",  # `oom-kill:`, and `invoked oom-killer`
        "ut of memory",
        "ut of Memory",
        "illed ",  # `Killed process`, `Task in … killed as`, `are going to be killed due to`
        "memory.oom.group",
        "No available memory",
        "SLUB:",
        "blocked ",
        "soft lockup",
        " stall",
        "unregister_netdevice",
        "table overflow",
        "table full",
        "ocket memory",
        "file-max",
        "-fs ",
        "XFS",
        "xfs_force",  # 2.6.3x, whose lines do not begin with XFS
        "Shutting down filesystem",
        "BTRFS",
        "device-mapper: ",
        "emounting filesystem",
    ),
    "dockerd": (
        *_REMOVAL,
        "failed to exit",
        "nmount",
        "already in progress",
        "removing mounted layer",
        "tarting daemon",
        "start daemon",
        "start containerd",
        "configure the Docker",
        "hin Pool has",
        "start container",
        "did not start before",
        "OCI runtime",
        "oci runtime error",
        _NO_SPACE,
    ),
    "kubelet": (
        *_REMOVAL,
        "viction manager: ",
        "PLEG is not healthy",
        "failed reinspection",
        "ontainer runtime is down",
        "ontainer runtime not ready",
        "garbage collect",
        "eadlineExceeded",
        "deadline exceeded",
        "operation timeout",
        " busy",
        _NO_SPACE,
    ),
}
