"""The progress of one of mpp's own requests to a server, as far as its sender needs it: whether it waits."""

from __future__ import annotations

from zope.interface import implementer

from mpp.core.interfaces import IProgress


@implementer(IProgress)
class ProbeProgress:
    """
    The progress of a request of mpp itself, such as a probe's.

    :ivar received: number of bytes of its response that have arrived.
    :ivar dequeued_at: when it left the queue, if it had to wait, otherwise 0.
    :ivar queued: whether it waits in mpp for a free connection to the server. Nothing of it has been sent.
    """

    __slots__ = ("dequeued_at", "queued", "received")

    def __init__(self) -> None:
        self.received = 0
        self.dequeued_at = 0.0
        self.queued = False

    def client(self) -> str:
        """Return an empty address: there is no client."""
        return ""
