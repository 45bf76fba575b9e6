"""Reports of the kernel that span lines: which line belongs to which, what each line answers, and what a whole report says. Pure.

Two lines belong together when they were written in one form, on one host, within seconds (`framing.may_follow`), and do not
contradict each other: another process, another kind of kill. Lines without any time must follow one another with nothing foreign
in between, unless the time of their arrival is as good as their own (a live source).
"""

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import NamedTuple

from engine.logparse.framing import Frame, may_follow
from engine.logparse.memory import Part, Scope, is_filler, read_part, read_slab_cache, read_slab_failure
from engine.logparse.reading import MAX_TEXT_CHARS, Fields, Reading, remembering

MAX_REPORT_LINES = 20_000
"""Lines of one report, at most: a table of 16,000 tasks and what is around it. What goes on longer is no report."""

_part = remembering(read_part)

_SHARED = ("container_id", "pod_uid", "qos", "runtime", "task_cgroup", "limit_cgroup", "oom_memcg", "task_memcg")
"""What a later line of a report gets of the cgroup that an earlier one named."""


@dataclass(slots=True)
class Report:
    """A report under way, or ended."""

    last: Frame
    arrived: datetime
    """When the first line came."""
    fields: Fields = field(default_factory=dict)
    scope: Scope | None = None
    named: int | None = None
    """Process that `oom-kill:` names."""
    condemned: int | None = None
    """Process that `Kill process` names; the one that dies may be its child."""
    slub: bool = False
    group: bool = False
    stats: bool = False
    """It has lines that only a whole report has."""
    answered: bool = False
    """A line of it was answered with the kill."""
    adjacent: bool = False
    """The line before this one was `Kill process`."""
    lines: int = 0
    quoted: list[str] = field(default_factory=list)
    quoted_chars: int = 0

    def quote(self, text: str) -> None:
        """Keep a line for `text`, while there is room."""
        if self.quoted_chars < MAX_TEXT_CHARS:
            self.quoted.append(text)
            self.quoted_chars += len(text) + 1

    @property
    def text(self) -> str:
        """The lines that were kept."""
        return "\n".join(self.quoted)[:MAX_TEXT_CHARS]

    def readings(self) -> list[Reading]:
        """What it says as a whole: the problem, then the report where there was a whole one. Empty when nothing was killed."""
        if self.slub:
            problem: Reading = ("slub_alloc_failure", self.fields)
            return [problem, ("slub_report", self.fields)] if "cache" in self.fields else [problem]
        if not (self.answered or "pid" in self.fields):
            return []
        if self.scope is None:
            return [("oom_victim", self.fields)]
        kill: Reading = (f"{self.scope}_oom_kill", self.fields)
        return [kill, (f"{self.scope}_oom_report", self.fields)] if self.stats else [kill]


class Step(NamedTuple):
    """What one line brought about."""

    answer: Reading | None = None
    """What this line says, with what its report said before."""
    ended: tuple[Report, ...] = ()
    """Reports that are complete, or that this line showed to be over."""
    part: bool = False
    """The line is of a report (and no other reader need look at it)."""


_NOTHING = Step()
_PART = Step(part=True)


class Reports:
    """The reports under way: at most one of the OOM killer and one of the slab allocator. One line at a time, in order."""

    def __init__(self) -> None:
        self._kill: Report | None = None
        self._slab: Report | None = None

    @property
    def pending(self) -> bool:
        """Whether any is under way."""
        return self._kill is not None or self._slab is not None

    @property
    def pending_since(self) -> datetime | None:
        """When the first line of what is under way arrived; None when nothing is."""
        return min((report.arrived for report in (self._kill, self._slab) if report is not None), default=None)

    def end_all(self) -> list[Report]:
        """End what is under way."""
        ended = [report for report in (self._kill, self._slab) if report is not None]
        self._kill = self._slab = None
        return ended

    def read(self, frame: Frame, arrived: datetime) -> Step:
        """One more line."""
        part = _part(frame.text)
        failure = read_slab_failure(frame.text) if part is None else None
        cache = read_slab_cache(frame.text) if part is None and failure is None and self._slab is not None else None
        ended: tuple[Report, ...] = ()
        if self._kill is not None and not _continues(self._kill, frame, part):
            ended = (self._kill,)
            self._kill = None
        if self._slab is not None and not (failure is None and _awaits(self._slab, frame, cache)):
            ended = (*ended, self._slab)
            self._slab = None
        if failure is not None:
            self._slab = Report(frame, arrived, dict(failure), slub=True)
            self._slab.quote(frame.text)
            return Step(("slub_alloc_failure", failure), ended, part=True)
        if cache is not None and self._slab is not None:
            return self._close_slab(self._slab, frame, cache, ended)
        if part is not None:
            return self._oom(part, frame, arrived, ended)
        return Step(ended=ended) if ended else _NOTHING

    def _close_slab(self, report: Report, frame: Frame, fields: Fields, ended: tuple[Report, ...]) -> Step:
        report.fields |= fields
        report.quote(frame.text)
        self._slab = None
        return Step(("slub_report", dict(report.fields)), (*ended, report), part=True)

    def _oom(self, part: Part, frame: Frame, arrived: datetime, ended: tuple[Report, ...]) -> Step:
        report = self._kill
        if report is None:
            if part.kind in ("stats", "body"):
                return Step(ended=ended, part=True) if ended else _PART
            report = self._kill = Report(frame, arrived)
        report.last = frame
        report.stats = report.stats or part.kind == "stats"
        report.scope = report.scope or part.scope
        report.quote(frame.text)
        if part.kind == "killed":
            return self._killed(report, part, ended)
        shared = _shared(report)
        report.fields |= part.fields
        report.adjacent = part.kind == "kill"
        if part.kind == "kill":
            report.condemned = part.fields["pid"]
        elif part.kind == "oom_kill":
            report.named = part.fields["pid"]
        elif part.kind == "group":
            report.group = True
        answer = _answer(report, part, shared)
        report.answered = report.answered or answer is not None
        return Step(answer, ended, part=True)

    def _killed(self, report: Report, part: Part, ended: tuple[Report, ...]) -> Step:
        """The line that closes a report; with memory.oom.group, one of several."""
        if report.group:
            one = replace(report, fields=report.fields | part.fields, quoted=list(report.quoted), group=False)
            return Step(("memcg_oom_kill", _shared(report) | part.fields), (*ended, one), part=True)
        self._kill = None
        shared = _shared(report)
        report.fields |= part.fields
        if report.answered and report.stats and report.scope is not None:
            answer: Reading = (f"{report.scope}_oom_report", dict(report.fields))
        elif part.scope is not None:
            answer = (f"{part.scope}_oom_kill", shared | part.fields)
        else:
            answer = ("oom_victim", shared | part.fields)
        return Step(answer, (*ended, report), part=True)


def _continues(report: Report, frame: Frame, part: Part | None) -> bool:
    """Whether the report is still under way at this line, whether or not the line is of it. Notes the line."""
    if report.lines >= MAX_REPORT_LINES or not may_follow(report.last, frame):
        return False
    report.lines += 1
    if part is not None:
        return _agrees(report, part)
    report.adjacent = False
    if frame.clock == "delta":  # counts from the line before, whatever that was
        report.last = frame
    return frame.clock != "none" or is_filler(frame.text)


def _awaits(report: Report, frame: Frame, cache: Fields | None) -> bool:
    """Whether the slab allocator's second line is this one, or may still come."""
    return may_follow(report.last, frame) and (cache is not None or frame.clock != "none")


def _shared(report: Report) -> Fields:
    fields = report.fields
    return {name: fields[name] for name in _SHARED if name in fields} if fields else {}


def _answer(report: Report, part: Part, shared: Fields) -> Reading | None:
    if part.kind not in ("task_in", "oom_kill", "kill") or part.scope is None:
        return None
    if part.kind == "oom_kill" and not (part.fields.keys() & {"oom_memcg", "task_memcg"} or report.stats):
        # A kernel without memory cgroups: alone, the line says nothing that `Out of memory: Killed process` right after it
        # does not say, and counted with it, one kill would be two.
        return None
    return f"{part.scope}_oom_kill", shared | part.fields


def _agrees(report: Report, part: Part) -> bool:
    """Whether the part can belong to the report, by what both say."""
    if part.scope is not None and report.scope is not None and part.scope != report.scope:
        return False
    pid = part.fields.get("pid")
    decided = report.named is not None or report.condemned is not None
    match part.kind:
        case "invoked" | "group":
            return False
        case "task_in" | "oom_kill":
            return not (decided or report.group)
        case "kill":
            return report.condemned is None and not report.group and report.named in (None, pid)
        case "killed":
            if report.group:
                return part.scope == "memcg"
            if part.scope is None:  # until 5.0, right after `Kill process`; the victim may be a child of that one
                return pid in (report.condemned, report.named) or report.adjacent
            return report.condemned is None and report.named in (None, pid)
    return not report.group
