"""
One attempt to have a request answered by one backend: sends it, and knows what has come of it, and for how long nothing has.

What the outcome means is not known here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure
from txaio import tx
from zope.interface import implementer

from mpp.core.errors import UpstreamError
from mpp.core.interfaces import IProgress
from mpp.proxy.decisions import retry_policy as policy
from mpp.proxy.ticker import ROUNDING

if TYPE_CHECKING:
    from mpp.core.interfaces import IResponse
    from mpp.core.model import Backend
    from mpp.proxy.context import ForwardContext
    from mpp.proxy.decisions.request_deadline import RequestDeadline

_log = tx.make_logger()

# Fewer bytes within ``--suspect-after`` are no progress (4 KiB/s at the default of 250 ms). Networks that dashboards are used
# over are faster than that, and so is a server on a local network once it has begun its response.
ENOUGH = 1024


class AttemptListener(Protocol):
    """The owner of an attempt, which its end is reported to: `mpp.proxy.attempts.Attempts`."""

    def answered(self, attempt: Attempt, response: IResponse, /) -> None:
        """Take a response, which is complete or buffered as far as it may be."""

    def failed(self, attempt: Attempt, error: UpstreamError, /) -> None:
        """Take the error of an attempt without a usable response."""

    def stopped(self, failure: Failure, /) -> None:
        """Take the failure of one of these methods, which is a bug."""

    def client(self) -> str:
        """Return the address of the client."""


@implementer(IProgress)
class Attempt:
    """
    One attempt. Ends with one call of its keeper's, unless it is cancelled before.

    :ivar dequeued_at: when it was its turn, if it had to wait for that, else 0; set by the wire layer, too.
    :ivar took: how long its answer took, once it is there.
    :ivar received: bytes that have come of the answer; counted up by the wire layer (`mpp.core.interfaces.IProgress`).
    :ivar queued: it waits for a slot on the backend; set by the wire layer.
    :ivar sent_at: when the request was handed to the wire layer, by the monotonic clock.
    :ivar was_stale: its first connection turned out to be dead.
    :ivar idle: for how many seconds not a byte has come.
    :ivar alive_at: when its server gave the last sign of life, 0 as long as nobody has waited for one.
    """

    __slots__ = (
        "_cancelled",
        "_listener",
        "_marked",
        "_moving",
        "_response",
        "_seen",
        "_stalled",
        "alive_at",
        "backend",
        "dequeued_at",
        "idle",
        "queued",
        "received",
        "sent_at",
        "took",
        "was_stale",
    )

    def __init__(self, owner: AttemptListener, backend: Backend, sent_at: float) -> None:
        self._listener = owner
        self.backend = backend
        self.sent_at = sent_at
        self.dequeued_at = 0.0
        self.took = 0.0
        self.received = 0
        self.queued = False
        self.was_stale = False
        self.idle = 0.0
        self.alive_at = 0.0
        self._response: Deferred[IResponse] | None = None
        self._cancelled = False
        self._moving = False
        self._stalled = 0.0
        self._marked = 0
        self._seen = 0

    def __repr__(self) -> str:
        return f"<Attempt on {self.backend.name}, {self.received} bytes, stalled for {self._stalled:g} s>"

    @property
    def ran_for(self) -> float:
        """
        For how many seconds its server is known to have worked on it, see Note [Query of death] in
        `mpp.selection.query_of_death`.
        """
        begun = max(self.sent_at, self.dequeued_at)
        return max(self.alive_at, self.sent_at + self.took) - begun

    def ran_long(self, context: ForwardContext, deadline: RequestDeadline) -> bool:
        """Return whether its server has run a read for so long that the read is suspect if the connection breaks off now."""
        return deadline.read and 0 < context.settings.crash_suspect < self.ran_for

    def send(self, context: ForwardContext, deadline: RequestDeadline, *, fresh: bool) -> None:
        """
        Send the request; once more, on a fresh connection, if the kept one turns out to be dead.

        :raise LoopDetected: the request has been sent by this mpp before. Then nothing is sent.
        """
        selection, began = context.selections.current, self.dequeued_at or self.sent_at
        head, body = deadline.request(self.backend, selection.prefixes, began, context.instance, context.proxies)
        answer = self._response = context.upstreams.send(
            self.backend,
            head,
            body,
            fresh=fresh,
            buffer=context.settings.response_buffer,
            may_buffer=policy.may_buffer,
            progress=self,
            query_slots=selection.query_slots.get(self.backend.id, 0) if deadline.query else 0,
        )
        answer.addCallbacks(self._answered, self._failed, errbackArgs=(context, deadline))

    def move(self, backend: Backend, context: ForwardContext, deadline: RequestDeadline) -> None:
        """Send the request to another backend, instead of the one on which it is ``queued``."""
        waiting = self._response
        assert self.queued and waiting is not None
        self._moving = True
        waiting.cancel()
        self._moving = self.queued = False
        self.backend = backend
        self.dequeued_at = context.clock.seconds()
        self.trust()
        self.send(context, deadline, fresh=not deadline.read)

    def client(self) -> str:
        """Return the address of the client, as the access log shows it."""
        return self._listener.client()

    # The end of the chain: what goes wrong here is told by these two, which costs less than another link for every request.

    def _answered(self, response: IResponse) -> None:
        self._response = None
        try:
            self._listener.answered(self, response)
        except Exception:
            self._listener.stopped(Failure())

    def _failed(self, failure: Failure, context: ForwardContext, deadline: RequestDeadline) -> None:
        self._response = None
        try:
            self._resend(failure, context, deadline)
        except Exception:
            self._listener.stopped(Failure())

    def _resend(self, failure: Failure, context: ForwardContext, deadline: RequestDeadline) -> None:
        if self._moving:
            failure.trap(CancelledError)
            return
        if self._cancelled:
            if not failure.check(CancelledError):
                _log.failure("Bug: an attempt that was given up failed", failure)
            return
        failure.trap(UpstreamError)
        error = failure.value
        assert isinstance(error, UpstreamError)
        # An idle connection dies before the server has begun to work on the request, not while it does.
        if error.stale and not self.ran_long(context, deadline):
            self.was_stale = True
            self.send(context, deadline, fresh=True)
        else:
            self._listener.failed(self, error)

    def tick(self, context: ForwardContext) -> float:
        """Count one tick; return for how many seconds there was no progress, 0 while fewer than ``--suspect-after``."""
        seconds = context.ticker.period
        if self.received != self._seen:
            self._seen = self.received
            self.idle = 0.0
        else:
            self.idle += seconds
        if self.received - self._marked >= ENOUGH:
            self.trust()
            return 0.0
        self._stalled += seconds
        return self._stalled if self._stalled > context.settings.suspect_after - ROUNDING else 0.0

    def trust(self) -> None:
        """Begin to wait anew."""
        self._marked = self.received
        self._stalled = 0.0

    def cancel(self) -> None:
        """Give it up: the client is gone, or another attempt was faster."""
        self._cancelled = True
        if self._response is not None:
            self._response.cancel()
