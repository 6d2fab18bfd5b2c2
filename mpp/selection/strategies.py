"""
The routing strategies: which backends take traffic, given the observations. Pure: no clock, no I/O, no logging.

All strategies share `rank`, which sorts all known backends into one order, best first; they differ in how many from the
top of it they select.

# Note [Most data]

From Prometheus 2.x on, the measure is the length of the history that a server holds, less the part that is known to be missing
(`mpp.coverage.gaps`): ten minutes of half the targets count as five minutes. The counters of samples start at 0 with every
restart and do not measure the data on disk. 1.x does not report its oldest sample, but its counter of ingested samples suits
this comparison. If a pool has both kinds, as during a migration, samples cannot be compared with seconds: then a 1.x server
counts with its uptime, the length of history that it certainly has. No data, or no known data, is a measure of 0 and ranks last.

# Note [Hysteresis]

Retention deletes whole blocks, and the largest block is min(31 d, retention / 10), at least 2 h (Prometheus,
``cmd/prometheus/main.go`` and ``tsdb/db.go``). So the history of a healthy server at its limit grows up to one block beyond
the retention, drops back, and grows again; two equal servers do so at slightly different moments, and the one that dropped last
looks poorer by up to 36 h at the default 15 d. If traffic followed, every drop would move all clients for nothing. Therefore
a backend keeps its place until another one has more than its place's *slack* in addition:

- At the limit (history >= retention - 2 blocks) the slack is the largest block, and 2 h because a server looks for expired
  blocks only when it cuts a head block, every 2 h.
- Below it nothing was dropped yet, so a difference is real: one of them is younger, or lost its disk. The slack is then
  min(2 h, history / 10), enough against servers started one after the other. A server with 10 h does not stay in front
  of one with 30 h that was restarted.
- Retention by size: the limit cannot be known, and without a limit in time blocks grow to 31 d. The slack is the
  largest block, but no more than half of the history, so that young servers still differ.
- Unknown retention: history at the limit is at least the retention, so the largest block is at most history / 10.


By these rules the slack is never more than half of the history: a server with 1.5 times as much really has more. But it is always
an hour, or 1 % of the history if that is longer, so that small differences never move traffic. A server without data has no
slack. The slack of 1.x counters is a tenth.

Each place is defended like this, not only the first, since the order of the standbys is part of the published choice too, and a
choice that changes with every probe would be noise. The standing comes first: no place is defended against a better standing.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Sequence
from itertools import takewhile
from typing import NamedTuple

from attrs import frozen
from zope.interface import implementer

from mpp.core.interfaces import IStrategy
from mpp.core.model import Backend, Choice, Observation, Standing
from mpp.core.text.durations import duration
from mpp.core.text.written import written_duration

NEARLY = 0.99
"""Share of the best server's history that `MinimumHistory` requires of others: each server lacks a little after a restart."""

HOUR = 3600.0
DAY = 24 * HOUR

# Prometheus cuts its head into blocks of this length; all larger blocks are made of them.
_SMALLEST_BLOCK = 2 * HOUR
_LARGEST_BLOCK = 31 * DAY

# Backends with a better standing may take traffic from the start; the others are only tried after these have failed.
_TRIED_IN_ORDER = Standing.NOT_READY

_DEGRADED = {
    Standing.VIABLE: "",
    Standing.BUSY: "no backend is viable, the best is busy",
    Standing.SUSPECT: "no backend is usable; the least bad one serves, which is suspect",
}
_UNPROVEN = "no backend is known to be viable, they reject the probe's query"


class _Entry(NamedTuple):
    """
    A backend to be ranked, compared as a tuple: most data first, then the longest uptime, then the locators' order (unique).

    :ivar missing: the measure, see Note [Most data], as a negative number.
    :ivar started_at: its start time, infinity if that is not known.
    :ivar place: its index among its peers.
    :ivar slack: the slack of its place, in the unit of the measure.
    """

    missing: float
    started_at: float
    place: int
    slack: float
    observation: Observation


def rank(observations: Sequence[Observation], previous: Choice | None, now: float) -> tuple[Observation, ...]:
    """
    Return the observations of all backends, best first: viable and busy ones that lack no newest data, then viable and busy ones
    that lack some, then the suspect, the not ready and the down ones.

    Equally good backends are ordered by the amount of data, then the longest uptime, then the locators' order.

    :param previous: the previous choice, whose order stays unless the amounts of data differ by more than the slack of Note
        [Hysteresis]. None: no order has to stay.
    """
    order = () if previous is None else previous.selected + previous.standbys
    places = {backend: place for place, backend in enumerate(order)}
    tiers: defaultdict[tuple[int, ...], list[Observation]] = defaultdict(list)
    for observation in observations:
        tiers[_tier(observation)].append(observation)
    return tuple(ranked for tier in sorted(tiers) for ranked in _rank_peers(tiers[tier], places, now))


def _tier(observation: Observation) -> tuple[int, ...]:
    """
    Return a sort key that counts more than the amount of data, best first: usable servers that lack no newest data, then usable
    servers that do, fewest missing targets first, then all other servers, by standing.
    """
    standing, lack = observation.standing, observation.lack
    if standing > Standing.BUSY:
        return 2, standing
    return (0, standing) if lack is None else (1, lack.missing, standing)


def _rank_peers(peers: Sequence[Observation], places: dict[Backend, int], now: float) -> list[Observation]:
    """Return the peers ordered by their data, except where an incumbent defends its previous place."""
    by_data = sorted(_entries(peers, now))
    by_place = sorted((e for e in by_data if e.observation.backend in places), key=lambda e: places[e.observation.backend])
    challengers, incumbents = deque(by_data), deque(by_place)
    # Keyed by the place among the peers, which is unique. A ranked entry leaves a queue when it comes to the front.
    ranked: dict[int, Observation] = {}
    while len(ranked) < len(by_data):
        while challengers[0].place in ranked:
            challengers.popleft()
        while incumbents and incumbents[0].place in ranked:
            incumbents.popleft()
        best = challengers[0]
        if incumbents and incumbents[0].missing - best.missing <= incumbents[0].slack:
            best = incumbents[0]
        ranked[best.place] = best.observation
    return list(ranked.values())


def _entries(peers: Sequence[Observation], now: float) -> list[_Entry]:
    if any(o.facts.oldest is not None for o in peers):
        return [_entry_by_history(o, now, place) for place, o in enumerate(peers)]
    samples = [o.facts.samples or 0.0 for o in peers]
    return [
        _Entry(-count, _started_at(o), place, count / 10, o) for place, (o, count) in enumerate(zip(peers, samples, strict=True))
    ]


def _entry_by_history(observation: Observation, now: float, place: int) -> _Entry:
    server_state = observation.facts
    history = observation.held(now)
    if server_state.oldest is None and server_state.samples and server_state.started_at is not None:
        history = max(0.0, now - server_state.started_at)
    slack = history_slack(history, server_state.retention_s, server_state.retention_by_size)
    return _Entry(-history, _started_at(observation), place, slack, observation)


def _started_at(observation: Observation) -> float:
    started_at = observation.facts.started_at
    return float("inf") if started_at is None else started_at


def history_slack(history: float, retention: float | None, by_size: bool) -> float:
    """
    Return how many seconds more of history another backend needs to rank before one that has ``history`` seconds.

    See Note [Hysteresis].

    :param retention: the retention by time of the backend with ``history``, in seconds; None when not known.
    :param by_size: whether the retention of that backend is limited by size, too.
    """
    young = min(2 * HOUR, history / 10)
    if by_size:
        slack = _LARGEST_BLOCK if retention is None else largest_block(retention)
    elif retention is None:
        slack = largest_block(history)
    else:
        block = largest_block(retention)
        slack = block + _SMALLEST_BLOCK if history >= retention - 2 * block else young
    return max(min(slack, history / 2), HOUR, history / 100) if history else 0.0


def largest_block(retention: float) -> float:
    """Return the length in seconds of the largest block that a server with this retention makes."""
    return max(_SMALLEST_BLOCK, min(_LARGEST_BLOCK, retention / 10))


def _choose(ranked: Sequence[Observation], selected: Sequence[Observation], degraded: str) -> Choice:
    """Return a choice of the selected backends; all others are standbys, in the given order."""
    taken = {o.backend for o in selected}
    standbys = tuple(o.backend for o in ranked if o.backend not in taken)
    return Choice(tuple(o.backend for o in selected), standbys, degraded)


def _usable(ranked: Sequence[Observation]) -> tuple[list[Observation], str]:
    """Return the backends of the best standing, none if it is too bad, and a line that says so if it is not VIABLE."""
    if not ranked:
        return [], "no backend is known"
    best = ranked[0].standing
    if best >= _TRIED_IN_ORDER:
        return [], "no backend is usable; all are tried in order, the least bad first"
    tier = _tier(ranked[0])
    usable = list(takewhile(lambda o: _tier(o) == tier, ranked))
    return usable, _UNPROVEN if best is Standing.BUSY and all(o.unproven for o in usable) else _DEGRADED[best]


@implementer(IStrategy)
class SingleMostData:
    """A strategy that selects one backend: the one with the most data among the usable ones. The others are standbys."""

    def __repr__(self) -> str:
        return "single-most-data"

    def select(self, observations: Sequence[Observation], previous: Choice | None, now: float) -> Choice:
        """Select the best backend by `rank`; none if all are not ready or down."""
        ranked = rank(observations, previous, now)
        usable, degraded = _usable(ranked)
        return _choose(ranked, usable[:1], degraded)


@implementer(IStrategy)
class RandomStrategy:
    """
    A strategy that selects all backends in the best state (viable, if any is), whatever the length of their history.

    Each new client gets a random one of these.
    """

    def __repr__(self) -> str:
        return "random"

    def select(self, observations: Sequence[Observation], previous: Choice | None, now: float) -> Choice:
        """Select all usable backends whose state and lack of newest data are the same as of the best one."""
        ranked = rank(observations, previous, now)
        return _choose(ranked, *_usable(ranked))


@implementer(IStrategy)
@frozen(repr=False)
class MinimumHistory:
    """
    A strategy that selects all backends in the best state (viable, if any is) with nearly as much recent history as the best one.

    New clients get a random one of these. If even the best one holds less than ``duration``, the choice is flagged as degraded.
    Busy backends with enough history are the first standbys: a late response is better than one that lacks data.

    :ivar duration: how far the recent history reaches back, in seconds.
    """

    duration: float

    def __repr__(self) -> str:
        return f"minimum-history:{written_duration(self.duration)}"

    def select(self, observations: Sequence[Observation], previous: Choice | None, now: float) -> Choice:
        """Select the backends in the best state that have enough history; the best one by `rank` if no history is known."""
        ranked = rank(observations, previous, now)
        usable, degraded = _usable(ranked)
        best = max(usable, key=lambda o: o.held(now, self.duration), default=None)
        most = 0.0 if best is None else best.held(now, self.duration)
        enough = {o.backend for o in ranked if most and o.held(now, self.duration) >= NEARLY * most}
        selected = [o for o in usable if o.backend in enough] or usable[:1]
        if best is not None and best.history(now) < self.duration:
            degraded = "; ".join(filter(None, (degraded, self._shortage(best, now))))
        after_busy = sorted(ranked, key=lambda o: not (o.standing is Standing.BUSY and o.backend in enough))
        return _choose(after_busy, selected, degraded)

    def _shortage(self, best: Observation, now: float) -> str:
        held = duration(best.history(now)) if best.facts.oldest is not None else "an unknown amount"
        return f"no usable backend holds {duration(self.duration)} of history; {best.backend.name} holds the most ({held})"
