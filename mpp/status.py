"""
The status page: what is known, as HTML. Pure.

Self-contained: no script, no image, no address of anyone else, so that it works under the strictest Content-Security-Policy.
"""

from __future__ import annotations

from html import escape

from attrs import frozen

from mpp._version import __version__
from mpp.model import Observation, Selection, Standing
from mpp.settings import Settings

CONTENT_SECURITY_POLICY = (
    b"default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --good: #1a7f37; --warn: #9a6700; --bad: #cf222e; }
@media (prefers-color-scheme: dark) { :root { --good: #3fb950; --warn: #d29922; --bad: #f85149; } }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; }
h1 { font-size: 1.4rem; margin: 0 0 .25rem; }
.verdict { font-size: 1.1rem; margin: 0 0 1.5rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1rem; margin: 1.5rem 0; }
dt { opacity: .7; } dd { margin: 0; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .45rem .75rem .45rem 0; border-bottom: 1px solid var(--line); }
th, td { vertical-align: top; white-space: nowrap; }
td.why { white-space: normal; min-width: 16rem; }
.good { color: var(--good); } .warn { color: var(--warn); } .bad { color: var(--bad); }
"""

_WORDS = {
    Standing.VIABLE: ("viable", "good"),
    Standing.BUSY: ("busy", "warn"),
    Standing.SUSPECT: ("suspect", "warn"),
    Standing.NOT_READY: ("not ready", "bad"),
    Standing.DOWN: ("down", "bad"),
}


@frozen
class StatusView:
    """All that the page shows. ``now`` and ``started_at`` in seconds since the epoch."""

    selection: Selection
    settings: Settings
    locators: tuple[tuple[str, bool, int], ...]
    started_at: float
    now: float


def page(view: StatusView) -> bytes:
    """Render the page, UTF-8."""
    selection = view.selection
    rows = "".join(_row(o, selection, view.now) for o in selection.observations)
    empty = '<tr><td colspan="8">No backend is known yet.</td></tr>'
    heads = "".join(f"<th>{h}</th>" for h in ("Backend", "Role", "Standing", "Why", "Version", "Uptime", "History", "Last probe"))
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="5"><title>mpp status</title><style>{_STYLE}</style></head><body>
<h1>mpp: multi-Prometheus proxy</h1>
{_verdict(selection)}
<div class="scroll"><table><thead><tr>{heads}</tr></thead><tbody>
{rows or empty}</tbody></table></div>
<dl>{_configuration(view)}</dl>
</body></html>
""".encode()


def _verdict(selection: Selection) -> str:
    if not selection.observations:
        return '<p class="verdict bad">No backend is known.</p>'
    if selection.choice.degraded:
        return f'<p class="verdict warn">{escape(selection.choice.degraded)}</p>'
    kind = "good" if selection.viable == len(selection.observations) else "warn"
    return (
        f'<p class="verdict {kind}">{selection.viable} of {len(selection.observations)} backends viable, '
        f"{len(selection.selected)} selected.</p>"
    )


def _row(observation: Observation, selection: Selection, now: float) -> str:
    backend, facts = observation.backend, observation.facts
    word, color = _WORDS[observation.standing]
    # What is known of a server that is down was true before.
    up = facts.started_at is not None and observation.standing is not Standing.DOWN
    cells = (
        f"<td>{escape(backend.url)}</td>",
        f"<td><b>{'selected' if backend in selection.selected else 'standby'}</b></td>",
        f'<td class="{color}">{word}</td>',
        f'<td class="why">{escape(_why(observation, selection, now))}</td>',
        f"<td>{escape(facts.version or '?')}</td>",
        f"<td>{duration(now - (facts.started_at or now)) if up else '?'}</td>",
        f"<td>{duration(observation.history(now)) if facts.oldest is not None else 'none'}</td>",
        f"<td>{duration(now - observation.at)} ago, {observation.took * 1000:.0f} ms</td>",
    )
    return f"<tr>{''.join(cells)}</tr>\n"


def _why(observation: Observation, selection: Selection, now: float) -> str:
    if observation.ejected_at:
        return f"ejected {duration(now - observation.ejected_at)} ago; {observation.why}"
    return observation.why or _why_standby(observation, selection)


def _why_standby(observation: Observation, selection: Selection) -> str:
    if observation.backend in selection.selected:
        return ""
    return "viable; another one was chosen by the routing strategy" if observation.standing is Standing.VIABLE else ""


def _configuration(view: StatusView) -> str:
    settings = view.settings
    located = ", ".join(
        f"{name}: {count} backends{'' if up else ' (source fails, last good list)'}" for name, up, count in view.locators
    )
    pairs = (
        ("Version", __version__),
        ("Uptime", duration(view.now - view.started_at)),
        ("Routing strategy", settings.routing_strategy),
        ("Selection interval", duration(settings.selection_interval)),
        ("Affinity", ", ".join(settings.affinity_options) or "none"),
        ("Selection", f"generation {view.selection.generation}" + _changed(view)),
        ("Found by", located or "no locator has answered yet"),
    )
    return "".join(f"<dt>{name}</dt><dd>{escape(value)}</dd>" for name, value in pairs)


def _changed(view: StatusView) -> str:
    changed_at = view.selection.changed_at
    return f", changed {duration(view.now - changed_at)} ago" if changed_at else ""


def duration(seconds: float) -> str:
    """
    Give a duration in its two largest units.

    >>> duration(93784)
    '1d 2h'
    """
    if seconds < 1:
        return f"{max(0.0, seconds) * 1000:.0f}ms"
    rest = int(seconds)
    parts = []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count}{unit}")
        elif parts:
            break
    return " ".join(parts[:2])
