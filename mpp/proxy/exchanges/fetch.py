"""
The fetch of one response, for all requests that wait for it.

Identical reads that are under way at the same time share a fetch (single flight, see `mpp.proxy.exchanges.flights`), so the
servers run them once. A fetch belongs to none of its requests: it goes on as long as one of them waits.

# Note [What is shared]

A response is shared if it is complete in memory and suits all requests. Otherwise it goes to the first one, and the others are
fetched alone: if it outgrows the response buffer, if its status is about one client (rejected credentials, a redirect, a
condition, a limit), if it sets a cookie, if it varies by a request field in which the requests may differ, if its
``Cache-Control`` forbids it, or if it has a content coding that the clients do not accept. A timeout ends only the requests
whose own time is up; the others are fetched again, together. The other errors, of queries and of servers, are errors for all of
them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure
from txaio.tx import make_logger

from mpp.cache.store import RangeCache
from mpp.core.errors import LoopDetected
from mpp.core.http import headers, instance
from mpp.core.interfaces import IResponse
from mpp.core.model import RequestInfo
from mpp.proxy.answer import Answer
from mpp.proxy.attempt import Attempt
from mpp.proxy.context import ForwardContext
from mpp.proxy.decisions import identical, local_replies
from mpp.proxy.decisions.identical import RequestKey
from mpp.proxy.decisions.local_replies import LocalReply
from mpp.proxy.decisions.request_deadline import RequestDeadline
from mpp.wire.whole_response import copies

_log = make_logger()


class Waiter(Protocol):
    """
    A request that waits for a response: a `mpp.proxy.exchanges.exchange.Exchange`, or a request for some of its steps, a
    `mpp.proxy.exchanges.subrequest.Subrequest`.
    """

    @property
    def began(self) -> float:
        """When the request was complete, by the monotonic clock."""

    def answered(self, answer: Answer, /) -> None:
        """Handle the response, which now belongs to this waiter."""

    def unanswered(self, why: LocalReply, fetch: Fetch, /) -> None:
        """End the request with an error of mpp's own, because no server gave a usable response."""

    def failed(self, failure: Failure, /) -> None:
        """End on an unexpected failure, which is a bug."""

    def again(self, *, alone: bool) -> None:
        """
        Start to fetch the response again.

        :param alone: for this request only.
        """


class Fetch(ABC):
    """
    The fetch of one response. It ends with one call of each waiter, unless the last one has left before.

    :param began: when the first request was complete, by the monotonic clock.
    :param landed: called with this fetch when no further request can join it; None if none ever can.
    :ivar ends_at: the deadline of the first request, by the same clock.
    :ivar waiters: the requests that wait for the response, the first one first.
    :ivar ended: whether it has ended; later events are ignored.
    :ivar key: the key by which identical requests are recognized, if it was needed; set by `mpp.proxy.exchanges.flights`.
    :ivar size: the size of the request, see `mpp.proxy.decisions.identical.size_of`; also set there, and 0 until then.
    """

    __slots__ = ("_context", "_landed", "_turn", "began", "ended", "ends_at", "info", "key", "size", "waiters")

    def __init__(
        self, context: ForwardContext, info: RequestInfo, began: float, landed: Callable[[Fetch], object] | None = None
    ) -> None:
        self._context = context
        self._landed = landed
        self.info = info
        self.began = began
        self.ends_at = began
        self.waiters: list[Waiter] = []
        self.ended = False
        self.key: RequestKey | None = None
        self.size = 0
        self._turn: Deferred[None] | None = None

    def begin(self) -> None:
        """Start the fetch; later, when it is its turn, if that takes long."""
        turn = self.turn_to_start()
        if turn is None:
            try:
                self.start()
            except LoopDetected:
                self._loop_detected()
        else:
            self._turn = turn
            self.ends_at = RequestDeadline(self.info, self.began, self._context.settings).ends_at
            turn.addCallback(self._has_turn).addErrback(self._broken_in_queue)

    def _has_turn(self, _: None) -> None:
        self._turn = None
        try:
            self.start()
        except LoopDetected:
            self._loop_detected()

    def _broken_in_queue(self, failure: Failure) -> None:
        """End on a bug in the preparation, or in the start that followed it."""
        if self._turn is None and failure.check(CancelledError):
            return
        had_ended = self.ended
        self._failed(failure)
        if not had_ended:
            self.cancel()

    def _loop_detected(self) -> None:
        self._unanswered(local_replies.loop_detected(self._context.instance.token))
        self.cancel()

    # For each kind of fetch

    @abstractmethod
    def turn_to_start(self) -> Deferred[None] | None:
        """Return a Deferred that fires when the fetch is to be started; None if that is now. It is cancelled with the fetch."""

    @abstractmethod
    def start(self) -> None:
        """
        Start the fetch; all waiters may be called before this returns.

        :raise LoopDetected: this mpp has sent the request itself.
        """

    @property
    @abstractmethod
    def running(self) -> list[Attempt]:
        """The attempts that are under way."""

    @property
    @abstractmethod
    def started(self) -> int:
        """How many attempts were made."""

    @property
    @abstractmethod
    def reasons(self) -> tuple[str, ...]:
        """Why attempts failed, were moved or were hedged, one line each."""

    @abstractmethod
    def progress(self) -> None:
        """End the fetch if its deadline has passed, else handle stuck attempts; called at each tick of `mpp.proxy.ticker`."""

    @abstractmethod
    def cancel(self) -> None:
        """Cancel everything that is under way."""

    # For the waiters

    def may_be_joined(self, cache: RangeCache | None, info: RequestInfo) -> bool:
        """
        Return whether a further request may wait for the response: not if the cache was flushed after this fetch began.

        Nor may a request from an mpp that the first request has not passed: two mpps that are servers of each other could wait
        for each other's response, and neither would see a request twice, see Note [Instance] in `mpp.core.http.instance`.
        """
        if cache is not None and self.began <= cache.flushed_at:
            return False
        # Mostly the fields are equal, which is seen at once.
        return info.headers == self.info.headers or _passed(info) <= _passed(self.info)

    def leave(self, waiter: Waiter) -> None:
        """Remove a waiter; with the last one the fetch is cancelled."""
        if waiter in self.waiters:
            self.waiters.remove(waiter)
            self._end_without_waiters()

    def _end_without_waiters(self) -> None:
        if not self.waiters and not self.ended:
            self._end()
            self.cancel()

    def tick(self, waiter: Waiter) -> None:
        """Check the progress of the fetch, if this is its first waiter; end another waiter if its deadline has passed."""
        if waiter is self.waiters[0] and self._turn is None:
            self.progress()
        elif self._context.clock.seconds() >= waiter.began + self.ends_at - self.began:
            queued, shared = "its plan has to wait for others", "the same request of another client was not answered, either"
            why = shared if self._turn is None else queued
            self.waiters.remove(waiter)
            waiter.unanswered(local_replies.deadline_exceeded(self.ends_at - self.began, why, read=True), self)
            self._end_without_waiters()

    # For the subclass

    def _end(self) -> list[Waiter]:
        """End the fetch, and return its waiters."""
        self.ended = True
        turn, self._turn = self._turn, None
        if turn is not None:
            turn.cancel()
        if self._landed is not None:
            self._landed(self)
        waiters, self.waiters = self.waiters, []
        return waiters

    def _answered(self, answer: Answer, parts: Sequence[IResponse] = ()) -> None:
        """
        Deliver the response to all waiters, see Note [What is shared].

        :param parts: the responses of servers that it is made of, if it is made of several.
        """
        waiters, response = self._end(), answer.response
        if len(waiters) > 1 and not (response.complete and all(map(self._is_for_all, (response, *parts)))):
            self._again(waiters[1:], alone=True)
            waiters = waiters[:1]
        elif response.status >= 503 and response.complete and _is_timeout(response):
            waiters = self._late(waiters)
        if not waiters:
            response.cancel()
        elif len(waiters) == 1:
            try:
                waiters[0].answered(answer)
            except Exception:
                waiters[0].failed(Failure())
        else:
            shared = answer._replace(shared=True, affinity="")
            each = copies(response, len(waiters), self._context.turns)
            for number, (waiter, copy) in enumerate(zip(waiters, each, strict=True)):
                own = shared if number else answer
                self._call(waiter, partial(waiter.answered, Answer(copy, *own[1:])))

    def _is_for_all(self, response: IResponse) -> bool:
        counted = self._context.counted
        return identical.is_for_all(response.status, response.headers, counted, counted.of(self.info.headers)[1])

    def _unanswered(self, why: LocalReply) -> None:
        """End all waiters without a response; if the reason is the deadline, only the ones whose own time is up."""
        waiters = self._end()
        if why.status == local_replies.TIMEOUT:
            waiters = self._late(waiters)
        for waiter in waiters:
            self._call(waiter, partial(waiter.unanswered, why, self))

    def _failed(self, failure: Failure) -> None:
        """End all waiters on a bug; after the end it is only logged, because no request is left that could log it."""
        if self.ended:
            method, target = self.info.method.decode("latin-1"), self.info.target[:200].decode("latin-1")
            text = "bug: error after {method} {target} was answered; no client is affected"
            _log.failure(text, failure=failure, method=method, target=target)
            return
        for waiter in self._end():
            waiter.failed(failure)

    def _late(self, waiters: list[Waiter]) -> list[Waiter]:
        """Return the waiters whose time is up with that of the first request; let the others fetch the response again."""
        self._again([waiter for waiter in waiters if waiter.began > self.began], alone=False)
        return [waiter for waiter in waiters if waiter.began <= self.began]

    def _again(self, waiters: list[Waiter], *, alone: bool) -> None:
        """Let some waiters fetch the response again: each alone, or together."""
        for waiter in waiters:
            self._call(waiter, partial(waiter.again, alone=alone))

    def _call(self, waiter: Waiter, end: Callable[[], None]) -> None:
        """Call a waiter; its bug must not keep the others waiting."""
        try:
            end()
        except Exception:
            waiter.failed(Failure())


def _passed(info: RequestInfo) -> set[bytes]:
    """Return the tokens of the mpps that a request has passed."""
    return {token.strip() for value in headers.values(info.headers, instance.FIELD) for token in value.split(b",")}


def _is_timeout(response: IResponse) -> bool:
    return identical.is_timeout(response.status, response.headers, response.buffered)
