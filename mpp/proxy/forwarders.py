"""The Forwarder in use, and those before it, for as long as they have requests under way."""

from __future__ import annotations

from weakref import ReferenceType, ref

from mpp.core.model import Backend
from mpp.proxy.forwarder import Forwarder


class Forwarders:
    """
    One after the other; requests stay with the one that they began with.

    :ivar current: takes new requests.
    """

    def __init__(self, first: Forwarder) -> None:
        self.current = first
        # Their requests keep them alive; without any they are gone.
        self._former: list[ReferenceType[Forwarder]] = []

    @property
    def all(self) -> list[Forwarder]:
        """Those that have requests, or may have some."""
        return [self.current, *filter(None, (former() for former in self._former))]

    def replace(self, forwarder: Forwarder) -> None:
        """Use another one from now on."""
        self._former = [ref(each) for each in self.all]
        self.current = forwarder

    def forget(self, backend: Backend) -> None:
        """Forget a backend that is not known any more."""
        for forwarder in self.all:
            forwarder.forget(backend)

    def stop(self) -> None:
        """Leave nothing behind. For when the last request has ended."""
        for forwarder in self.all:
            forwarder.stop()
