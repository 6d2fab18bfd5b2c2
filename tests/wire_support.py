"""What the tests of the wire layer share: a transport, a consumer, a request, a dialer, each recording what is done to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHalfCloseableDescriptor
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from mpp.core.errors import BadRequest
from mpp.core.interfaces import IBodyConsumer
from mpp.core.model import Backend, Headers
from mpp.wire.downstream.channel import ProxyChannel
from mpp.wire.downstream.channels import Channels
from mpp.wire.downstream.request_limits import Limits
from mpp.wire.memory_budget import MemoryBudget
from mpp.wire.upstream.connection import UpstreamConnection

PROM_A = Backend("http", "prom-a", 9090)
PROM_B = Backend("http", "prom-b", 9090)

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
CLEAN = Failure(ConnectionDone())
RESET = Failure(ConnectionLost())


@implementer(IHalfCloseableDescriptor)
class Transport(StringTransport):
    """A StringTransport that can be half-closed, and tells a reset from an orderly close."""

    half_closed = False
    aborted = False
    arrived = b""
    """What has arrived and was not read by the reactor yet."""
    dataBuffer = b""
    offset = _tempDataLen = 0

    def fileno(self) -> int:
        return -1

    def getHandle(self) -> Transport:
        return self

    def recv(self, size: int, flags: int) -> bytes:
        if not self.arrived:
            raise BlockingIOError
        return self.arrived[:size]

    def loseWriteConnection(self) -> None:
        self.half_closed = True

    def readConnectionLost(self, reason: Failure) -> None:
        raise NotImplementedError

    def writeConnectionLost(self, reason: Failure) -> None:
        raise NotImplementedError

    def abortConnection(self) -> None:
        self.aborted = True
        super().abortConnection()


@implementer(IBodyConsumer)
class Consumer:
    """Takes a body; ``events`` is the pieces, then ``"end"`` or the error."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    @property
    def body(self) -> bytes:
        return b"".join(event for event in self.events if isinstance(event, bytes))

    @property
    def ended(self) -> bool:
        return self.events[-1:] == ["end"]

    def body_received(self, data: bytes) -> None:
        self.events.append(data)

    def body_ended(self) -> None:
        self.events.append("end")

    def body_failed(self, error: Exception) -> None:
        self.events.append(error)

    def taken(self) -> int:
        return len(self.body)


class Keeping:
    """Owns connections, and does nothing about what they report."""

    def exchange_ended(self, connection: UpstreamConnection, reusable: bool) -> None: ...

    def connection_closed(self, connection: UpstreamConnection) -> None: ...

    def response_begun(self, connection: UpstreamConnection) -> None: ...

    def stream_begun(self, connection: UpstreamConnection) -> None: ...

    def response_paused(self, connection: UpstreamConnection) -> None: ...

    def response_resumed(self, connection: UpstreamConnection) -> None: ...


class RecordingRequest:
    """A request that the test answers itself."""

    def __init__(self, channel: ProxyChannel, made: list[RecordingRequest]) -> None:
        self.channel = channel
        self.lost: list[Failure] = []
        self.told_to_end = False
        self.incoming: tuple[bytes, bytes, bytes, Headers, bytes] = (b"", b"", b"", (), b"")
        made.append(self)

    @property
    def target(self) -> bytes:
        return self.incoming[1]

    def draining(self) -> None:
        self.told_to_end = True

    def received(self, method: bytes, target: bytes, version: bytes, headers: Headers, body: bytes) -> None:
        self.incoming = (method, target, version, headers, body)

    def connectionLost(self, reason: Failure) -> None:
        self.lost.append(reason)

    def answer(self, data: bytes = b"") -> None:
        """Answer whole."""
        self.channel.write(data or b"<%b>" % self.target)
        self.channel.request_done()


class PromptRequest(RecordingRequest):
    """A request that is answered while it is received."""

    def received(self, method: bytes, target: bytes, version: bytes, headers: Headers, body: bytes) -> None:
        super().received(method, target, version, headers, body)
        self.answer()


def error_page(error: BadRequest) -> bytes:
    """Give an answer that says which status it is."""
    return b"HTTP/1.1 %d No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n" % error.status


class ServerSide:
    """A ProxyChannel over a Transport, and all around it; one ``beside`` another is among the same channels."""

    def __init__(
        self,
        request: type[RecordingRequest] = RecordingRequest,
        limits: Limits | None = None,
        budget: int = 10**6,
        beside: ServerSide | None = None,
        kind: Callable[..., ProxyChannel] = ProxyChannel,
    ) -> None:
        self.clock = beside.clock if beside else Clock()
        self.budget = MemoryBudget(budget, self.clock.seconds)
        self.channels = beside.channels if beside else Channels(self.clock)
        self.requests: list[RecordingRequest] = []
        self.transport = Transport()
        self.channel = kind(
            lambda channel: request(channel, self.requests), limits or Limits(), self.budget, error_page, self.channels
        )
        self.channel.makeConnection(self.transport)

    @property
    def sent(self) -> bytes:
        return self.transport.value()

    @property
    def reading(self) -> bool:
        return self.transport.producerState == "producing"

    def receive(self, *segments: bytes) -> None:
        for segment in segments:
            self.channel.dataReceived(segment)

    def disconnect(self, reason: Failure = CLEAN) -> None:
        self.channel.connectionLost(reason)


class RecordingDialer:
    """Gives connections over Transports, at once or (``hold``) when the test says so."""

    def __init__(self) -> None:
        self.hold = False
        self.dialed: list[Backend] = []
        self.waiting: list[Deferred[UpstreamConnection]] = []
        self.cancelled = 0
        self.connections: list[UpstreamConnection] = []
        self.address = "10.0.0.1"

    def dial(self, backend: Backend) -> Deferred[UpstreamConnection]:
        self.dialed.append(backend)
        if not self.hold:
            return succeed(self.connect())
        waiting: Deferred[UpstreamConnection] = Deferred(self._cancelled)
        self.waiting.append(waiting)
        return waiting

    def _cancelled(self, waiting: Deferred[UpstreamConnection]) -> None:
        self.cancelled += 1

    def connect(self) -> UpstreamConnection:
        connection = UpstreamConnection()
        connection.address = self.address
        connection.makeConnection(Transport())
        self.connections.append(connection)
        return connection
