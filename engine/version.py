"""The version of what is installed."""

from importlib.metadata import PackageNotFoundError, version

try:
    VERSION = version("dockwarden")
except PackageNotFoundError:  # run from a source tree that was never installed
    VERSION = "0+unknown"

JOINS_MENDED = version("durable-rules").endswith("+bounded")
"""Whether durable-rules is the build of `scripts/durable-rules`. The plain 2.0.28 writes beyond a buffer when two facts of one
match go one after the other (`deleteMessageFromFrame` in its state.c), which can end the process."""
