"""
One connection to a backend: sends a request, and gives the answer as far as it may be held.

It knows one request at a time and nothing of pools, retries or time-outs. What it tells its keeper is whether it can be used
again, and that it is gone.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import ISSLTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from mpp.core.errors import Cause, Phase, UpstreamError
from mpp.core.interfaces import IProgress, IResponse
from mpp.core.model import Headers
from mpp.wire.memory_budget import MemoryBudget
from mpp.wire.upstream.dial_errors import detail_of
from mpp.wire.upstream.keeping import ConnectionOwner, UnsentBody
from mpp.wire.upstream.response import Response
from mpp.wire.upstream.response_parser import MalformedResponse, ResponseParser

# Up to here one write of head and body together costs less than a second one; twice the usual form body of a query.
JOIN_BODY = 16 * 1024
# A transport tells a producer to pause when it has buffered more than this, so smaller bodies need not ask.
TRANSPORT_BUFFER = 64 * 1024


class ConnectionState(enum.Enum):
    """Where a connection is."""

    IDLE = "idle"
    BUSY = "busy"
    """A request was sent, and the answer has not ended."""
    DEAD = "dead"
    """Closed or aborted: nothing that arrives counts."""


_IDLE, _BUSY, _DEAD = ConnectionState


class UpstreamConnection(Protocol):
    """
    A connection to one backend.

    :ivar address: the IP address that it leads to.
    :ivar retired: the keeper's note that the server does not have this address any more: it carries no further request.
    :ivar idle_since: the keeper's note of when it became idle.
    :ivar proved: the keeper's note that it has answered.
    :ivar carries: the keeper's note that it may carry requests.
    :ivar slots: the keeper's note of what its request has: 0 nothing, 1 a slot, 2 a query slot beside it.
    :ivar begun: the keeper's note that its response has begun, and not ended.
    """

    transport: Any
    address = ""
    retired = False
    idle_since = 0.0
    proved = False
    carries = False
    slots = 0
    begun = False

    def __init__(self) -> None:
        self._state = _IDLE
        self._parser = ResponseParser()
        self._owner: ConnectionOwner | None = None
        self._waiting: Deferred[IResponse] | None = None
        self._response: Response | None = None
        self._unsent: UnsentBody | None = None
        self._used = False
        self._unanswered = True
        self._reading = True
        self._progress: IProgress | None = None

    def __repr__(self) -> str:
        return f"<UpstreamConnection {self._state.value}>"

    def adopt(self, owner: ConnectionOwner, budget: MemoryBudget) -> None:
        """Belong to ``owner`` from now on, and account for what is held in ``budget``. Before the first `send`."""
        self._owner = owner
        self._budget = budget

    @property
    def alive(self) -> bool:
        """Whether a request can be sent, as far as is known."""
        return self._state is _IDLE

    def restart_idle(self) -> None:
        """Count as new: what was asked on it so far was asked just now, to see that the server reads it."""
        self._used = False

    def send(
        self,
        head: bytes,
        body: bytes,
        buffer: int,
        may_buffer: Callable[[int, Headers], bool] | None,
        progress: IProgress | None = None,
    ) -> Deferred[IResponse]:
        """Send a request; see `mpp.core.interfaces.IUpstreams.send`. The connection must be ``alive``."""
        self._state = _BUSY
        self._unanswered = True
        self._buffer = buffer
        self._may_buffer = may_buffer
        self._progress = progress
        self._parser.expect(head_only=head.startswith(b"HEAD "))
        waiting: Deferred[IResponse] = Deferred(self._cancelled)
        self._waiting = waiting
        if not body:
            self.transport.write(head)
        elif len(body) <= JOIN_BODY:
            self.transport.write(head + body)
        else:
            self._send_large(head, body)
        return waiting

    def _send_large(self, head: bytes, body: bytes) -> None:
        if len(body) < TRANSPORT_BUFFER:
            self.transport.writeSequence((head, body))
            return
        self._unsent = unsent = UnsentBody(self.transport)
        self.transport.registerProducer(unsent, True)
        self.transport.writeSequence((head, body))
        if not unsent.pending:
            self.transport.unregisterProducer()

    def _cancelled(self, waiting: Deferred[IResponse]) -> None:
        if self._response is not None:
            self._response.release()
        self.abort()

    # The answer

    def dataReceived(self, data: bytes) -> None:
        """Read a segment, then act on what it brought."""
        if self._state is not _BUSY:
            # Nobody asked for it.
            self._die()
            return
        self._unanswered = False
        if self._progress is not None:
            self._progress.received += len(data)
        answer = self._parser
        try:
            answer.feed(data)
        except MalformedResponse as error:
            if answer.began and self._response is None:
                self._begin_response(answer)
            self._fail(Cause.GARBLED, str(error))
            return
        if answer.began:
            self._answered(answer, self._response or self._begin_response(answer))

    def _begin_response(self, answer: ResponseParser) -> Response:
        response = self._response = Response(answer.status, answer.reason, answer.headers, self._budget, self)
        return response

    def _answered(self, answer: ResponseParser, response: Response) -> None:
        """Pass on what has come of the body, and its end."""
        room = True
        if answer.pieces:
            body = answer.take()
            if self._waiting is None:
                response.arrived(body)
            else:
                room = response.buffer(body)
        if answer.ended:
            # Unless the consumer has just cancelled it.
            if self._state is _BUSY:
                self._complete()
        elif self._waiting is not None and not (room and self._may_buffer_more(response)):
            self._fire_begun(response)

    def _may_buffer_more(self, response: Response) -> bool:
        if self._may_buffer is not None:
            may_hold, self._may_buffer = self._may_buffer, None
            if not may_hold(response.status, response.headers):
                self._buffer = 0
                if self._owner is not None:
                    self._owner.stream_begun(self)
        return 0 < self._buffer >= response.buffered_size

    def _fire_begun(self, response: Response) -> None:
        """Give the answer as far as it has come; the backend waits."""
        response.length = self._parser.length
        self.pause_reading()
        if self._owner is not None:
            self._owner.response_begun(self)
        waiting, self._waiting = self._waiting, None
        assert waiting is not None
        waiting.callback(response)

    def _complete(self) -> None:
        """Be free before anybody is told, so that what they send next can use this connection."""
        response, self._response = self._response, None
        waiting, self._waiting = self._waiting, None
        assert response is not None
        if waiting is not None:
            response.length = response.buffered_size
        reusable = self._parser.persistent and not self._parser.excess
        if self._unsent is not None:
            if self._unsent.pending:
                reusable = False
            else:
                self._unsent = None
        self._end(reusable)
        response.finish()
        if waiting is not None:
            waiting.callback(response)

    # The end

    def _end(self, reusable: bool) -> None:
        """Be idle, or close."""
        if reusable:
            self._state = _IDLE
            self._used = True
            if not self._reading:
                self.resume_reading()
        else:
            self.close()
        if self._owner is not None:
            self._owner.exchange_ended(self, reusable)

    def _fail(self, cause: Cause, detail: str) -> None:
        """Give up on the answer, and on the connection."""
        response, self._response = self._response, None
        waiting, self._waiting = self._waiting, None
        stale = self._used and self._unanswered and cause in (Cause.CLOSED, Cause.RESET)
        error = UpstreamError(Phase.HEAD if response is None else Phase.BODY, cause, detail, stale=stale)
        self._die()
        self._end(False)
        if waiting is not None:
            if response is not None:
                response.release()
            waiting.errback(error)
        elif response is not None:
            response.fail(error)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Decide whether the end came too early."""
        if self._state is _BUSY:
            if self._parser.ends_with_connection and reason.check(ConnectionDone):
                self._parser.persistent = False
                self._complete()
            else:
                cause = _cause(reason)
                self._fail(cause, detail_of(reason, cause))
        self._state = _DEAD
        owner, self._owner = self._owner, None
        if owner is not None:
            owner.connection_closed(self)

    def pause_reading(self) -> None:
        """Make the backend wait."""
        if self._reading and self._state is not _DEAD:
            self._reading = False
            self.transport.pauseProducing()

    def resume_reading(self) -> None:
        """Let the backend go on."""
        if not self._reading and self._state is not _DEAD:
            self._reading = True
            self.transport.resumeProducing()

    # The client's pace

    def client_paused(self) -> None:
        """Read nothing more from the backend, because the client does not take what has come."""
        self.pause_reading()
        if self._owner is not None and self._state is _BUSY:
            self._owner.response_paused(self)

    def client_resumed(self) -> None:
        """Record that the client takes more; reading goes on when it has taken what is held."""
        if self._owner is not None and self._state is _BUSY:
            self._owner.response_resumed(self)

    def client(self) -> str:
        """Return the address of the client that the response is for; empty when that is not known."""
        return "" if self._progress is None else self._progress.client()

    def taken(self) -> int:
        """Return how many bytes of the response its client has taken."""
        return 0 if self._response is None else self._response.taken()

    def end_stream(self) -> None:
        """Close the connection, and let what has come of its event stream be all there is of it."""
        response, self._response = self._response, None
        self._die()
        self._end(False)
        if response is not None:
            response.finish()

    def cancel_slow(self, error: Exception) -> None:
        """Reset the connection, and fail the response at once, also if its consumer has paused it."""
        response, self._response = self._response, None
        self._die()
        self._end(False)
        if response is not None:
            response.cancel_slow(error)

    def abort(self) -> None:
        """Reset the connection; nobody waiting is told."""
        busy = self._state is _BUSY
        self._waiting = self._response = None
        self._die()
        if busy and self._owner is not None:
            self._owner.exchange_ended(self, False)

    def close(self) -> None:
        """Close a connection on which no answer is awaited any more."""
        if self._state is _DEAD:
            return
        self._state = _DEAD
        if self._unsent is not None or ISSLTransport.providedBy(self.transport):
            # Neither the rest of a request nor an orderly end of TLS is worth waiting for: the other side may be dead.
            self.transport.abortConnection()
        else:
            self.transport.loseConnection()

    def shut(self) -> None:
        """Reset the connection, whatever it is doing; who waits on it is told by the end of the connection."""
        self.transport.abortConnection()

    def _die(self) -> None:
        if self._state is not _DEAD:
            self._state = _DEAD
            self.transport.abortConnection()


def _cause(reason: Failure) -> Cause:
    if reason.check(ConnectionDone):
        return Cause.CLOSED
    if reason.check(ConnectionLost, ConnectionAborted):
        return Cause.RESET
    return Cause.TLS
