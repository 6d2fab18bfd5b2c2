"""
Sends requests with credentials of mpp's own, where it has some; those of the client are passed on where it has none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from zope.interface import implementer

from mpp import headers
from mpp.interfaces import IResponse, IUpstreams
from mpp.model import Backend


@implementer(IUpstreams)
class Authorized:
    """
    Wraps what sends requests. Used only where there are credentials at all.

    :param authorization: gives the value of ``Authorization`` for a backend, or None.
    """

    def __init__(self, upstreams: IUpstreams, authorization: Callable[[Backend], bytes | None]) -> None:
        self._upstreams = upstreams
        self._authorization = authorization

    def send(self, backend: Backend, head: bytes, body: bytes, **how: Any) -> Deferred[IResponse]:
        """Send one request, see `IUpstreams`."""
        value = self._authorization(backend)
        if value is not None:
            head = headers.with_authorization(head, value)
        answer: Deferred[IResponse] = self._upstreams.send(backend, head, body, **how)
        return answer
