"""A plan as one HTML page with colours, for a change request or a browser; all of it escaped, no script, no request."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from redirectd.sip.text import printable

if TYPE_CHECKING:
    from redirectd.plan.planning import Plan, TargetPlan

_STYLE = """
body { font: 15px/1.4 system-ui, sans-serif; margin: 2em; color: #1d2229; background: #fff }
table { border-collapse: collapse } th, td { padding: .2em .8em; border-bottom: 1px solid #d5dae1; text-align: left }
td.n { text-align: right } pre { padding: .8em; background: #f6f7f9; overflow-x: auto }
.add { color: #116329; background: #e2f6e6 } .del { color: #82071e; background: #ffe5e8 } .at { color: #0550ae }
.warn { color: #7d4e00 }
@media (prefers-color-scheme: dark) {
  body { color: #dfe3e8; background: #14181d } pre { background: #1c2127 } th, td { border-color: #333b45 }
  .add { color: #7ee093; background: #13301b } .del { color: #ff9aa6; background: #3b161c } .at { color: #79b8ff }
  .warn { color: #e8b45a }
}
"""
_CLASSES = {"+": "add", "-": "del", "@": "at"}
_COLUMNS = ("target", "kind", "create", "update", "delete", "unchanged", "refused")


def to_html(plan: Plan, notes: list[str]) -> str:
    """The page; `notes` are what is not as it should be, in words."""
    rows = "".join(_row(target) for target in plan.targets)
    heads = "".join(f"<th>{name}</th>" for name in _COLUMNS)
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8"><title>redirectd plan</title>',
        f"<style>{_STYLE}</style></head><body>",
        f"<h1>Plan</h1><p>Checksum: <code>{escape(plan.checksum)}</code></p>",
        f"<table><tr>{heads}</tr>{rows}</table>",
        *(f'<p class="warn">{_safe(note)}</p>' for note in notes),
        *(f"<h2>{_safe(one.name)}</h2><pre>{_diff(one.diff)}</pre>" for one in plan.targets if one.changed),
        "" if plan.changed else "<p>Nothing to change.</p>",
        "</body></html>",
    ]
    return "\n".join(filter(None, parts)) + "\n"


def _row(target: TargetPlan) -> str:
    changes = target.shown_changes
    counts = (len(changes.create), len(changes.update), len(changes.delete), changes.unchanged, len(target.refused))
    numbers = "".join(f'<td class="n">{count:,}</td>' for count in counts)
    return f"<tr><td>{_safe(target.name)}</td><td>{_safe(target.kind)}</td>{numbers}</tr>"


def _diff(text: str) -> str:
    return "\n".join(_line(line) for line in text.splitlines())


def _line(line: str) -> str:
    shown = "\t".join(_safe(part) for part in line.split("\t"))
    name = _CLASSES.get(line[:1])
    return f'<span class="{name}">{shown}</span>' if name else shown


def _safe(text: str) -> str:
    return escape(printable(text))
