"""
One attempt of a request on one backend: sends the request, and records its progress and how long there is none.

This module does not know what the outcome means for the request.
"""

from __future__ import annotations

from typing import Protocol

from attrs import define
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure
from txaio import tx
from zope.interface import implementer

from mpp.core.errors import UpstreamError
from mpp.core.interfaces import IProgress, IResponse
from mpp.core.model import Backend
from mpp.proxy.context import ForwardContext
from mpp.proxy.decisions import retry_policy as policy
from mpp.proxy.decisions.request_deadline import RequestDeadline
from mpp.proxy.ticker import ROUNDING

_log = tx.make_logger()

# Fewer bytes within ``--suspect-after`` are no progress (4 KiB/s at the default of 250 ms). Networks that dashboards are used
# over are faster than that, and so is a server on a local network once it has begun its response.
ENOUGH = 1024


class AttemptListener(Protocol):
    """The object that an attempt reports its end to: `mpp.proxy.attempts.Attempts`."""

    def answered(self, attempt: Attempt, response: IResponse, /) -> None:
        """Handle a response that is complete, or has filled the response buffer."""

    def failed(self, attempt: Attempt, error: UpstreamError, /) -> None:
        """Handle the error of an attempt without a response."""

    def stopped(self, failure: Failure, /) -> None:
        """Handle an unexpected exception at the end of the attempt, which is a bug."""


@implementer(IProgress)
@define(eq=False, weakref_slot=False)
class Attempt:
    """
    One attempt of a request on one backend. It ends with one call of a method of its listener, unless it is cancelled
    before.

    Times are points in time by the monotonic clock, in seconds.

    :ivar dequeued_at: when the request got its slot, or was moved to another backend; 0 if it did not wait for a slot.
    :ivar took: the seconds from ``sent_at`` until the response was received; 0 before there is one.
    :ivar received: the number of response bytes so far, counted by the wire layer (`mpp.core.interfaces.IProgress`).
    :ivar queued: whether the request waits in mpp for a slot on the backend: a connection, and for a query also one of the
        server's query slots. Set by the wire layer.
    :ivar sent_at: when the request was passed to the wire layer.
    :ivar was_stale: whether its first connection, kept open since an earlier request, turned out to be dead.
    :ivar idle: for how many seconds no byte has arrived.
    :ivar alive_at: when the server last showed that it is alive: by a byte of the response, or by its response to a liveness
        check; 0 if it has not yet.
    """

    _listener: AttemptListener
    backend: Backend
    context: ForwardContext
    deadline: RequestDeadline
    sent_at: float
    dequeued_at: float = 0.0
    took: float = 0.0
    received: int = 0
    queued: bool = False
    was_stale: bool = False
    idle: float = 0.0
    alive_at: float = 0.0
    _response: Deferred[IResponse] | None = None
    _cancelled: bool = False
    _moving: bool = False
    _stalled: float = 0.0
    _marked: int = 0
    _seen: int = 0

    def __repr__(self) -> str:
        return f"<Attempt on {self.backend.name}, {self.received} bytes, stalled for {self._stalled:g} s>"

    @property
    def ran_for(self) -> float:
        """
        Return for how many seconds the server is known to have worked on the request, see Note [Query of death] in
        `mpp.selection.query_of_death`.
        """
        return max(self.alive_at, self.sent_at + self.took) - max(self.sent_at, self.dequeued_at)

    @property
    def ran_long(self) -> bool:
        """
        Return whether the request is a read that the server has run for longer than ``--crash-suspect``: if the connection breaks
        now, the server may have died of it.
        """
        return self.deadline.read and 0 < self.context.settings.crash_suspect < self.ran_for

    def send(self, *, fresh: bool) -> None:
        """
        Send the request; if that was on a kept connection that turns out to be dead, send it again on a new one.

        :param fresh: whether a new connection must be used, and none that is kept open since an earlier request.
        :raise LoopDetected: this mpp has sent the request itself; it is not sent again.
        """
        context, deadline = self.context, self.deadline
        selection, began = context.selections.current, self.dequeued_at or self.sent_at
        head, body = deadline.request(self.backend, selection.prefixes, began, context.instance, context.proxies)
        response = self._response = context.upstreams.send(
            self.backend,
            head,
            body,
            fresh=fresh,
            buffer=deadline.buffer,
            may_buffer=policy.may_buffer,
            progress=self,
            query_slots=selection.query_slots.get(self.backend.id, 0) if deadline.query else 0,
        )
        response.addCallbacks(self._answered, self._failed)

    def move(self, backend: Backend) -> None:
        """Send the request to another backend instead of the one where it is ``queued``."""
        waiting = self._response
        assert self.queued and waiting is not None
        self._moving = True
        waiting.cancel()
        self._moving = self.queued = False
        self.backend = backend
        self.dequeued_at = self.context.clock.seconds()
        self.trust()
        self.send(fresh=not self.deadline.read)

    def client(self) -> str:
        """Return the address of the client, as the access log writes it."""
        return self.context.client_address(self.deadline.info)

    # These two catch their own exceptions, which costs less than a further errback for every request.

    def _answered(self, response: IResponse) -> None:
        self._response = None
        try:
            self._listener.answered(self, response)
        except Exception:
            self._listener.stopped(Failure())

    def _failed(self, failure: Failure) -> None:
        self._response = None
        try:
            self._resend(failure)
        except Exception:
            self._listener.stopped(Failure())

    def _resend(self, failure: Failure) -> None:
        if self._moving:
            failure.trap(CancelledError)
            return
        if self._cancelled:
            if not failure.check(CancelledError):
                _log.failure("bug: an attempt failed unexpectedly after it was cancelled; no client is affected", failure)
            return
        failure.trap(UpstreamError)
        error = failure.value
        assert isinstance(error, UpstreamError)
        # A kept connection that was dead breaks before the server has begun to work on the request, not later.
        if error.stale and not self.ran_long:
            self.was_stale = True
            self.send(fresh=True)
        else:
            self._listener.failed(self, error)

    def tick(self) -> float:
        """
        Count one tick of `mpp.proxy.ticker`.

        :return: for how many seconds there was no progress; 0 if that is less than ``--suspect-after``.
        """
        context = self.context
        if self.received != self._seen:
            self._seen = self.received
            self.idle = 0.0
        else:
            self.idle += context.ticker.period
        if self.received - self._marked >= ENOUGH:
            self.trust()
            return 0.0
        self._stalled += context.ticker.period
        return self._stalled if self._stalled > context.settings.suspect_after - ROUNDING else 0.0

    def trust(self) -> None:
        """Restart the count of the seconds without progress at zero."""
        self._marked = self.received
        self._stalled = 0.0

    def cancel(self) -> None:
        """Cancel the attempt, because the client has disconnected or another attempt was faster."""
        self._cancelled = True
        if self._response is not None:
            self._response.cancel()
