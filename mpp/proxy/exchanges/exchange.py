"""
One client request: gets its response from a fetch, and sends it to the client.

An `Exchange` exists as long as its request. `mpp.proxy.exchanges.fetch` gets a response; the exchange delivers it or sends a
local reply (an error of mpp's own), and records how the request ended.

::

    start → fetch ──┬─ a response → deliver → done, or broken off in the middle of the body
                    ├─ none       → a local reply
                    └─ the client disconnects meanwhile → it leaves the fetch, which ends with its last request
"""

from __future__ import annotations

from twisted.python.failure import Failure
from txaio import tx

from mpp.core.errors import UpstreamError
from mpp.core.http import heads
from mpp.core.interfaces import IDownstream, IResponse
from mpp.core.metrics.registry import LOCAL
from mpp.core.model import Backend, Headers
from mpp.proxy.answer import Answer
from mpp.proxy.context import ForwardContext
from mpp.proxy.decisions import caching, local_replies
from mpp.proxy.decisions import retry_policy as policy
from mpp.proxy.decisions.local_replies import LocalReply
from mpp.proxy.exchanges.fetch import Fetch
from mpp.proxy.exchanges.flights import Flights
from mpp.proxy.hedging import stalled
from mpp.proxy.ticker import ROUNDING

_log = tx.make_logger()

# The status that is counted and logged when the client disconnected before there was a response, as nginx does.
CLIENT_GONE = 499


class Exchange:
    """
    One client request, from its last byte to the last byte of its response.

    :ivar began: when the request was complete, by the monotonic clock.
    :ivar ended: whether the request has ended; later events are ignored.
    """

    __slots__ = (
        "_answer",
        "_context",
        "_downstream",
        "_fetch",
        "_flights",
        "_response",
        "_served_by",
        "_status",
        "began",
        "ended",
    )

    def __init__(self, context: ForwardContext, downstream: IDownstream, flights: Flights) -> None:
        self._context = context
        self._downstream = downstream
        self._flights = flights
        self._fetch: Fetch | None = None
        self._answer: Answer | None = None
        self._served_by: Backend | None = None
        self._status = 0
        self._response: IResponse | None = None
        self.began = context.clock.seconds()
        self.ended = False

    def start(self) -> None:
        """Start to fetch the response, and count the request."""
        context = self._context
        context.metrics.request_began()
        context.budget.deposit()
        context.ticker.add(self)
        self.again(alone=False)

    def again(self, *, alone: bool) -> None:
        """Start to fetch the response; unless ``alone``, together with identical requests that are under way."""
        self._fetch = None
        try:
            self._fetch, new = self._flights.join(self._context, self, self._downstream.info, alone=alone)
            if new:
                self._fetch.begin()
        except Exception:
            self.failed(Failure())

    def client_gone(self) -> None:
        """
        End the request, because the client has disconnected. An attempt that this aborts does not count as a
        failure of its backend.

        ``ended`` is set before anything is cancelled, so that the cancellations are not taken for failures.
        """
        if self.ended:
            return
        self.ended = True
        if self._response is None:
            running = self._fetch.running if self._fetch is not None else None
            self._served_by = running[-1].backend if running else None
        else:
            self._response.cancel()
        self._end(CLIENT_GONE, "client gone")

    def draining(self) -> None:
        """Abort an event stream, which would not end by itself; its client then connects to another mpp."""
        response = self._response
        if response is not None and not policy.may_buffer(response.status, response.headers):
            self._downstream.abort()

    def tick(self) -> None:
        """End a fetch whose deadline has passed, or a response that has stalled; called at each tick of `mpp.proxy.ticker`."""
        try:
            if self._response is not None:
                self._watch_delivery(self._response)
            elif self._fetch is not None:
                self._fetch.tick(self)
        except Exception:
            self.failed(Failure())

    # How the fetch ended

    def answered(self, answer: Answer) -> None:
        """Send a response to the client."""
        context, backend, response = self._context, answer.backend, answer.response
        self._answer = answer
        self._fetch = None
        self._status = response.status
        self._response = response
        self._served_by = backend
        if answer.affinity:
            context.metrics.affinity_hits.inc(answer.affinity)
        if answer.shared:
            context.metrics.shared_requests.inc()
        if answer.cache and (use := caching.use_of(answer.cache)):
            context.metrics.cache_requests.inc(use)
        cookies = self._cookies(answer)
        added = self._added(answer) if answer.cache or context.settings.server_timing else ()
        self._downstream.deliver(response, backend, cookies, answer.started, self._delivered, added, answer.also)
        if not self.ended and (response.complete or not policy.may_buffer(response.status, response.headers)):
            # The response is complete, or it is an event stream, which has no time limit.
            context.ticker.discard(self)

    def _cookies(self, answer: Answer) -> tuple[bytes, ...]:
        """Return the cookies that keep the client on the server of its response, unless it is to keep the one that it has."""
        context, info = self._context, self._downstream.info
        selection = context.selections.current
        if answer.keeps_server or (answer.shared and context.affinity.preferred(info, selection, self.began)[0] is not None):
            return ()
        cookies = context.affinity.remember(info, answer.backend, self.began)
        # Without another server for the client there is no need for a cookie, and caches do not store a response with one.
        return () if len(selection.selected) < 2 else cookies

    def _added(self, answer: Answer) -> Headers:
        """Return the header fields that say how mpp got the response: ``MPP.Cache`` and ``Server-Timing``."""
        added: Headers = ((b"MPP.Cache", answer.cache.encode("latin-1")),) if answer.cache else ()
        if self._context.settings.server_timing:
            attempt, total = answer.attempt, self._context.clock.seconds() - self.began
            waited = attempt.dequeued_at - attempt.sent_at if attempt is not None and attempt.dequeued_at else 0.0
            took = None if attempt is None else attempt.took - waited
            cache = answer.cache and answer.cache_use
            added += ((b"Server-Timing", heads.server_timing(total, answer.backend, took, waited, cache)),)
        return added

    def unanswered(self, why: LocalReply, fetch: Fetch) -> None:
        """Send an error of mpp's own, because no backend gave a usable response."""
        self._refuse(why)

    def _refuse(self, why: LocalReply) -> None:
        self._served_by = None
        self._downstream.fail(*why)
        self._end(why.status, why.message)

    def failed(self, failure: Failure) -> None:
        """End the request on a bug, so that the client does not wait forever. The outermost errback."""
        info = self._downstream.info
        method, target = info.method.decode("latin-1"), info.target[:200].decode("latin-1")
        text = "bug: request {method} {target} failed; its client gets an error, or the connection is reset"
        _log.failure(text, failure=failure, method=method, target=target)
        if self.ended:
            return
        if self._response is None:
            self._refuse(local_replies.BUG)
        else:
            self._served_by = None
            self._downstream.abort()
            self._end(500, local_replies.BUG.message)

    # Delivering

    def _watch_delivery(self, response: IResponse) -> None:
        """Abort a response whose rest does not arrive, unless it is the client that does not read."""
        attempt = None if self._answer is None else self._answer.attempt
        if attempt is None:
            return
        attempt.tick()
        if response.paused:
            attempt.idle = 0.0
        elif attempt.idle > self._context.settings.stall_timeout - ROUNDING:
            response.cancel()
            self._delivered(stalled(self._context.settings.stall_timeout))
            self._downstream.abort()

    def _delivered(self, error: Exception | None) -> None:
        answer, self._response = self._answer, None
        if self.ended:
            return
        if isinstance(error, UpstreamError) and answer is not None and answer.attempt is not None:
            self._context.metrics.truncated_responses.inc(answer.backend.name, error.cause.value)
            _log.warn(
                "response of {backend} broke off after its first bytes were sent to the client, whose connection is reset: {why}",
                backend=answer.backend.name,
                why=str(error),
            )
            reasons = answer.reasons if answer.broke_off is None else answer.broke_off(error)
            self._answer = answer._replace(reasons=reasons)
            self._end(self._status, "the response broke off")
        elif error is not None:
            self._end(self._status, str(error))
        else:
            self._end(self._status)

    def _leave(self) -> None:
        fetch, self._fetch = self._fetch, None
        if fetch is not None:
            fetch.leave(self)

    def _end(self, code: int, why: str = "") -> None:
        context = self._context
        self.ended = True
        context.ticker.discard(self)
        name = self._served_by.name if self._served_by is not None else LOCAL
        context.metrics.request_ended(name, code, context.clock.seconds() - self.began)
        if context.access is not None:
            how = self._answer if self._answer is not None else self._fetch
            context.access.log(
                self._downstream.info,
                code,
                began=self.began,
                sent=self._downstream.sent,
                backend=name,
                attempts=how.started if how is not None else 0,
                reasons=(*(how.reasons if how is not None else ()), why),
                cache="" if self._answer is None else self._answer.cache_use,
            )
        # They refer to this exchange: such a cycle would wait for the garbage collector.
        self._answer = None
        if self._fetch is not None:
            self._leave()
