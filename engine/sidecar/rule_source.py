"""Where rules come from: a folder that is watched, or a branch of a Git repository that is looked at now and then."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from watchfiles import awatch

from engine.errors import RulesError, SourceError
from engine.ports.rules import Git, short_commit
from engine.rules.findings import Finding, Report
from engine.rules.model import RuleSet
from engine.rules.overrides import layers
from engine.rules.reader import FLEET, RuleTexts, is_rules_file, override_files, read_texts, render_text, rule_files
from engine.settings import Settings
from engine.sidecar.owners import foreign_among

STEP_MS = 150
"""A folder is read when nothing has changed in it for so long: an editor or a checkout writes several files."""

LOOK_AGAIN_MS = 1000
"""Times and sizes of the files are compared this often even when nothing was noticed: a link that was swapped further up, or a
network file system, tells nobody. Forty files cost a fifth of a millisecond, and the way to the thread as much again."""

BRIEF_ERRORS = 3
"""Errors that an alert names: enough to see what was edited; `check` shows them all."""

MISSING_S = 1.0
"""A folder that is not there, in the middle of a swap perhaps, is looked for again after so many seconds."""


@dataclass(frozen=True, slots=True)
class LoadedRules:
    """A usable rule set, its texts, and where it is from."""

    where: str
    ruleset: RuleSet
    texts: RuleTexts
    commit: str = ""
    """Empty where there is no Git."""

    @property
    def version(self) -> str:
        """Hash of the rules, and the commit they are of: stands in the status, in every alert and in the audit."""
        return self.ruleset.version[:12] + (f"@{short_commit(self.commit)}" if self.commit else "")


class UnusableRulesError(RulesError):
    """Rules with errors. The message is the whole report, `brief` one line for an alert."""

    def __init__(self, what: str, findings: tuple[Finding, ...]) -> None:
        super().__init__(f"{what}:\n{render_text(findings)}")
        errors = [finding for finding in findings if finding.is_error]
        told = [f"{it.position} {it.check.id} {it.message[:200]}" for it in errors[:BRIEF_ERRORS]]
        more = [f"and {len(errors) - BRIEF_ERRORS} more"] if len(errors) > BRIEF_ERRORS else []
        self.brief = f"{what}: {'; '.join([*told, *more])}"


def usable(where: str, texts: RuleTexts, report: Report, commit: str = "") -> LoadedRules:
    """The rules, checked.

    Raises:
        UnusableRulesError: there is an error among them.
        RulesError: there are none.
    """
    checked = texts.check(report)
    of = f" at commit {short_commit(commit)}" if commit else ""
    if checked.ruleset is None:
        raise UnusableRulesError(f"the rules in {where}{of} cannot be used", checked.findings)
    if not checked.ruleset.rules:
        raise RulesError(f"{where}{of} holds no rules: *.yaml files with a list `rules:` are looked for")
    return LoadedRules(where, checked.ruleset, texts, commit)


class RuleSource(Protocol):
    """What rules are read from."""

    @property
    def where(self) -> str:
        """For people."""

    async def read(self) -> LoadedRules:
        """The rules as they are now.

        Raises:
            RulesError: they must not be used; the message says why.
            SourceError: they cannot be read at present; nothing is wrong with them.
        """

    async def took(self, loaded: LoadedRules) -> None:
        """They are in force now."""

    def changes(self) -> AsyncGenerator[None, None]:
        """Says when to read again, without end."""


def source_of(folder: Path, settings: Settings, git: Git) -> RuleSource:
    """The folder, or, where the settings name a branch or tag, the repository there.

    Raises:
        RulesError: there can be no such repository.
    """
    if not settings.repo.ref:
        if (shown := git.shown(address_of(folder))) != address_of(folder):
            raise RulesError(f"{shown} is an address: name its branch or tag in the settings (repo.ref)")
        return FolderSource(folder, layers(settings.host, settings.repo.groups), git)
    return GitSource(address_of(folder), settings, git)


def address_of(place: Path) -> str:
    """A URL comes as a path, which has folded its two slashes into one."""
    text = str(place)
    scheme, colon, rest = text.partition(":/")
    return f"{scheme}://{rest.lstrip('/')}" if colon and scheme in ("https", "http", "ssh", "git") else text


class FolderSource:
    """A folder of files, of a Git checkout perhaps: the commit is then told, and changes nothing else."""

    def __init__(self, folder: Path, override_layers: tuple[str, ...], git: Git) -> None:
        self._folder = folder
        self._layers = override_layers
        self._git = git
        self._log: Path | None = None
        self._seen: object = None

    @property
    def where(self) -> str:
        """Its path."""
        return str(self._folder)

    async def read(self) -> LoadedRules:
        """Read and check its files."""
        self._seen = await asyncio.to_thread(self._look)  # before all else: what changes meanwhile is read once more
        report = Report()
        texts = await asyncio.to_thread(read_texts, self._folder, self._layers, report)
        by_path = {Path(name): data for name, data in (*texts.rules, *texts.overrides)}
        await asyncio.to_thread(_refuse_foreign, self._folder, by_path)
        files = {path.relative_to(self._folder).as_posix(): data for path, data in by_path.items()}
        checkout = await self._git.checkout_of(self._folder, files, belongs=_is_read)
        log = checkout.log if checkout is not None else None
        if log != self._log:
            self._log = log
            self._seen = await asyncio.to_thread(self._look)
        return await asyncio.to_thread(usable, self.where, texts, report, checkout.commit if checkout is not None else "")

    def _look(self) -> object:
        return _fingerprint(self._folder), _size(self._log)

    def _look_around(self) -> tuple[object, set[Path]]:
        return self._look(), _places(self._folder)

    async def took(self, loaded: LoadedRules) -> None:
        """Nothing to note."""

    async def changes(self) -> AsyncGenerator[None, None]:
        """When files changed."""
        while True:
            places = await asyncio.to_thread(_places, self._folder)
            with contextlib.suppress(FileNotFoundError):
                noticing = awatch(*places, step=STEP_MS, debounce=4 * STEP_MS, rust_timeout=LOOK_AGAIN_MS, yield_on_timeout=True)
                async with aclosing(noticing):
                    async for _ in noticing:
                        seen, now = await asyncio.to_thread(self._look_around)
                        if seen != self._seen:
                            yield
                        if now != places:
                            break  # a link leads elsewhere now
                continue
            if await asyncio.to_thread(self._look) != self._seen:
                yield
            await asyncio.sleep(MISSING_S)


def _refuse_foreign(folder: Path, files: Iterable[Path]) -> None:
    try:
        why = foreign_among(folder, files)
    except OSError as error:
        raise RulesError(f"{folder}: changed while it was read: {error}") from error
    if why is not None:
        raise RulesError(f"the rules are not safe: {why}")


def _is_read(path: str) -> bool:
    """Whether a file of this path in a folder of rules is read on every host."""
    parts = path.split("/")
    return is_rules_file(path) and parts[0] != FLEET and not any(part.startswith(".") or part == "overrides" for part in parts)


def _places(folder: Path) -> set[Path]:
    """The folder; and where it is a symbolic link, the one that holds the link too."""
    target = folder.resolve()
    return {target} if target == folder.absolute() else {target, folder.absolute().parent}


def _fingerprint(folder: Path) -> object:
    """Differs when a file does, or leads elsewhere; contents are not read."""
    try:
        files = (*rule_files(folder), *(folder / "overrides" / name for name in override_files(folder)))
        return tuple((str(file), it.st_mtime_ns, it.st_size, it.st_ino) for file in files for it in (file.stat(),))
    except (RulesError, OSError) as error:
        return str(error)


def _size(log: Path | None) -> int:
    """Of Git's log of what was checked out: a commit changes it, and may change no file."""
    try:
        return log.stat().st_size if log is not None else 0
    except OSError:
        return 0


class GitSource:
    """A branch or tag of a repository."""

    def __init__(self, address: str, settings: Settings, git: Git) -> None:
        repo = settings.repo
        self._every_s = repo.every_s
        self._folder = repo.folder
        self._layers = layers(settings.host, repo.groups)
        self.where = f"{git.shown(address)} ({repo.ref})"
        self._repository = git.branch(settings.state / "rules.git", address=address, ref=repo.ref, signed=repo.signed)

    async def read(self) -> LoadedRules:
        """Fetch, and check the files of the commit."""
        return await self._of(await self._repository.fetch())

    async def in_force(self) -> LoadedRules:
        """The rules of the commit that was in force last, without asking the repository.

        Raises:
            RulesError: they are no good any more.
            SourceError: there is none.
        """
        commit = await self._repository.taken()
        if commit is None:
            raise SourceError(f"{self.where} was never read")
        return await self._of(commit)

    async def _of(self, commit: str) -> LoadedRules:
        files = await self._repository.files(commit, self._folder)
        rules = tuple(
            (name, data) for name, data in files if not name.startswith(("overrides/", f"{FLEET}/")) and is_rules_file(name)
        )
        by_name = dict(files)
        overrides = tuple((name, by_name[name]) for layer in self._layers if (name := f"overrides/{layer}") in by_name)
        return await asyncio.to_thread(usable, self.where, RuleTexts(rules, overrides), Report(), commit)

    async def took(self, loaded: LoadedRules) -> None:
        """Only what comes after this commit is taken from now on."""
        await self._repository.take(loaded.commit)

    async def changes(self) -> AsyncGenerator[None, None]:
        """At an interval."""
        while True:
            await asyncio.sleep(self._every_s)
            yield
