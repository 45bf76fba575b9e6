"""The deployments, as far as can be judged without a registry and a cluster: by tools that read them, and by their fields."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from engine.settings import Settings
from tests.lab.broker import free_port, program

DEPLOY = Path(__file__).parents[2] / "examples/deploy"
ROOT = DEPLOY.parents[1]
NEEDED = {"SYS_PTRACE", "SYS_ADMIN", "SYS_CHROOT", "SYSLOG", "KILL", "SYS_RESOURCE", "DAC_READ_SEARCH"}
"""What the actions of the catalogue and the sources need; tests/examples/test_privileges.py works with no more."""


def _settings_of(names: set[str]) -> set[str]:
    """Environment variables that are no settings."""
    known = {f"DOCKWARDEN_{name.upper()}" for name in Settings.model_fields}
    return {name for name in names if name.split("__")[0] not in known}


@pytest.fixture
def compose() -> Any:
    """compose.yaml."""
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())


@pytest.fixture
def kubernetes() -> dict[str, Any]:
    """The objects of kubernetes.yaml, by kind."""
    return {one["kind"]: one for one in yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text())}


def test_compose_grants_what_is_needed_and_no_more(compose: Any) -> None:
    """All capabilities are dropped, the needed ones added; host processes, host name, socket, kernel log and state are there."""
    sidecar = compose["services"]["dockwarden"]
    assert (sidecar["pid"], sidecar["uts"], sidecar["network_mode"]) == ("host", "host", "host")
    assert (sidecar["cap_drop"], set(sidecar["cap_add"])) == (["ALL"], NEEDED)
    assert "privileged" not in sidecar
    assert sidecar["devices"] == ["/dev/kmsg:/dev/kmsg:r"]
    targets = {volume.split(":")[1] for volume in sidecar["volumes"]}
    assert targets >= {"/var/run/docker.sock", "/var/run/docker", "/var/lib/dockwarden", "/etc/dockwarden.yaml"}
    assert sidecar["labels"]["dockwarden.protect"] == "true"
    assert _settings_of(set(sidecar["environment"])) == set()
    assert sidecar["environment"]["DOCKWARDEN_MODE"].endswith("observe}")


def test_the_files_that_compose_names_are_there(compose: Any) -> None:
    """Build context, Dockerfile, settings and the broker's configuration."""
    build = compose["services"]["dockwarden"]["build"]
    assert (DEPLOY / build["context"]).resolve() == ROOT
    assert (ROOT / build["dockerfile"]).is_file()
    relative = [
        volume.split(":")[0] for service in compose["services"].values() for volume in service["volumes"] if volume[0] == "."
    ]
    assert relative
    assert all((DEPLOY / path).is_file() for path in relative)


def test_the_daemon_set_reaches_every_node_as_it_must(kubernetes: dict[str, Any]) -> None:
    """One pod on each node, with the host's processes and name, before ordinary pods, without a token."""
    pod = kubernetes["DaemonSet"]["spec"]["template"]["spec"]
    assert (pod["hostPID"], pod["hostNetwork"], pod["automountServiceAccountToken"]) == (True, True, False)
    assert pod["tolerations"] == [{"operator": "Exists"}]
    (container,) = pod["containers"]
    assert set(container["securityContext"]["capabilities"]["add"]) == NEEDED
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    assert _settings_of({variable["name"] for variable in container["env"]}) == set()
    selector = kubernetes["DaemonSet"]["spec"]["selector"]["matchLabels"]
    assert selector.items() <= kubernetes["DaemonSet"]["spec"]["template"]["metadata"]["labels"].items()


def test_the_settings_in_the_config_map_load(kubernetes: dict[str, Any]) -> None:
    """Strictly: an unknown setting would be an error."""
    content = yaml.safe_load(kubernetes["ConfigMap"]["data"]["config.yaml"])
    assert Settings(**content).kubelet_log == "off"


def test_the_state_in_kubernetes_is_in_a_folder_that_the_program_makes(kubernetes: dict[str, Any]) -> None:
    """Not in the hostPath itself, which Kubernetes makes with mode 0755."""
    (container,) = kubernetes["DaemonSet"]["spec"]["template"]["spec"]["containers"]
    (state,) = [variable["value"] for variable in container["env"] if variable["name"] == "DOCKWARDEN_STATE"]
    (mounted,) = [mount["mountPath"] for mount in container["volumeMounts"] if mount["name"] == "state"]
    assert Path(state).parent == Path(mounted)


def test_the_unit_gives_away_what_it_does_not_need() -> None:
    """systemd-analyze rates it at most 3.8 of 10; docs/how-to/privileges.md says what the rest is for."""
    unit = DEPLOY / "dockwarden.service"
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=38", "--no-pager", str(unit)]
    rated = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert rated.returncode == 0, rated.stdout[-200:] + rated.stderr
    lines = unit.read_text().splitlines()
    assert any(line.startswith("After=") and "time-sync.target" in line.split() for line in lines)
    assert "UMask=0077" in lines


def test_the_unit_is_one_that_systemd_takes(tmp_path: Path) -> None:
    """systemd-analyze has nothing to say, once the program stands where it is on this machine."""
    text = (DEPLOY / "dockwarden.service").read_text()
    assert "ExecStart=/opt/dockwarden/.venv/bin/dockwarden run" in text
    unit = tmp_path / "dockwarden.service"
    unit.write_text(text.replace("/opt/dockwarden/.venv/bin/dockwarden", "/bin/true"))
    granted = {
        name.removeprefix("CAP_")
        for line in re.findall(r"^CapabilityBoundingSet=(.*)", text, re.MULTILINE)
        for name in line.split()
    }
    assert granted == NEEDED | {"SETUID", "SETGID", "CHOWN"}
    analyze = shutil.which("systemd-analyze")
    if analyze is None:  # no systemd here; what the unit must say is judged above
        return
    done = subprocess.run([analyze, "verify", str(unit)], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_image_is_built_from_what_is_there() -> None:
    """Every file that is copied exists, only the first stage has a compiler, and only locked packages go in."""
    text = (DEPLOY / "Dockerfile").read_text()
    build, final = text.split("\nFROM ")[1:]
    copied = [word for line in re.findall(r"^COPY (?!--from)(.*) \S+$", text, re.MULTILINE) for word in line.split()]
    assert copied
    assert all((ROOT / path).exists() for path in copied)
    assert "gcc" in build
    assert "gcc" not in final
    assert build.count("--require-hashes") == 2
    assert "pip install" not in final


def test_the_broker_of_compose_starts_with_its_configuration(tmp_path: Path) -> None:
    """Mosquitto takes every line of mosquitto.conf."""
    text = (DEPLOY / "mosquitto.conf").read_text()
    port = free_port()
    text = text.replace("listener 1883", f"listener {port} 127.0.0.1").replace("/mosquitto/data/", f"{tmp_path}/")
    config = tmp_path / "mosquitto.conf"
    config.write_text(text + "user root\n")
    with subprocess.Popen([program("mosquitto"), "-c", str(config), "-v"], stderr=subprocess.PIPE, text=True) as broker:
        assert broker.stderr is not None
        said = next((line for line in broker.stderr if "running" in line or "Error" in line), "")
        broker.kill()  # a SIGTERM right after its start is lost: it sets "go on" after saying that it runs
    assert "running" in said
