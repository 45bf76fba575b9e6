"""Metrics of a sidecar, and what it says of its health."""

import asyncio
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from engine.facts.host import Source
from engine.facts.timestamps import from_micros
from engine.guardrails import Policy
from engine.pipeline.report import Report
from engine.ports.broker import LinkState
from engine.sidecar import monitoring as monitoring_module
from engine.sidecar.metrics import Snapshot, render
from engine.sidecar.monitoring import Monitoring
from tests.unit.pipeline.loop import House, container
from tests.unit.pipeline.support import START


async def answered(house: House, path: str, link: LinkState | None = None) -> tuple[int, str]:
    """What a path answers while the loop turns once."""
    monitoring = Monitoring(house.sidecar, link or LinkState(), version="1.2.3", outbox_rows=10)
    asked = asyncio.ensure_future(monitoring.answerers()[path]())
    await asyncio.sleep(0)
    await house.turn()
    answer = await asked
    return answer.status, answer.body.decode()


def samples(text: str) -> dict[tuple[str, tuple[str, ...]], float]:
    """Values by name and by the sorted values of their labels."""
    return {
        (sample.name.removeprefix("dockwarden_"), tuple(sorted(sample.labels.values()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


class TestMetrics:
    async def test_what_came_of_a_fact_is_counted(self, tmp_path: Path) -> None:
        """By source and kind, by rule, by action, with what waits for the broker."""
        house = House(tmp_path)
        await house.emit(container(1))
        await house.act()
        house.clock.advance(7.0)
        status, text = await answered(house, "/metrics")
        found = samples(text)
        assert status == 200
        assert found["facts_total", ("container", "docker")] == 1
        assert found["fact_lag_seconds_count", ("docker",)] == 1
        assert found["rule_firings_total", ("alert", "dead-container")] == 1
        assert found["action_decisions_total", ("", "remove_container", "scheduled")] == 1
        assert found["working_memory_facts", ("container",)] == 1
        assert found["alerts_firing", ()] == 1
        assert found["outbox_messages", ()] >= 1
        assert found["outbox_oldest_age_seconds", ()] >= 7.0
        assert found["build_info", ("1.2.3", "act")] == 1
        assert found["loop_up", ()] == 1
        (outcome,) = [key for key in found if key[0] == "action_attempts_total"]
        assert found["action_duration_seconds_count", ("remove_container",)] == found[outcome] == 1
        await house.stop()

    async def test_a_refusal_has_its_cause(self, tmp_path: Path) -> None:
        """From a closed list, not the text that names the container."""
        house = House(tmp_path, policy=Policy(mode="act"))
        await house.emit(container(1, protected=True))
        _, text = await answered(house, "/metrics")
        assert samples(text)["action_decisions_total", ("protected", "refused", "remove_container")] == 1
        await house.stop()

    async def test_mode_observe_is_a_verdict(self, tmp_path: Path) -> None:
        """What would have been done is counted too."""
        house = House(tmp_path, policy=Policy(mode="observe"))
        await house.emit(container(1))
        _, text = await answered(house, "/metrics")
        assert samples(text)["action_decisions_total", ("observe", "observed", "remove_container")] == 1
        await house.stop()

    def test_labels_are_escaped(self) -> None:
        """A name with quotes and line feeds is one label."""
        source = Source.report('a"\n', "lost", at=from_micros(START), lost=3)
        report = Report(rules_version="v1", sources={source.name: source})
        snapshot = Snapshot(
            version="1",
            mode="observe",
            report=report,
            loop_answered=False,
            loop_answer_s=4.0,
            last_turn_age_s=60.0,
            intake_entries=0,
            journal_ok=False,
            outbox_rows=0,
            outbox_age_s=None,
            outbox_lost={"alert": 2},
            broker_connected=False,
            broker_connections=0,
            published=0,
        )
        found = samples(render(snapshot).decode())
        assert found["source_lost_total", ('a"\n',)] == 3
        assert found["source_state", ('a"\n', "lost")] == 1
        assert found["outbox_lost_total", ("alert",)] == 2
        assert ("outbox_oldest_age_seconds", ()) not in found


class TestHealth:
    async def test_a_loop_that_turns_is_healthy(self, tmp_path: Path) -> None:
        """It answered."""
        house = House(tmp_path)
        assert await answered(house, "/healthz") == (200, "ok\n")
        await house.stop()

    async def test_a_loop_that_hangs_is_not(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Metrics say so too, with what was known last."""
        monkeypatch.setattr(monitoring_module, "ANSWER_S", 0.01)
        house = House(tmp_path)
        monitoring = Monitoring(house.sidecar, LinkState(), version="1", outbox_rows=10)
        assert (await monitoring.healthz()).status == 503
        assert (await monitoring.readyz()).status == 503
        assert samples((await monitoring.metrics()).body.decode())["loop_up", ()] == 0
        await house.stop()

    async def test_ready_once_docker_was_listed(self, tmp_path: Path) -> None:
        """Before that it says what is missing."""
        house = House(tmp_path)
        assert await answered(house, "/readyz") == (503, "Docker is not listed: not yet\n")
        await house.emit(Source.report("docker_listing", "ok", at=from_micros(START)))
        assert await answered(house, "/readyz") == (200, "ok\n")
        await house.stop()

    async def test_not_ready_without_a_journal(self, tmp_path: Path) -> None:
        """What is decided could be forgotten."""
        house = House(tmp_path)
        await house.emit(Source.report("docker_listing", "ok", at=from_micros(START)))
        house.writer.problem = "the disk is full"
        monitoring = Monitoring(house.sidecar, LinkState(), version="1", outbox_rows=10)
        monitoring._report = house.loop._report(house.loop._begin(), in_full=True)
        assert monitoring._missing() == ["journal: the disk is full"]
        house.writer.problem = None
        await house.stop()

    async def test_not_ready_when_nothing_can_be_reported(self, tmp_path: Path) -> None:
        """The broker is away and the outbox is full."""
        house = House(tmp_path)
        facts = [container(number) for number in range(12)]
        await house.emit(Source.report("docker_listing", "ok", at=from_micros(START)), *facts)
        away = await answered(house, "/readyz", LinkState(connected=False))
        assert away == (503, "broker: not connected, and the outbox is full\n")
        assert (await answered(house, "/readyz", LinkState(connected=True)))[0] == 200
        await house.stop()
