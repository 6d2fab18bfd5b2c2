"""
Renders a server's history on its card of the status page: the last day and all of it as strips, its holes in words, what it never
had, and how far it was compared with the other servers. Pure.
"""

from __future__ import annotations

from mpp.admin.status.data import StatusView
from mpp.admin.status.holes import HistoryHole, found, words
from mpp.admin.status.html import text
from mpp.admin.status.report import BackendReport
from mpp.admin.status.strip import Strip, drawn
from mpp.core.coverage import NOTHING
from mpp.core.model import Backend
from mpp.core.text.durations import duration
from mpp.core.text.humanize import listing, number
from mpp.coverage.history.service import Progress

DAY_S = 86400.0
MOST_SHOWN = 4
"""Maximum number of holes that a card shows without being unfolded: the newest ones."""
MOST_UNFOLDED = 50
_NOT_BEGUN_S = 120.0
"""The look back begins some seconds before the present; a shorter time says only that it has begun, in seconds."""
MOST_JOBS = 3
"""Maximum number of jobs that are named of those that a server never had."""
LEGEND = (
    "Strips: the history that each server has, on the same scale for all servers; a notch with a mark below it is data that "
    "the server lacks and another one has, as deep as the share of the missing targets. Dashed: not compared yet. Times are UTC."
)


def is_shown(view: StatusView) -> bool:
    """Return whether histories are compared: not with ``--no-coverage``, and not with a single server."""
    return len(view.selection.observations) > 1 and bool(view.looked_back or view.coverage)


def summary(view: StatusView) -> str:
    """Return what is known of the histories of all servers, one sentence; empty if they are not compared."""
    if not is_shown(view):
        return ""
    observations = [each.backend for each in view.selection.observations]
    lacking = [backend.name for backend in observations if _holes(backend, view)]
    if lacking:
        have = "has holes in its history" if len(lacking) == 1 else "have holes in their histories"
        return f"{listing(lacking)} {have}; a query for such a time goes to the server that lacks least of it."
    if all(_progress(backend, view).finished for backend in observations):
        return "The histories of the servers have no known holes."
    return "The histories of the servers are being compared."


def section(each: BackendReport, view: StatusView) -> str:
    """Return the history of a server as HTML; empty if histories are not compared."""
    if not is_shown(view):
        return ""
    holes = _holes(each.backend, view)
    first = _first(view)
    spans = (DAY_S, view.now - first) if view.now - first > DAY_S else (max(1.0, view.now - first),)
    strips = "".join(_strip(each.backend, view, holes, span) for span in spans)
    return f"{_compared(each.backend, view)}{strips}{_listed(each.backend, holes, view.now)}{_always(each.backend, view)}"


def _progress(backend: Backend, view: StatusView) -> Progress:
    return view.looked_back.get(backend, Progress())


def _first(view: StatusView) -> float:
    """Return the time of the oldest data of all servers, so that the strips of all servers have the same scale."""
    known = [each.facts.oldest for each in view.selection.observations if each.facts.oldest is not None]
    return min(known, default=view.now - DAY_S)


def _oldest(backend: Backend, view: StatusView) -> float:
    oldest = next((each.facts.oldest for each in view.selection.observations if each.backend == backend), None)
    return _first(view) if oldest is None else oldest


def _holes(backend: Backend, view: StatusView) -> tuple[HistoryHole, ...]:
    missing = view.coverage.missing.get(backend, NOTHING)
    return found(missing, view.coverage.jobs, _oldest(backend, view), view.now)


def _strip(backend: Backend, view: StatusView, holes: tuple[HistoryHole, ...], span: float) -> str:
    start, progress = view.now - span, _progress(backend, view)
    compared = start if progress.finished else view.now if progress.until is None else progress.until
    gaps = view.coverage.missing.get(backend, NOTHING).gaps(view.coverage.jobs)
    strip = Strip(start, view.now, _oldest(backend, view), compared, gaps)
    lengths = [min(hole.end, view.now) - max(hole.start, start) for hole in holes if hole.end > start]
    count = f"{number(len(lengths))} hole{'' if len(lengths) == 1 else 's'}".lower()
    lacks = f"{count}, {duration(sum(lengths))} in all" if lengths else "no hole known"
    name = "day" if span == DAY_S else duration(span)
    axis = f"<span>{duration(span)} ago</span><span>{lacks}</span><span>now</span>"
    return f'<figure>{drawn(strip, f"Last {name}: {lacks}")}<div class="axis">{axis}</div></figure>'


def _listed(backend: Backend, holes: tuple[HistoryHole, ...], now: float) -> str:
    """Return the holes in words, the newest first."""
    rows = [f"<li>{text(words(hole, now))}</li>" for hole in holes[: -MOST_UNFOLDED - 1 : -1]]
    shown, folded = "".join(rows[:MOST_SHOWN]), "".join(rows[MOST_SHOWN:])
    if not shown:
        return ""
    more = len(holes) - MOST_SHOWN
    newest = f", of which the newest {MOST_UNFOLDED - MOST_SHOWN} are shown" if len(holes) > MOST_UNFOLDED else ""
    rest = (
        f'<details id="holes-of-{backend.id}"><summary>{more:,} more hole{"" if more == 1 else "s"}{newest}</summary>'
        f'<ul class="holes">{folded}</ul></details>'
    )
    return f'<ul class="holes" aria-label="Holes in its history, UTC">{shown}</ul>{rest if folded else ""}'


def _always(backend: Backend, view: StatusView) -> str:
    drift = never_had(backend, view)
    if not drift:
        return ""
    return f'<p class="small"><span class="badge calm">drift</span> It never had {text(drift)}.</p>'


def never_had(backend: Backend, view: StatusView) -> str:
    """Return the targets that a server never had as plain text; empty if there are none."""
    drift = view.coverage.missing.get(backend, NOTHING).drift
    jobs = [f"{count:,} target{'' if count == 1 else 's'} of the job {job}" for job, count in sorted(drift.items())]
    more = [f"some of {len(jobs) - MOST_JOBS} other jobs"] if len(jobs) > MOST_JOBS else []
    return listing([*jobs[:MOST_JOBS], *more])


def _compared(backend: Backend, view: StatusView) -> str:
    """Return how far a server's history was compared with the histories of the others."""
    progress, length = _progress(backend, view), max(1.0, view.now - _oldest(backend, view))
    done = 0.0 if progress.until is None else view.now - progress.until
    if progress.finished:
        told = "all of it is compared with the other servers"
    elif done < _NOT_BEGUN_S:
        told = "not compared with the other servers yet"
    else:
        told = f"the last {duration(done)} ({min(0.99, done / length):.0%}) are compared with the other servers"
    problem = f"; it does not go on: {progress.problem}" if progress.problem else ""
    return f'<p class="small"><span class="soft">History</span> {text(told + problem)}</p>'
