"""
The relay of a response body from a backend to a client, at the pace of the slower one.

It knows neither the content of the body nor the consequences of a body that breaks off.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from mpp.core.interfaces import IBodyConsumer, IResponse
from mpp.wire.downstream.connection import ClientConnection


@implementer(IPushProducer, IBodyConsumer)
class Relay:
    """
    The relay of one response body.

    It buffers nothing: the response buffers bytes that the client does not read, and the backend waits.

    :param chunked: encode the body in chunks, as the head has announced; otherwise its bytes are sent unchanged.
    :param done: called once at the end, perhaps before `begin` returns: with None when the last byte was written, or with the
        error that broke the body off; then the sent response is not complete, and must not look so. Not called if the client
        disconnects first, which the channel reports to its request.
    :ivar sent: how many bytes of the body were written.
    """

    __slots__ = ("_channel", "_chunked", "_done", "_response", "sent")

    def __init__(
        self, response: IResponse, channel: ClientConnection, chunked: bool, done: Callable[[Exception | None], None]
    ) -> None:
        self._response = response
        self._channel = channel
        self._chunked = chunked
        self._done: Callable[[Exception | None], None] | None = done
        self.sent = 0

    def begin(self) -> None:
        """Begin to relay the body; the head must have been written."""
        self._channel.registerProducer(self, True)
        self._response.relay(self)

    # IBodyConsumer

    def body_received(self, data: bytes) -> None:
        """Send a piece of the body to the client."""
        self.sent += len(data)
        if self._chunked:
            self._channel.writeSequence((b"%x\r\n" % len(data), data, b"\r\n"))
        else:
            self._channel.write(data)

    def body_ended(self) -> None:
        """Send the end of the body."""
        if self._chunked:
            self._channel.write(b"0\r\n\r\n")
        self._end(None)

    def body_failed(self, error: Exception) -> None:
        """End the relay because of an error. The client gets no end of the body, so it can see that the body is incomplete."""
        self._end(error)

    def taken(self) -> int:
        """Return how many bytes the client has received: the written ones, less the ones that mpp and the kernel still buffer."""
        return self.sent - self._channel.unsent()

    def _end(self, error: Exception | None) -> None:
        done, self._done = self._done, None
        if done is not None:
            self._channel.unregisterProducer()
            done(error)

    # IPushProducer

    def pauseProducing(self) -> None:
        """Pause the response, because the client reads slowly."""
        self._response.pause()

    def resumeProducing(self) -> None:
        """Resume the response, because the client has caught up."""
        self._response.resume()

    def stopProducing(self) -> None:
        """Cancel the response, because the client has disconnected."""
        if self._done is not None:
            self._done = None
            self._response.cancel()
