"""
The attempts of a range query whose steps are answered by several servers, and the join of their responses to one.

`mpp.coverage.planning` decides which server answers which steps, `mpp.promql.matrix` joins. Each part of the plan is a
subrequest, with retries, hedges and the deadline of every request (`mpp.proxy.attempts`). Nothing is sent to the client until
all of them have a response.

# Note [When responses do not fit]

Whether a query fails may depend on its range, so an error in answer to a subrequest is no answer to the query; a response may be
too large to be buffered, or may come from a server that writes other members than Prometheus does. Then all subrequests are
dropped, and one server is asked for the whole range. If there is one subrequest only, because its response gets a warning, its
response is delivered as it is instead. So is an error at the deadline, when no server has time to answer the whole range.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from mpp.core.errors import UpstreamError
from mpp.core.http import headers
from mpp.core.interfaces import IResponse
from mpp.core.model import RequestInfo
from mpp.core.prometheus import data_requests
from mpp.coverage.planning.request_plan import RequestPlan
from mpp.promql.matrix import PIECE, NotJoinable, joined, with_warning
from mpp.proxy.answer import AnsweredRange
from mpp.proxy.attempt import Attempt
from mpp.proxy.attempts import Attempts
from mpp.proxy.callbacks import FetchCallbacks
from mpp.proxy.context import ForwardContext
from mpp.proxy.decisions import caching, identical, local_replies, rerouting
from mpp.proxy.decisions.local_replies import LocalReply
from mpp.proxy.decisions.request_deadline import RequestDeadline
from mpp.proxy.exchanges.new_steps import parse
from mpp.wire.whole_response import GZIP_FIELDS, WholeResponse, compressed, counted_for

MOST_UNDER_WAY = 8
"""How many subrequests of one request are under way at the same time: a server runs 20 queries at once, for all clients."""

# Bytes of all responses up to which they are joined at once: about a millisecond.
_AT_ONCE = 256 * 1024


class SplicedRequest(FetchCallbacks, Protocol):
    """The request that was divided into subrequests: `mpp.proxy.exchanges.server_fetch.ServerFetch`."""

    def deliver(
        self,
        response: IResponse,
        attempt: Attempt,
        attempts: int,
        affinity: str,
        /,
        *,
        ranges: tuple[AnsweredRange, ...] = (),
    ) -> None:
        """Deliver a response to all waiting requests, see `mpp.proxy.exchanges.server_fetch.ServerFetch.deliver`."""

    def undivided(self, plan: RequestPlan, /) -> None:
        """Let one server answer the whole request, because the responses could not be joined."""


class _PlannedSubrequest:
    """
    The request for the steps of one part of the plan.

    :ivar attempts: the attempts to have its steps answered.
    :ivar answer: the response, and the attempt that brought it; None until then.
    """

    def __init__(self, request: SplicedAttempts, context: ForwardContext, deadline: RequestDeadline) -> None:
        self._request = request
        self.attempts = Attempts(context, deadline, self)
        self.answer: tuple[IResponse, Attempt] | None = None

    @property
    def ended(self) -> bool:
        """Whether the request has ended, or is not divided any longer."""
        return self._request.ended

    @property
    def splices(self) -> bool:
        """Whether it can be divided: a subrequest never is."""
        return False

    def deliver(self, response: IResponse, attempt: Attempt, attempts: int, affinity: str) -> None:
        """Keep the response until all subrequests have one."""
        self.answer = response, attempt
        self._request.answered(self)

    def fail(self, why: LocalReply) -> None:
        """End the request, because no server answers these steps."""
        self._request.fail(why)

    def failed(self, failure: Failure) -> None:
        """End the request on a bug."""
        self._request.failed(failure)

    def splice(self, plan: RequestPlan) -> None:
        """Raise an error, because a subrequest is never divided again."""
        raise AssertionError(f"a subrequest was divided: {plan}")


class SplicedAttempts:
    """
    The attempts of all subrequests. They end with one call of a method of ``request``, unless they are cancelled before.

    :param deadline: the request, and the deadline of the first of the identical ones.
    :param plan: which server answers which steps.
    :ivar plan: the given plan.
    :ivar ended: whether the responses to the subrequests are no longer needed.
    """

    def __init__(self, context: ForwardContext, deadline: RequestDeadline, plan: RequestPlan, request: SplicedRequest) -> None:
        self._context = context
        self._deadline = deadline
        self._request = request
        self._joining: Deferred[None] | None = None
        self.plan = plan
        self.ended = False
        info, began, buffer = deadline.info, deadline.began, deadline.buffer
        plain = info._replace(headers=headers.without(info.headers, b"accept-encoding"))
        requests = (self._request_for(plain, number) for number in range(len(plan.plan.parts)))
        deadlines = (RequestDeadline(each, began, context.settings, buffer) for each in requests)
        self._subrequests = [_PlannedSubrequest(self, context, each) for each in deadlines]
        self._next = 0

    def _request_for(self, info: RequestInfo, number: int) -> RequestInfo:
        """Return the request for the steps of one part of the plan."""
        parts = self.plan.plan.parts
        if len(parts) == 1:
            return info
        steps = self.plan.steps
        return data_requests.with_range(info, steps.time(parts[number].first), steps.time(parts[number].last))

    def go_on(self, before: Attempts) -> None:
        """Continue the count, the reasons and the retry state of earlier attempts, which have ended; there is one subrequest."""
        (subrequest,) = self._subrequests
        subrequest.attempts.started, subrequest.attempts.reasons = before.started, before.reasons
        subrequest.attempts.retry_state = before.retry_state

    def start(self) -> None:
        """
        Start the attempts of the first subrequests; each response starts one more.

        :raise LoopDetected: this mpp has sent the request itself.
        """
        for _ in range(MOST_UNDER_WAY):
            self._start_next()

    def _start_next(self) -> None:
        number = self._next
        if not self.ended and number < len(self._subrequests):
            self._next += 1
            self._subrequests[number].attempts.start_planned(self.plan.part(number))

    @property
    def running(self) -> list[Attempt]:
        """The attempts of all subrequests that are under way."""
        return [attempt for each in self._subrequests for attempt in each.attempts.running]

    @property
    def started(self) -> int:
        """The most attempts that one subrequest needed; 1 if all subrequests succeed at once."""
        return max(each.attempts.started for each in self._subrequests)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the request was divided, and why attempts failed, one line each."""
        why = self.plan.why()
        return (*((why,) if why else ()), *(reason for each in self._subrequests for reason in each.attempts.reasons))

    def tick(self) -> None:
        """End the request if its deadline has passed, else move or hedge attempts that make no progress."""
        for subrequest in self._subrequests[: self._next]:
            if subrequest.answer is None and not self.ended:
                subrequest.attempts.tick()

    def cancel(self) -> None:
        """Cancel all subrequests and the join."""
        self.ended = True
        for subrequest in self._subrequests:
            if subrequest.answer is None:
                subrequest.attempts.cancel()
            else:
                subrequest.answer[0].cancel()
        if self._joining is not None:
            self._joining.cancel()

    def response_failed(self, attempt: Attempt, error: UpstreamError) -> None:
        """Report that the response to the only subrequest broke off; a response that is joined is complete before it is sent."""
        if len(self._subrequests) == 1:
            self._subrequests[0].attempts.response_failed(attempt, error)

    def forget(self) -> None:
        """Remove the reference cycles with the subrequests, after the request has ended or is no longer divided."""
        for subrequest in self._subrequests:
            del subrequest.attempts
            subrequest.answer = None
        self._subrequests = []

    # The end of the subrequests

    def answered(self, subrequest: _PlannedSubrequest) -> None:
        """Join the responses if all subrequests have one now; if this one does not fit, ask one server for the whole range."""
        assert subrequest.answer is not None
        response, _ = subrequest.answer
        if response.status != 200 or not response.complete:
            self._replace(subrequest)
        elif all(each.answer is not None for each in self._subrequests):
            self._joining = Deferred.fromCoroutine(self._join())
            self._joining.addErrback(self._broken)
        else:
            self._start_next()

    def fail(self, why: LocalReply) -> None:
        """End the request, because no server answers one of the subrequests."""
        if not self.ended:
            self.cancel()
            self._request.fail(why)

    def failed(self, failure: Failure) -> None:
        """End the request on a bug."""
        if not self.ended:
            self.cancel()
        self._request.failed(failure)

    def _replace(self, unfit: _PlannedSubrequest) -> None:
        """Ask one server for the whole request, or deliver the response of ``unfit``, see Note [When responses do not fit]."""
        answer, deadline = unfit.answer, self._deadline
        assert answer is not None
        is_late = self._context.clock.seconds() >= deadline.ends_at
        if len(self._subrequests) == 1 or (is_late and answer[0].status >= 400):
            unfit.answer = None
            self.cancel()
            self._deliver(*answer)
        elif is_late:
            why, seconds = "the parts could not be joined", deadline.ends_at - deadline.began
            self.fail(local_replies.deadline_exceeded(seconds, why, read=deadline.read))
        else:
            self.cancel()
            candidates = rerouting.in_service(self._context.selections.current) or [self.plan.own]
            self._request.undivided(self.plan.undivided(candidates))

    async def _join(self) -> None:
        answers = [each.answer for each in self._subrequests if each.answer is not None]
        servers = [attempt.backend for _, attempt in answers]
        warning = self.plan.warning(servers, rerouting.in_service(self._context.selections.current))
        breaks = sum(len(piece) for response, _ in answers for piece in response.buffered) > _AT_ONCE
        try:
            if len(answers) == 1:
                body = b"".join(answers[0][0].buffered)
                body = with_warning(body, warning) if warning else body
                found: Iterator[bytes] = (body[at : at + PIECE] for at in range(0, len(body), PIECE))
            else:
                found = joined([await parse(self._context.turns, response.buffered) for response, _ in answers], warning)
            gzip = headers.accepts_gzip(self._deadline.info.headers)
            pieces = []
            for piece in compressed(found) if gzip else found:
                pieces.append(piece)
                if breaks:
                    await self._context.turns.next()
        except NotJoinable:
            self._joining = None
            self._replace(self._subrequests[0])
            return
        first, attempt = answers[0]
        fields = identical.fields_of_joined([response.headers for response, _ in answers], self._context.counted)
        fields = caching.fields_without_encoding(fields)
        released = counted_for([response for response, _ in answers], sum(map(len, pieces)))
        whole = WholeResponse(200, first.reason, (*fields, *GZIP_FIELDS) if gzip else fields, pieces, released=released)
        if len(servers) > 1:
            self._context.metrics.joined_responses.inc()
        steps = self.plan.steps
        answered = zip(servers, self.plan.plan.parts, strict=True)
        ranges = tuple((server, steps.time(part.first), steps.time(part.last)) for server, part in answered)
        self._deliver(whole, attempt, ranges)

    def _deliver(self, response: IResponse, attempt: Attempt, ranges: tuple[AnsweredRange, ...] = ()) -> None:
        self.ended = True
        self._request.deliver(response, attempt, self.started, "", ranges=ranges)

    def _broken(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            self.failed(failure)
