"""
The use of the range cache: finds the cached steps of a query, drops the ones that are not valid any longer, and caches new ones.
See Note [Valid steps] in `mpp.proxy.exchanges.valid_steps`.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from functools import partial

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from txaio import tx

from mpp.cache.assembly import ParsedSteps
from mpp.cache.cached_query import CachedQuery, Tail
from mpp.cache.extents import Extent
from mpp.cache.preparation import PreparedPages, prepare
from mpp.cache.query_pages import QueryPages
from mpp.cache.store import RangeCache
from mpp.cache.view import Range, View
from mpp.core.generators import result_of
from mpp.core.model import Selection
from mpp.core.scheduling.background_thread import BackgroundThread
from mpp.coverage.freshness import freshness
from mpp.coverage.planning.levels import MOST_STEPS
from mpp.coverage.planning.query_lacks import DEFAULT_LOOKBACK_S
from mpp.promql.matrix import Matrix, NotJoinable
from mpp.proxy.context import ForwardContext
from mpp.proxy.decisions import identical
from mpp.proxy.decisions.caching import CacheableRequest, ExtentSource, is_cacheable_with, lasting_fields, why_new
from mpp.proxy.exchanges.new_steps import NewSteps, answered_by, parse
from mpp.proxy.exchanges.valid_steps import KnownNow, KnownServers, common_gaps, invalid_extents
from mpp.proxy.plan_queue import Work
from mpp.proxy.preparing import has_many_gaps, worked_out

_log = tx.make_logger()

# Bytes of a response up to which it is cut and compressed at once: about a millisecond.
_AT_ONCE = 16 * 1024
# Series up to which their newest steps are cut out at once: about two milliseconds.
_FEW_SERIES = 20
# Fewer steps say little about the time that a server takes for one.
_MEASURED_STEPS = 60


class CachedQueries:
    """
    The cached queries of all requests.

    :param in_thread: calls the functions that cut and compress large responses.
    """

    def __init__(self, in_thread: BackgroundThread) -> None:
        self._in_thread = in_thread
        self._age: tuple[Selection, float, float] | None = None
        self._known = KnownNow()

    def turn_to_find(self, context: ForwardContext, request: CacheableRequest) -> Deferred[None] | None:
        """Return a Deferred that fires when invalid steps of a request are dropped; None if `find` does that in little time."""

        def work_left() -> Work | None:
            check = self._check(context, request)
            return check if check is not None and (has_many_gaps(context) or self._has_many_steps(context, request)) else None

        return None if work_left() is None else context.plan_queue.wait(work_left)

    def find(self, context: ForwardContext, request: CacheableRequest) -> CachedQuery | None:
        """
        Return the cached query of a request, after its invalid and its expired steps are dropped; None if it is not cached.

        This does not count as a use of the query.
        """
        check = self._check(context, request)
        if check is not None:
            result_of(check)
        cached = _cache(context).peek(request.key)
        if cached is not None and cached.pages.expire(context.clock.seconds()):
            _cache(context).resized(request.key)
        return cached

    def _has_many_steps(self, context: ForwardContext, request: CacheableRequest) -> bool:
        cached = _cache(context).peek(request.key)
        steps = 0 if cached is None else sum(each.last - each.first + 1 for each in cached.pages.extents())
        return steps > MOST_STEPS and not context.selections.coverage.is_whole

    def _check(self, context: ForwardContext, request: CacheableRequest) -> Work | None:
        """Return the work of dropping the invalid steps of a query; None if nothing has changed since that was done last."""
        cached, known = _cache(context).peek(request.key), self._known.get(context)
        return None if cached is None or cached.checked_with is known else self._dropping(context, request, cached, known)

    def _dropping(self, context: ForwardContext, request: CacheableRequest, cached: CachedQuery, known: KnownServers) -> Work:
        version, invalid = cached.pages.version, set[Extent]()
        for _ in invalid_extents(context, request, known, cached.pages.extents(), invalid):
            yield
            if (
                self._known.get(context) is not known
                or cached.pages.version is not version
                or _cache(context).peek(request.key) is not cached
            ):
                # It is to be done again: more is known, or other steps are cached.
                return
        dropped = cached.pages.drop(invalid.__contains__) if invalid else 0
        dropped += self._drop_removed(context, request, cached, known.oldest)
        cached.checked_with = known
        if dropped:
            _cache(context).resized(request.key)

    def _drop_removed(self, context: ForwardContext, request: CacheableRequest, cached: CachedQuery, now: float | None) -> int:
        """Drop the pages that read a time of which no server has data any longer; return how many these are."""
        before = cached.oldest
        cached.oldest = before if now is None else now
        if before is None or now is None or now <= before:
            return 0
        reads = context.planner.reads(request.data)

        def is_removed(extent: Extent) -> bool:
            first, last = (request.grid.time(step) / 1000 for step in (extent.first, extent.last))
            read = reads.within(first, last).reach(first, last, DEFAULT_LOOKBACK_S)
            return read is not None and read[0] < now and read[1] > before

        return cached.pages.drop(is_removed)

    def use(self, context: ForwardContext, request: CacheableRequest, cached: CachedQuery, view: View) -> None:
        """
        Count a use of cached steps.

        A request that finds none of its steps in the cache does not count as a use: otherwise a client could fill the cache
        with ranges that are asked for once, see Note [What is evicted] in `mpp.cache.store`.
        """
        cached.pages.use(view)
        _cache(context).get(request.key)

    def why_new(self, context: ForwardContext, request: CacheableRequest) -> tuple[str, bool]:
        """Return why a query is not cached, in the words of ``MPP.Cache``, and whether its response will be cached."""
        cache, grid = _cache(context), request.grid
        why_not = cache.why_not_admitted(request.key, grid.step_ms, grid.phase_ms)
        return why_not or why_new(request.key, cache.alike(request.key)), not why_not

    def cache_new(
        self, context: ForwardContext, request: CacheableRequest, new: Sequence[NewSteps], *, replace: bool = False
    ) -> None:
        """
        Begin to cache the settled steps of responses, which have been delivered, see Note [Settled] in
        `mpp.proxy.decisions.caching`.

        :param replace: replace the steps that are cached already, because the client accepted none of them (``no-cache``).
        """
        for each in new:
            settled = self._last_settled(context, request, each)
            if not identical.is_for_all(200, each.answer.response.headers, context.counted, identical.UNSAID):
                continue
            if each.first <= settled or context.settings.cache_tail:
                Deferred.fromCoroutine(self._cache_one(context, request, each, settled, replace=replace)).addErrback(_not_cached)

    def _last_settled(self, context: ForwardContext, request: CacheableRequest, new: NewSteps) -> int:
        """Return the last of new steps that may be cached for long, as things were when the server was asked for it."""
        selection = context.selections.current
        if self._age is None or self._age[0] is not selection or self._age[1] != context.settings.cache_freshness:
            configured = context.settings.cache_freshness
            self._age = selection, configured, freshness(configured, selection.observations).seconds
        asked_at = context.wall() - (context.clock.seconds() - new.sent_at)
        return request.last_settled(context.planner.reads(request.data), asked_at - self._age[2])

    async def _cache_one(
        self, context: ForwardContext, request: CacheableRequest, new: NewSteps, settled: int, *, replace: bool
    ) -> None:
        cache = _cache(context)
        if new.matrix is None:
            # The last bytes of the response may be sent at the end of this iteration only, see Note [Turns] in
            # `mpp.wire.tuned.transports`. It is no turn of `context.turns`, in which many small responses would delay large ones.
            await deferLater(context.clock, 0)
        matrix = new.matrix or await parse(context.turns, new.body)
        # To free all memory of a large response at once takes milliseconds.
        new = new._replace(body=())
        if new.sent_at <= cache.flushed_at or not is_cacheable_with(matrix.warnings):
            return
        # A second time if another response to the same query has made an entry meanwhile.
        for _ in range(2):
            before = cache.peek(request.key)
            cached = before
            if cached is None:
                cached = CachedQuery(QueryPages(request.grid, cache.recent))
            await self._fill(context, request, cached, new, matrix, settled, replace=replace)
            present = cache.peek(request.key)
            if new.sent_at <= cache.flushed_at or (present is None and before is not None):
                # Entries that were made after a flush must not get its steps, and what was evicted stays so.
                return
            if present is before:
                cache.put(request.key, cached)
                return

    async def _fill(
        self,
        context: ForwardContext,
        request: CacheableRequest,
        cached: CachedQuery,
        new: NewSteps,
        matrix: Matrix,
        settled: int,
        *,
        replace: bool,
    ) -> None:
        """Add the steps of a response to an entry, which may be in the cache or not: the settled ones, and the newest ones."""
        final = Matrix.of(matrix.series, [text for text in matrix.warnings if not text.startswith("mpp: ")], matrix.infos)
        known = self._known.get(context)
        if cached.oldest is None:
            cached.oldest = known.oldest
        for source, first, last in await worked_out(context, _settled_spans(context, request, new, settled, known)):
            await self._add(context, cached, final, (first, last), source, replace=replace)
            if self._known.get(context) is not known:
                # These steps were judged by older knowledge than there is now: the next request has all pages checked.
                cached.checked_with = None
        _measure(cached, new)
        if settled < new.last == request.last and context.settings.cache_tail:
            sources = tuple(source for source, *_ in answered_by(context, request, new))
            steps, first = ParsedSteps(new.first, new.last, matrix), max(new.first, settled + 1)
            make = partial(Tail.of, steps, first, request.grid, new.sent_at, sources)
            tail = make() if len(matrix.series) <= _FEW_SERIES else await self._in_thread(make)
            if cached.tail is None or cached.tail.sent_at <= tail.sent_at:
                cached.tail = tail
        cached.set_fields(lasting_fields(new.answer.response.headers), new.sent_at)

    async def _add(
        self, context: ForwardContext, cached: CachedQuery, matrix: Matrix, steps: Range, source: ExtentSource, *, replace: bool
    ) -> None:
        """Add steps of a response to the pages of a query: the missing ones, or all of them."""
        pages = cached.pages
        expires_at = context.clock.seconds() + _cache(context).lifetime()
        for _ in range(2):
            missing = (steps,) if replace else pages.view(*steps).missing
            if not missing:
                return
            view = pages.view(missing[0][0], missing[-1][1])
            work = partial(prepare, view, matrix, source=source, expires_at=expires_at)
            size = sum(len(text) for each in matrix.series for text in (each.metric, each.values, each.histograms) if text)
            prepared: PreparedPages = work() if size <= _AT_ONCE else await self._in_thread(work)
            # It does not fit if another response was added meanwhile.
            if pages.add(prepared):
                return


def _cache(context: ForwardContext) -> RangeCache:
    assert context.cache is not None
    return context.cache


def _settled_spans(
    context: ForwardContext, request: CacheableRequest, new: NewSteps, settled: int, known: KnownServers
) -> Generator[None, None, list[tuple[ExtentSource, int, int]]]:
    """Return the new steps that may be cached, each with the server that has answered them."""
    spans = [(each, first, min(last, settled)) for each, first, last in answered_by(context, request, new) if first <= settled]
    if known.coverage.is_whole or not spans:
        return spans
    begin, servers, gaps = spans[0][1], tuple(known.servers), common_gaps(context)
    backends = {source.backend for source, *_ in spans}
    steps = request.within(begin, spans[-1][2])
    good = yield from context.planner.good_steps(steps, known.coverage, backends, servers, gaps)
    return [
        (source, begin + int(start), begin + int(end) - 1)
        for source, first, last in spans
        for start, end in good[source.backend].within(first - begin, last + 1 - begin)
    ]


def _not_cached(failure: Failure) -> None:
    if failure.check(NotJoinable):
        _log.debug("a response is not cached: {why}", why=failure.getErrorMessage())
    else:
        _log.failure("bug: a response was not cached; its client has received it", failure=failure)


def _measure(cached: CachedQuery, new: NewSteps) -> None:
    """Record how long a server takes for a step."""
    attempt, count = new.answer.attempt, new.last - new.first + 1
    if attempt is not None and count >= _MEASURED_STEPS:
        cached.step_seconds = attempt.took / count
