"""
Back-pressure between a client's transport and the producer of the current response.

Knows neither requests nor HTTP.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from mpp.wire.tuned.transports import unsent


@implementer(IPushProducer)
class BackPressureAdapter:
    """
    The permanent producer of a transport, which passes pause and resume on to the producer of each response in turn.

    By this mpp knows at any time, also between two responses, whether the client reads what mpp has sent.

    :param flowing: called when the client reads again and no response has a producer.
    :ivar stuck: the client does not read, so the transport has asked for a pause.
    """

    __slots__ = ("_flowing", "_open", "_producer", "_pulling", "_since", "_transport", "_unsent", "stuck")

    def __init__(self, transport: Any, flowing: Callable[[], None]) -> None:
        self.stuck = False
        self._flowing = flowing
        self._producer: Any = None
        self._pulling = False
        self._open = True
        self._unsent: int | None = None
        self._since = 0.0
        self._transport = transport
        transport.registerProducer(self, True)

    def register(self, producer: Any, streaming: bool) -> None:
        """
        Register the producer of a response, to be paused, resumed and stopped; stop it if the client has disconnected.

        :param streaming: False for a pull producer.
        :raise RuntimeError: a producer is registered already.
        """
        if self._producer is not None:
            raise RuntimeError(f"{self._producer!r} is registered already")
        if self._transport is None:
            producer.stopProducing()
            return
        self._producer = producer
        if not streaming:
            # The transport itself asks a pull producer for the next piece when it has sent the last.
            self._pulling = True
            self.stuck = False
            self._transport.unregisterProducer()
            self._transport.registerProducer(producer, False)
        elif self.stuck:
            producer.pauseProducing()

    def unregister(self) -> None:
        """Remove the current producer; it is not called again."""
        self._producer = None
        if self._pulling:
            self._pulling = False
            if self._open:
                self._transport.unregisterProducer()
                self._transport.registerProducer(self, True)

    @property
    def busy(self) -> bool:
        """Whether a producer is registered: a response has started and goes on."""
        return self._producer is not None

    def stalled(self, now: float, patience: float) -> bool:
        """
        Return whether the client has read nothing for ``patience`` seconds. Progress is only seen between calls, so call it
        regularly.
        """
        left = unsent(self._transport)
        if left != self._unsent:
            self._unsent = left
            self._since = now
        return now - self._since >= patience

    def shut(self) -> None:
        """Unregister from the transport, which is to be closed: it would stay open as long as it has a producer."""
        if self._open:
            self._open = False
            self._transport.unregisterProducer()

    def gone(self) -> None:
        """Stop the producer, because the client has disconnected."""
        self._open = False
        # Both refer to this. Such a cycle would keep the transport, with all that it has not sent.
        self._flowing = _ignore
        self._transport = None
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.stopProducing()

    # IPushProducer, for the transport

    def pauseProducing(self) -> None:
        """Pause the producer, because the client reads slowly."""
        self.stuck = True
        # The amount left to send may be the same as at an earlier pause.
        self._unsent = None
        if self._producer is not None:
            self._producer.pauseProducing()

    def resumeProducing(self) -> None:
        """Resume the producer, because the client has caught up."""
        self.stuck = False
        if self._producer is not None:
            self._producer.resumeProducing()
        else:
            self._flowing()

    def stopProducing(self) -> None:
        """Do nothing, because the connection has ended and its owner calls `gone` next."""


def _ignore() -> None:
    """Ignore that the transport has sent everything: the connection has ended."""
