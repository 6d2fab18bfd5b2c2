"""The response to a request, with all that is known of where it comes from."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from mpp.core.errors import UpstreamError
from mpp.core.interfaces import IResponse
from mpp.core.model import Backend
from mpp.proxy.attempt import Attempt

AnsweredRange: TypeAlias = tuple[Backend, int, int]
"""A server, and the times of the first and the last step that it has answered, in milliseconds since the epoch."""


class Answer(NamedTuple):
    """
    The response to a request, and where it comes from.

    :ivar backend: the server that has sent it; of a response with cached steps, the one that was asked last.
    :ivar attempt: the attempt that brought it; None if no server was asked.
    :ivar started: how many attempts were made.
    :ivar reasons: why attempts failed, were moved or were hedged, one line each.
    :ivar affinity: the name of the affinity that chose the server, or empty.
    :ivar also: the further servers whose responses were joined to it.
    :ivar ranges: which server has answered which steps, if several have.
    :ivar keeps_server: no affinity moves the client to ``backend``, which was chosen for the data that it has and not for the
        client.
    :ivar broke_off: a function that reports that the response broke off on its way to the client, and returns all reasons, this
        one included; None if the response is complete.
    :ivar cache: how the cache was used, in the words of ``MPP.Cache``; empty if it was not.
    :ivar shared: another request has fetched it.
    :ivar asked_at: a time before which no server was asked for any part of it, by the monotonic clock; 0 if none was asked.
    """

    response: IResponse
    backend: Backend
    attempt: Attempt | None
    started: int = 0
    reasons: tuple[str, ...] = ()
    affinity: str = ""
    also: tuple[Backend, ...] = ()
    ranges: tuple[AnsweredRange, ...] = ()
    keeps_server: bool = False
    broke_off: Callable[[UpstreamError], tuple[str, ...]] | None = None
    cache: str = ""
    shared: bool = False
    asked_at: float = 0.0

    @property
    def cache_use(self) -> str:
        """The word for the log: the first one of ``MPP.Cache``, "shared" if an identical request fetched the response, or ""."""
        return self.cache.partition(";")[0] or ("shared" if self.shared else "")
