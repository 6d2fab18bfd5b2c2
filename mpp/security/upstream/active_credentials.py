"""
The credentials in force: follow the settings, the files that they are read from, and who finds the backends. What they are is
known to `mpp.security.upstream.backend_credentials`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IReactorTime

from mpp.core.http_config import DiscoverySource, DiscoverySources
from mpp.core.model import Backend
from mpp.security.upstream.backend_credentials import BackendCredentials

# While servers refuse what they are shown, the files are looked at again no more often.
_LOOK_EVERY_S = 1.0


class ActiveCredentials:
    """
    What backends are shown, and asked for, at the moment.

    :param credentials: the first ones.
    :param changed: called when connections over TLS are made in another way from now on.
    :param clock: monotonic, the one that requests are timed with.
    """

    def __init__(self, credentials: BackendCredentials, changed: Callable[[], None], clock: IReactorTime) -> None:
        self._credentials = credentials
        self._changed = changed
        self._clock = clock
        self._looked_at = float("-inf")

    def tls(self, backend: Backend) -> IOpenSSLClientConnectionCreator:
        """Give what makes a connection to an https backend."""
        return self._credentials.tls(backend)

    def put_into(self, backend: Backend, head: bytes) -> bytes:
        """Return the head of a request of mpp's own with the fields that the backend is shown."""
        fields = self._credentials.fields(backend)
        return head if fields is None else fields.put_into(head)

    def sources(self, backend: Backend) -> Collection[DiscoverySource] | None:
        """Tell who finds a backend; None when that is not known."""
        return self._credentials.sources(backend)

    def set_sources(self, sources: DiscoverySources) -> None:
        """Have the credentials follow who finds the backends."""
        if self._credentials.set_sources(sources):
            self._changed()

    def refresh(self) -> None:
        """Read those again whose files have changed."""
        self._looked_at = now = self._clock.seconds()
        if self._credentials.refresh(now):
            self._changed()

    def refresh_soon(self) -> None:
        """Do as `refresh` does, unless that was done within the last second."""
        if self._clock.seconds() - self._looked_at >= _LOOK_EVERY_S:
            self.refresh()

    def authorizes(self, backend: Backend) -> bool:
        """Return whether requests to a backend carry an ``Authorization`` of mpp's own."""
        return self._credentials.authorizes(backend)

    def refreshed_since(self, backend: Backend, at: float) -> bool:
        """Do as `refresh_soon`; return whether a backend is sent other fields now than at a time by the clock."""
        self.refresh_soon()
        return self._credentials.refreshed_at(backend) >= at

    def replace(self, credentials: BackendCredentials) -> None:
        """Have others from now on, unless they are the same."""
        if credentials is not self._credentials:
            credentials.take_over(self._credentials)
            self._credentials = credentials
            self._changed()
