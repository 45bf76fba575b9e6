"""What pyproject.toml cannot say: the rules folder goes into the wheel, as `engine/shipped_rules`.

The rules stand at the top of the repository because operators read and copy them, and inside the package when it is installed,
because a wheel puts nothing elsewhere. An editable installation reads them where they stand (engine/rules/shipped.py).
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

RULES = Path("rules")
INSIDE = Path("engine/shipped_rules")


class BuildWithRules(build_py):
    """Builds the modules, then copies the rules, their tests and runbooks beside them."""

    def run(self) -> None:
        """Build."""
        super().run()
        if not self.editable_mode:
            target = Path(self.build_lib) / INSIDE
            # A build folder may still hold rules that have been renamed since.
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(RULES, target, ignore=shutil.ignore_patterns(".*"))

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        """Every file that `run` writes, for installers that keep a list."""
        rules = [str(Path(self.build_lib) / INSIDE / path.relative_to(RULES)) for path in RULES.rglob("*") if path.is_file()]
        return [*super().get_outputs(include_bytecode), *rules]


setup(cmdclass={"build_py": BuildWithRules})
