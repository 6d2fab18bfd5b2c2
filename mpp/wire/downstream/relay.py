"""
Carries a backend's body to a client, at the pace of the slower one.

It knows neither what the body is nor what is to be done when it breaks off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol as Shape

from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from mpp.core.interfaces import IBodyConsumer, IResponse


class Sink(Shape):
    """What a Relay needs of a `mpp.wire.downstream.channel.ProxyChannel`."""

    def write(self, data: bytes) -> None:
        """Send."""

    def writeSequence(self, pieces: Iterable[bytes]) -> None:
        """Send."""

    def registerProducer(self, producer: object, streaming: bool) -> None:
        """Be told to pause and to resume."""

    def unregisterProducer(self) -> None:
        """Be told no more."""

    def unsent(self) -> int:
        """Return how many bytes the client has not taken yet of what was written."""


@implementer(IPushProducer, IBodyConsumer)
class Relay:
    """
    The passage of one body.

    Nothing is kept here: what the client does not take the Response holds, and the backend waits.

    :param chunked: encode the body in chunks (the head announced it); otherwise its bytes go out as they are.
    :param done: called once at the end, perhaps before `begin` returns: with None when the last byte was written, or with the
        error that broke the body off; what was sent is then not complete, and must not look so. Not called when the client
        goes away first: the channel tells its request of that.
    :ivar sent: bytes of the body that were written.
    """

    __slots__ = ("_channel", "_chunked", "_done", "_response", "sent")

    def __init__(self, response: IResponse, channel: Sink, chunked: bool, done: Callable[[Exception | None], None]) -> None:
        self._response = response
        self._channel = channel
        self._chunked = chunked
        self._done: Callable[[Exception | None], None] | None = done
        self.sent = 0

    def begin(self) -> None:
        """Begin; the head must have been written."""
        self._channel.registerProducer(self, True)
        self._response.relay(self)

    # IBodyConsumer

    def body_received(self, data: bytes) -> None:
        """Send a piece on."""
        self.sent += len(data)
        if self._chunked:
            self._channel.writeSequence((b"%x\r\n" % len(data), data, b"\r\n"))
        else:
            self._channel.write(data)

    def body_ended(self) -> None:
        """Send the end."""
        if self._chunked:
            self._channel.write(b"0\r\n\r\n")
        self._end(None)

    def body_failed(self, error: Exception) -> None:
        """Send nothing that looks like an end."""
        self._end(error)

    def taken(self) -> int:
        """Return how many bytes the client has taken: what was written, less what waits here and in the kernel."""
        return self.sent - self._channel.unsent()

    def _end(self, error: Exception | None) -> None:
        done, self._done = self._done, None
        if done is not None:
            self._channel.unregisterProducer()
            done(error)

    # IPushProducer

    def pauseProducing(self) -> None:
        """The client is slow: the backend shall wait."""
        self._response.pause()

    def resumeProducing(self) -> None:
        """The client has caught up."""
        self._response.resume()

    def stopProducing(self) -> None:
        """The client is gone: give up the backend's answer."""
        if self._done is not None:
            self._done = None
            self._response.cancel()
