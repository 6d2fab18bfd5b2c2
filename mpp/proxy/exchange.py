"""
Forwards one client request to a backend and sends the response back.

An `Exchange` exists as long as its request. `mpp.proxy.attempts` gets a response from a backend; the exchange delivers it or
sends a local reply, and records how the request ended.

::

    start → attempts ──┬─ a response → deliver → done, or broken off in the middle of the body
                       ├─ none       → a local reply
                       └─ the client disconnects meanwhile → everything is cancelled
"""

from __future__ import annotations

from twisted.python.failure import Failure
from txaio import tx

from mpp.core.errors import LoopDetected, UpstreamError
from mpp.core.http import heads
from mpp.core.interfaces import IDownstream, IResponse
from mpp.core.metrics.registry import LOCAL
from mpp.core.model import Backend
from mpp.coverage.planning.planner import RequestPlan
from mpp.proxy.attempt import Attempt
from mpp.proxy.attempts import Attempts
from mpp.proxy.context import ForwardContext
from mpp.proxy.decisions import local_replies
from mpp.proxy.decisions import retry_policy as policy
from mpp.proxy.decisions.local_replies import LocalReply
from mpp.proxy.decisions.request_deadline import RequestDeadline
from mpp.proxy.hedging import stalled
from mpp.proxy.splicing import SplicedAttempts
from mpp.proxy.ticker import ROUNDING

_log = tx.make_logger()

# The status that is counted and logged when the client disconnected before there was a response, as nginx does.
CLIENT_GONE = 499


class Exchange:
    """
    One client request, from its last byte to the last byte of its response.

    :ivar ended: whether the request has ended; later events are ignored.
    """

    __slots__ = ("_attempts", "_began", "_context", "_delivering", "_downstream", "_response", "_served_by", "_status", "ended")

    def __init__(self, context: ForwardContext, downstream: IDownstream) -> None:
        self._context = context
        self._downstream = downstream
        self._began = context.clock.seconds()
        self._attempts: Attempts | SplicedAttempts = self._new_attempts()
        self._served_by: Backend | None = None
        self._status = 0
        self._response: IResponse | None = None
        self._delivering: Attempt | None = None
        self.ended = False

    def start(self) -> None:
        """Start the attempts, and count the request."""
        context = self._context
        context.metrics.request_began()
        context.budget.deposit()
        context.ticker.add(self)
        try:
            self._attempts.start()
        except LoopDetected:
            self._attempts.cancel()
            self.fail(local_replies.loop_detected(context.instance.token))
        except Exception:
            self.failed(Failure())

    def _new_attempts(self) -> Attempts:
        return Attempts(self._context, RequestDeadline(self._downstream.info, self._began, self._context.settings), self)

    def splice(self, plan: RequestPlan) -> None:
        """Let several servers answer the request, each some of its steps."""
        self._attempts = spliced = SplicedAttempts(self._context, self._downstream.info, self._began, plan, self)
        spliced.start()

    def undivided(self, plan: RequestPlan) -> None:
        """Let one server answer the whole request, because the parts could not be joined."""
        before, self._attempts = self._attempts, self._new_attempts()
        self._attempts.reasons = (*before.reasons, "the parts could not be joined")
        _forget(before)
        self._attempts.start_planned(plan)

    def client_gone(self) -> None:
        """
        Cancel the request, because the client has disconnected. The aborted attempts count as failures of no backend.

        ``ended`` is set before anything is cancelled, so that the cancellations are not taken for failures.
        """
        if self.ended:
            return
        self.ended = True
        if self._response is None:
            running = self._attempts.running
            self._served_by = running[-1].backend if running else None
            self._attempts.cancel()
        else:
            self._response.cancel()
        self._end(CLIENT_GONE, "client gone")

    def draining(self) -> None:
        """Abort an event stream, which would not end by itself; its client then connects to another mpp."""
        response = self._response
        if response is not None and not policy.may_buffer(response.status, response.headers):
            self._downstream.abort()

    def tick(self) -> None:
        """Check the progress of the attempts or of the response; called at each tick of `mpp.proxy.ticker`."""
        try:
            if self._delivering is None:
                self._attempts.tick()
            else:
                self._watch_delivery(self._delivering)
        except Exception:
            self.failed(Failure())

    # How the attempts ended

    def deliver(
        self, response: IResponse, attempt: Attempt, attempts: int, affinity: str, *, also: tuple[Backend, ...] = ()
    ) -> None:
        """
        Send a response to the client.

        :param attempts: the number of attempts that were made.
        :param affinity: the name of the affinity that chose the backend, or empty.
        :param also: the further backends whose responses are a part of it.
        """
        context, backend = self._context, attempt.backend
        self._status = response.status
        self._response = response
        self._served_by = backend
        self._delivering = attempt
        if affinity:
            context.metrics.affinity_hit(affinity)
        plan = self._attempts.plan
        # A client keeps the server that it has if this one answers only because that one lacks data.
        keeps = plan is not None and backend != plan.own
        cookies = () if keeps else context.affinity.remember(self._downstream.info, backend, self._began)
        if cookies and len(context.selections.current.selected) < 2:
            # There is no other server for the client, and caches do not store a response with a cookie.
            cookies = ()
        timing = self._timing(attempt) if context.settings.server_timing else b""
        self._downstream.deliver(response, backend, cookies, attempts, self._delivered, timing, also)
        if not self.ended and (response.complete or not policy.may_buffer(response.status, response.headers)):
            # The response is complete, or it is an event stream, which has no time limit.
            context.ticker.discard(self)

    def _timing(self, attempt: Attempt) -> bytes:
        waited = attempt.dequeued_at - attempt.sent_at if attempt.dequeued_at else 0.0
        total = self._context.clock.seconds() - self._began
        return heads.server_timing(total, attempt.backend, attempt.took - waited, waited)

    def fail(self, why: LocalReply) -> None:
        """Send a local reply, because no backend gave a usable response."""
        self._served_by = None
        self._downstream.fail(*why)
        self._end(why.status, why.message)

    def failed(self, failure: Failure) -> None:
        """End the request on a bug, so that the client does not wait forever. The outermost errback."""
        info = self._downstream.info
        method, target = info.method.decode("latin-1"), info.target[:200].decode("latin-1")
        _log.failure("bug: request {method} {target} failed", failure=failure, method=method, target=target)
        if self.ended:
            return
        if self._response is None:
            self._attempts.cancel()
            self.fail(local_replies.BUG)
        else:
            self._served_by = None
            self._downstream.abort()
            self._end(500, local_replies.BUG.message)

    # Delivering

    def _watch_delivery(self, attempt: Attempt) -> None:
        """Abort a response whose rest does not arrive, unless it is the client that does not read."""
        response = self._response
        assert response is not None
        attempt.tick()
        if response.paused:
            attempt.idle = 0.0
        elif attempt.idle > self._context.settings.stall_timeout - ROUNDING:
            response.cancel()
            self._delivered(stalled(self._context.settings.stall_timeout))
            self._downstream.abort()

    def _delivered(self, error: Exception | None) -> None:
        attempt, self._delivering = self._delivering, None
        self._response = None
        if self.ended:
            return
        if isinstance(error, UpstreamError) and attempt is not None:
            self._context.metrics.truncated(attempt.backend.name, error.cause.value)
            _log.warn(
                "response of {backend} broke off after its first bytes were sent to the client: {why}",
                backend=attempt.backend.name,
                why=str(error),
            )
            self._attempts.response_failed(attempt, error)
            self._end(self._status, "the response broke off")
        elif error is not None:
            self._end(self._status, str(error))
        else:
            self._end(self._status)

    def _end(self, code: int, why: str = "") -> None:
        context = self._context
        self.ended = True
        context.ticker.discard(self)
        name = self._served_by.name if self._served_by is not None else LOCAL
        context.metrics.request_ended(name, code, context.clock.seconds() - self._began)
        if context.access is not None:
            context.access.log(
                self._downstream.info,
                code,
                began=self._began,
                sent=self._downstream.sent,
                backend=name,
                attempts=self._attempts.started,
                reasons=(*self._attempts.reasons, why),
            )
        # They refer to this exchange: such a cycle would wait for the garbage collector.
        self._delivering = None
        _forget(self._attempts)
        del self._attempts


def _forget(attempts: Attempts | SplicedAttempts) -> None:
    if isinstance(attempts, SplicedAttempts):
        attempts.forget()
