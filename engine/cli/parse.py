"""`dockwarden parse`."""

import sys
from datetime import UTC, datetime
from typing import Literal

from connectors.parsers import LineParser
from engine.inference.ledger import encode


def parse_lines(source: Literal["kernel", "dockerd", "kubelet"]) -> int:
    """One JSON value for each line of standard input."""
    parser = LineParser(source)
    out = sys.stdout
    for raw in sys.stdin.buffer:
        line = raw.decode("utf-8", "replace").rstrip("\r\n")
        fact = parser.feed(line, datetime.now(UTC))
        out.write("null\n" if fact is None else encode(fact.to_json_dict()) + "\n")
    out.flush()
    return 0
