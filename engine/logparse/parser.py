"""One line, one answer: what `dockwarden parse` prints. Pure."""

from datetime import datetime

from engine.facts import Fact
from engine.logparse.dockerd import read_dockerd
from engine.logparse.facts import make_fact
from engine.logparse.framing import MAX_LINE_CHARS, clean, unwrap_kernel
from engine.logparse.kernel import read_kernel
from engine.logparse.kubelet import read_kubelet
from engine.logparse.records import read_klog, read_logrus
from engine.logparse.reports import Reports
from engine.logparse.triggers import TRIGGERS, LogSource


class LineParser:
    """Reads one log, line by line, and answers for each line at once.

    Of a report that spans lines, each line answers with what it says itself and what the lines before it said of the cgroup and
    the container; the last line of a whole report answers with the class of the report and everything it said. Give each log a
    parser of its own.
    """

    def __init__(self, source: LogSource) -> None:
        self._source = source
        self._triggers = TRIGGERS[source]
        self._reports = Reports() if source == "kernel" else None

    def feed(self, line: str, received_at: datetime) -> Fact | None:
        """The fact that the line tells, None for a line that tells none. Takes any string.

        Args:
            line: with or without its end; beyond 64 KiB it is cut.
            received_at: time of the fact where the line itself bears no date, time and zone. Aware.
        """
        if len(line) > MAX_LINE_CHARS:
            line = line[:MAX_LINE_CHARS]
        if self._reports is not None and self._reports.pending:
            return self._kernel(line, received_at, self._reports)
        for trigger in self._triggers:
            if trigger in line:
                break
        else:
            return None
        if self._reports is not None:
            return self._kernel(line, received_at, self._reports)
        return read_daemon(self._source, line, received_at)

    def _kernel(self, line: str, received_at: datetime, reports: Reports) -> Fact | None:
        line = clean(line)
        frame = unwrap_kernel(line)
        if frame is None:
            return None
        step = reports.read(frame, received_at)
        reading = step.answer if step.part else read_kernel(frame.text)
        return None if reading is None else make_fact("kernel", reading, line, frame.at or received_at)


def read_daemon(source: LogSource, line: str, received_at: datetime) -> Fact | None:
    """The fact that a line of dockerd or the kubelet tells; in their logs every trouble is one line."""
    line = clean(line)
    record = read_klog(line) if source == "kubelet" else read_logrus(line)
    reading = read_kubelet(record) if source == "kubelet" else read_dockerd(record)
    return None if reading is None else make_fact(source, reading, line, record.at or received_at)
