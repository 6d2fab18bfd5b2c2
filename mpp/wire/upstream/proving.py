"""
The proof that a server has accepted a new connection: whether it is needed, and what follows if no response comes. Pure.

# Note [Connection limits]

A server may accept a limited number of connections (``--web.max-connections`` of Prometheus, 512 by default). Go's LimitListener
does not accept further ones: the kernel completes the TCP handshake, and then nothing is read until another connection is closed.
A request sent on such a connection waits for as long as mpp itself keeps the others, and cannot be sent again, because it may be
read after all. Over TLS it is the handshake that hangs.

Therefore a new connection is *proved* if there are already as many as the server has ever responded on at the same time: mpp
sends a request for ``/-/ready`` on it before it carries a request of a client. Until then that request waits for this
connection or a kept one, whichever is free first. When the server responds on another connection while the new one stays
silent, the limit is known: it is the number of connections that have carried requests. Further requests wait, and one
connection is tried every `RETRY_S`, as long as some wait.

# Note [Spare connection]

A server that is silent on a new connection has reached its limit or has stopped; only a connection that it has accepted shows
which. So requests of clients leave one idle connection to mpp's own requests, except where the limit is known and so low (below
`LENDS_BELOW`) that one connection is a noticeable part of it.
"""

from __future__ import annotations

import enum

PATIENCE_S = 0.1
"""Seconds without a response on a new connection until mpp checks other connections: far longer than a near server needs."""
HEARD_ENOUGH = 3
"""
How many checks must have found a response on another connection before the server counts as full. One is not enough: a program
that has not served its sockets for a while, for lack of processor time or because of other work, may respond on kept
connections first.
"""
PATIENCE_FACTOR = 4
"""A server may be silent for this many times as long as the last new connections took, if that exceeds `PATIENCE_S`."""
GIVE_UP_S = 1.0
"""Seconds until a new connection counts as failed if the server responds on no connection: as long as connecting may take."""
RETRY_S = 10.0
"""Seconds between two attempts to open more connections than a server is known to accept, as long as requests wait."""
LENDS_BELOW = 8


class SilenceMeaning(enum.Enum):
    """The meaning of the fact that a server has not responded on a new connection."""

    WAIT = "wait"
    """It means nothing yet, so mpp goes on waiting."""
    ASK = "ask"
    """A request on another connection has to show whether the server responds."""
    FULL = "full"
    """The server accepts no more connections."""
    FAILED = "failed"
    """The server does not respond at all."""


def needs_proof(others: int, most: int, *, limited: bool) -> bool:
    """
    Decide whether mpp makes sure, by a request of its own, that the server has accepted a new connection before using it.

    :param others: connections to the server that are open or being opened; if there are none, the proof is no use,
        because a request could not wait for another connection instead.
    :param most: the highest number of connections, open at the same time, on which the server has responded.
    :param limited: it is known how many connections the server accepts.
    """
    return others > 0 and (limited or others >= most)


def may_open(others: int, limit: int | None, *, retry: bool) -> bool:
    """
    Decide whether to open another connection for a request that waits.

    :param others: connections to the server that are open or being opened.
    :param limit: how many connections the server accepts, None if no limit is known.
    :param retry: one connection beyond the limit may be tried: the limit was found, or confirmed by such a try, at least
        `RETRY_S` ago, and no connection is being opened now.
    """
    return limit is None or others < limit or retry


def judge(*, waited: float, silent: float, patience: float, heard: int, limited: bool, can_ask: bool) -> SilenceMeaning:
    """
    Decide what it means that the server has not responded on a new connection.

    :param waited: seconds since opening the connection began.
    :param silent: seconds in which the server has responded on no new connection; at most ``waited``.
    :param patience: how many seconds ``silent`` has to last before it means anything.
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
    """The record of how long a server has not responded on new connections, and whether it has on others meanwhile."""

    __slots__ = ("_heard", "_looked_at", "_since", "_took")

    def __init__(self) -> None:
        self._took = 0.0
        self._since = self._looked_at = float("-inf")
        self._heard = 0

    @property
    def timeout(self) -> float:
        """How many seconds a server may leave new connections without a response before that means anything."""
        return max(PATIENCE_S, PATIENCE_FACTOR * self._took)

    def record_duration(self, seconds: float) -> None:
        """Record how many seconds it took to open a new connection, or to open it and receive the first response on it."""
        self._took = max(seconds, self._took / 2)

    def begin(self, now: float) -> None:
        """Begin to measure the time without a response on new connections, from ``now`` on."""
        self._since = self._looked_at = now
        self._heard = 0

    def listen(self, now: float, heard_at: float) -> None:
        """
        Record whether the server has responded on another connection since the last check.

        :param heard_at: when the last response on one of the other connections was complete.
        """
        if heard_at > self._looked_at and now - self._since >= self.timeout:
            self._heard += 1
            self._looked_at = now

    def meaning(self, began: float, now: float, *, answering: bool, limited: bool, can_ask: bool) -> SilenceMeaning:
        """
        Decide what it means that the server has not responded on a new connection, see `judge`.

        :param began: when opening the connection began, by the monotonic clock.
        :param answering: the server has responded on other open connections; if not, the checks and the limit are disregarded.
        """
        return judge(
            waited=now - began,
            silent=now - max(began, self._since),
            patience=self.timeout,
            heard=self._heard if answering else 0,
            limited=limited and answering,
            can_ask=can_ask,
        )
