"""The version of what is installed."""

from importlib.metadata import PackageNotFoundError, version

try:
    VERSION = version("dockwarden")
except PackageNotFoundError:  # run from a source tree that was never installed
    VERSION = "0+unknown"
