"""A page that reloads or flushes by POST, if ``--enable-lifecycle`` allows it. Twisted resource; the action is an argument."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from mpp.admin.base_page import JSON, PageResponse, answer, reject_method
from mpp.core.http import heads

_METHODS = (b"POST", b"PUT")
"""PUT as well, as for Prometheus' ``/-/reload``."""


@frozen
class Action:
    """
    An action that clients can start.

    :ivar start: starts it; its Deferred fires with the response, and never fails.
    :ivar usage: the message for a request with another method.
    :ivar off: the message while ``--enable-lifecycle`` is not given.
    """

    start: Callable[[], Deferred[PageResponse]]
    usage: str
    off: str


class LifecyclePage(Resource):
    """
    The page of an action.

    :param enabled: returns whether clients may start it.
    """

    isLeaf = True

    def __init__(self, action: Action, enabled: Callable[[], bool]) -> None:
        Resource.__init__(self)
        self._action = action
        self._enabled = enabled

    def render(self, request: Any) -> bytes | int:
        """Start the action on POST or PUT, and answer when it has ended."""
        if request.method not in _METHODS:
            return reject_method(request, _METHODS, self._action.usage)
        if not self._enabled():
            return answer(request, 403, JSON, heads.error_body("forbidden", self._action.off))
        gone: list[Failure] = []
        request.notifyFinish().addErrback(gone.append)
        self._action.start().addCallback(self._finish, request, gone)
        return NOT_DONE_YET

    def _finish(self, page: PageResponse, request: Any, gone: list[Failure]) -> None:
        if not gone:
            request.write(answer(request, *page))
            request.finish()
