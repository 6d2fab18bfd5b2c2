"""
Decides by what the servers lack which of them should answer a request. Pure, but it remembers what it has worked out.

`mpp.core.prometheus.data_requests` says what a request asks for, `mpp.promql` what its query reads, and
`mpp.coverage.planning.plan` which server answers.

# Note [What it costs]

Nothing as long as no server lacks anything. Otherwise most requests read no time in which a server lacks something; for a query
that was seen before this is found out from its encoded text, without decoding it. The lacks of the servers are kept for the
last queries until the coverage or the rules change (`mpp.coverage.planning.kept_lacks`), and so are warnings of cached panels.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Generator, Iterable, Sequence

from mpp.core.coverage import Coverage
from mpp.core.generators import result_of
from mpp.core.intervals import Intervals
from mpp.core.model import Backend
from mpp.core.prometheus.data_requests import DataKind, DataRequest
from mpp.coverage.planning import plan as planning
from mpp.coverage.planning.kept_lacks import KeptLacks, LacksKey
from mpp.coverage.planning.plan import Part
from mpp.coverage.planning.query_lacks import DEFAULT_LOOKBACK_S, QueryLacks
from mpp.coverage.planning.request_plan import RequestPlan
from mpp.coverage.planning.steps import Steps
from mpp.promql.jobs import ALL_JOBS
from mpp.promql.memory import LONGEST_ENCODED, QueryMemory
from mpp.promql.reads import QueryReads, SelectorReads
from mpp.promql.recorded import Rules

MOST_WARNINGS = 256
"""Warnings of cached panels that are remembered."""

_EVERYTHING = QueryReads((SelectorReads(0.0, 0.0, newest=False, jobs=ALL_JOBS),))
"""The reads of a request without a selector."""


class Planner:
    """
    The chooser of the servers that answer requests; it keeps what it has worked out for the last queries.

    :param memory: the reads of the queries that were seen before.
    :ivar rules_version: how often the rules of the servers have changed.
    """

    def __init__(self, memory: QueryMemory) -> None:
        self._memory = memory
        self._kept = KeptLacks()
        # Viewers of the same panel get the same warning.
        self._warnings: OrderedDict[tuple[object, ...], str] = OrderedDict()
        self.rules_version = 0

    def forget(self, rules: Rules) -> None:
        """Forget all queries, since the servers have other rules; see `QueryMemory.forget`."""
        self._memory.forget(rules)
        self._kept.clear(self._kept.coverage)
        self._warnings = OrderedDict()
        self.rules_version += 1

    def reads(self, request: DataRequest) -> QueryReads:
        """Return the jobs and times that the query of a request reads; only for a request that has one query."""
        return self._memory.read(request.queries[0]).within(request.start / 1000, request.end / 1000)

    def preparation(
        self, request: DataRequest, coverage: Coverage, compared: Iterable[Collection[Backend]]
    ) -> Generator[None, None, None] | None:
        """
        Return a calculation that prepares the plan of a request; None if that needs no preparation, since no lack matters to it.

        See Note [Preparing a plan] in `mpp.coverage.planning.kept_lacks`.

        :param compared: each set of servers that will be compared.
        """
        reads = self._reads(request)
        key = self._key(request, reads, coverage)
        if key is None:
            return None
        self._consider(coverage)
        return self._kept.preparing(key, reads.selectors, _steps(request), [planning.in_one_order(each) for each in compared])

    def plan(
        self, request: DataRequest, coverage: Coverage, candidates: Sequence[Backend], own: Backend, *, splice: bool
    ) -> RequestPlan | None:
        """
        Return which servers are to answer a request; None if it does not matter which server does, and no warning is due.

        :param coverage: what the servers lack.
        :param candidates: the servers that may answer; the first ones are preferred if their data is equal.
        :param own: the candidate that would answer the request if no server lacked data.
        :param splice: whether different servers may answer different steps.
        """
        reads, steps = self._reads(request), _steps(request)
        lacks = result_of(self._working_out(request, coverage))
        if lacks is None or not lacks.concerns(steps.start, steps.end):
            return None
        splice = splice and request.kind is DataKind.RANGE and not (reads.whole or request.whole)
        found = RequestPlan(lacks, steps, planning.plan(lacks, steps, candidates, own, splice=splice), own, tuple(candidates))
        return found if found.plan.warning or found.differs else None

    def warning(
        self, request: DataRequest, coverage: Coverage, parts: Iterable[tuple[Backend, int, int]], candidates: Sequence[Backend]
    ) -> Generator[None, None, str]:
        """
        Return a line for the client about data that is missing in the response to a range query; empty if none is.

        Yields before each part of the work that takes long; if the line is kept, it ends at once.

        :param parts: the servers that have answered the steps, each with its first and last step by number.
        :param candidates: the servers that might answer the query now.
        """
        self._consider(coverage)
        kept, key = self._warnings, (request, tuple(parts), tuple(candidates))
        found = kept.get(key)
        if found is not None:
            kept.move_to_end(key)
            return found
        lacks = yield from self._working_out(request, coverage)
        if lacks is None:
            return ""
        planned = tuple(Part(*part) for part in key[1])
        found = (yield from planning.warning_of(lacks, _steps(request), planned, key[2])).warning
        if sum(map(len, request.queries)) <= LONGEST_ENCODED:
            kept[key] = found
        if len(kept) > MOST_WARNINGS:
            kept.popitem(last=False)
        return found

    def good_steps(
        self,
        request: DataRequest,
        coverage: Coverage,
        backends: Collection[Backend],
        others: Sequence[Backend],
        shared: Intervals,
    ) -> Generator[None, None, dict[Backend, Intervals]]:
        """
        Return the numbers of the steps of a range query at which some servers lack nothing that another one has, and have all
        data that is needed, by server; yields before each part of the work.

        :param others: all servers that they are compared with.
        :param shared: the times of evaluation, in milliseconds, at which needed data may be missing because all servers lack it.
        """
        steps = _steps(request)
        lacks = yield from self._working_out(request, coverage)
        if lacks is None:
            return dict.fromkeys(backends, Intervals((0, steps.count)))
        found = {}
        for backend in backends:
            found[backend] = yield from planning.good_steps(lacks, steps, backend, others, shared)
        return found

    def _working_out(self, request: DataRequest, coverage: Coverage) -> Generator[None, None, QueryLacks | None]:
        """Return the data that the servers lack of a request; None if that is soon seen to be nothing."""
        self._consider(coverage)
        reads = self._reads(request)
        key = self._key(request, reads, coverage)
        return None if key is None else (yield from self._kept.working_out(key, reads.selectors))

    def _key(self, request: DataRequest, reads: QueryReads, coverage: Coverage) -> LacksKey | None:
        """Return what the lacks for a request are kept by; None if it reads no data that a server lacks."""
        lookback = DEFAULT_LOOKBACK_S if request.lookback is None else request.lookback
        if not coverage.has_drift:
            span = reads.reach(request.start / 1000, request.end / 1000, max(lookback, coverage.longest_window))
            if span is None or not coverage.times.overlaps(*span):
                return None
        fixed = any(each.fixed for each in reads.selectors)
        read = (request.start, request.end) if fixed else None
        return LacksKey(request.queries, _is_evaluated(request), lookback, read)

    def _reads(self, request: DataRequest) -> QueryReads:
        """Return the samples that a request of any kind reads."""
        return self.reads(request) if _is_evaluated(request) else self._fixed(request)

    def _fixed(self, request: DataRequest) -> QueryReads:
        """Return the reads of a request that evaluates no query: all series that its selectors name, in its range of time."""
        found = [self._memory.read(query) for query in request.queries] or [_EVERYTHING]
        start, end = request.start / 1000, request.end / 1000
        jobs = dict.fromkeys(each.jobs for reads in found for each in reads.selectors)
        return QueryReads(tuple(SelectorReads(start, end, newest=False, fixed=True, jobs=each) for each in jobs))

    def _consider(self, coverage: Coverage) -> None:
        """Forget what was worked out for another coverage."""
        if coverage is not self._kept.coverage:
            self._kept.clear(coverage)
            self._warnings = OrderedDict()


def _is_evaluated(request: DataRequest) -> bool:
    return request.kind in (DataKind.INSTANT, DataKind.RANGE)


def _steps(request: DataRequest) -> Steps:
    """Return the steps of a request; of one that evaluates no query, one step that stands for its whole time."""
    return Steps.until(request.start, request.end, request.step) if _is_evaluated(request) else Steps(0)
