"""
The fetch of a range query of which the cache may have steps: asks servers for the other steps only, and joins all of them.

Each range of missing steps is a subrequest, with a `mpp.proxy.exchanges.server_fetch.ServerFetch` of its own, so retries, hedges
and gaps are handled there. If a response cannot be joined with other steps, as an error cannot, one server is asked for the whole
range instead. If the only subrequest asked for all steps, an error is delivered to the client.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from mpp.cache.assembly import ParsedSteps
from mpp.cache.cached_query import CachedQuery, Tail
from mpp.cache.view import View
from mpp.core.model import RequestInfo
from mpp.promql.matrix import NotJoinable
from mpp.proxy.answer import Answer
from mpp.proxy.attempt import Attempt
from mpp.proxy.context import ForwardContext
from mpp.proxy.decisions import caching
from mpp.proxy.decisions.caching import CacheableRequest
from mpp.proxy.decisions.local_replies import LocalReply
from mpp.proxy.decisions.request_deadline import RequestDeadline
from mpp.proxy.exchanges import cached_response
from mpp.proxy.exchanges.cached_queries import CachedQueries
from mpp.proxy.exchanges.cached_warning import count_incomplete, missing_data
from mpp.proxy.exchanges.fetch import Fetch
from mpp.proxy.exchanges.new_steps import NewSteps, parse_all
from mpp.proxy.exchanges.subrequest import Subrequest, hand_over
from mpp.proxy.exchanges.subrequest_flights import SubrequestFlights
from mpp.proxy.preparing import worked_out, worked_out_if_short


class CachedFetch(Fetch):
    """
    The fetch of a range query of which the cache may have steps.

    :param request: the parsed range query.
    :param queries: finds cached steps, and caches new ones.
    :param flights: the fetches of subrequests that are under way.
    :param gzip: the client accepts gzip.
    :param may_read: the client accepts cached steps.
    """

    __slots__ = (
        "_cached",
        "_flights",
        "_gzip",
        "_joining",
        "_may_read",
        "_note",
        "_queries",
        "_request",
        "_started",
        "_subrequests",
        "_tail",
        "_view",
    )

    def __init__(
        self,
        context: ForwardContext,
        info: RequestInfo,
        began: float,
        landed: Callable[[Fetch], object] | None,
        request: CacheableRequest,
        queries: CachedQueries,
        flights: SubrequestFlights,
        *,
        gzip: bool,
        may_read: bool,
    ) -> None:
        super().__init__(context, info, began, landed)
        self._request = request
        self._queries = queries
        self._flights = flights
        self._gzip = gzip
        self._may_read = may_read
        self._cached: CachedQuery | None = None
        self._view: View | None = None
        self._tail: Tail | None = None
        self._subrequests: list[Subrequest] = []
        self._joining: Deferred[None] | None = None
        self._note, self._started = "", 0

    def turn_to_start(self) -> Deferred[None] | None:
        """Return a Deferred that fires when the cached steps are checked; None if that needs little time."""
        return self._queries.turn_to_find(self._context, self._request)

    def start(self) -> None:
        """Look up the cached steps, and ask servers for the others."""
        request, context = self._request, self._context
        self._cached = self._queries.find(context, request)
        missing: tuple[tuple[int, int], ...] = ((request.first, request.last),)
        if self._cached is not None and self._may_read:
            self._view = view = self._cached.pages.view(request.first, request.last)
            missing = view.missing
            tail = context.settings.cache_tail
            self._tail = self._cached.tail_for(request.last, context.clock.seconds() - tail) if tail else None
            if self._tail is not None:
                first = self._tail.steps.first
                missing = tuple((start, min(end, first - 1)) for start, end in missing if start < first)
            if missing != ((request.first, request.last),):
                self._queries.use(context, request, self._cached, view)
        if not missing:
            self._note = "hit"
            # No server works for it, so that there is nothing to wait for in vain.
            self.ends_at = math.inf
            self._join()
        else:
            self._ask(caching.ranges_to_ask(missing))

    def _ask(self, ranges: tuple[tuple[int, int], ...]) -> None:
        """Ask servers for ranges of steps."""
        request = self._request
        self.ends_at = RequestDeadline(self.info, self.began, self._context.settings).ends_at
        count = sum(last - first + 1 for first, last in ranges)
        if count < request.last - request.first + 1:
            self._note = f"partial; {count} of {request.last - request.first + 1} steps from servers"
        else:
            self._view = self._tail = None
            why, admitted = "other steps", True
            if self._cached is None:
                why, admitted = self._queries.why_new(self._context, request)
            self._note = f"miss; {why if self._may_read else 'no-cache'}"
            if not admitted:
                self._ask_for_all(self._note)
                return
        self._subrequests = [Subrequest(self, first, last) for first, last in ranges]
        for subrequest in tuple(self._subrequests):
            # An error of one subrequest may have ended the others.
            if subrequest in self._subrequests:
                self.ask(subrequest, alone=False)

    def ask(self, subrequest: Subrequest, *, alone: bool) -> None:
        """Ask a server for the steps of a subrequest; ``alone``: without sharing the fetch with an equal subrequest."""
        wanted = None if self._view is None else cached_response.newest_server(self._view)
        before = None if self._cached is None else self._cached.answered_at
        asked = self._context, self.info, self._request, subrequest, wanted, before
        self._flights.join(*asked, alone=alone, may_read=self._may_read)

    def _ask_for_all(self, note: str) -> None:
        """Ask one server for the whole range, as if there were no cache."""
        self._release()
        self._note = note
        self._subrequests = [Subrequest(self, self._request.first, self._request.last, whole=True)]
        self.ask(self._subrequests[0], alone=True)

    # The end of the subrequests

    def subrequest_answered(self, subrequest: Subrequest, answer: Answer) -> None:
        """Join the responses once all have arrived; if one cannot be joined, ask one server for all steps, or deliver it."""
        self._started = max(self._started, answer.started)
        response = answer.response
        if subrequest.whole or not cached_response.is_joinable(response):
            self._unusable(subrequest, answer)
        elif all(each.answer is not None for each in self._subrequests):
            self._join()

    def _unusable(self, subrequest: Subrequest, answer: Answer) -> None:
        """Deliver a response that cannot be joined with others, or ask one server for the whole range if there is time."""
        is_late = self._context.clock.seconds() >= self.ends_at
        if self.info.method == b"HEAD" and not subrequest.whole:
            # The subrequest was asked for by GET, so that its response has a body.
            self._ask_for_all(self._note)
        elif subrequest.whole or self._view is None or (is_late and answer.response.status >= 400):
            subrequest.answer = None
            self._release()
            self._answered(answer._replace(cache=self._note, started=self._started))
        else:
            self._ask_for_all(f"bypass; some of the steps were {cached_response.how_answered(answer.response)}")

    def subrequest_unanswered(self, subrequest: Subrequest, why: LocalReply) -> None:
        """End the request, because no server answers one of its subrequests."""
        if subrequest.fetch is not None:
            self._started = max(self._started, subrequest.fetch.started)
        subrequest.fetch = None
        self._unanswered(why)
        self._release()

    def subrequest_failed(self, failure: Failure) -> None:
        """End the request on a bug."""
        self._failed(failure)
        self.cancel()

    # Joining

    def _join(self) -> None:
        """Join the cached steps and the responses of the subrequests; a large one in several turns of the reactor."""
        if self._subrequests or not self._deliver_known():
            self._joining = Deferred.fromCoroutine(self._joined())
            self._joining.addErrback(self._broken)

    def _deliver_known(self) -> bool:
        """Deliver a response of cached steps only, if its body was assembled lately; return whether it was."""
        view = self._view
        assert view is not None
        warning = worked_out_if_short(self._context, missing_data(self._context, self._request, view, self._tail, ()))
        if warning is None:
            return False
        body = cached_response.known_body(view, None if self._tail is None else self._tail.steps, warning, gzip=self._gzip)
        if body is not None:
            self._deliver_joined(view, (), body.length, iter(body.pieces), warning)
        return body is not None

    async def _joined(self) -> None:
        try:
            if self._view is None:
                await self._deliver_new()
            else:
                await self._deliver_assembled(self._view)
        except NotJoinable:
            self._ask_for_all("bypass; the parts could not be joined")

    async def _deliver_new(self) -> None:
        """Deliver the response of a server that has answered all steps, and cache it."""
        (subrequest,) = self._subrequests
        answer = subrequest.answer
        assert answer is not None
        body, turns = list(answer.response.buffered), self._context.turns
        pieces = await cached_response.compressed_body(turns, body) if self._gzip else body
        fields = caching.fields_without_encoding(answer.response.headers)
        response = cached_response.response(turns, self.info, fields, sum(map(len, pieces)), iter(pieces), gzip=self._gzip)
        hand_over(self._subrequests, response)
        self._context.metrics.cache_steps(0, subrequest.last - subrequest.first + 1)
        self._answered(answer._replace(response=response, cache=self._note, started=self._started))
        new = [NewSteps(subrequest.first, subrequest.last, answer, body)]
        self._queries.cache_new(self._context, self._request, new, replace=not self._may_read)

    async def _deliver_assembled(self, view: View) -> None:
        """Deliver a response that is made of cached steps, and cache the others."""
        request, context = self._request, self._context
        new = await parse_all(context.turns, self._subrequests)
        tail = None if self._tail is None else self._tail.steps
        parsed = [ParsedSteps(each.first, each.last, each.matrix) for each in new if each.matrix]
        warning = await worked_out(context, missing_data(context, request, view, self._tail, new))
        length, pieces = await cached_response.assembled(context.turns, view, parsed, tail, warning, gzip=self._gzip)
        self._deliver_joined(view, new, length, pieces, warning)
        self._queries.cache_new(context, request, new)

    def _deliver_joined(self, view: View, new: Sequence[NewSteps], length: int, pieces: Iterator[bytes], warning: str) -> None:
        """Deliver a response that is made of cached and of new steps; its body has so many bytes."""
        request, context, cached = self._request, self._context, self._cached
        assert cached is not None
        count_incomplete(context, warning, new)
        asked = sum(each.last - each.first + 1 for each in new)
        from_cache = request.last - request.first + 1 - asked
        context.metrics.cache_steps(from_cache, asked)
        context.metrics.cache_saved(from_cache * cached.step_seconds)
        fields = cached_response.fields(cached, new, context.wall())
        response = cached_response.response(context.turns, self.info, fields, length, pieces, gzip=self._gzip)
        answer = cached_response.answer(response, view, self._tail, new, self._started, self._note)
        hand_over(self._subrequests, response)
        if new:
            cached.answered_at = context.clock.seconds()
        self._answered(answer, [each.answer.response for each in new])

    def _broken(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            self.subrequest_failed(failure)

    # For all kinds of fetches

    @property
    def running(self) -> list[Attempt]:
        """The attempts that are under way."""
        return [attempt for each in self._subrequests if each.fetch is not None for attempt in each.fetch.running]

    @property
    def started(self) -> int:
        """The most attempts that one subrequest needed; 1 if all succeed at once."""
        return max((self._started, *(each.fetch.started for each in self._subrequests if each.fetch is not None)))

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why attempts failed, were moved or were hedged, one line each."""
        return tuple(why for each in self._subrequests if each.fetch is not None for why in each.fetch.reasons)

    def progress(self) -> None:
        """End the subrequests whose deadline has passed; move or hedge the attempts of the others that make no progress."""
        for subrequest in tuple(self._subrequests):
            if subrequest.fetch is not None:
                subrequest.fetch.tick(subrequest)

    def cancel(self) -> None:
        """Cancel all subrequests and the join."""
        if self._joining is not None:
            self._joining.cancel()
        self._release()

    def _release(self) -> None:
        """End the fetches of the subrequests, release their responses, and remove the reference cycles."""
        subrequests, self._subrequests = self._subrequests, []
        for subrequest in subrequests:
            subrequest.forget()
