"""Lines of the kernel, dockerd and the kubelet into facts. Pure: no I/O, no clock.

A line passes `prefilter` (is it worth a look), `framing` or `records` (what stands around the message), and the readers of
messages: `kernel`, `memory` joined by `reports`, `dockerd`, `kubelet`.
"""

from engine.logparse.parser import LineParser, ReportAssembler, class_of
from engine.logparse.prefilter import Wanted, WantedLines
from engine.logparse.reading import LogSource

__all__ = ["LineParser", "LogSource", "ReportAssembler", "Wanted", "WantedLines", "class_of"]
