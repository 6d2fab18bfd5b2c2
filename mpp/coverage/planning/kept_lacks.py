"""
Keeps, for the last queries, the data that each server lacks of what the query reads, until gaps or rules change. Pure.

# Note [Preparing a plan]

With hundreds of gaps it takes tens of milliseconds to work out the lacks for a query, and other clients would wait meanwhile. So
a request in a pool with `MANY_GAPS` is prepared first: the lacks, and the comparison for its whole range, are worked out in steps
and kept, and the reactor serves other clients between the steps. A plan that was not prepared works them out at once.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Generator, Iterable

from attrs import define, field, frozen

from mpp.core.coverage import WHOLE_POOL, Coverage
from mpp.core.model import Backend
from mpp.coverage.planning.levels import comparing
from mpp.coverage.planning.query_lacks import QueryLacks, working_out_lacks
from mpp.coverage.planning.steps import Steps
from mpp.promql.memory import LONGEST_ENCODED
from mpp.promql.reads import SelectorReads

MANY_GAPS = 50
"""The number of gaps of all servers together from which on a plan is prepared: with fewer it takes less than 5 ms."""

MOST_KEPT = 256
"""Maximum number of queries that are remembered."""

MOST_BYTES = 25_000_000
"""Maximum of the estimated memory of all queries together."""

BEND_BYTES = 100
"""Estimated memory per bend (`QueryLacks.bends`), with all that is kept beside it: measured, rounded up."""


@frozen
class LacksKey:
    """
    The key of a query: all that its lacks depend on, apart from the coverage and the rules.

    :ivar queries: the query, or the selectors, percent-encoded as they were sent.
    :ivar evaluated: whether it is a query that is evaluated; else all samples of its selectors are read.
    :ivar lookback: how far instant selectors look back, in seconds.
    :ivar read: the time that the request reads, in milliseconds since the epoch, if the query names it (``@ start()``); None if
        its reads depend on the time of evaluation only.
    """

    queries: tuple[bytes, ...]
    evaluated: bool
    lookback: float
    read: tuple[int, int] | None = None


@define
class KeptLacks:
    """
    The memory of what each server lacks of the data of the last queries.

    :ivar coverage: all gaps of the servers, from which it was worked out.
    """

    coverage: Coverage = WHOLE_POOL
    _kept: OrderedDict[LacksKey, QueryLacks] = field(init=False, factory=OrderedDict)
    _bytes: int = field(init=False, default=0)

    def clear(self, coverage: Coverage) -> None:
        """Forget all queries, because the gaps of the servers or their rules have changed."""
        self.coverage = coverage
        # A new object ends the preparations under way.
        self._kept = OrderedDict()
        self._bytes = 0

    def working_out(self, key: LacksKey, selectors: Iterable[SelectorReads]) -> Generator[None, None, QueryLacks]:
        """
        Return the data of a query that each server lacks, by the gaps that are known at the first step. Yields before each part
        of the work, so if it is kept, it ends at once.
        """
        kept, coverage = self._kept, self.coverage
        if key not in kept:
            yield
        # It may have been worked out for another request meanwhile.
        found = kept.get(key)
        if found is None:
            found = yield from working_out_lacks(selectors, coverage, key.lookback)
            if self._kept is kept:
                self._keep(key, found)
        else:
            kept.move_to_end(key)
        return found

    def preparing(
        self, key: LacksKey, selectors: Iterable[SelectorReads], steps: Steps, compared: Iterable[tuple[Backend, ...]]
    ) -> Generator[None, None, None] | None:
        """
        Return a calculation that prepares the plan of a request, see Note [Preparing a plan]; None if no lack matters to it.

        It yields before each part of the work, so if all is kept, it ends at once. It also ends when gaps or rules change.

        :param steps: the steps of the request.
        :param compared: each set of servers that will be compared, sorted by `mpp.coverage.planning.plan.in_one_order`.
        """
        known = self._kept.get(key)
        if known is not None and not known.concerns(steps.start, steps.end):
            return None
        return self._while_kept(self._preparing(key, selectors, steps, compared))

    def _while_kept(self, work: Generator[None, None, None]) -> Generator[None, None, None]:
        kept = self._kept
        for _ in work:
            yield
            if self._kept is not kept:
                return

    def _preparing(
        self, key: LacksKey, selectors: Iterable[SelectorReads], steps: Steps, compared: Iterable[tuple[Backend, ...]]
    ) -> Generator[None, None, None]:
        lacks = yield from self.working_out(key, selectors)
        if lacks.concerns(steps.start, steps.end):
            for servers in compared:
                yield from comparing(lacks, servers, steps)
                for each in servers:
                    yield from lacks.preparing(each)
        if key not in self._kept:
            # Other queries have taken its place meanwhile.
            self._keep(key, lacks)

    def _keep(self, key: LacksKey, lacks: QueryLacks) -> None:
        if sum(map(len, key.queries)) > LONGEST_ENCODED:
            # The clients choose the queries; to work out the lacks for one of this length takes little time (`TOO_LONG`).
            return
        before = self._kept.pop(key, None)
        if before is not None:
            self._bytes -= size_of(key, before)
        self._kept[key] = lacks
        self._bytes += size_of(key, lacks)
        while len(self._kept) > 1 and (len(self._kept) > MOST_KEPT or self._bytes > MOST_BYTES):
            self._bytes -= size_of(*self._kept.popitem(last=False))


def size_of(key: LacksKey, lacks: QueryLacks) -> int:
    """Return the estimated memory of what is kept for a query, in bytes."""
    return BEND_BYTES * lacks.bends + sum(map(len, key.queries))
