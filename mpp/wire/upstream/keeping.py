"""The link between a connection to a server and its owner: the owner's records on it, and the events that it reports."""

from __future__ import annotations

from typing import Protocol as Shape
from typing import TypeVar

ConnectionT = TypeVar("ConnectionT", contravariant=True)


class ConnectionOwner(Shape[ConnectionT]):
    """The interface of the owner of a connection: a `mpp.wire.upstream.lane.Lane`, which owns all connections to one server."""

    def exchange_ended(self, connection: ConnectionT, reusable: bool, /) -> None:
        """Record that the connection is idle again, or (not ``reusable``) is being closed. Called once for each request."""

    def connection_closed(self, connection: ConnectionT, /) -> None:
        """Record that the connection has ended. Called once."""

    def response_begun(self, connection: ConnectionT, /) -> None:
        """Record that a response is passed on before all of it has arrived."""

    def stream_begun(self, connection: ConnectionT, /) -> None:
        """Record that the response is an event stream, which has no end of its own. Called before its head is passed on."""

    def response_paused(self, connection: ConnectionT, /) -> None:
        """Record that the client has stopped reading its response. May be called several times in a row."""

    def response_resumed(self, connection: ConnectionT, /) -> None:
        """Record that the client reads its response again."""


class OwnerRecords:
    """
    The owner's records on a connection. The connection itself does not use them.

    :ivar address: the IP address that the connection leads to.
    :ivar retired: the server has left this address, so the connection carries no further request.
    :ivar idle_since: when the connection became idle, by the monotonic clock.
    :ivar proved: the server has sent a response on the connection.
    :ivar carries: the connection may carry requests of clients, because the server has accepted it or mpp does not check that.
    :ivar slots: how its request counts to the server's limits: 0 to none, 1 to that of requests, 2 also to that of queries.
    :ivar begun: a response on it is being passed on before all of it has arrived, and has not ended.
    """

    address = ""
    retired = False
    idle_since = 0.0
    proved = False
    carries = False
    slots = 0
    begun = False
