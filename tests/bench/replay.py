"""Rate and memory of `dockwarden replay` over a long recording, by the shipped rules: run as its own process, as a person would.

    python -m tests.bench.replay [FACTS] [--compare]

The recording is a host's week: containers that come and go, listings, disks, kernel lines, now and then a dead container.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
ROOT = Path(__file__).parents[2]


def facts(number: int) -> Iterator[dict[str, Any]]:
    """Half a second apart; of every hundred, eighty events of containers, fifteen of their states, five of the host."""
    for n in range(number):
        at = (BEGIN + timedelta(seconds=n / 2)).isoformat().replace("+00:00", "Z")
        head = {"fact_id": f"f{n}", "at": at, "host": "h1", "source": "bench"}
        ident, place = f"{n * 2654435761 % 400:064x}", n % 100
        if place < 80:
            action = ("exec_create", "exec_start", "exec_die", "create", "start", "die", "destroy", "top")[place % 8]
            event = {
                "action": action,
                "id": ident,
                "name": f"c{n % 400}",
                "image": "nginx:1.25",
                "command": "nginx -g 'daemon off;'",
            }
            yield {"fact": "container_event", **head, **event} | ({"exit_code": 0} if action == "die" else {})
        elif place < 95:
            status = "dead" if n % 20_000 == 80 else "running"
            yield {"fact": "container", **head, "id": ident, "name": f"c{n % 400}", "image": "nginx:1.25", "status": status}
        elif place < 98:
            used = 0.5 + (n % 1000) / 4000
            yield {"fact": "disk", **head, "path": "/", "used_ratio": used, "inodes_ratio": 0.1, "free_bytes": 10**9}
        else:
            yield {
                "fact": "kernel_event",
                **head,
                "class": "hung_task",
                "text": "task x:1 blocked",
                "comm": "x",
                "pid": 1,
                "seconds": 120,
            }


def run(arguments: list[str]) -> tuple[float, float, int]:
    """Seconds, the largest resident size in MiB, and the lines printed by one command."""
    with tempfile.TemporaryFile() as out:
        started = time.perf_counter()
        pid = os.posix_spawn(arguments[0], arguments, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, out.fileno(), 1)])
        _, status, usage = os.wait4(pid, 0)
        took = time.perf_counter() - started
        if status:
            sys.exit(f"{' '.join(arguments)} ended with {os.waitstatus_to_exitcode(status)}")
        out.seek(0)
        return took, usage.ru_maxrss / 1024, sum(1 for _ in out)


def main() -> None:
    """Print one line for a tenth of the recording and one for all of it: memory has to be the same."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("facts", nargs="?", type=int, default=1_000_000)
    parser.add_argument("--compare", action="store_true", help="two sets of rules instead of one")
    options = parser.parse_args()
    program = str(Path(sys.executable).with_name("dockwarden"))
    with tempfile.TemporaryDirectory() as folder:
        for number in (options.facts // 10, options.facts):
            file = Path(folder, "facts.jsonl")
            with file.open("w") as out:
                out.writelines(json.dumps(fact) + "\n" for fact in facts(number))
            rules = str(ROOT / "rules")
            against = ["--against", rules] if options.compare else []
            took, memory, said = run([program, "replay", str(file), "--rules", rules, *against, "--format", "json"])
            print(f"{number} facts: {took:.1f} s, {number / took:.0f} facts/s, {memory:.0f} MiB at most, {said} decisions")


if __name__ == "__main__":
    main()
