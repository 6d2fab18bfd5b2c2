"""
The active credentials for backends. They follow the settings, the credential files, and the discovery sources of the backends;
the credentials themselves are in `mpp.security.upstream.backend_credentials`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IReactorTime

from mpp.core.http_config import DiscoverySource, DiscoverySources
from mpp.core.model import Backend
from mpp.security.upstream.backend_credentials import BackendCredentials

# The shortest time in seconds between two looks at the files while backends reject the credentials.
_LOOK_EVERY_S = 1.0


class ActiveCredentials:
    """
    The holder of the credentials and the TLS policy that are used for backends at the moment.

    :param credentials: the credentials to begin with, until `replace` is called.
    :param changed: called when the TLS policy of a backend has changed, so that its connections must be replaced.
    :param renewed: called when the credentials or the TLS policy of any backend may have changed.
    :param clock: the monotonic clock with which requests are timed.
    """

    def __init__(
        self,
        credentials: BackendCredentials,
        changed: Callable[[], None],
        renewed: Callable[[], None],
        clock: IReactorTime,
    ) -> None:
        self._credentials = credentials
        self._changed = changed
        self._renewed = renewed
        self._clock = clock
        self._looked_at = float("-inf")

    def tls(self, backend: Backend) -> IOpenSSLClientConnectionCreator:
        """Return the TLS connection creator for an https backend."""
        return self._credentials.tls(backend)

    def put_into(self, backend: Backend, head: bytes) -> bytes:
        """Return the head of one of mpp's own requests, such as a probe, with the backend's configured header fields added."""
        fields = self._credentials.fields(backend)
        return head if fields is None else fields.put_into(head)

    def sources(self, backend: Backend) -> Collection[DiscoverySource] | None:
        """Return the discovery sources that listed a backend; None when they are not known."""
        return self._credentials.sources(backend)

    def set_sources(self, sources: DiscoverySources) -> None:
        """Choose the credentials of each backend by the discovery sources that list it now."""
        if self._credentials.set_sources(sources):
            self._changed()

    def refresh(self) -> None:
        """Look at the credential files, and read the ones that have changed."""
        self._looked_at = now = self._clock.seconds()
        before = self._credentials.last_refreshed
        changed = self._credentials.refresh(now)
        if changed:
            self._changed()
        if changed or self._credentials.last_refreshed != before:
            self._renewed()

    def refresh_soon(self) -> None:
        """Call `refresh`, unless the last call was within the last second."""
        if self._clock.seconds() - self._looked_at >= _LOOK_EVERY_S:
            self.refresh()

    def authorizes(self, backend: Backend) -> bool:
        """Return whether mpp adds an ``Authorization`` field to requests to a backend."""
        return self._credentials.authorizes(backend)

    def refreshed_since(self, backend: Backend, at: float) -> bool:
        """Call `refresh_soon`; return whether a backend's configured header fields have changed since a time of the clock."""
        self.refresh_soon()
        return self._credentials.refreshed_at(backend) >= at

    def replace(self, credentials: BackendCredentials) -> None:
        """Replace the credentials after a reload; report the change unless they are the same object."""
        if credentials is not self._credentials:
            credentials.take_over(self._credentials)
            self._credentials = credentials
            self._changed()
            self._renewed()
