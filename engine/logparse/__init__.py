"""Lines of the kernel, dockerd and the kubelet into facts. Pure: no I/O, no clock.

A line passes `triggers` (is it worth a look), `framing` or `records` (what stands around the message), and the readers of
messages: `kernel`, `oom` and `slub` joined by `reports`, `dockerd`, `kubelet`.
"""

from engine.logparse.assembler import ReportAssembler
from engine.logparse.parser import LineParser
from engine.logparse.triggers import LogSource

__all__ = ["LineParser", "LogSource", "ReportAssembler"]
