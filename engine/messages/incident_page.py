"""What happened in an incident as one HTML file that needs nothing else: for a ticket, a mail, a post-mortem. Pure."""

import json
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any, Final

from engine.facts.timestamps import rfc3339
from engine.messages.timeline import Entry, picture

STYLE: Final = """
.timeline{width:100%;height:auto;display:block;font:12px/1.3 ui-sans-serif,system-ui,sans-serif}
.timeline .lane{stroke:var(--line);stroke-width:1}
.timeline .tick{stroke:var(--line);stroke-dasharray:2 4}
.timeline text.tick,.timeline .lane-name{stroke:none;fill:var(--muted)}
.timeline .dot{stroke:var(--paper);stroke-width:1.5;fill:var(--plain)}
.timeline .dot.bad{fill:var(--bad)}
.timeline .dot.good{fill:var(--good)}
.timeline .dot.held{fill:var(--paper);stroke:var(--held);stroke-width:2.5}
.events{list-style-position:inside;padding:0;margin:0}
.events li{padding:.3rem .5rem;border-left:4px solid var(--plain);margin-bottom:2px;overflow-wrap:anywhere}
.events li.bad{border-color:var(--bad)}
.events li.good{border-color:var(--good)}
.events li.held{border-color:var(--held);border-left-style:dashed}
.events time{color:var(--muted);font-variant-numeric:tabular-nums;margin-right:.5rem}
"""
"""Of the picture and its list; colours are the page's variables."""

_PAGE_STYLE: Final = """
:root{color-scheme:light dark;--paper:#fff;--ink:#1b1f24;--muted:#59636e;--line:#d1d9e0;
--plain:#3b6ea8;--bad:#b42318;--good:#1a7f37;--held:#8a5a00}
@media (prefers-color-scheme:dark){:root{--paper:#11161c;--ink:#e6edf3;--muted:#9aa7b4;--line:#36414d;
--plain:#6cb0ff;--bad:#ff8078;--good:#5dd879;--held:#e3b341}}
body{background:var(--paper);color:var(--ink);font:16px/1.5 ui-sans-serif,system-ui,sans-serif;
max-width:64rem;margin:2rem auto;padding:0 1rem}
pre{background:color-mix(in srgb,var(--line) 35%,transparent);padding:.8rem;overflow-x:auto;font-size:13px}
h1{font-size:1.4rem}h2{font-size:1.05rem;margin-top:1.6rem}
"""

_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def incident_page(title: str, summary: str, entries: list[Entry], facts: Iterable[Mapping[str, Any]] = ()) -> str:
    """One HTML document, without scripts and outside resources.

    Args:
        title: of the incident.
        summary: one sentence.
        entries: what happened, in order.
        facts: the evidence.
    """
    listed = "".join(
        f'<li class="{entry.tone}"><time datetime="{rfc3339(entry.at)}">{rfc3339(entry.at)[:23].replace("T", " ")}</time>'
        f"{escape(entry.text)}</li>"
        for entry in entries
    )
    shown = "".join(f"<pre>{escape(json.dumps(fact, indent=2, ensure_ascii=False, default=str))}</pre>" for fact in facts)
    evidence = f"<h2>Evidence</h2>{shown}" if shown else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_PAGE_STYLE}{STYLE}</style></head><body><main>"
        f"<h1>{escape(title)}</h1><p>{escape(summary)}</p>"
        f'<h2>What happened</h2>{picture(entries)}<ol class="events">{listed}</ol>{evidence}'
        "</main></body></html>\n"
    )
