"""
Single flight: lets identical reads that are under way at the same time share a fetch.

`mpp.proxy.decisions.identical` decides which requests are identical, and `mpp.proxy.exchanges.fetch` gives the response to all of
them.
"""

from __future__ import annotations

from functools import partial

from mpp.core.model import RequestInfo
from mpp.proxy.context import ForwardContext
from mpp.proxy.decisions import identical
from mpp.proxy.decisions.identical import RequestKey
from mpp.proxy.exchanges.fetch import Fetch, Waiter
from mpp.proxy.exchanges.server_fetch import ServerFetch


class Flights:
    """The fetches under way that further requests can join, by what identical requests have in common."""

    def __init__(self) -> None:
        self._under_way: dict[RequestKey, Fetch] = {}

    def __repr__(self) -> str:
        return f"<Flights {len(self._under_way)} under way>"

    def join(self, context: ForwardContext, waiter: Waiter, info: RequestInfo, *, alone: bool = False) -> tuple[Fetch, bool]:
        """
        Let a request wait for its response.

        :param alone: share the response with no other request.
        :return: the fetch, and whether it is a new one, which the caller must start.
        """
        key = None if alone or context.settings.no_single_flight else identical.key_of(info, context.counted)
        fetch = None if key is None else self._under_way.get(key)
        new = fetch is None
        if fetch is None:
            landed = None if key is None else partial(self._under_way.pop, key)
            fetch = ServerFetch(context, info, waiter.began, landed)
            if key is not None:
                self._under_way[key] = fetch
        fetch.waiters.append(waiter)
        return fetch, new
