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

from attrs import evolve, frozen

from mpp.core.coverage import Coverage
from mpp.core.intervals import Intervals
from mpp.core.model import Backend
from mpp.core.prometheus.data_requests import DataKind, DataRequest
from mpp.coverage.planning import plan as planning
from mpp.coverage.planning.kept_lacks import KeptLacks, LacksKey
from mpp.coverage.planning.plan import Part, QueryPlan
from mpp.coverage.planning.query_lacks import DEFAULT_LOOKBACK_S, QueryLacks
from mpp.coverage.planning.steps import Steps
from mpp.promql.jobs import ALL_JOBS
from mpp.promql.memory import LONGEST_ENCODED, QueryMemory
from mpp.promql.reads import QueryReads, SelectorReads
from mpp.promql.recorded import Rules

MOST_WARNINGS = 256
"""Warnings of cached panels that are remembered."""

_EVERYTHING = QueryReads((SelectorReads(0.0, 0.0, newest=False, jobs=ALL_JOBS),))
"""The reads of a request without a selector."""


@frozen
class RequestPlan:
    """
    The choice of servers for a request whose data some servers lack.

    :ivar lacks: the request's data that each server lacks.
    :ivar steps: the steps of the request.
    :ivar plan: the server that answers each step.
    :ivar own: the server that would have answered the request if no server lacked anything.
    :ivar candidates: the servers among which the plan chose, and by which its warning was worded; empty if neither was done.
    """

    lacks: QueryLacks
    steps: Steps
    plan: QueryPlan
    own: Backend
    candidates: tuple[Backend, ...] = ()

    @property
    def backend(self) -> Backend:
        """The server that answers the whole request, or its first steps."""
        return self.plan.parts[0].backend

    @property
    def differs(self) -> bool:
        """Whether a server lacks data of the request that another one has; else the plan is only for the warning."""
        return self.lacks.affected.overlaps(self.steps.start, self.steps.time(self.steps.count - 1) + 1)

    @property
    def is_divided(self) -> bool:
        """Whether several servers answer the request, each some of its steps."""
        return len(self.plan.parts) > 1

    @property
    def is_spliced(self) -> bool:
        """Whether mpp makes the response: it joins the responses of several servers, or adds a warning."""
        return self.is_divided or bool(self.plan.warning)

    @property
    def is_material(self) -> bool:
        """Whether the request's own server lacks so much of what it reads that the client would be warned."""
        return bool(self.lacks.material(self.own).within(self.steps.start, self.steps.time(self.steps.count - 1) + 1))

    def ranked(self, candidates: Sequence[Backend]) -> list[Backend]:
        """Sort servers by the amount of the request's data that they lack, least first; equal ones keep the given order."""
        return planning.ranked(self.lacks, self.steps, candidates)

    def lacks_no_more(self, backend: Backend, than: Backend) -> bool:
        """Return whether a server counts as good as another one at every step of the request."""
        return planning.lacks_no_more(self.lacks, self.steps, backend, than)

    def part(self, number: int) -> RequestPlan:
        """Return the plan for the steps of one part, which the part's server answers alone."""
        part = self.plan.parts[number]
        count = part.last - part.first + 1
        steps = Steps(self.steps.time(part.first), self.steps.step, count)
        return RequestPlan(self.lacks, steps, QueryPlan((Part(part.backend, 0, count - 1),)), part.backend)

    def undivided(self, candidates: Sequence[Backend]) -> RequestPlan:
        """Return the plan in which one server answers all steps."""
        plan = planning.plan(self.lacks, self.steps, candidates, self.own, splice=False)
        return evolve(self, plan=plan, candidates=tuple(candidates))

    def moved(self, backend: Backend, candidates: Sequence[Backend]) -> RequestPlan:
        """Return the plan in which a given server answers all steps, with the warning that this needs."""
        whole = (Part(backend, 0, self.steps.count - 1),)
        return evolve(self, plan=self._warned(whole, candidates), candidates=tuple(candidates))

    def warning(self, answered_by: Sequence[Backend], candidates: Sequence[Backend]) -> str:
        """
        Return a line for the client about data that is missing in the response; empty if none is.

        :param answered_by: the server that has answered each part, in the order of the parts; after a failure it is another one
            than planned.
        """
        parts = tuple(evolve(part, backend=by) for part, by in zip(self.plan.parts, answered_by, strict=True))
        return self._warned(parts, candidates).warning

    def _warned(self, parts: tuple[Part, ...], candidates: Sequence[Backend]) -> QueryPlan:
        if (parts, tuple(candidates)) == (self.plan.parts, self.candidates):
            return self.plan
        return planning.with_warning(self.lacks, self.steps, parts, candidates)

    def why(self) -> str:
        """Return the reason why the request's own server does not answer the whole request, one line; empty if it does."""
        return planning.why(self.lacks, self.steps, self.own, self.plan.parts)

    def sentences(self) -> list[str]:
        """Return the plan in sentences: the lack of the request's own server, the server of each part, the client's warning."""
        found = [f"{why}."] if (why := self.why()) else []
        for part in self.plan.parts if self.is_divided else ():
            times = planning.from_to(self.steps.time(part.first), self.steps.time(part.last))
            found.append(f"{part.backend.name} answers {part.last - part.first + 1} of {self.steps.count} steps, from {times}.")
        if self.plan.warning:
            found.append(f'The response gets a warning: "{self.plan.warning}".')
        return found


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
        self._warnings.clear()
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
        lacks = self._lacks(request, reads, coverage)
        if lacks is None or not lacks.concerns(steps.start, steps.time(steps.count - 1) + 1):
            return None
        splice = splice and request.kind is DataKind.RANGE and not (reads.whole or request.whole)
        found = RequestPlan(lacks, steps, planning.plan(lacks, steps, candidates, own, splice=splice), own, tuple(candidates))
        return found if found.plan.warning or found.differs else None

    def warning(
        self, request: DataRequest, coverage: Coverage, parts: Iterable[tuple[Backend, int, int]], candidates: Sequence[Backend]
    ) -> str:
        """
        Return a line for the client about data that is missing in the response to a range query; empty if none is.

        :param parts: the servers that have answered the steps, each with its first and last step by number.
        :param candidates: the servers that might answer the query now.
        """
        self._consider(coverage)
        key = (request, tuple(parts), tuple(candidates))
        found = self._warnings.get(key)
        if found is None:
            found = self._warning(*key)
            if sum(map(len, request.queries)) <= LONGEST_ENCODED:
                self._warnings[key] = found
            if len(self._warnings) > MOST_WARNINGS:
                self._warnings.popitem(last=False)
        else:
            self._warnings.move_to_end(key)
        return found

    def _warning(self, request: DataRequest, parts: tuple[tuple[Backend, int, int], ...], candidates: tuple[Backend, ...]) -> str:
        lacks = self._lacks(request, self.reads(request), self._kept.coverage)
        if lacks is None:
            return ""
        return planning.with_warning(lacks, _steps(request), tuple(Part(*part) for part in parts), candidates).warning

    def good_steps(
        self, request: DataRequest, coverage: Coverage, backend: Backend, others: Sequence[Backend], shared: Intervals
    ) -> list[tuple[int, int]]:
        """
        Return the steps of a range query at which a server lacks nothing that another one has, and has all data that is needed;
        each sequence of steps as the numbers of its first and last step.

        :param others: all other servers.
        :param shared: the times of evaluation, in milliseconds, at which needed data may be missing because all servers lack it.
        """
        steps = _steps(request)
        lacks = self._lacks(request, self.reads(request), coverage)
        if lacks is None:
            return [(0, steps.count - 1)]
        return planning.good_steps(lacks, steps, backend, others, shared)

    def _lacks(self, request: DataRequest, reads: QueryReads, coverage: Coverage) -> QueryLacks | None:
        """Return the data that the servers lack of a request; None if that is soon seen to be nothing."""
        key = self._key(request, reads, coverage)
        if key is None:
            return None
        self._consider(coverage)
        return self._kept.of(key, reads.selectors)

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
            self._warnings.clear()


def _is_evaluated(request: DataRequest) -> bool:
    return request.kind in (DataKind.INSTANT, DataKind.RANGE)


def _steps(request: DataRequest) -> Steps:
    """Return the steps of a request; of one that evaluates no query, one step that stands for its whole time."""
    return Steps.until(request.start, request.end, request.step) if _is_evaluated(request) else Steps(0)
