"""Renders the differences between the servers on the status page. Pure."""

from __future__ import annotations

from mpp.admin.status.history_section import never_had
from mpp.admin.status.html import text
from mpp.admin.status.links import Links, linked
from mpp.admin.status.report import Report
from mpp.coverage import drift

_NAMED = 4
_LOOKS = {drift.WARN: "warn", drift.NOTE: "soft"}


def section(report: Report, links: Links) -> str:
    """Return the differences as HTML; empty if there are not two servers."""
    if len(report.backends) < 2:
        return ""
    rows = _differences(report, links) + _never_had(report, links)
    if rows:
        intro = "Servers that differ give different responses to the same query."
        return f'<h2>Drift</h2><p class="soft small">{intro}</p><div class="scroll"><table>{rows}</table></div>'
    if not report.comparable:
        return '<h2>Drift</h2><p class="soft">Not known: fewer than two servers can be compared at the moment.</p>'
    return '<h2>Drift</h2><p class="soft">None: the healthy servers report no difference.</p>'


def _differences(report: Report, links: Links) -> str:
    return "".join(
        _row(_LOOKS[each.level], each.kind, each.text, [_group(value, names, links) for value, names in each.groups])
        for each in report.drift
    )


def _never_had(report: Report, links: Links) -> str:
    """Return the row of targets that a server never had, although another one has them."""
    known = [(each.backend.name, never_had(each.backend, report.view)) for each in report.backends]
    groups = [_group(jobs, (name,), links) for name, jobs in known if jobs]
    told = "The server never had some targets that another one has, in all of the compared time."
    return _row("soft", "history", told, groups) if groups else ""


def _row(look: str, kind: str, told: str, groups: list[str]) -> str:
    inner = f'{text(told)}<br><span class="soft">{"<br>".join(groups)}</span>'
    return f'<tr><th class="{look}">{kind}</th><td>{inner}</td></tr>'


def _group(value: str, names: tuple[str, ...], links: Links) -> str:
    """Return a value and the servers that have it as HTML; of many servers the first ones, and the others in a tooltip."""
    shown = ", ".join(linked(name, links) for name in names[:_NAMED])
    if len(names) > _NAMED:
        shown = f'<span title="{text(", ".join(names))}">{len(names)} servers: {shown} and {len(names) - _NAMED} others</span>'
    return f"{shown}: {text(value)}"
