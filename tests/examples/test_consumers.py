"""The example configurations and units of the consumers: accepted, and in step with each other."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from connectors.consumers.config import Program, load_config

EXAMPLES = Path(__file__).parents[2] / "examples/consumers"
PROGRAMS: tuple[Program, ...] = ("pager", "chat")


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_configuration_is_accepted(program: Program) -> None:
    """As it stands, and each receiver is named by a route."""
    config = load_config(EXAMPLES / f"{program}.yaml", program)
    assert {name for route in config.routes for name in route.receivers} == set(config.receivers)


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_unit_hands_over_every_secret_that_the_configuration_names(program: Program) -> None:
    """No more and no fewer; the state folder is the unit's own."""
    unit = (EXAMPLES / f"dockwarden-{program}.service").read_text()
    text = (EXAMPLES / f"{program}.yaml").read_text()
    loaded = set(re.findall(r"^LoadCredential=([^:]+):", unit, re.MULTILINE))
    assert set(re.findall(rf"/run/credentials/dockwarden-{program}\.service/(\S+)", text)) == loaded
    assert yaml.safe_load(text)["state"] == f"/var/lib/dockwarden-{program}"
    assert f"StateDirectory=dockwarden-{program}\n" in unit


@pytest.mark.parametrize("program", PROGRAMS)
def test_systemd_takes_the_unit(program: Program, tmp_path: Path) -> None:
    """It has nothing to say, once the program stands where it is on this machine."""
    text = (EXAMPLES / f"dockwarden-{program}.service").read_text()
    unit = tmp_path / f"dockwarden-{program}.service"
    unit.write_text(text.replace(f"/opt/dockwarden-consumers/bin/dockwarden-{program}", "/bin/true"))
    analyze = shutil.which("systemd-analyze")
    if analyze is None:  # no systemd here; what the unit must say is judged above
        return
    checked = subprocess.run([analyze, "verify", str(unit)], capture_output=True, text=True, timeout=60, check=False)
    assert not [line for line in checked.stderr.splitlines() if unit.name in line]
