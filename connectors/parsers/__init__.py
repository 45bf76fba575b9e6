"""Lines of the kernel, dockerd and the kubelet into facts. Pure: no I/O, no clock.

A line passes `triggers` (is it worth a look), `framing` or `records` (what stands around the message), and the readers of
messages: `kernel`, `oom` and `slub` joined by `reports`, `dockerd`, `kubelet`.
"""

from connectors.parsers.assembler import ReportAssembler
from connectors.parsers.parser import LineParser
from connectors.parsers.triggers import LogSource

__all__ = ["LineParser", "LogSource", "ReportAssembler"]
