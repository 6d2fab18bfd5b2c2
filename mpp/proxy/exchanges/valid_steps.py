"""
Judges from the present knowledge about the servers whether cached steps may still be used.

# Note [Valid steps]

A cached step is valid as long as the server that answered it lacks nothing that another server has, and nothing that the step
needs, as far as is known by now: knowledge of a gap may come later than the response. Data that the step only looks back on
counts, too: a series that ended in a gap has its last sample at the other server only. Steps are also dropped when their server
has another version, other flags or other labels now, when retention has removed the data that they read from all servers, and
when they are older than ``--cache-max-age``. They stay when the server leaves, returns or moves, because it would give the same
answer again, unless every server that is there now has another version, other flags or other labels than the one that answered:
where servers get new addresses with each restart, a new version comes with a new address.

A check takes long where the servers have many gaps, so it is made only when something has changed that validity depends on:
`KnownServers`. Apart from the age of the steps, which is looked at for each request, time makes no valid step invalid: it only
makes more of the common gaps final.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping
from typing import Any

from attrs import field, frozen

from mpp.cache.extents import Extent
from mpp.cache.view import merged
from mpp.core.coverage import Coverage
from mpp.core.intervals import NEVER, Intervals
from mpp.core.model import Backend, Selection
from mpp.proxy.context import ForwardContext
from mpp.proxy.decisions.caching import CacheableRequest, ExtentSource
from mpp.proxy.plan_queue import Work

COMMON_GAP_S = 600.0
"""The age in seconds from which on a gap that all servers have counts as final: until then a server may still fill it."""


@frozen
class KnownServers:
    """
    The facts about the servers that the validity of cached steps depends on.

    :ivar coverage: what the servers lack; compared by identity, because there is a new object only when something has changed.
    :ivar rules_version: how often the rules of the servers have changed.
    :ivar servers: all servers.
    :ivar answers_ids: a hash of the state of each observed server that decides its answers; empty if it is not known.
    :ivar oldest: the time of the oldest sample of any server; None if a server does not report it, or there is no server.
    """

    coverage: Coverage = field(eq=id)
    rules_version: int
    servers: frozenset[Backend]
    answers_ids: Mapping[Backend, str]
    oldest: float | None

    @classmethod
    def of(cls, coverage: Coverage, selection: Selection, rules_version: int) -> KnownServers:
        """Return these facts, collected from what the servers lack, a selection, and the version of the rules."""
        servers = frozenset((*selection.ranked, *coverage.missing))
        answers_ids = {backend: each.facts.answers_id for backend, each in selection.observed.items()}
        return cls(coverage, rules_version, servers, answers_ids, _oldest(selection))

    def would_answer_otherwise(self, source: ExtentSource) -> bool:
        """Return whether the server that answered would now answer otherwise; if it has left, whether all servers would."""
        servers = (source.backend,) if source.backend in self.answers_ids else tuple(self.answers_ids)
        now = {self.answers_ids[each] for each in servers} - {""}
        return bool(now and source.answers_id) and source.answers_id not in now


class KnownNow:
    """The holder of the current `KnownServers`, which is replaced only when one of its values has changed."""

    def __init__(self) -> None:
        self._of: tuple[Coverage, Selection, int] | None = None
        self._known: KnownServers | None = None

    def get(self, context: ForwardContext) -> KnownServers:
        """Return the current facts about the servers; the same object as before if none of them has changed."""
        coverage, selection = context.selections.coverage, context.selections.current
        version, last, known = context.planner.rules_version, self._of, self._known
        if known is not None and last is not None and last[0] is coverage and last[1] is selection and last[2] == version:
            return known
        # Each round publishes a new selection, in which mostly nothing has changed but times.
        self._of = coverage, selection, version
        found = KnownServers.of(coverage, selection, version)
        if known is None or found != known:
            self._known = known = found
        return known


def invalid_extents(
    context: ForwardContext, request: CacheableRequest, known: KnownServers, extents: Iterable[Extent], found: set[Extent]
) -> Work:
    """
    Add the cached steps that must not be used any longer to a set, see Note [Valid steps]; yields between the parts of the work.

    :param extents: all cached steps, in any order.
    :param found: the set that they are added to.
    """
    ordered: list[Any] = sorted(extents, key=_first)
    changed = {source for source in {each.source for each in ordered} if known.would_answer_otherwise(source)}
    found.update(each for each in ordered if each.source in changed)
    if known.coverage.is_whole:
        return
    servers, final = tuple(known.servers), _final_gaps(context)
    for first, last in merged([(each.first, each.last) for each in ordered]):
        # Servers are compared at all steps of a range at once, for there may be hundreds of extents in it.
        inside = ordered[bisect_left(ordered, first, key=_first) : bisect_right(ordered, last, key=_first)]
        backends = {each.source.backend for each in inside}
        steps = request.within(first, last)
        good = yield from context.planner.good_steps(steps, known.coverage, backends, servers, final)
        found.update(each for each in inside if not good[each.source.backend].covers(each.first - first, each.last + 1 - first))
        yield


def common_gaps(context: ForwardContext) -> Intervals:
    """Return the times, in ms, at which steps in a gap of all servers may be cached: none while a server is not in service."""
    selection = context.selections.current
    servers = [each.backend for each in selection.observations if not each.is_self]
    return _final_gaps(context) if all(map(selection.is_in_service, servers)) else NEVER


def _final_gaps(context: ForwardContext) -> Intervals:
    """Return the times, in milliseconds, at which a gap that all servers have is final."""
    return Intervals.of([(-math.inf, (context.wall() - COMMON_GAP_S) * 1000)])


def _first(extent: Extent) -> int:
    return extent.first


def _oldest(selection: Selection) -> float | None:
    """Return the time of the oldest sample of any server; None if one does not say, or there is no server."""
    found = [each.facts.oldest for each in selection.observations if not each.is_self]
    known = [oldest for oldest in found if oldest is not None]
    return min(known) if known and len(known) == len(found) else None
