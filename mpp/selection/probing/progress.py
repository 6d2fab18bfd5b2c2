"""A question of mpp's own on its way to a server, as far as its sender has to know: whether it waits."""

from __future__ import annotations

from zope.interface import implementer

from mpp.core.interfaces import IProgress


@implementer(IProgress)
class ProbeProgress:
    """
    A question to a server, such as a probe's.

    :ivar received: bytes of its response that have arrived.
    :ivar dequeued_at: when it was its turn, if it had to wait, else 0.
    :ivar queued: it waits in mpp, because mpp uses all connections that the server takes. Nothing of it has been sent.
    """

    __slots__ = ("dequeued_at", "queued", "received")

    def __init__(self) -> None:
        self.received = 0
        self.dequeued_at = 0.0
        self.queued = False

    def client(self) -> str:
        """Return an empty address: there is no client."""
        return ""
