"""
The addition of configured credentials and other header fields to requests for backends. A backend without configured fields gets
the client's fields unchanged.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from zope.interface import implementer

from mpp.core.http.headers import ConfiguredFields
from mpp.core.interfaces import IResponse, IUpstreams
from mpp.core.model import Backend


@implementer(IUpstreams)
class AuthorizedUpstreams:
    """
    A wrapper of `IUpstreams` that adds the configured header fields. Used only if any fields are configured.

    :param fields: returns the configured fields for a backend, or None.
    """

    def __init__(self, upstreams: IUpstreams, fields: Callable[[Backend], ConfiguredFields | None]) -> None:
        self._upstreams = upstreams
        self._fields = fields

    def send(self, backend: Backend, head: bytes, body: bytes, **how: Any) -> Deferred[IResponse]:
        """Send one request with the configured header fields, see `IUpstreams`."""
        fields = self._fields(backend)
        if fields is not None:
            head = fields.put_into(head)
        answer: Deferred[IResponse] = self._upstreams.send(backend, head, body, **how)
        return answer

    def has_room(self, backend: Backend, *, query_slots: int = 0) -> bool:
        """Return whether a request would be sent without waiting, see `IUpstreams`."""
        return self._upstreams.has_room(backend, query_slots=query_slots)
