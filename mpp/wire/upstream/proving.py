"""
Whether one more connection to a server may carry a request, and what it means that it is silent. Pure.

# Note [Connection limits]

A server may take a limited number of connections (``--web.max-connections`` of Prometheus, 512 by default). Go's LimitListener
does not accept further ones: the kernel completes the TCP handshake, and then nothing is read until another connection is closed.
A request sent on such a connection waits for as long as mpp itself keeps the others, and cannot be sent again, because it may be
read after all. Over TLS it is the handshake that hangs.

Therefore a connection beyond as many as have ever answered at once is proved: the server is asked for ``/-/ready`` on it before
it carries a request. Until then the request waits for whichever is first, this connection or a kept one. When the server answers
on another connection while the new one stays silent, the number is known: there are no more than have answered. Requests beyond
it wait, and it is tried again every `RETRY_S`, with one connection, as long as some wait.

# Note [Spare connection]

Whether a server that says nothing on a new connection has reached its limit or has stopped can only be told on a connection that
it has accepted. So requests of clients leave one idle connection to questions of mpp's own, except where the limit is known
and so low (below `LENDS_BELOW`) that one connection is a noticeable part of it.
"""

from __future__ import annotations

import enum

PATIENCE_S = 0.1
"""How long a new connection may stay silent before the server is asked on another one: far longer than a near server needs."""
HEARD_ENOUGH = 3
"""
How often in a row the server must have been heard on other connections meanwhile. Once is not enough: a program that has not come
to its sockets for a while, for lack of processor time or because it is busy with something else, may answer on kept ones first.
"""
PATIENCE_FACTOR = 4
"""A server that is far away has that many times as long as the last new connections took."""
GIVE_UP_S = 1.0
"""A new connection that is silent for so long, while the server says nothing on others either, has failed: as for connecting."""
RETRY_S = 10.0
"""How often it is tried whether a server takes more connections than it did, as long as requests wait."""
LENDS_BELOW = 8


class SilenceMeaning(enum.Enum):
    """What a silent new connection means."""

    WAIT = "wait"
    """Nothing yet."""
    ASK = "ask"
    """The server has to be asked on another connection."""
    FULL = "full"
    """The server takes no more connections."""
    FAILED = "failed"
    """The server does not answer at all."""


def needs_proof(others: int, most: int, *, limited: bool) -> bool:
    """
    Decide whether a new connection is proved before it carries a request.

    :param others: connections to the server that are open or being opened. Without any there is nothing better to wait for.
    :param most: how many have answered at once.
    :param limited: the server is known to take no more.
    """
    return others > 0 and (limited or others >= most)


def may_open(others: int, limit: int | None, *, retry: bool) -> bool:
    """
    Decide whether another connection is opened for a request that waits.

    :param others: connections to the server that are open or being opened.
    :param limit: how many it takes, None when no limit is known.
    :param retry: the limit has not been tried for `RETRY_S`, and is not being tried.
    """
    return limit is None or others < limit or retry


def judge(*, waited: float, silent: float, patience: float, heard: int, limited: bool, can_ask: bool) -> SilenceMeaning:
    """
    Decide what it means that a new connection is silent.

    :param waited: for how many seconds it has been opened.
    :param silent: for how many seconds no new connection to the server has answered, ``waited`` at most.
    :param patience: how long that may be.
    :param heard: how often it was looked and the server had answered anew on another connection, in this time.
    :param limited: it is known that the server takes no more connections than there are.
    :param can_ask: there is an idle connection to ask it on.
    """
    if silent < patience:
        return SilenceMeaning.WAIT
    if limited or heard >= HEARD_ENOUGH:
        return SilenceMeaning.FULL
    if can_ask:
        return SilenceMeaning.ASK
    return SilenceMeaning.FAILED if not heard and waited >= max(GIVE_UP_S, patience) else SilenceMeaning.WAIT


class ConnectionSilence:
    """How long the new connections to one server have been silent, and how often it was heard on others meanwhile."""

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
        """Count the look at the server's other connections, the last response on which was complete at ``heard_at``."""
        if heard_at > self._looked_at and now - self._since >= self.timeout:
            self._heard += 1
            self._looked_at = now

    def meaning(self, began: float, now: float, *, answering: bool, limited: bool, can_ask: bool) -> SilenceMeaning:
        """
        Decide what the silence of a new connection means, see `judge`.

        :param began: when it began to be opened.
        :param answering: other connections have carried responses; without any neither the heard nor the limit counts.
        """
        return judge(
            waited=now - began,
            silent=now - max(began, self._since),
            patience=self.timeout,
            heard=self._heard if answering else 0,
            limited=limited and answering,
            can_ask=can_ask,
        )
