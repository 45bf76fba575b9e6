"""Lines of a log into facts: for each line at once (`dockwarden parse`), or one fact for each problem (live logs). Sans-I/O.

Knows how framing, records and readers follow one another, and no message itself.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime

from engine.facts import Fact
from engine.facts.logs import LogLine
from engine.logparse.dockerd import read_dockerd
from engine.logparse.error_chain import container_beside
from engine.logparse.framing import MAX_LINE_CHARS, Frame, clean, unwrap_kernel
from engine.logparse.kernel import read_kernel
from engine.logparse.kubelet import read_kubelet
from engine.logparse.prefilter import LineFilter, WantedLines
from engine.logparse.reading import MAX_TEXT_CHARS, LogSource, Reading, make_fact, remembering
from engine.logparse.records import read_klog, read_logrus, split_klog, split_logrus, without_container_log
from engine.logparse.reports import Report, Reports


class LineParser:
    """Reads one log, line by line, and answers for each line at once.

    Of a report that spans lines, each line answers with what it says itself and what the lines before it said of the cgroup and
    the container; the last line of a whole report answers with the class of the report and everything it said. Give each log a
    parser of its own.
    """

    def __init__(self, source: LogSource) -> None:
        self._source = source
        self._filter = LineFilter(source)
        self._reports = Reports() if source == "kernel" else None

    def feed(self, line: str, received_at: datetime) -> Fact | None:
        """The fact that the line makes, None for a line that makes none. Takes any string.

        Args:
            line: with or without its end; beyond 64 KiB it is cut.
            received_at: time of the fact where the line itself bears no date, time and zone. Aware.
        """
        if len(line) > MAX_LINE_CHARS:
            line = line[:MAX_LINE_CHARS]
        if self._reports is not None and self._reports.pending:
            return self._kernel(line, received_at, self._reports)
        if not self._filter.is_worth_reading(line):
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
        reading = step.answer if step.part else _kernel(frame.text)
        return None if reading is None else make_fact("kernel", reading, line, frame.at or received_at)


def _read_dockerd(text: str) -> tuple[Reading | None, datetime | None]:
    record = read_logrus(text)
    return read_dockerd(record), record.at


def _read_kubelet(text: str) -> tuple[Reading | None, datetime | None]:
    record = read_klog(text)
    return read_kubelet(record), record.at


_dockerd = remembering(_read_dockerd)
_kubelet = remembering(_read_kubelet)
_kernel = remembering(read_kernel)


def read_daemon(source: LogSource, line: str, received_at: datetime) -> Fact | None:
    """The fact that a line of dockerd or the kubelet makes; in their logs every problem is one line."""
    line = without_container_log(clean(line))
    text, at = split_klog(line) if source == "kubelet" else split_logrus(line)
    reading, own_at = _kubelet(text) if source == "kubelet" else _dockerd(text)
    return None if reading is None else make_fact(source, reading, line, at or own_at or received_at)


def log_line(source: LogSource, line: str, received_at: datetime) -> LogLine:
    """The `log_line` fact of a line: for the kernel, its message; for a daemon, its record as it was written."""
    if source == "kernel":
        return LogLine(at=received_at, source=source, log=source, text=line[:MAX_TEXT_CHARS])
    line = without_container_log(line)
    record = read_klog(line) if source == "kubelet" else read_logrus(line)
    return LogLine(
        at=record.at or received_at,
        source=source,
        log=source,
        process=source,
        text=line[:MAX_TEXT_CHARS],
        level=record.values.get("level"),
        container_id=container_beside(record.values),
    )


def class_of(source: LogSource, line: str, at: datetime) -> str | None:
    """Class of the fact that one line of a log makes by itself, None when it makes none.

    For the check of rules: whether a source can make a fact of this text, and which.
    """
    fact = LineParser(source).feed(line, at)
    return None if fact is None else str(fact.to_json_dict()["class"])


class ReportAssembler:
    """Reads one live log.

    Of an OOM report it makes one `memcg_oom_kill` or `global_oom_kill` for each process killed, with container, process and
    sizes, and one `…_oom_report` where the whole report was there; of a slab report one `slub_alloc_failure`, and one
    `slub_report`. They come with the report's last line. When that line is missing they come with the first line that is of
    something else, or by `flush`.
    """

    def __init__(self, source: LogSource, wanted: WantedLines | None = None) -> None:
        """`wanted`: what rules ask for besides; such a line is a `log_line` fact, too."""
        self._source = source
        self._filter = LineFilter(source, wanted)
        self._reports = Reports()

    @property
    def pending_since(self) -> datetime | None:
        """When the first line of the report under way arrived; None when nothing is held back."""
        return self._reports.pending_since

    def pick(self, lines: Sequence[bytes]) -> Iterator[int]:
        """Numbers, from 0, of the lines to feed, in order; the others would bring nothing.

        Feed each before asking for the next one: behind the first line of a report, every line counts until it ends.
        """
        reports = self._reports
        number = 0
        for picked in self._filter.pick(lines):
            while number < picked and reports.pending:
                yield number
                number += 1
            yield picked
            number = picked + 1
        while number < len(lines) and reports.pending:
            yield number
            number += 1

    def feed(self, line: str, received_at: datetime) -> list[Fact]:
        """The facts that this line completes. Takes any string.

        Args:
            line: with or without its end; beyond 64 KiB it is cut.
            received_at: when the line was written, or else read. Aware.
        """
        if len(line) > MAX_LINE_CHARS:
            line = line[:MAX_LINE_CHARS]
        if not self._reports.pending and not self._filter.is_worth_reading(line):
            return []
        line = clean(line)
        if self._source == "kernel":
            return self._kernel(line, received_at)
        fact = read_daemon(self._source, line, received_at)
        facts: list[Fact] = [] if fact is None else [fact]
        if self._filter.is_asked_for(line):
            facts.append(log_line(self._source, line, received_at))
        return facts

    def _kernel(self, line: str, received_at: datetime) -> list[Fact]:
        frame = unwrap_kernel(line)
        if frame is None:
            return []
        if frame.clock in ("none", "delta"):
            frame = frame._replace(clock="wall", seconds=received_at.timestamp())
        step = self._reports.read(frame, received_at)
        facts: list[Fact] = [fact for report in step.ended for fact in _facts(report)]
        if not step.part and (reading := _kernel(frame.text)) is not None:
            facts.append(make_fact("kernel", reading, line, frame.at or received_at))
        if self._filter.is_asked_for(frame.text):
            facts.append(log_line("kernel", frame.text, frame.at or received_at))
        return facts

    def flush(self, now: datetime) -> list[Fact]:  # noqa: ARG002 -- a protocol of sources: they keep the time, and may hand it on
        """The facts of a report that nothing follows. Call it when the log has been silent for a while, and at the end.

        The facts have the time of the report's own lines, whatever `now`.
        """
        return [fact for report in self._reports.end_all() for fact in _facts(report)]


def _facts(report: Report) -> list[Fact]:
    frame: Frame = report.last
    return [make_fact("kernel", reading, report.text, frame.at or report.arrived) for reading in report.readings()]
