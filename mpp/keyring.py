"""
The credentials in force: follow the settings, the files that they are read from, and who finds the backends. What they are is
known to `mpp.credentials`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from twisted.internet.interfaces import IOpenSSLClientConnectionCreator

from mpp.credentials import Credentials
from mpp.http_config import Origin, Origins
from mpp.model import Backend


class Keyring:
    """
    What backends are shown, and asked for, at the moment.

    :param credentials: the first ones.
    :param changed: called when connections over TLS are made in another way from now on.
    """

    def __init__(self, credentials: Credentials, changed: Callable[[], None]) -> None:
        self._credentials = credentials
        self._changed = changed

    def tls(self, backend: Backend) -> IOpenSSLClientConnectionCreator:
        """Give what makes a connection to an https backend."""
        return self._credentials.tls(backend)

    def put_into(self, backend: Backend, head: bytes) -> bytes:
        """Return the head of a request of mpp's own with the fields that the backend is shown."""
        fields = self._credentials.fields(backend)
        return head if fields is None else fields.put_into(head)

    def origins(self, backend: Backend) -> Collection[Origin] | None:
        """Tell who finds a backend; None when that is not known."""
        return self._credentials.origins(backend)

    def located(self, origins: Origins) -> None:
        """Have the credentials follow who finds the backends."""
        if self._credentials.located(origins):
            self._changed()

    def renew(self) -> None:
        """Read those again whose files have changed."""
        if self._credentials.refresh():
            self._changed()

    def replace(self, credentials: Credentials) -> None:
        """Have others from now on, unless they are the same."""
        if credentials is not self._credentials:
            credentials.follow(self._credentials)
            self._credentials = credentials
            self._changed()
