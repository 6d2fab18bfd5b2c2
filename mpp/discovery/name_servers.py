"""
Asks the name servers of ``resolv.conf``, one after the other. Knows how they are asked; knows nothing of what is looked up.

Twisted's resolver asks the next server only when one is silent. Where a server cannot be asked at all, such as one with an IPv6
address on a host that has no IPv6 route, the error of the socket ends its look-up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.error import ConnectError
from twisted.names.client import Resolver

Server = tuple[str, int]

# Seconds for a query over TCP, which follows an answer that was too long for UDP.
_TCP_TIMEOUT_S = 10
_NEXT_SERVER = (OSError, ConnectError, TimeoutError)
"""What one server's failure to answer is; an answer that there is no such name is no failure."""


class NameServers(Resolver):
    """
    Name servers; see `twisted.names.client.Resolver`.

    Each is asked once within the first number of seconds that a look-up has, and once more within each further one.

    :param resolv: the path of a ``resolv.conf``, looked at again when it changes; not used where there are ``servers``.
    :param servers: IP address and port of each.
    """

    def __init__(self, resolv: str, reactor: Any, servers: Sequence[Server] = ()) -> None:
        super().__init__(resolv=None if servers else resolv, servers=list(servers), reactor=reactor)  # type: ignore[no-untyped-call]

    def queryUDP(self, queries: Any, timeout: Sequence[int] | None = None) -> Deferred[Any]:
        """
        Ask by UDP.

        :return Deferred(Message): the first response. Fails with TimeoutError or OSError when no server responds.
        """
        waits: Sequence[int] = timeout or self.timeout or ()
        attempts = [(server, seconds) for seconds in waits for server in self._known()]
        return _first([partial(self._only(server).queryUDP, queries, (seconds,)) for server, seconds in attempts])

    def queryTCP(self, queries: Any, timeout: int = _TCP_TIMEOUT_S) -> Deferred[Any]:
        """Ask by TCP, see `queryUDP`."""
        return _first([partial(self._over_tcp, self._only(server), queries, timeout) for server in self._known()])

    def _known(self) -> list[Server]:
        return [*self.servers, *self.dynServers]

    def _only(self, server: Server) -> Any:
        return Resolver(servers=[server], reactor=self._reactor)

    def _over_tcp(self, resolver: Any, queries: Any, timeout: int) -> Deferred[Any]:
        """Ask one server, and close the connection, which it would keep for its next query."""

        def close(outcome: Any) -> Any:
            for connection in resolver.connections:
                connection.transport.loseConnection()
            return outcome

        answered: Deferred[Any] = resolver.queryTCP(queries, timeout)
        return answered.addBoth(close)


def _first(attempts: Sequence[Callable[[], Deferred[Any]]]) -> Deferred[Any]:
    """Return what the first attempt that works gives; one that fails is followed by the next."""

    async def run() -> Any:
        problem: Exception = OSError("no name server is configured")
        for attempt in attempts:
            try:
                return await attempt()
            except _NEXT_SERVER as error:
                problem = error
        raise problem

    return Deferred.fromCoroutine(run())
