"""
Sends requests with credentials and other headers of mpp's own, where it has some; those of the client are passed on where it has
none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from zope.interface import implementer

from mpp.core.headers import ConfiguredFields
from mpp.core.interfaces import IResponse, IUpstreams
from mpp.core.model import Backend


@implementer(IUpstreams)
class AuthorizedUpstreams:
    """
    Wraps what sends requests. Used only where there are such headers at all.

    :param fields: gives those for a backend, or None.
    """

    def __init__(self, upstreams: IUpstreams, fields: Callable[[Backend], ConfiguredFields | None]) -> None:
        self._upstreams = upstreams
        self._fields = fields

    def send(self, backend: Backend, head: bytes, body: bytes, **how: Any) -> Deferred[IResponse]:
        """Send one request, see `IUpstreams`."""
        fields = self._fields(backend)
        if fields is not None:
            head = fields.put_into(head)
        answer: Deferred[IResponse] = self._upstreams.send(backend, head, body, **how)
        return answer

    def has_room(self, backend: Backend, *, query_slots: int = 0) -> bool:
        """Return whether a request would be sent at once, see `IUpstreams`."""
        return self._upstreams.has_room(backend, query_slots=query_slots)
