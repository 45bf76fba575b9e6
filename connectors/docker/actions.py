"""What may be done to containers and images. Knows no rules and no retries: one attempt, and what came of it.

The guardrails decide whether an action may run. What is named may be a name or the beginning of an id, and may have been started,
renamed or replaced since: so the container is inspected first, judged by what that says, and dealt with by the id found there.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from connectors.docker.api.readings import ID
from connectors.docker.containers.book import Change, ContainerBook
from connectors.docker.containers.protection import LIVING, Protection, refusal
from engine.errors import DockerError
from engine.facts import Retraction
from engine.facts.docker import Container
from engine.facts.outcomes import ErrorKind
from engine.ports.actions import Outcome, failed
from engine.ports.clock import Clock, event_time
from engine.ports.docker import ContainerDetail, DockerApi

ATTEMPT_S = 90.0
"""For a whole attempt, its inspections included: a busy removal takes Docker 5 s, one of large layers up to a minute."""


class _Base:
    """What all have in common: Docker, what is known of containers, what is protected."""

    def __init__(self, docker: DockerApi, book: ContainerBook, *, protection: Protection, clock: Clock) -> None:
        """An action on this Docker.

        Args:
            docker: a client for remedies alone.
            book: what is known of containers; it learns from what the action sees.
            protection: what no action may touch.
            clock: for event times.
        """
        self._docker = docker
        self._book = book
        self._protection = protection
        self._clock = clock

    async def _look(self, container: str) -> tuple[ContainerDetail | None, list[Change]]:
        """Inspect: the container (None when there is none such), and what changed."""
        mark = self._book.mark(event_time(self._clock))
        try:
            detail = await self._docker.inspect(container)
        except DockerError as error:
            if error.kind in ("timeout", "unreachable"):  # nothing was done yet: not now, rather than a failed attempt
                raise DockerError(str(error), kind="unreachable") from error
            if error.kind != "not_found":
                raise
            gone = self._book.apply_gone(mark, container)
            if not gone and ID.match(container):  # working memory may know a container that the book does not
                gone = [Retraction(retract=Container.KIND, key=container, at=mark.at, source="docker")]
            return None, gone
        return detail, self._book.apply_detail(mark, detail)


def _failed(error: DockerError, facts: list[Change], *, permanent: bool = False) -> Outcome:
    return failed(cast("ErrorKind", error.kind), str(error), permanent=permanent, facts=facts)


def _timed_out(what: str) -> Outcome:
    return failed("timeout", f"{what} gave no answer within {ATTEMPT_S:.0f} s; Docker may still be at it")


class RemoveContainer(_Base):
    """`remove_container`: never a living one, never a protected one; a container that is gone is a success."""

    name = "remove_container"

    async def run(self, params: Mapping[str, Any], *, touch_running: bool = False) -> Outcome:  # noqa: ARG002 - never a running one
        """Try once. Parameters: `container`, `volumes`."""
        container = str(params.get("container", ""))
        try:
            async with asyncio.timeout(ATTEMPT_S):
                outcome = await self._attempt(container, volumes=params.get("volumes") is True)
        except TimeoutError:
            return _timed_out(f"removing {container[:12]}")
        except DockerError as error:
            return _failed(error, [])
        # Events report that it is gone before Docker answers: what was seen before must not bring it back.
        return replace(outcome, facts=tuple(self._book.still_true(outcome.facts)))

    async def _attempt(self, container: str, *, volumes: bool) -> Outcome:
        detail, facts = await self._look(container)
        if detail is None:
            return Outcome(ok=True, detail="it was gone already", facts=tuple(facts))
        refused = refusal(detail, self._protection, touch_running=False)
        if refused is not None:
            return replace(refused, facts=tuple(facts))
        # A dead one cannot come to life again, so force is safe. Any other may have been started since it was looked at: without
        # force Docker refuses then, under its own lock, and no running container is ever killed.
        try:
            await self._docker.remove(detail.id, force=detail.status == "dead", volumes=volumes)
        except DockerError as error:
            return await self._after_failure(detail.id, error, facts)
        # Up to Docker 1.12 the second removal of a dead container reports success and does nothing.
        left, seen = await self._look(detail.id)
        facts += seen
        if left is None:
            return Outcome(ok=True, detail="removed", facts=tuple(facts))
        text = f"Docker reported success, but the container is still there ({left.status}): {left.error or 'it gives no reason'}"
        return failed("failed", text, facts=facts)

    async def _after_failure(self, container: str, error: DockerError, facts: list[Change]) -> Outcome:
        if error.kind == "not_found":
            _, seen = await self._look(container)
            return Outcome(ok=True, detail="it was gone already", facts=(*facts, *seen))
        if error.kind not in ("timeout", "unreachable", "denied"):
            # No event reports a failed removal: what inspect says now is the news.
            try:
                left, seen = await self._look(container)
            except DockerError:
                return _failed(error, facts)
            facts += seen
            if left is None:
                return Outcome(ok=True, detail="removed, although Docker reported an error", facts=tuple(facts))
        return _failed(error, facts, permanent=error.kind == "running")


class RestartContainer(_Base):
    """`restart_container`: as `docker restart`; a running one only where rule and policy both say so, never a protected one."""

    name = "restart_container"

    async def run(self, params: Mapping[str, Any], *, touch_running: bool = False) -> Outcome:
        """Try once. Parameters: `container`, `timeout` in seconds (at most 60)."""
        container = str(params.get("container", ""))
        wait = params.get("timeout")
        timeout_s = min(wait, 60) if isinstance(wait, int) and not isinstance(wait, bool) and wait >= 0 else None
        try:
            async with asyncio.timeout(ATTEMPT_S):
                detail, facts = await self._look(container)
                if detail is None:
                    return failed("not_found", f"there is no container {container[:12]}", permanent=True, facts=facts)
                refused = refusal(detail, self._protection, touch_running=touch_running)
                if refused is not None:
                    return replace(refused, facts=tuple(facts))
                if detail.status in ("dead", "removing"):
                    text = f"it is {detail.status}: it cannot be started again"
                    return failed("conflict", text, permanent=True, facts=facts)
                if detail.status in LIVING:
                    await self._docker.restart(detail.id, timeout_s=timeout_s)
                else:
                    # Not `restart`: somebody may have started it since it was looked at, and starting it again ends nothing.
                    await self._docker.start_container(detail.id)
                return Outcome(ok=True, detail="restarted", facts=tuple(facts))
        except TimeoutError:
            return _timed_out(f"restarting {container[:12]}")
        except DockerError as error:
            if error.begun:  # a second one would restart it once more: this counts as made
                return failed("timeout", f"{error}; it may have been restarted all the same")
            return _failed(error, [])


class PruneImages:
    """`prune_images`: images that have no name and that no container uses."""

    name = "prune_images"

    def __init__(self, docker: DockerApi) -> None:
        """`docker`: a client for remedies alone."""
        self._docker = docker

    async def run(self, params: Mapping[str, Any], *, touch_running: bool = False) -> Outcome:  # noqa: ARG002 - it has no parameters
        """Try once."""
        try:
            async with asyncio.timeout(ATTEMPT_S):
                pruned = await self._docker.prune_images()
        except TimeoutError:
            return _timed_out("removing dangling images")
        except DockerError as error:
            return _failed(error, [])
        return Outcome(ok=True, detail=f"{pruned.count} layers and names removed, {pruned.bytes / 1e6:.1f} MB freed")
