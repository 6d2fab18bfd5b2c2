"""What was measured, as text."""

from __future__ import annotations

from typing import Any

LIMIT = 1.0
"""What no request may take longer than, in seconds."""


def cell(result: dict[str, Any]) -> str:
    """Return the text of a cell: failed requests of all, worst latency; bold when it breaks the promise."""
    failed, count = sum(result["failed"].values()), sum(result["requests"].values())
    shown = f"{failed} of {count}, {result['worst']:.2f} s"
    if result.get("warned"):
        shown += f" ({result['warned']} with a warning)"
    if result["well"] > LIMIT / 2:
        shown += f" ({result['well']:.2f} s when well)"
    return f"**{shown}**" if failed or result["worst"] > LIMIT else shown


def explain(result: dict[str, Any], changed: dict[str, int]) -> str:
    """Return a line or more about what happened."""
    ways = ", ".join(f"{method} {result['failed'].get(method, 0)}/{count}" for method, count in result["requests"].items())
    line = f"{ways}; median {result['median'] * 1000:.1f} ms, p99 {result['p99'] * 1000:.0f} ms, "
    line += f"worst before the fault {result['well'] * 1000:.0f} ms; "
    line += f"{result['slow']} of 1 s or more (began, took): {result['slowest']}; {result['reasons'] or ''}"
    return line + "".join(f"\n        {name} +{value}" for name, value in sorted(changed.items()))


def table(heads: list[str], rows: list[list[str]]) -> str:
    """Return a simple table in reStructuredText."""
    widths = [max(len(line[column]) for line in [heads, *rows]) for column in range(len(heads))]
    rule = "  ".join("=" * width for width in widths)
    lines = ["  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in [heads, *rows]]
    return "\n".join([rule, lines[0], rule, *lines[1:], rule])
