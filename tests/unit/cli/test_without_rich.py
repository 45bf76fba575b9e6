"""What the sidecar loads."""

import subprocess
import sys

_SCRIPT = """
import sys
from engine.cli.main import without_rich
without_rich()
import engine.cli.run
import structlog
assert "rich" not in sys.modules and "pygments" not in sys.modules, sorted(m for m in sys.modules if m.startswith("rich"))
from engine.logging import set_up
set_up("text")
structlog.get_logger().warning("said", action="test")
try:
    1 / 0
except ZeroDivisionError:
    structlog.get_logger().exception("with its trace")
import rich.table
"""


def test_the_sidecar_runs_without_rich() -> None:
    """`run` loads no rich, logs errors with their traces all the same, and keeps nobody from importing rich later."""
    done = subprocess.run([sys.executable, "-c", _SCRIPT], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "said" in done.stderr
    assert "ZeroDivisionError" in done.stderr
