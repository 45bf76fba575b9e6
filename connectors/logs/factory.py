"""From a setting to the source it names. The only module of this folder that others need."""

from typing import Literal

from connectors.logs.journald import KERNEL_MATCHES, Journald
from connectors.logs.kmsg import KMSG, KernelRing
from connectors.logs.rotation import is_character_device
from connectors.logs.tail import FileTail
from engine.errors import SettingsError
from engine.logparse import ReportAssembler, WantedLines
from engine.ports.clock import Clock
from engine.ports.sources import FactSource

LogKind = Literal["kernel", "dockerd", "kubelet"]

NAMES: dict[LogKind, str] = {"kernel": "kernel", "dockerd": "dockerd_log", "kubelet": "kubelet_log"}
"""Names of the sources: of their cursors, tasks and `source` facts."""

MATCHES: dict[LogKind, tuple[str, ...]] = {
    "kernel": KERNEL_MATCHES,
    "dockerd": ("-u", "docker.service"),
    "kubelet": ("-u", "kubelet.service"),
}
"""What journalctl selects. Of that, only what the unit's own processes print is evidence."""


def make_log_source(kind: LogKind, where: str, *, clock: Clock, wanted: WantedLines | None = None) -> FactSource | None:
    """The source of a log, or None when it is off.

    Args:
        kind: whose log it is.
        where: `off`; `journald`; or a path. A character device (/dev/kmsg) is read as the kernel's ring buffer, anything else is
            followed as a file, which need not exist yet.
        clock: for the time of lines that have none, and for pauses.
        wanted: lines that rules ask for, beside those of known messages.

    Raises:
        SettingsError: `where` is none of these.
    """
    if where == "off":
        return None
    name = NAMES[kind]
    assembler = ReportAssembler(kind, wanted)
    if where == "journald":
        return Journald(assembler, matches=MATCHES[kind], name=name, source=kind, clock=clock)
    if not where.startswith("/"):
        raise SettingsError(f"the {kind} log is a file with its full path, `journald`, or `off`, not {where!r}")
    if where == KMSG or is_character_device(where):
        if kind != "kernel":
            raise SettingsError(f"{where} is the kernel's log, not that of {kind}")
        return KernelRing(assembler, name=name, source=kind, clock=clock, path=where)
    return FileTail(where, assembler, name=name, source=kind, clock=clock)
