"""
The proof of new connections: decides whether one needs a proof, and what its silence means. Pure.

# Note [Connection limits]

A server may accept a limited number of connections (``--web.max-connections`` of Prometheus, 512 by default). Go's LimitListener
does not accept further ones: the kernel completes the TCP handshake, and then nothing is read until another connection is closed.
A request sent on such a connection waits for as long as mpp itself keeps the others, and cannot be sent again, because it may be
read after all. Over TLS it is the handshake that hangs.

Therefore a connection beyond as many as have ever responded at once is proved: mpp sends a request for ``/-/ready`` on it before
it carries a request of a client. Until then that request waits for this connection or a kept one, whichever is free first. When
the server responds on another connection while the new one stays silent, the limit is known: it is the number of connections
that have carried requests. Further requests wait, and one connection is tried every `RETRY_S`, as long as some wait.

# Note [Spare connection]

A server that is silent on a new connection has reached its limit or has stopped; only a connection that it has accepted shows
which. So requests of clients leave one idle connection to mpp's own requests, except where the limit is known and so low (below
`LENDS_BELOW`) that one connection is a noticeable part of it.
"""

from __future__ import annotations

import enum

PATIENCE_S = 0.1
"""Seconds that a new connection may be silent before another one is asked: far longer than a near server needs."""
HEARD_ENOUGH = 3
"""
How often in a row the server must have responded on other connections meanwhile. Once is not enough: a program that has not
served its sockets for a while, for lack of processor time or because of other work, may respond on kept connections first.
"""
PATIENCE_FACTOR = 4
"""A distant server has that many times as long as the last new connections took."""
GIVE_UP_S = 1.0
"""Seconds until a new connection has failed if the server is silent on all connections: as long as connecting may take."""
RETRY_S = 10.0
"""Seconds between two attempts to exceed the known limit of a server, as long as requests wait."""
LENDS_BELOW = 8


class SilenceMeaning(enum.Enum):
    """The meaning of the silence of a new connection."""

    WAIT = "wait"
    """It means nothing yet."""
    ASK = "ask"
    """A request on another connection has to show whether the server responds."""
    FULL = "full"
    """The server accepts no more connections."""
    FAILED = "failed"
    """The server does not respond at all."""


def needs_proof(others: int, most: int, *, limited: bool) -> bool:
    """
    Decide whether a new connection is proved before it carries a request.

    :param others: connections to the server that are open or being opened; if there are none, no other one can be waited for.
    :param most: how many connections have responded at once.
    :param limited: the server's limit is known.
    """
    return others > 0 and (limited or others >= most)


def may_open(others: int, limit: int | None, *, retry: bool) -> bool:
    """
    Decide whether another connection is opened for a request that waits.

    :param others: connections to the server that are open or being opened.
    :param limit: how many connections the server accepts, None if no limit is known.
    :param retry: the limit was last tried `RETRY_S` ago or longer, and is not being tried now.
    """
    return limit is None or others < limit or retry


def judge(*, waited: float, silent: float, patience: float, heard: int, limited: bool, can_ask: bool) -> SilenceMeaning:
    """
    Decide what the silence of a new connection means.

    :param waited: seconds since opening the connection began.
    :param silent: seconds in which no new connection to the server has responded, ``waited`` at most.
    :param patience: how many seconds ``silent`` may be.
    :param heard: how many checks in this time found a further response on another connection.
    :param limited: the server is known to accept no more connections than there are.
    :param can_ask: there is an idle connection for a request that shows whether the server responds.
    """
    if silent < patience:
        return SilenceMeaning.WAIT
    if limited or heard >= HEARD_ENOUGH:
        return SilenceMeaning.FULL
    if can_ask:
        return SilenceMeaning.ASK
    return SilenceMeaning.FAILED if not heard and waited >= max(GIVE_UP_S, patience) else SilenceMeaning.WAIT


class ConnectionSilence:
    """The silence of the new connections to one server, and the responses on its other connections meanwhile."""

    __slots__ = ("_heard", "_looked_at", "_since", "_took")

    def __init__(self) -> None:
        self._took = 0.0
        self._since = self._looked_at = float("-inf")
        self._heard = 0

    @property
    def timeout(self) -> float:
        """How many seconds new connections may be silent."""
        return max(PATIENCE_S, PATIENCE_FACTOR * self._took)

    def record_duration(self, seconds: float) -> None:
        """Record how long a new connection took to open, or to be proved."""
        self._took = max(seconds, self._took / 2)

    def begin(self, now: float) -> None:
        """Start to count the silence from now on."""
        self._since = self._looked_at = now
        self._heard = 0

    def listen(self, now: float, heard_at: float) -> None:
        """Record a check of the other connections; their last response was complete at ``heard_at``."""
        if heard_at > self._looked_at and now - self._since >= self.timeout:
            self._heard += 1
            self._looked_at = now

    def meaning(self, began: float, now: float, *, answering: bool, limited: bool, can_ask: bool) -> SilenceMeaning:
        """
        Decide what the silence of a new connection means, see `judge`.

        :param began: when opening the connection began, by the monotonic clock.
        :param answering: other connections have carried responses; if not, neither the checks nor the limit count.
        """
        return judge(
            waited=now - began,
            silent=now - max(began, self._since),
            patience=self.timeout,
            heard=self._heard if answering else 0,
            limited=limited and answering,
            can_ask=can_ask,
        )
