"""Keeps a sidecar small: what it never uses is not loaded. Imports nothing of its own.

structlog's console renderer imports rich whenever it is there (for tracebacks), and rich with its highlighter is 14 MiB of
resident memory, a fifth of the whole process, on every host. The verbs that draw tables import it themselves.
"""

import sys


def without_rich() -> None:
    """Import structlog as on a machine without rich. To be called before anything that logs is imported."""
    if "structlog" in sys.modules or "rich" in sys.modules:
        return
    # An entry of None makes `import rich` an ImportError (importlib, "sys.modules"), which structlog is prepared for.
    sys.modules["rich"] = None  # type: ignore[assignment]
    try:
        import structlog  # noqa: F401, PLC0415  imported for its own sake
    finally:
        del sys.modules["rich"]
