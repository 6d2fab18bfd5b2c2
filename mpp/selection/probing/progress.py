"""The progress of one of mpp's own requests to a server: its wait for a free connection, and the bytes of its response."""

from __future__ import annotations

from zope.interface import implementer

from mpp.core.interfaces import IProgress


@implementer(IProgress)
class ProbeProgress:
    """
    The progress of a request of mpp itself, such as a probe's.

    :ivar received: number of bytes of its response that have arrived.
    :ivar dequeued_at: when its wait for a free connection ended, by the monotonic clock; 0 if it did not have to wait.
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
