"""
The sending of a large request body to a backend.

A connection whose request has not left completely must not carry another one, even if the response is complete.
"""

from __future__ import annotations

from typing import Any

# A transport pauses its producer only when it has buffered more than this, so smaller bodies need no producer.
TRANSPORT_BUFFER = 64 * 1024


class UnsentBody:
    """
    The record of whether all of a large request body has been sent.

    It is registered with the transport as a streaming IPushProducer that produces nothing, to see when the buffer is empty.
    """

    __slots__ = ("_transport", "pending")

    def __init__(self, transport: Any) -> None:
        self.pending = False
        self._transport = transport

    def pauseProducing(self) -> None:
        """Record that a part of the body is still in the transport's buffer."""
        self.pending = True

    def resumeProducing(self) -> None:
        """Record that all of the body has been sent, and unregister from the transport."""
        self.pending = False
        self._transport.unregisterProducer()

    def stopProducing(self) -> None:
        """Forget the transport, whose connection has ended: with TLS it still refers to this, and would never be freed."""
        self._transport = None


def send_large(transport: Any, head: bytes, body: bytes) -> UnsentBody | None:
    """Send a request without copying its body; return the record of whether it has been sent, or None if it is small."""
    if len(body) < TRANSPORT_BUFFER:
        transport.writeSequence((head, body))
        return None
    unsent = UnsentBody(transport)
    transport.registerProducer(unsent, True)
    transport.writeSequence((head, body))
    if not unsent.pending:
        transport.unregisterProducer()
    return unsent
