"""
Back-pressure between a client's transport and whoever produces the current answer.

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
    The producer of a transport for as long as it lives; hands on pausing and resuming to one answer's producer after the other.

    So it is known at any time whether the client takes what it is sent, also between two answers.

    :param flowing: called when the client has caught up and there is no producer to tell.
    :ivar stuck: the client does not take what it is sent.
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
        """Have a producer paused, resumed and stopped."""
        if self._producer is not None:
            raise RuntimeError(f"{self._producer!r} is registered already")
        self._producer = producer
        if not streaming:
            # The transport itself asks for the next piece when it has sent the last.
            self._pulling = True
            self.stuck = False
            self._transport.unregisterProducer()
            self._transport.registerProducer(producer, False)
        elif self.stuck:
            producer.pauseProducing()

    def unregister(self) -> None:
        """Leave the producer alone from now on."""
        self._producer = None
        if self._pulling:
            self._pulling = False
            if self._open:
                self._transport.unregisterProducer()
                self._transport.registerProducer(self, True)

    @property
    def busy(self) -> bool:
        """Whether there is a producer: an answer has begun, and goes on."""
        return self._producer is not None

    def stalled(self, now: float, patience: float) -> bool:
        """Tell whether the client has taken nothing for so many seconds. To be asked now and then: it looks when it is asked."""
        left = unsent(self._transport)
        if left != self._unsent:
            self._unsent = left
            self._since = now
        return now - self._since >= patience

    def shut(self) -> None:
        """Leave the transport alone: with a producer it would not close."""
        if self._open:
            self._open = False
            self._transport.unregisterProducer()

    def gone(self) -> None:
        """Stop the producer: the client is gone."""
        self._open = False
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.stopProducing()

    # IPushProducer, for the transport

    def pauseProducing(self) -> None:
        """The client is slow."""
        self.stuck = True
        # What is left to send may be as much as when it was slow before.
        self._unsent = None
        if self._producer is not None:
            self._producer.pauseProducing()

    def resumeProducing(self) -> None:
        """The client has caught up."""
        self.stuck = False
        if self._producer is not None:
            self._producer.resumeProducing()
        else:
            self._flowing()

    def stopProducing(self) -> None:
        """Nothing: `gone` follows."""
