"""A runbook's Markdown as HTML that is safe to show: no markup of its own gets through, and links lead to the web alone."""

from markdown_it import MarkdownIt

MAX_RUNBOOK = 64 * 1024
"""Characters; more is no runbook."""

# html=False: what looks like markup is shown as text. markdown-it lets no javascript:, vbscript:, file: or data: links through.
_MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")


def runbook_html(text: str) -> str:
    """The runbook as HTML without scripts, images or raw markup."""
    return str(_MARKDOWN.render(text[:MAX_RUNBOOK]))
