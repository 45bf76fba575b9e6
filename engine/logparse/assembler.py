"""Live logs: one fact for one trouble, also when the trouble takes many lines to tell. Pure; whoever feeds it keeps the time."""

from datetime import datetime

from engine.facts import Fact
from engine.logparse.facts import make_fact
from engine.logparse.framing import MAX_LINE_CHARS, Frame, clean, unwrap_kernel
from engine.logparse.kernel import read_kernel
from engine.logparse.parser import read_daemon
from engine.logparse.reports import Report, Reports
from engine.logparse.triggers import TRIGGERS, LogSource


class ReportAssembler:
    """Reads one live log.

    Of an OOM report it makes one `memcg_oom_kill` or `global_oom_kill` for each process killed, with container, process and
    sizes, and one `…_oom_report` where the whole report was there; of a slab report one `slub_alloc_failure`, and one
    `slub_report`. They come with the report's last line. When that line is missing they come with the first line that is of
    something else, or by `flush`.
    """

    def __init__(self, source: LogSource) -> None:
        self._source = source
        self._triggers = TRIGGERS[source]
        self._reports = Reports()

    @property
    def pending_since(self) -> datetime | None:
        """When the first line of the report under way arrived; None when nothing is held back."""
        return self._reports.pending_since

    def feed(self, line: str, received_at: datetime) -> list[Fact]:
        """The facts that this line completes. Takes any string.

        Args:
            line: with or without its end; beyond 64 KiB it is cut.
            received_at: when the line was written, or else read. Aware.
        """
        if len(line) > MAX_LINE_CHARS:
            line = line[:MAX_LINE_CHARS]
        if not self._reports.pending:
            for trigger in self._triggers:
                if trigger in line:
                    break
            else:
                return []
        if self._source != "kernel":
            fact = read_daemon(self._source, line, received_at)
            return [] if fact is None else [fact]
        return self._kernel(clean(line), received_at)

    def _kernel(self, line: str, received_at: datetime) -> list[Fact]:
        frame = unwrap_kernel(line)
        if frame is None:
            return []
        if frame.clock in ("none", "delta"):
            frame = frame._replace(clock="wall", seconds=received_at.timestamp())
        step = self._reports.read(frame, received_at)
        facts = [fact for report in step.ended for fact in _facts(report)]
        if not step.part and (reading := read_kernel(frame.text)) is not None:
            facts.append(make_fact("kernel", reading, line, frame.at or received_at))
        return facts

    def flush(self, now: datetime) -> list[Fact]:  # noqa: ARG002 -- a protocol of sources: they keep the time, and may hand it on
        """The facts of a report that nothing follows. Call it when the log has been silent for a while, and at the end.

        What the report says is told with the time of its own lines, whatever `now`.
        """
        return [fact for report in self._reports.take() for fact in _facts(report)]


def _facts(report: Report) -> list[Fact]:
    frame: Frame = report.last
    return [make_fact("kernel", reading, report.text, frame.at or report.arrived) for reading in report.readings()]
