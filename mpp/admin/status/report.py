"""The report of the status page: the verdict, and the role of each backend with its reason. Pure; knows neither HTML nor JSON."""

from __future__ import annotations

from attrs import frozen

from mpp.admin.status.data import StatusView
from mpp.core.model import Backend, Observation, Selection, Standing
from mpp.core.text.durations import duration
from mpp.core.text.humanize import listing, quantity
from mpp.coverage import drift
from mpp.coverage.drift import Difference
from mpp.selection.recent import RecentTraffic
from mpp.selection.verdict.servers import UNREADABLE, sentence
from mpp.selection.verdict.verdict import BAD, GOOD, WARN, judge

# The number of backends that fit on a screen. If there are more, the page shows the ones with problems first.
FEW = 6


@frozen
class BackendReport:
    """
    The report about one backend.

    :ivar role: ``selected``, ``standby``, ``ejected`` or ``unusable`` (it is not healthy, and was not in service before).
    :ivar level: ``good``, ``warn`` or ``bad``.
    :ivar why: the reason for the role, in whole sentences.
    :ivar age: the age of its newest sample when it was last read, in seconds, or None.
    :ivar active: the number of its active requests.
    :ivar queued: the number of requests that wait because it works on as many as it may.
    """

    observation: Observation
    role: str
    level: str
    why: str
    age: float | None
    recent: RecentTraffic
    active: int
    queued: int

    @property
    def backend(self) -> Backend:
        """The backend that this report is about."""
        return self.observation.backend

    @property
    def is_current(self) -> bool:
        """True if the facts of the server are up to date; a server that is down or not ready reports none."""
        return self.observation.standing < Standing.NOT_READY


@frozen
class Report:
    """
    The report of the status page.

    :ivar level: ``good``, ``warn`` or ``bad``.
    :ivar verdict: the state of all servers, in a sentence or two.
    :ivar count: the numbers of viable and selected backends as text; empty if no backend is known.
    :ivar comparable: true if at least two servers can be compared; otherwise an empty ``drift`` means nothing.
    :ivar backends: best first, in the order in which requests try them; if there are many, the ones with problems come first.
    """

    view: StatusView
    level: str
    verdict: str
    count: str
    backends: tuple[BackendReport, ...]
    drift: tuple[Difference, ...]
    comparable: bool


def make(view: StatusView) -> Report:
    """Return the report about the data of the status page."""
    selection = view.selection
    outcome = judge(view.situation)
    places = {backend: place for place, backend in enumerate(selection.ranked)}
    ranked = sorted(selection.observations, key=lambda o: places.get(o.backend, len(places)))
    backends = [_backend(o, view) for o in ranked]
    if len(backends) > FEW:
        backends.sort(key=lambda each: (BAD, WARN, GOOD).index(each.level))
    count = (
        f"{selection.viable} of {quantity(len(ranked), 'backend')} viable, {len(selection.selected)} selected" if ranked else ""
    )
    return Report(view, outcome.level, outcome.text, count, tuple(backends), *_differences(selection))


def _differences(selection: Selection) -> tuple[tuple[Difference, ...], bool]:
    return drift.compare(selection.observations), drift.comparable(selection.observations) > 1


def role(observation: Observation, selection: Selection) -> str:
    """Return the role of a backend, see `BackendReport`; it is ``selected`` whenever it takes traffic, whatever its standing."""
    if observation.backend in selection.selected:
        return "selected"
    if observation.ejected_at:
        return "ejected"
    return "standby" if observation.standing < Standing.NOT_READY else "unusable"


def state(observation: Observation, selection: Selection) -> str:
    """Return the role of a backend, or ``replaying`` if it takes no traffic and replays its WAL."""
    what = role(observation, selection)
    return "replaying" if observation.replay is not None and what != "selected" else what


# Each backend


def _backend(observation: Observation, view: StatusView) -> BackendReport:
    backend = observation.backend
    what = role(observation, view.selection)
    age = _newest_sample_age(observation, view.now)
    stale = drift.is_stale(observation.facts)
    level = BAD if what in ("ejected", "unusable") or observation.standing > Standing.SUSPECT else GOOD
    if level == BAD and (observation.replay is not None or observation.leaving):
        # It happens at every restart, and ends without an operator.
        level = WARN
    found = observation.why or observation.unreadable or observation.limited or observation.lack
    if level == GOOD and (stale or observation.standing is not Standing.VIABLE or found):
        level = WARN
    active, queued = view.load.get(backend.name, (0, 0))
    why = _why(observation, what, view)
    return BackendReport(observation, what, level, why, age, view.recent.get(backend.name, RecentTraffic()), active, queued)


def _newest_sample_age(observation: Observation, now: float) -> float | None:
    """Return the age of a server's newest sample in seconds: as it was last read, or the time since ingestion stopped."""
    age, lack = drift.age(observation.facts), observation.lack
    return age if age is None or lack is None or not lack.stopped else max(age, now - lack.since)


def _why(observation: Observation, what: str, view: StatusView) -> str:
    parts = []
    if observation.ejected_at:
        parts.append(f"Out of service for {duration(view.now - observation.ejected_at)}.")
    if observation.replay is not None:
        parts.append(_replaying(observation, view.now))
    elif observation.why:
        parts.append(sentence(observation.why))
    if what == "selected":
        parts.append(_why_selected(observation, view))
    elif not parts and observation.lack is None:
        parts.append(_why_standby(observation, view))
    return " ".join((*parts, *_found_by_requests(observation)))


def _found_by_requests(observation: Observation) -> list[str]:
    """Return the sentences about faults that requests have found, and probes cannot find."""
    found = []
    if observation.unreadable:
        found.append(
            f"It {UNREADABLE}, so the queries that failed there go to other servers first: {sentence(observation.unreadable)}"
        )
    if observation.lack is not None:
        found.append(f"It {observation.lack}; queries for newest data go to the others.")
    if observation.limited:
        found.append("A proxy in front of it rejects requests with 503, although the server is ready.")
    return found


def _replaying(observation: Observation, now: float) -> str:
    replay = observation.replay
    assert replay is not None
    left = replay.left(observation.at)
    rest = "" if left is None else f", about {duration(max(1.0, left - (now - observation.at)))} left"
    return f"It replays its WAL: {replay.done} of {replay.total} segments ({replay.share:.0%}){rest}."


def _why_selected(observation: Observation, view: StatusView) -> str:
    if view.selection.last_resort:
        return "It serves as a last resort: no server is viable."
    if observation.standing is not Standing.VIABLE:
        return "It serves because no better server is available."
    strategy, _, argument = view.settings.routing_strategy.partition(":")
    held = _held(observation, view.now)
    if strategy == "single-most-data":
        alone = len(view.selection.observations) == 1
        return f"It serves with {held}" + (", as the only one." if alone else "; no healthy server has clearly more.")
    if strategy == "minimum-history" and not view.selection.choice.degraded:
        return f"It serves with {held}: of the last {argument} no server has clearly more."
    if strategy == "random":
        return "It serves, as every healthy server does."
    return f"It was chosen by the routing strategy {view.settings.routing_strategy}, with {held}."


def _why_standby(observation: Observation, view: StatusView) -> str:
    strategy, _, argument = view.settings.routing_strategy.partition(":")
    chosen = [o for o in view.selection.observations if o.backend in view.selection.selected]
    names = listing([o.backend.name for o in chosen]) or "no server"
    held = _held(observation, view.now)
    if strategy == "minimum-history" and not view.selection.choice.degraded:
        return f"It is a healthy standby. It has {held}; of the last {argument} {names} has more."
    if strategy == "single-most-data" and len(chosen) == 1:
        theirs, here = _held(chosen[0], view.now), held.removesuffix(" of history")
        less = observation.held(view.now) < chosen[0].held(view.now) and theirs != held
        compared = f"with {theirs}; here it is {here}" if less else f"{held} here are not clearly more"
        return f"It is a healthy standby. {names} was chosen{' ' if less else ': '}{compared}."
    return f"It is a healthy standby. {names} was chosen by the routing strategy."


def _held(observation: Observation, now: float) -> str:
    server_state = observation.facts
    if server_state.oldest is not None:
        return f"{duration(observation.held(now))} of history"
    return quantity(server_state.samples, "ingested sample") if server_state.samples else "no known history"
