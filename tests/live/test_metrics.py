"""Metrics of a running sidecar, as Debian's real Prometheus scrapes them, and the example rules as its promtool sees them."""

import json
import re
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.lab.broker import HOST, ScratchBroker, free_port, program
from tests.lab.engine import ScratchEngine
from tests.lab.sidecar import Sidecar
from tests.lab.subscriber import Subscriber
from tests.lab.waiting import until

pytestmark = pytest.mark.live

EXAMPLES = Path(__file__).resolve().parents[2] / "examples/prometheus"


@contextmanager
def prometheus(folder: Path, target: str) -> Iterator[str]:
    """A Prometheus with the example rules that scrapes one target each second; its address."""
    port = free_port()
    (folder / "prometheus.yml").write_text(
        f"""
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: ["{EXAMPLES / "alerts.yml"}"]
scrape_configs:
  - job_name: dockwarden
    static_configs: [{{targets: ["{target}"]}}]
"""
    )
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                program("prometheus"),
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address={HOST}:{port}",
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        yield f"http://{HOST}:{port}"
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def promtool(*arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    """What promtool says, run among the examples."""
    command = [program("promtool"), *arguments]
    return subprocess.run(command, input=text, cwd=EXAMPLES, capture_output=True, text=True, timeout=30, check=False)


def query(url: str, expression: str) -> list[dict[str, Any]]:
    """What an expression gives now; nothing while it does not answer."""
    try:
        with urllib.request.urlopen(f"{url}/api/v1/query?{urllib.parse.urlencode({'query': expression})}", timeout=5) as answer:
            found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
    except OSError:
        return []
    return found


async def get(url: str) -> tuple[int, str]:
    """Status and text; 0 while nothing answers."""
    try:
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            return response.status, await response.text()
    except aiohttp.ClientError:
        return 0, ""


async def test_a_real_prometheus_scrapes_a_running_sidecar(
    engine: ScratchEngine, broker: ScratchBroker, subscriber: Subscriber, host: str, tmp_path: Path
) -> None:
    """Healthy, ready, every metric accepted by promtool, and facts counted; none of the example alerts fires."""
    address = f"{HOST}:{free_port()}"
    environment = {"DOCKWARDEN_METRICS_LISTEN": address}
    async with Sidecar(engine, broker, host=host, environment=environment) as sidecar:
        await sidecar.ready(subscriber)

        async def is_ready() -> bool:
            return await get(f"http://{address}/readyz") == (200, "ok\n")

        await until(is_ready, what="readiness", within_s=20.0)
        assert await get(f"http://{address}/healthz") == (200, "ok\n")
        _, text = await get(f"http://{address}/metrics")
        checked = promtool("check", "metrics", text=text)
        assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")
        with prometheus(tmp_path, address) as url:
            await until(lambda: bool(query(url, 'up{job="dockwarden"} == 1')), what="a scrape", within_s=20.0)
            await until(lambda: bool(query(url, "dockwarden_facts_total > 0")), what="facts", within_s=20.0)
            assert query(url, "dockwarden_loop_up")[0]["value"][1] == "1"
            assert query(url, "dockwarden_broker_connected")[0]["value"][1] == "1"
            assert query(url, "ALERTS") == []


async def test_a_taken_port_stops_nothing(
    engine: ScratchEngine, broker: ScratchBroker, subscriber: Subscriber, host: str
) -> None:
    """Two sidecars on one host: the second one works all the same, and its log says what it lacks."""
    environment = {"DOCKWARDEN_METRICS_LISTEN": f"{HOST}:{broker.port}"}
    async with Sidecar(engine, broker, host=host, environment=environment) as sidecar:
        await sidecar.ready(subscriber)
        await until(lambda: "metrics_unavailable" in sidecar.output, what="the warning")
        assert await sidecar.stop() == 0


def test_the_example_rules_are_valid_and_do_what_their_cases_say() -> None:
    """By promtool: syntax, then inputs over time and the alerts that are to fire."""
    for arguments in (
        ["check", "rules", "alerts.yml"],
        ["check", "config", "prometheus.yml"],
        ["test", "rules", "alerts.test.yml"],
    ):
        ran = promtool(*arguments)
        assert ran.returncode == 0, ran.stdout + ran.stderr


async def test_the_dashboard_asks_for_metrics_that_exist(
    engine: ScratchEngine, broker: ScratchBroker, subscriber: Subscriber, host: str
) -> None:
    """Every name in the dashboard and in the alert rules is one that a sidecar exposes."""
    address = f"{HOST}:{free_port()}"
    async with Sidecar(engine, broker, host=host, environment={"DOCKWARDEN_METRICS_LISTEN": address}) as sidecar:
        await sidecar.ready(subscriber)
        _, text = await get(f"http://{address}/metrics")
    exposed = set(re.findall(r"^# TYPE (dockwarden_\w+) ", text, re.MULTILINE))
    for file in ("dashboard.json", "alerts.yml"):
        named = set(re.findall(r"\bdockwarden_\w+", (EXAMPLES / file).read_text()))
        assert {re.sub(r"_(bucket|sum|count)$", "", name) for name in named} <= exposed
