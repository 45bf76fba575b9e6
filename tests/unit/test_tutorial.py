"""The tutorial: every command in it is run, and prints what the page says."""

import os
import re
import subprocess
from pathlib import Path

from tests.lab.sidecar import PROGRAM

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "tutorial.md").read_text(encoding="utf-8")
STEPS = re.findall(r"```bash\n(.*?)```\n```\n(.*?)```", PAGE, re.DOTALL)
MARK = "=== end of step"


def test_every_command_does_what_the_page_says(tmp_path: Path) -> None:
    """Run as one shell session, in order, ending at the first error; each line that the page shows is printed by its step."""
    assert len(STEPS) == PAGE.count("```bash")
    script = "set -e -o pipefail\n" + "".join(f"{command}\necho '{MARK}'\n" for command, _ in STEPS)
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "DOCKWARDEN_"))}
    env = clean | {"PATH": f"{PROGRAM.parent}:{os.environ['PATH']}", "HOME": str(tmp_path), "LANG": "C.UTF-8"}
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for (command, shown), printed in zip(STEPS, done.stdout.split(MARK), strict=False):
        for line in shown.splitlines():
            assert line in printed, f"after\n{command}\nthe page shows\n{line}\nand this was printed:\n{printed}"
