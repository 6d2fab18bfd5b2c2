"""
A DNS client that queries the name servers of ``resolv.conf`` in turn. Knows the queries' transport, not their content.

Twisted's resolver queries the next server only when one times out. If a server cannot be reached at all, such as one with an IPv6
address on a host that has no IPv6 route, the error of the socket ends the look-up. And a server that is broken, or is not
responsible for mpp, hides the next one; the resolver of the C library (glibc) passes over such responses as well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.error import ConnectError
from twisted.names import dns
from twisted.names.client import Resolver

Server = tuple[str, int]

# Seconds for a query over TCP, which follows a response that was too long for UDP.
_TCP_TIMEOUT_S = 10
_NEXT_SERVER = (OSError, ConnectError, TimeoutError)
"""The errors after which the next server is queried; a response that the name does not exist is no error."""
_NO_ANSWER = (dns.ESERVER, dns.ENOTIMP, dns.EREFUSED)
"""The codes of responses after which the next server is queried: they say something about the server, not about the name."""


class NameServers(Resolver):
    """
    A client of several name servers; see `twisted.names.client.Resolver`.

    A look-up over UDP has several time limits: each server is queried with the first one, then each server with the next one.

    :param resolv: the path of a ``resolv.conf``, read again when it changes; not used if there are ``servers``.
    :param servers: IP address and port of each server.
    """

    def __init__(self, resolv: str, reactor: Any, servers: Sequence[Server] = ()) -> None:
        super().__init__(resolv=None if servers else resolv, servers=list(servers), reactor=reactor)  # type: ignore[no-untyped-call]

    def queryUDP(self, queries: Any, timeout: Sequence[int] | None = None) -> Deferred[Any]:
        """
        Send a query over UDP to one server after the other.

        :param timeout: seconds to wait for each server's response: one number for each turn of all servers.
        :return Deferred(Message): the first response that answers the query; the last response if none does. Fails with
            TimeoutError or OSError when no server responds.
        """
        waits: Sequence[int] = timeout or self.timeout or ()
        attempts = [(server, seconds) for seconds in waits for server in self._known()]
        return _first([(server, partial(self._only(server).queryUDP, queries, (seconds,))) for server, seconds in attempts])

    def queryTCP(self, queries: Any, timeout: int = _TCP_TIMEOUT_S) -> Deferred[Any]:
        """Send a query over TCP, see `queryUDP`."""
        return _first([(server, partial(self._over_tcp, self._only(server), queries, timeout)) for server in self._known()])

    def _known(self) -> list[Server]:
        return [*self.servers, *self.dynServers]

    def _only(self, server: Server) -> Any:
        return Resolver(servers=[server], reactor=self._reactor)

    def _over_tcp(self, resolver: Any, queries: Any, timeout: int) -> Deferred[Any]:
        """Query one server, and close the connection, which it would otherwise keep for its next query."""

        def close(outcome: Any) -> Any:
            for connection in resolver.connections:
                connection.transport.loseConnection()
            return outcome

        answered: Deferred[Any] = resolver.queryTCP(queries, timeout)
        return answered.addBoth(close)


def _first(attempts: Sequence[tuple[Server, Callable[[], Deferred[Any]]]]) -> Deferred[Any]:
    """
    Return the first response that answers the query; each attempt starts when the previous one has failed.

    A server whose response was passed over is not queried again. If no response answers the query, the last one counts.
    """

    async def run() -> Any:
        problem: Exception = OSError("no name server is configured")
        passed_over: dict[Server, Any] = {}
        for server, attempt in attempts:
            if server in passed_over:
                continue
            try:
                response = await attempt()
            except _NEXT_SERVER as error:
                problem = error
                continue
            if response.rCode not in _NO_ANSWER:
                return response
            passed_over[server] = response
        if passed_over:
            return list(passed_over.values())[-1]
        raise problem

    return Deferred.fromCoroutine(run())
