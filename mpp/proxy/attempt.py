"""
One attempt to have a request answered by one backend: sends it, and knows what has come of it, and for how long nothing has.

What the outcome means is not known here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure
from txaio import tx
from zope.interface import implementer

from mpp.core.errors import UpstreamError
from mpp.core.interfaces import IProgress
from mpp.proxy import crashes
from mpp.proxy.decisions import retry_policy as policy
from mpp.proxy.ticker import TICKS

if TYPE_CHECKING:
    from mpp.core.interfaces import IResponse
    from mpp.core.model import Backend
    from mpp.proxy.callbacks import Keeper
    from mpp.proxy.decisions.request_deadline import Terms
    from mpp.proxy.forwarder import Forwarder

_log = tx.make_logger()

# Less than so many bytes in the time of `TICKS` is no progress (4 KiB/s at the default of 250 ms): slower than any network
# that a dashboard is used over, and no server on a local one takes its time with an answer that it has begun.
ENOUGH = 1024


@implementer(IProgress)
class Attempt:
    """
    One attempt. Ends with one call of its keeper's, unless it is cancelled before.

    :ivar turn_at: when it was its turn, if it had to wait for that, else 0; set by the wire layer, too.
    :ivar took: how long its answer took, once it is there.
    :ivar received: bytes that have come of the answer; counted up by the wire layer (`mpp.core.interfaces.IProgress`).
    :ivar queued: it waits for a slot on the backend; set by the wire layer.
    :ivar sent_at: when the request was handed to the wire layer, by the monotonic clock.
    :ivar was_stale: its first connection turned out to be dead.
    :ivar silent: for how many ticks not a byte has come.
    :ivar alive_at: when its server gave the last sign of life, 0 as long as nobody has waited for one.
    """

    __slots__ = (
        "_answer",
        "_cancelled",
        "_keeper",
        "_marked",
        "_moving",
        "_quiet",
        "_seen",
        "alive_at",
        "backend",
        "queued",
        "received",
        "sent_at",
        "silent",
        "took",
        "turn_at",
        "was_stale",
    )

    def __init__(self, keeper: Keeper, backend: Backend, sent_at: float) -> None:
        self._keeper = keeper
        self.backend = backend
        self.sent_at = sent_at
        self.turn_at = 0.0
        self.took = 0.0
        self.received = 0
        self.queued = False
        self.was_stale = False
        self.silent = 0
        self.alive_at = 0.0
        self._answer: Deferred[IResponse] | None = None
        self._cancelled = False
        self._moving = False
        self._quiet = 0
        self._marked = 0
        self._seen = 0

    def __repr__(self) -> str:
        return f"<Attempt on {self.backend.name}, {self.received} bytes, quiet for {self._quiet} ticks>"

    @property
    def ran_for(self) -> float:
        """
        For how many seconds its server is known to have worked on it, see Note [Query of death] in
        `mpp.selection.query_of_death`.
        """
        begun = max(self.sent_at, self.turn_at)
        return max(self.alive_at, self.sent_at + self.took) - begun

    def send(self, context: Forwarder, terms: Terms, *, fresh: bool) -> None:
        """
        Send the request; once more, on a fresh connection, if the kept one turns out to be dead.

        :raise Looped: the request has been sent by this mpp before. Then nothing is sent.
        """
        selection, began = context.selections.current, self.turn_at or self.sent_at
        head, body = terms.request(self.backend, selection.prefixes, began, context.instance, context.proxies)
        answer = self._answer = context.upstreams.send(
            self.backend,
            head,
            body,
            fresh=fresh,
            hold=context.settings.response_buffer,
            may_hold=policy.may_hold,
            progress=self,
            query_slots=selection.query_slots.get(self.backend.id, 0) if terms.query else 0,
        )
        answer.addCallbacks(self._answered, self._failed, errbackArgs=(context, terms))

    def move(self, backend: Backend, context: Forwarder, terms: Terms) -> None:
        """Send the request to another backend, instead of the one on which it is ``queued``."""
        waiting = self._answer
        assert self.queued and waiting is not None
        self._moving = True
        waiting.cancel()
        self._moving = self.queued = False
        self.backend = backend
        self.turn_at = context.clock.seconds()
        self.trust()
        self.send(context, terms, fresh=not terms.read)

    def client(self) -> str:
        """Return the address of the client, as the access log shows it."""
        return self._keeper.client()

    # The end of the chain: what goes wrong here is told by these two, which costs less than another link for every request.

    def _answered(self, response: IResponse) -> None:
        self._answer = None
        try:
            self._keeper.answered(self, response)
        except Exception:
            self._keeper.stopped(Failure())

    def _failed(self, failure: Failure, context: Forwarder, terms: Terms) -> None:
        self._answer = None
        try:
            self._go_on(failure, context, terms)
        except Exception:
            self._keeper.stopped(Failure())

    def _go_on(self, failure: Failure, context: Forwarder, terms: Terms) -> None:
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
        if error.stale and not crashes.is_long(self, context, terms):
            self.was_stale = True
            self.send(context, terms, fresh=True)
        else:
            self._keeper.lost(self, error)

    def tick(self) -> int:
        """Count one tick; give for how many there was no progress, 0 as long as that is no reason for doubt."""
        if self.received != self._seen:
            self._seen = self.received
            self.silent = 0
        else:
            self.silent += 1
        if self.received - self._marked >= ENOUGH:
            self.trust()
            return 0
        self._quiet += 1
        return self._quiet if self._quiet >= TICKS else 0

    def trust(self) -> None:
        """Begin to wait anew."""
        self._marked = self.received
        self._quiet = 0

    def cancel(self) -> None:
        """Give it up: the client is gone, or another attempt was faster."""
        self._cancelled = True
        if self._answer is not None:
            self._answer.cancel()
