"""`dockwarden fleet`: the engine over all hosts; and `dockwarden fleet simulate-hosts`, a fleet to try it on."""

import asyncio
from functools import partial
from pathlib import Path

import uvloop

from engine.fleet.process import FleetPlan, fleet_settings, serve_fleet
from engine.fleet.simulated import Simulation, simulate
from engine.logging import set_up
from engine.settings import load_settings
from engine.sidecar.composition import RulesGit
from engine.sidecar.process import state_folder
from engine.sidecar.rule_reload import rules_at_start


def run_fleet(
    *,
    config: Path | None,
    rules: Path | None,
    state: Path | None,
    url: str | None,
    name: str | None,
    port: int | None,
    act: bool | None,
) -> int:
    """Run until told to stop.

    Raises:
        DockwardenError: settings or rules are faulty, or a part cannot be started.
    """
    over: dict[str, object] = {}
    if rules is not None:
        over["rules"] = rules
    if url is not None:
        over["mqtt_url"] = url
    if act is not None:
        over["mode"] = "act" if act else "observe"
    settings = load_settings(config, over)
    own = {key: value for key, value in (("engine", name), ("port", port)) if value is not None}
    settings = settings.model_copy(update={"fleet": settings.fleet.model_copy(update=own)})
    settings = fleet_settings(settings, state=state)
    set_up(settings.log_format, background=True)
    state_folder(settings.state)
    assert settings.rules is not None  # noqa: S101  fleet_settings names them
    start = rules_at_start(settings.rules, settings, RulesGit())
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(serve_fleet(FleetPlan(settings, start, partial(print, flush=True))))


def simulate_hosts(*, config: Path | None, url: str | None, hosts: int, rate: float, alerts: int, seconds: float) -> int:
    """Publish what so many hosts would, until told to stop or the time is over.

    Raises:
        DockwardenError: settings are faulty, or the broker cannot be reached.
    """
    settings = load_settings(config, {} if url is None else {"mqtt_url": url})
    plan = Simulation(hosts=hosts, rate=rate, alerts=alerts, seconds=seconds)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(simulate(settings, plan, partial(print, flush=True)))
