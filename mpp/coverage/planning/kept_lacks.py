"""
Keeps, for the last queries, the data that each server lacks of what the query reads, until gaps or rules change. Pure.

# Note [Preparing a plan]

With hundreds of gaps it takes tens of milliseconds to work out the lacks for a query, and other clients would wait meanwhile. So
a request in a pool with `MANY_GAPS` is prepared first: all lacks and comparisons that its plan needs are worked out in steps and
kept, and the reactor serves other clients between the steps. A plan that was not prepared works them out at once.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Generator, Iterable

from attrs import define, field, frozen

from mpp.core.coverage import WHOLE_POOL, Coverage
from mpp.core.generators import result_of
from mpp.core.model import Backend
from mpp.coverage.planning.levels import comparing
from mpp.coverage.planning.query_lacks import QueryLacks, working_out_lacks
from mpp.coverage.planning.selectors import Selector
from mpp.coverage.planning.steps import Steps

MANY_GAPS = 50
"""The number of gaps of all servers together from which on a plan is prepared: with fewer it takes less than 5 ms."""

MOST_KEPT = 256
"""Maximum number of queries that are remembered."""

MOST_BENDS = 200_000
"""Maximum of `QueryLacks.bends`, which measures memory, for all queries together: some 20 to 40 MB."""


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
    _bends: int = field(init=False, default=0)
    # The calculations under way. Each of the requests that wait for one does some of its steps.
    _begun: dict[LacksKey, Generator[None, None, QueryLacks]] = field(init=False, factory=dict)

    def clear(self, coverage: Coverage) -> None:
        """Forget all queries, because the gaps of the servers or their rules have changed."""
        self.coverage = coverage
        # New objects end the preparations under way.
        self._kept, self._begun = OrderedDict(), {}
        self._bends = 0

    def of(self, key: LacksKey, selectors: Iterable[Selector]) -> QueryLacks:
        """Return the data of a query that each server lacks, worked out now if it is not kept."""
        found = self._kept.get(key)
        if found is None:
            work = self._begun.pop(key, None) or working_out_lacks(selectors, self.coverage, key.lookback)
            found = result_of(work)
            self._keep(key, found)
        else:
            self._kept.move_to_end(key)
        return found

    def preparing(
        self, key: LacksKey, selectors: Iterable[Selector], steps: Steps, compared: Iterable[tuple[Backend, ...]]
    ) -> Generator[None, None, None]:
        """
        Prepare the plan of a request, see Note [Preparing a plan]; yields after each step. Ends when gaps or rules change.

        :param steps: the steps of the request.
        :param compared: each set of servers that will be compared, sorted by `mpp.coverage.planning.plan.in_one_order`.
        """
        kept = self._kept
        while key not in kept:
            self._step(key, selectors)
            yield
            if self._kept is not kept:
                return
        lacks = kept[key]
        if lacks.concerns(steps.start, steps.time(steps.count - 1) + 1):
            for servers in compared:
                yield from comparing(lacks, servers, steps)
                for each in servers:
                    yield from lacks.judging(each, common=True)
        if self._kept is kept and key not in kept:
            # Other preparations have taken its place meanwhile.
            self._keep(key, lacks)

    def _step(self, key: LacksKey, selectors: Iterable[Selector]) -> None:
        """Do the next step of what is worked out for a query, and keep the result of the last one."""
        work = self._begun.get(key)
        if work is None:
            work = self._begun[key] = working_out_lacks(selectors, self.coverage, key.lookback)
        try:
            next(work)
        except StopIteration as end:
            del self._begun[key]
            self._keep(key, end.value)
        except Exception:
            del self._begun[key]
            raise

    def _keep(self, key: LacksKey, lacks: QueryLacks) -> None:
        self._kept[key] = lacks
        self._bends += lacks.bends
        while len(self._kept) > 1 and (len(self._kept) > MOST_KEPT or self._bends > MOST_BENDS):
            self._bends -= self._kept.popitem(last=False)[1].bends
