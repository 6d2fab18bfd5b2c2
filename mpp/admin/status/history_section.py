"""
Renders a server's history on its card of the status page: the last day and all of it as strips, its gaps in words, what it never
had, and how far it was compared with the other servers. Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from attrs import frozen

from mpp.admin.status.data import StatusView
from mpp.admin.status.holes import SHORTEST_S, HistoryHole, found, time_of_day, words
from mpp.admin.status.html import text
from mpp.admin.status.strip import Strip, drawn
from mpp.core.coverage import NOTHING
from mpp.core.facts import Gap
from mpp.core.intervals import NEVER, Intervals
from mpp.core.model import Backend, Observation, Standing
from mpp.core.text.durations import duration
from mpp.core.text.humanize import listing, moment, noun, number, quantity
from mpp.coverage.history.service import Progress
from mpp.coverage.planning.plan import written

DAY_S = 86400.0
MOST_SHOWN = 4
"""Maximum number of gaps that a card shows without being unfolded: the newest ones."""
MOST_UNFOLDED = 50
_NOT_BEGUN_S = 120.0
"""The look back begins some seconds before the present; a shorter time says only that it has begun, in seconds."""
MOST_JOBS = 3
"""Maximum number of jobs that are named of the jobs that a server never had."""
LEGEND = (
    "Strips: the history that each server has, on the same scale for all servers; a notch with a mark below it is data that "
    "the server lacks and another one has, as deep as the share of the missing targets. Dashed: not compared yet, or not known. "
    "Times are UTC."
)


@frozen
class ServerHistory:
    """
    One server's history as the page shows it, made once for each page.

    :ivar first: the time of the oldest data of all servers, so that the strips of all servers have the same scale.
    :ivar oldest: the time of its own oldest data.
    :ivar known: the time until which its data is known: the present, or when it was last in service.
    :ivar gaps: the data that it lacks for the strips, as shares of all targets.
    :ivar drift: the number of targets that it never had, by job.
    """

    backend: Backend
    now: float
    first: float
    oldest: float
    known: float
    gaps: tuple[Gap, ...]
    holes: tuple[HistoryHole, ...]
    drift: Mapping[str, int]
    progress: Progress


def histories(view: StatusView) -> dict[Backend, ServerHistory]:
    """Return the histories of all servers; none with ``--no-coverage`` and with a single server: nothing is compared."""
    observations = view.selection.observations
    if len(observations) < 2 or (view.coverage.is_whole and not view.looked_back):
        return {}
    known = [each.facts.oldest for each in observations if each.facts.oldest is not None]
    first = min(known, default=view.now - DAY_S)
    return {each.backend: _history(each, view, first) for each in observations}


def _history(observation: Observation, view: StatusView, first: float) -> ServerHistory:
    backend, oldest = observation.backend, observation.facts.oldest
    since = first if oldest is None else oldest
    missing = view.coverage.missing.get(backend, NOTHING)
    gaps = missing.gaps(view.coverage.jobs)
    holes = found(missing, view.coverage.jobs, gaps, since, view.now)
    progress = view.looked_back.get(backend, Progress())
    known, drawn_gaps = _known(observation, view.now), tuple(gap for gap in gaps if gap.end - gap.start >= SHORTEST_S)
    return ServerHistory(backend, view.now, first, since, known, drawn_gaps, holes, missing.drift, progress)


def _known(observation: Observation, now: float) -> float:
    """Return the time until which the data of a server is known: for one out of service, until its state was known last."""
    if observation.standing <= Standing.BUSY and not observation.ejected_at:
        return now
    return min(now, observation.ejected_at or observation.facts.read_at)


def summary(known: Collection[ServerHistory], common: Intervals = NEVER) -> str:
    """
    Return what is known of the histories of all servers, one or two sentences; empty if they are not compared.

    :param common: the times in which no server has data.
    """
    if not known:
        return ""
    told = _summary(
        known,
        "No server is known to lack data that another one has." if common else "The histories of the servers have no known gaps.",
    )
    if not common:
        return told
    times = written(Intervals(tuple(1000 * edge for edge in common.edges)))
    return f"{told} No server has data from {times}; a query that needs this data gets a warning."


def _summary(known: Collection[ServerHistory], whole: str) -> str:
    """Return what the servers lack that other servers have."""
    lacking = [each.backend.name for each in known if each.holes]
    if lacking:
        have = "has gaps in its history" if len(lacking) == 1 else "have gaps in their histories"
        return f"{listing(lacking)} {have}; a query for such a time goes to the server that lacks least of it."
    if all(each.progress.finished and not each.progress.again for each in known):
        return whole
    return "The histories of the servers are being compared."


def section(history: ServerHistory | None) -> str:
    """Return the history of a server as HTML; empty if it is not compared."""
    if history is None:
        return ""
    whole = max(1.0, history.now - history.first)
    strips = "".join(_strip(history, span) for span in ((DAY_S, whole) if whole > DAY_S else (whole,)))
    return f"{_compared(history)}{strips}{_listed(history)}{_always(history)}"


def _strip(history: ServerHistory, span: float) -> str:
    now, start, progress = history.now, history.now - span, history.progress
    compared = start if progress.finished else now if progress.until is None else progress.until
    strip = Strip(start, now, history.oldest, compared, history.known, history.gaps, progress.again)
    lengths = [min(hole.end, now) - max(hole.start, start) for hole in history.holes if hole.end > start]
    count = f"{number(len(lengths))} {noun(len(lengths), 'gap')}".lower()
    lacks = f"{count}, {duration(sum(lengths))} in all" if lengths else "no gap known"
    if history.known < now:
        lacks += f", the last {duration(min(span, now - history.known))} not known"
    name = "day" if span == DAY_S else duration(span)
    axis = f"<span>{duration(span)} ago</span><span>{lacks}</span><span>now</span>"
    return f'<figure>{drawn(strip, f"Last {name}: {lacks}")}<div class="axis">{axis}</div></figure>'


def _listed(history: ServerHistory) -> str:
    """Return the gaps in words, the newest first."""
    holes, now = history.holes, history.now
    rows = [f"<li>{text(words(hole, now))}</li>" for hole in holes[: -MOST_UNFOLDED - 1 : -1]]
    shown, folded = "".join(rows[:MOST_SHOWN]), "".join(rows[MOST_SHOWN:])
    if not shown:
        return ""
    more = len(holes) - MOST_SHOWN
    newest = f", of which the newest {MOST_UNFOLDED - MOST_SHOWN} are shown" if len(holes) > MOST_UNFOLDED else ""
    rest = (
        f'<details id="holes-of-{history.backend.id}"><summary>{quantity(more, "more gap")}{newest}</summary>'
        f'<ul class="holes">{folded}</ul></details>'
    )
    return f'<ul class="holes" aria-label="Gaps in its history, UTC">{shown}</ul>{rest if folded else ""}'


def _always(history: ServerHistory) -> str:
    drift = never_had(history)
    if not drift:
        return ""
    return f'<p class="small"><span class="badge calm">drift</span> It never had {text(drift)}.</p>'


def never_had(history: ServerHistory) -> str:
    """Return the targets that a server never had as plain text; empty if there are none."""
    jobs = [f"{quantity(count, 'target')} of the job {job}" for job, count in sorted(history.drift.items())]
    more = [f"some of {quantity(len(jobs) - MOST_JOBS, 'other job')}"] if len(jobs) > MOST_JOBS else []
    return listing([*jobs[:MOST_JOBS], *more])


def _until_known(history: ServerHistory) -> str:
    """Return what is known of the history of a server that is out of service."""
    until = history.progress.until
    if until is None or history.known <= until:
        return "not known, because the server is out of service"
    times = f"until {moment(history.known)}" if history.progress.finished else f"from {moment(until)} to {moment(history.known)}"
    return f"compared with the other servers {times}; later data is not known while the server is out of service"


def _again(history: ServerHistory) -> str:
    """Return the time that is compared again, as a part of a sentence; empty if there is none."""
    hull = history.progress.again.hull
    if hull is None:
        return ""
    start, end = hull
    since = time_of_day(start, history.now)
    when = f"since {since}" if end >= history.now else f"from {since} to {time_of_day(end, start)}"
    return f"; the time {when} is compared again, because the server was away or lacked data then"


def _compared(history: ServerHistory) -> str:
    """Return how far a server's history was compared with the histories of the others."""
    progress, length = history.progress, max(1.0, history.now - history.oldest)
    done = 0.0 if progress.until is None else history.now - progress.until
    if history.known < history.now:
        told = _until_known(history)
    elif progress.finished:
        told = "all of it is compared with the other servers"
    elif done < _NOT_BEGUN_S:
        told = "not compared with the other servers yet"
    else:
        told = f"the last {duration(done)} ({min(0.99, done / length):.0%}) are compared with the other servers"
    told += _again(history)
    problem = f"; paused: {progress.problem}" if progress.problem else ""
    return f'<p class="small"><span class="soft">History</span> {text(told + problem)}</p>'
