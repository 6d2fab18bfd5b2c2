"""Renders the report of `mpp.admin.status.report` as the HTML status page. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from mpp.admin.cache.view import rows as cache_rows
from mpp.admin.status import history_section as histories
from mpp.admin.status import report as reports
from mpp.admin.status.data import StatusView
from mpp.admin.status.history_section import ServerHistory
from mpp.admin.status.html import explain_form, frame, pairs, text
from mpp.admin.status.links import Links, linked, links_to, place_of
from mpp.admin.status.report import BackendReport, Report
from mpp.admin.status.sparkline import picture
from mpp.core.facts import ServerState
from mpp.core.model import Backend
from mpp.core.text.durations import duration
from mpp.core.text.humanize import ago, clock, latency, quantity, rate, share
from mpp.coverage import drift
from mpp.security.web_config import protection as guarded
from mpp.selection.recent import Event, TrafficSpan

Known = Mapping[Backend, ServerHistory]
"""The histories of the servers; empty if they are not compared."""

_LEGEND = (
    "Bars: responses, errors of the server (red) and attempts repeated on another server (amber) in ten seconds each. "
    "Ribbon: selected (green), standby (gray), replaying its WAL (amber), ejected or unusable (red)."
)
_EVENTS = 15
_NAMED = 4


def render(view: StatusView) -> bytes:
    """Render the status page, UTF-8."""
    report = reports.make(view)
    many = len(report.backends) > reports.FEW
    links = links_to([each.backend for each in report.backends])
    known = histories.histories(view)
    cards = "".join(_card(each, view, links, known.get(each.backend), folded=many) for each in report.backends)
    main = "".join(
        (
            f'<section id="verdict" class="verdict {report.level}"><p>{linked(report.verdict, links)}</p>'
            f"<p>{text(report.count)}</p>{_histories(known, view, links)}",
            f"{_guards(view)}</section>",
            _part("servers", f'<div class="cards">{cards}</div>{_legend(known)}' if cards else ""),
            _part("drift", _drift(report, known, links)),
            _part("events", _events(view, links)),
            _part("locators", _locators(view)),
            _part("cache", f"<h2>Shared and cached responses</h2>{_cache(view, links)}"),
            _part("itself", f"<h2>mpp itself</h2>{_itself(view)}"),
        )
    )
    below = (
        '<h2>Which server would answer a request?</h2><p class="soft small">Enter a path and query, or a whole URL; '
        f"the request counts as sent from your address.</p>{explain_form()}"
        '<p class="soft small">The same <a href="status?format=json">as JSON</a>; <a href="metrics">metrics</a>; '
        '<a href="config">configuration</a>.</p>'
    )
    which, host = view.identity.described, view.identity.host
    title = f"{_MARKS[report.level]} mpp{host and f' {host}'}: {report.verdict}"
    return frame(title, main, level=report.level, live=True, below=below, identity=which)


def _part(name: str, inner: str) -> str:
    """Return a section of the page as HTML; `mpp.admin.status.stylesheet.SCRIPT` refreshes each one on its own."""
    return f'<section id="{name}">{inner}</section>'


def _legend(known: Known) -> str:
    legend = f"{_LEGEND}<br>{histories.LEGEND}" if known else _LEGEND
    return f'<p class="soft small">{legend}</p>'


def _histories(known: Known, view: StatusView, links: Links) -> str:
    told = histories.summary(known.values(), view.coverage.common)
    return f"<p>{linked(told, links)}</p>" if told else ""


def _guards(view: StatusView) -> str:
    word, level = guarded.verdict(view.security)
    return f'<p id="guards"><span class="badge {level}">{word}</span> {text(guarded.describe(view.security))}</p>'


_MARKS = {"good": "✓", "warn": "!", "bad": "✗"}


def _card(each: BackendReport, view: StatusView, links: Links, history: ServerHistory | None, *, folded: bool) -> str:
    replay = each.observation.replay
    progress = "" if replay is None else f'<progress value="{replay.done}" max="{replay.total}">{replay.share:.0%}</progress>'
    facts = _known(each, view)
    if folded:
        facts = f'<details id="of-{each.backend.id}"><summary>Reported by the server</summary>{facts}</details>'
    calm = "calm" if each.level == "good" and each.role != "selected" else each.level
    return (
        f'<article id="{place_of(each.backend)}" class="card {each.level} {each.role}">'
        f'<div class="head"><h3>{_server(each.backend)}</h3><span class="badge {calm}">{each.role}</span></div>'
        f'<p class="why">{linked(each.why, links)}</p><figure>{progress}{picture(each.recent)}</figure>'
        f'<div>{_traffic(each)}</div><div class="history">{histories.section(history)}</div><div>{facts}</div></article>'
    )


def _traffic(each: BackendReport) -> str:
    """Return the table of a server's present and recent traffic as HTML."""
    recent = each.recent
    names = ("", "Requests", "Errors", "p50", "p99", "Retries")
    heads = "".join(f"<th>{name}</th>" for name in names)
    spans = [("now", recent.latest)]
    if recent.seconds > recent.latest.seconds:
        spans.append((duration(recent.seconds), recent))
    rows = "".join(f"<tr><th>{name}</th>{_span(span)}</tr>" for name, span in spans)
    waiting = f" + {each.queued} waiting" if each.queued else ""
    under_way = f'<p class="small"><span class="soft">Under way</span> {each.active}{waiting}</p>'
    return f'<table class="traffic"><tr>{heads}</tr>{rows}</table>{under_way}'


def _span(span: TrafficSpan) -> str:
    wrong = f'<span class="bad">{share(span.error_share)}</span>' if span.errors else "0%" if span.requests else "-"
    cells = (rate(span.rate), wrong, latency(span.p50), latency(span.p99), f"{span.retries:,.0f}")
    return "".join(f"<td>{cell}</td>" for cell in cells)


def _known(each: BackendReport, view: StatusView) -> str:
    """Return the known facts of a server and their age as HTML; if it does not respond, its last known facts, in pale."""
    present, facts = _present(each, view), _facts(each, view)
    read_at = each.observation.facts.read_at
    if not read_at:
        return f'{pairs(present)}<p class="soft small last">It has not reported its state yet.</p>'
    when, kind = ago(view.now - read_at), "" if each.is_current else "past"
    name = "Reported" if each.is_current else "Last known,"
    return f'{pairs(present)}<p class="soft small last">{name} {when}:</p>{pairs(facts, kind)}'


def _present(each: BackendReport, view: StatusView) -> list[tuple[str, str]]:
    """Return the names and values (HTML) that mpp itself has measured of a server."""
    observation, server_state, now = each.observation, each.observation.facts, view.now
    # The last known start time of a server that is down belongs to a process that has ended.
    up = server_state.started_at is not None and observation.standing.name != "DOWN"
    uptime = duration(now - (server_state.started_at or now)) if up else "not running" if server_state.started_at else "?"
    return [
        ("Standing", f'<span class="{each.level}">{observation.standing.name.lower().replace("_", " ")}</span>'),
        ("Uptime", uptime),
        ("Last probe", f"{ago(now - observation.at)}, {latency(observation.took)}" if observation.at else "none"),
    ]


def _facts(each: BackendReport, view: StatusView) -> list[tuple[str, str]]:
    server_state = each.observation.facts
    now = view.now if each.is_current else server_state.read_at
    listed = [("Version", text(server_state.version or "?")), ("History", _history(each, now))]
    if each.age is not None:
        kind = "bad" if drift.is_stale(server_state) and each.is_current else ""
        listed.append(("Newest sample", f'<span class="{kind}">{duration(each.age)} old</span>'))
    if server_state.targets is not None:
        listed.append(("Targets", f"{server_state.targets:,}"))
    if server_state.config_hash or server_state.config_at is not None:
        listed.append(("Configuration", _configuration(server_state, view.now)))
    if server_state.skew is not None:
        listed.append(("Clock", f"{server_state.skew:+z.1f}s compared to mpp's"))
    return listed


def _history(each: BackendReport, now: float) -> str:
    server_state = each.observation.facts
    if server_state.oldest is None:
        return "none" if server_state.samples is None else f"{server_state.samples:,.0f} samples ingested"
    kept = "" if server_state.retention_s is None else f", keeps {duration(server_state.retention_s)}"
    lost = each.observation.lost(now)
    known = f", lacks {duration(lost)} of it" if lost >= 1 else ""
    return (
        duration(each.observation.history(now)) + known + kept + (", limited by size" if server_state.retention_by_size else "")
    )


def _configuration(server_state: ServerState, now: float) -> str:
    loaded = "" if server_state.config_at is None else f"loaded {ago(now - server_state.config_at)}"
    failed = ' <span class="bad">the last reload failed</span>' if server_state.reload_ok is False else ""
    return text(" ".join(filter(None, (server_state.config_hash[:8], loaded)))) + failed


_DRIFT_LOOKS = {drift.WARN: "warn", drift.NOTE: "soft"}


def _drift(report: Report, known: Known, links: Links) -> str:
    """Return the differences as HTML; empty if there are not two servers."""
    if len(report.backends) < 2:
        return ""
    rows = _differences(report, links) + _always_missing(known, links)
    if rows:
        intro = "Servers that differ give different responses to the same query."
        return f'<h2>Drift</h2><p class="soft small">{intro}</p><div class="scroll"><table>{rows}</table></div>'
    if not report.comparable:
        return '<h2>Drift</h2><p class="soft">Not known: fewer than two servers can be compared at the moment.</p>'
    return '<h2>Drift</h2><p class="soft">None: the healthy servers report no difference.</p>'


def _differences(report: Report, links: Links) -> str:
    return "".join(
        _row(_DRIFT_LOOKS[each.level], each.kind, each.text, [_group(value, names, links) for value, names in each.groups])
        for each in report.drift
    )


def _always_missing(known: Known, links: Links) -> str:
    """Return the row of targets that a server never had, although another one has them."""
    groups = [_group(histories.never_had(each), (each.backend.name,), links) for each in known.values() if each.drift]
    told = "The server never had some targets that another one has, in all of the compared time."
    return _row("soft", "history", told, groups) if groups else ""


def _row(look: str, kind: str, told: str, groups: list[str]) -> str:
    inner = f'{text(told)}<br><span class="soft">{"<br>".join(groups)}</span>'
    return f'<tr><th class="{look}">{kind.replace("_", " ")}</th><td>{inner}</td></tr>'


def _group(value: str, names: tuple[str, ...], links: Links) -> str:
    """Return a value and the servers that have it as HTML; of many servers the first ones, and the others in a tooltip."""
    shown = ", ".join(linked(name, links) for name in names[:_NAMED])
    if len(names) > _NAMED:
        shown = f'<span title="{text(", ".join(names))}">{len(names)} servers: {shown} and {len(names) - _NAMED} others</span>'
    return f"{shown}: {text(value)}"


def _server(backend: Backend) -> str:
    """Return the URL of a server as an HTML link to the server's own pages."""
    return f'<a href="{text(backend.url)}/" rel="noreferrer">{text(backend.url)}</a>'


def _events(view: StatusView, links: Links) -> str:
    rows = "".join(_event(each, view.now, links) for each in view.events[:_EVENTS])
    nothing = '<p class="soft">No event since mpp was started.</p>'
    table = f'<div class="scroll"><table class="events">{rows}</table></div>'
    return f"<h2>Events</h2>{table if rows else nothing}"


def _event(event: Event, now: float, links: Links) -> str:
    kind = {"ejection": "bad", "crash": "bad", "worker": "bad", "return": "good", "refused": "warn", "discovery": "warn"}.get(
        event.kind, "soft"
    )
    return (
        f'<tr><td class="at">{clock(event.at)} UTC, {ago(now - event.at)}</td><th class="{kind}">{text(event.kind)}</th>'
        f"<td>{linked(event.text, links)}</td></tr>"
    )


def _locators(view: StatusView) -> str:
    listed = []
    for each in view.locators:
        found = quantity(each.backends, "backend")
        problem = text(each.problem or "the source cannot be read")
        if not each.up:
            found += f', from the last good list; <span class="bad">{problem}</span>'
        elif each.problem:
            found += f'; <span class="warn">{problem}</span>'
        listed.append((each.name, found))
    nothing = '<p class="soft">No locator has responded yet.</p>'
    return f"<h2>Discovery</h2>{pairs(listed) if listed else nothing}"


def _workers(view: StatusView) -> list[tuple[str, str]]:
    wanted = view.settings.workers
    if wanted == 1:
        return []
    return [("Workers", f"{wanted}" if view.workers == wanted else f'<span class="warn">{view.workers} of {wanted}</span>')]


def _cache(view: StatusView, links: Links) -> str:
    listed = []
    for each in cache_rows(view.cache, view.settings):
        shown = linked(each.text, links)
        listed.append((each.name, f'<span class="{each.level}">{shown}</span>' if each.level else shown))
    return pairs(listed)


def _itself(view: StatusView) -> str:
    settings, selection = view.settings, view.selection
    changed = f", changed {ago(view.now - selection.changed_at)}" if selection.changed_at else ""
    own = view.recent.get("mpp")
    listed = [
        ("Uptime", duration(view.now - view.started_at)),
        ("Routing strategy", text(settings.routing_strategy)),
        ("Selection", f"generation {selection.generation}{changed}; a round every {duration(settings.selection_interval)}"),
        ("Affinity", text(", ".join(settings.affinity_options) or "none")),
        *_workers(view),
        ("Own errors", "none" if own is None or not own.errors else f'<span class="bad">{own.errors:,.0f}</span>'),
    ]
    return pairs(listed)
