"""
One connection to a backend: sends a request, and returns the response as soon as it is complete or may not be buffered further.

It handles one request at a time, and knows nothing of pools, retries or timeouts.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import ISSLTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from mpp.core.errors import Cause, Phase, UpstreamError
from mpp.core.interfaces import IProgress, IResponse
from mpp.core.model import Headers
from mpp.wire.memory_budget import MemoryBudget
from mpp.wire.upstream.dial_errors import cause_of, detail_of
from mpp.wire.upstream.keeping import ConnectionOwner, OwnerRecords
from mpp.wire.upstream.messages.request_body import UnsentBody, send_large
from mpp.wire.upstream.messages.response import Response
from mpp.wire.upstream.messages.response_parser import MalformedResponse, ResponseParser

# Up to here one write of head and body together costs less than a second one; twice the usual form body of a query.
JOIN_BODY = 16 * 1024


class ConnectionState(enum.Enum):
    """The state of a connection to a backend."""

    IDLE = "idle"
    BUSY = "busy"
    """A request was sent, and its response has not ended."""
    DEAD = "dead"
    """The connection is closed or reset: whatever arrives is ignored."""


_IDLE, _BUSY, _DEAD = ConnectionState


class UpstreamConnection(OwnerRecords, Protocol):
    """The HTTP/1.1 connection of mpp to a backend."""

    transport: Any

    def __init__(self) -> None:
        self._state = _IDLE
        self._parser = ResponseParser()
        self._owner: ConnectionOwner[UpstreamConnection] | None = None
        self._waiting: Deferred[IResponse] | None = None
        self._response: Response | None = None
        self._unsent: UnsentBody | None = None
        self._used = False
        self._unanswered = True
        self._reading = True
        self._progress: IProgress | None = None

    def __repr__(self) -> str:
        return f"<UpstreamConnection {self._state.value}>"

    def adopt(self, owner: ConnectionOwner[UpstreamConnection], budget: MemoryBudget) -> None:
        """Set the owner, and the budget that counts buffered bytes. To be called before the first `send`."""
        self._owner = owner
        self._budget = budget

    @property
    def alive(self) -> bool:
        """Whether a request can be sent: none is under way, and the connection is open as far as mpp knows."""
        return self._state is _IDLE

    def restart_idle(self) -> None:
        """Treat the connection as new, although mpp has just sent a request on it to see whether the server accepts it."""
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
            self._unsent = send_large(self.transport, head, body)
        return waiting

    def _cancelled(self, waiting: Deferred[IResponse]) -> None:
        if self._response is not None:
            self._response.release()
        self.abort()

    # The response

    def dataReceived(self, data: bytes) -> None:
        """Parse a segment, then pass on the part of the response that it contains."""
        if self._state is not _BUSY:
            # No request was sent that this could be the response to.
            self._die()
            return
        self._unanswered = False
        if self._progress is not None:
            self._progress.received += len(data)
        parser = self._parser
        try:
            parser.feed(data)
        except MalformedResponse as error:
            if parser.began and self._response is None:
                self._begin_response(parser)
            self._fail(Cause.GARBLED, str(error))
            return
        if not parser.began:
            return
        response = self._response or self._begin_response(parser)
        room = True
        if parser.pieces:
            body = parser.take()
            if self._waiting is None:
                response.arrived(body)
            else:
                room = response.buffer(body)
        if parser.ended:
            # Unless the consumer has just cancelled it.
            if self._state is _BUSY:
                self._complete()
        elif self._waiting is not None and not (room and self._may_buffer_more(response)):
            self._fire_begun(response)

    def _begin_response(self, parser: ResponseParser) -> Response:
        response = self._response = Response(parser.status, parser.reason, parser.headers, self._budget, self)
        return response

    def _may_buffer_more(self, response: Response) -> bool:
        if self._may_buffer is not None:
            may_buffer, self._may_buffer = self._may_buffer, None
            if not may_buffer(response.status, response.headers):
                self._buffer = 0
                if self._owner is not None:
                    self._owner.stream_begun(self)
        return 0 < self._buffer >= response.buffered_size

    def _fire_begun(self, response: Response) -> None:
        """Fire with the incomplete response; pause reading until its body is taken."""
        response.length = self._parser.length
        self.pause_reading()
        if self._owner is not None:
            self._owner.response_begun(self)
        waiting, self._waiting = self._waiting, None
        assert waiting is not None
        waiting.callback(response)

    def _complete(self) -> None:
        """End the exchange before any callback runs, so that the next request can use the connection."""
        response, self._response = self._response, None
        waiting, self._waiting = self._waiting, None
        assert response is not None
        if waiting is not None:
            response.length = response.buffered_size
        if self._unsent is not None and not self._unsent.pending:
            self._unsent = None
        self._end(self._parser.persistent and not self._parser.excess and self._unsent is None)
        response.finish()
        if waiting is not None:
            waiting.callback(response)

    def _end(self, reusable: bool) -> None:
        """Become idle if the connection is reusable, else close it; report the end of the exchange to the owner."""
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
        """Abandon the response, and reset the connection."""
        waiting, self._waiting = self._waiting, None
        stale = self._used and self._unanswered and cause in (Cause.CLOSED, Cause.RESET)
        response = self._break_off()
        error = UpstreamError(Phase.HEAD if response is None else Phase.BODY, cause, detail, stale=stale)
        if waiting is not None:
            if response is not None:
                response.release()
            waiting.errback(error)
        elif response is not None:
            response.fail(error)

    def _break_off(self) -> Response | None:
        """Reset the connection, and report to its owner that the exchange has ended; return the response, if it has begun."""
        response, self._response = self._response, None
        self._die()
        self._end(False)
        return response

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """End the response, which is complete or broken off, and report the connection's end to its owner."""
        if self._state is _BUSY:
            if self._parser.ends_with_connection and reason.check(ConnectionDone):
                self._parser.persistent = False
                self._complete()
            else:
                cause = cause_of(reason)
                self._fail(cause, detail_of(reason, cause))
        self._state = _DEAD
        owner, self._owner = self._owner, None
        if owner is not None:
            owner.connection_closed(self)

    def pause_reading(self) -> None:
        """Stop reading from the backend."""
        if self._reading and self._state is not _DEAD:
            self._reading = False
            self.transport.pauseProducing()

    def resume_reading(self) -> None:
        """Read from the backend again."""
        if not self._reading and self._state is not _DEAD:
            self._reading = True
            self.transport.resumeProducing()

    def client_paused(self) -> None:
        """Stop reading from the backend, because the client does not read its response."""
        self.pause_reading()
        if self._owner is not None and self._state is _BUSY:
            self._owner.response_paused(self)

    def client_resumed(self) -> None:
        """Record that the client reads again; mpp reads from the backend again when the buffered bytes are delivered."""
        if self._owner is not None and self._state is _BUSY:
            self._owner.response_resumed(self)

    def client(self) -> str:
        """Return the address of the client that the response is for; empty when that is not known."""
        return "" if self._progress is None else self._progress.client()

    def taken(self) -> int:
        """Return how many bytes of the response its client has taken."""
        return 0 if self._response is None else self._response.taken()

    def end_stream(self) -> None:
        """Reset the connection, and end its event stream with what has arrived."""
        response = self._break_off()
        if response is not None:
            response.finish()

    def cancel_slow(self, error: Exception) -> None:
        """Reset the connection because the client reads too slowly, and fail its response at once, even if it is paused."""
        response = self._break_off()
        if response is not None:
            response.cancel_slow(error)

    def abort(self) -> None:
        """Reset the connection; the Deferred of `send` and the response are abandoned, and not called back."""
        self._waiting = None
        if self._state is _BUSY:
            self._break_off()
        else:
            self._die()

    def close(self) -> None:
        """Close the connection, on which no request is under way."""
        if self._state is _DEAD:
            return
        self._state = _DEAD
        if self._unsent is not None or ISSLTransport.providedBy(self.transport):
            # Neither the rest of a request nor an orderly end of TLS is worth a wait: the backend may be dead.
            self.transport.abortConnection()
        else:
            self.transport.loseConnection()

    def shut(self) -> None:
        """Reset the connection in any state; a request under way fails when the end of the connection is noticed."""
        self.transport.abortConnection()

    def _die(self) -> None:
        if self._state is not _DEAD:
            self._state = _DEAD
            self.transport.abortConnection()
