"""What may be done to containers and images. Knows no rules and no retries: one attempt, and what came of it.

The guardrails decide whether an action may run; what is checked here again is what only Docker can tell at the moment of
doing: that the container does not run, and that it is not protected.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from connectors.docker.containers.book import Change, ContainerBook
from connectors.docker.containers.protection import Protection
from engine.errors import DockerError
from engine.facts import Retraction
from engine.facts.docker import Container
from engine.facts.outcomes import ErrorKind
from engine.ports.actions import Outcome, failed
from engine.ports.clock import Clock, event_time
from engine.ports.docker import ContainerDetail, DockerApi

ATTEMPT_S = 90.0
"""For a whole attempt, its inspections included: a busy removal takes Docker 5 s, one of large layers up to a minute."""

_ALIVE = frozenset({"running", "paused", "restarting"})


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

    def _protected(self, detail: ContainerDetail) -> bool:
        return self._protection.covers(name=detail.name, image=detail.image, labels=detail.labels)

    async def _look(self, container: str) -> tuple[ContainerDetail | None, list[Change]]:
        """Inspect: the container (None when there is none such), and what changed."""
        mark = self._book.mark(event_time(self._clock))
        try:
            detail = await self._docker.inspect(container)
        except DockerError as error:
            if error.kind != "not_found":
                raise
            gone = self._book.apply_gone(mark, container)
            # Said in any case: working memory may know a container that the book does not.
            return None, gone or [Retraction(retract=Container.KIND, key=container, at=mark.at, source="docker")]
        return detail, self._book.apply_detail(mark, detail)


def _failed(error: DockerError, facts: list[Change], *, permanent: bool = False) -> Outcome:
    return failed(cast("ErrorKind", error.kind), str(error), permanent=permanent, facts=facts)


def _timed_out(what: str) -> Outcome:
    return failed("timeout", f"{what} gave no answer within {ATTEMPT_S:.0f} s; Docker may still be at it")


class RemoveContainer(_Base):
    """`remove_container`: never a living one, never a protected one; a container that is gone is a success."""

    name = "remove_container"

    async def run(self, params: Mapping[str, Any]) -> Outcome:
        """Try once. Parameters: `container`, `volumes`."""
        container = str(params.get("container", ""))
        try:
            async with asyncio.timeout(ATTEMPT_S):
                outcome = await self._attempt(container, volumes=params.get("volumes") is True)
        except TimeoutError:
            return _timed_out(f"removing {container[:12]}")
        except DockerError as error:
            return _failed(error, [])
        # Events tell that it is gone before Docker answers: what was seen before must not bring it back.
        return replace(outcome, facts=tuple(self._book.still_true(outcome.facts)))

    async def _attempt(self, container: str, *, volumes: bool) -> Outcome:
        detail, facts = await self._look(container)
        if detail is None:
            return Outcome(ok=True, detail="it was gone already", facts=tuple(facts))
        refusal = self._refusal(detail, facts)
        if refusal is not None:
            return refusal
        # A dead one cannot come to life again, so force is safe. Any other may have been started since it was looked at: without
        # force Docker refuses then, under its own lock, and no running container is ever killed.
        force = detail.status == "dead"
        try:
            await self._docker.remove(container, force=force, volumes=volumes)
        except DockerError as error:
            return await self._after_failure(container, error, facts)
        # Up to Docker 1.12 the second removal of a dead container reports success and does nothing.
        left, seen = await self._look(container)
        facts += seen
        if left is None:
            return Outcome(ok=True, detail="removed", facts=tuple(facts))
        text = f"Docker reported success, but the container is still there ({left.status}): {left.error or 'it gives no reason'}"
        return failed("failed", text, facts=facts)

    def _refusal(self, detail: ContainerDetail, facts: list[Change]) -> Outcome | None:
        if detail.status in _ALIVE:
            text = f"it is {detail.status}: only containers that do not run are removed"
            return failed("running", text, permanent=True, facts=facts)
        if self._protected(detail):
            text = "it is protected, by its label or by a pattern for names or images"
            return failed("refused", text, permanent=True, facts=facts)
        return None

    async def _after_failure(self, container: str, error: DockerError, facts: list[Change]) -> Outcome:
        if error.kind == "not_found":
            _, seen = await self._look(container)
            return Outcome(ok=True, detail="it was gone already", facts=(*facts, *seen))
        if error.kind not in ("timeout", "unreachable", "denied"):
            # No event tells of a failed removal: what inspect says now is the news.
            try:
                left, seen = await self._look(container)
            except DockerError:
                return _failed(error, facts)
            facts += seen
            if left is None:
                return Outcome(ok=True, detail="removed, although Docker reported an error", facts=tuple(facts))
        return _failed(error, facts, permanent=error.kind == "running")


class RestartContainer(_Base):
    """`restart_container`: as `docker restart`; never a protected one, nor one that is dead or being removed."""

    name = "restart_container"

    async def run(self, params: Mapping[str, Any]) -> Outcome:
        """Try once. Parameters: `container`, `timeout` in seconds (at most 60)."""
        container = str(params.get("container", ""))
        wait = params.get("timeout")
        timeout_s = min(wait, 60) if isinstance(wait, int) and not isinstance(wait, bool) and wait >= 0 else None
        try:
            async with asyncio.timeout(ATTEMPT_S):
                detail, facts = await self._look(container)
                if detail is None:
                    text = f"there is no container {container[:12]}"
                    return failed("not_found", text, permanent=True, facts=facts)
                if self._protected(detail):
                    text = "it is protected, by its label or by a pattern for names or images"
                    return failed("refused", text, permanent=True, facts=facts)
                if detail.status in ("dead", "removing"):
                    text = f"it is {detail.status}: it cannot be started again"
                    return failed("conflict", text, permanent=True, facts=facts)
                await self._docker.restart(container, timeout_s=timeout_s)
                return Outcome(ok=True, detail="restarted", facts=tuple(facts))
        except TimeoutError:
            return _timed_out(f"restarting {container[:12]}")
        except DockerError as error:
            return _failed(error, [])


class PruneImages:
    """`prune_images`: images that have no name and that no container uses."""

    name = "prune_images"

    def __init__(self, docker: DockerApi) -> None:
        """`docker`: a client for remedies alone."""
        self._docker = docker

    async def run(self, params: Mapping[str, Any]) -> Outcome:  # noqa: ARG002 - it has no parameters
        """Try once."""
        try:
            async with asyncio.timeout(ATTEMPT_S):
                pruned = await self._docker.prune_images()
        except TimeoutError:
            return _timed_out("removing dangling images")
        except DockerError as error:
            return _failed(error, [])
        return Outcome(ok=True, detail=f"{pruned.count} layers and names removed, {pruned.bytes / 1e6:.1f} MB freed")
