"""
The connections to one server: opens them, has them proved, and hands them to the requests that wait.

What is decided is `mpp.wire.upstream.proving`'s, see Note [Connection limits] there. It does not know what a request is.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure
from txaio.tx import make_logger

from mpp.core.errors import Cause, Phase, UpstreamError
from mpp.wire.upstream.opening import Opening
from mpp.wire.upstream.proving import (
    LENDS_BELOW,
    PATIENCE_FACTOR,
    PATIENCE_S,
    RETRY_S,
    SilenceMeaning,
    judge,
    may_open,
    needs_proof,
)

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall

    from mpp.core.interfaces import IProgress, IResponse
    from mpp.wire.upstream.connection import UpstreamConnection
    from mpp.wire.upstream.lane import Lane
    from mpp.wire.upstream.pool import Pool

_log = make_logger()


class ConnectionWaiter(Deferred["UpstreamConnection"]):
    """A request that waits for a connection; fires with it, fails with `UpstreamError`. Cancelling it leaves the others alone."""

    def __init__(self, growth: ConnectionGrowth, progress: IProgress | None, *, urgent: bool, fresh: bool) -> None:
        super().__init__(growth.left)
        self.progress = progress
        self.urgent = urgent
        self.fresh = fresh


class ConnectionGrowth:
    """
    The number of connections to one server.

    :ivar limit: how many the server takes, None when no limit is known.
    :ivar open: how many are open.
    :ivar seekers: requests that wait for one, urgent ones first.
    :ivar spare: how many idle ones requests of clients leave alone, see Note [Spare connection].
    """

    def __init__(self, pool: Pool, lane: Lane) -> None:
        self.limit: int | None = None
        self.open = 0
        self.seekers: deque[ConnectionWaiter] = deque()
        self.spare = int(pool.question is not None)
        self._pool = pool
        self._lane = lane
        self._answering = 0
        self._carrying = 0
        self._most = 1
        self._dialing = 0
        self._closes = False
        self._took = 0.0
        self._silent_since = self._looked_at = float("-inf")
        self._heard = 0
        self._retry_at = 0.0
        self._limit_reported: set[int] = set()
        self._openings: set[Opening] = set()
        self._timer: IDelayedCall | None = None

    @property
    def has_room(self) -> bool:
        """Whether a request that comes now gets a connection without having to wait for another request's end."""
        return self.limit is None or (not self.seekers and (len(self._lane.idle) > self.spare or self.open < self.limit))

    @property
    def in_use(self) -> bool:
        """Whether there are connections, or requests that wait for one; if not, nothing is known of the server."""
        return bool(self.open or self._dialing or self.seekers or self._openings)

    @property
    def opening(self) -> int:
        """How many connections are being opened for requests that wait."""
        return len(self._openings)

    @property
    def _others(self) -> int:
        return self.open + self._dialing

    @property
    def _proves(self) -> bool:
        """
        Whether the next connection has to be proved.

        Where nothing is kept none is: it would be closed after the proof, before it carries a request.
        """
        if self._pool.question is None or self._closes or not self._lane.kept:
            return False
        return needs_proof(self._others, self._most, limited=self.limit is not None)

    def connect(self, progress: IProgress | None, *, urgent: bool, fresh: bool) -> Deferred[UpstreamConnection]:
        """
        Get a connection for a request for which no idle one is left.

        :param urgent: it is mpp's own, and comes before others.
        :param fresh: only a new one will do.
        :return Deferred(UpstreamConnection): fires with one that is new, proved, or kept. Fails with `UpstreamError` in phase
            CONNECT. May be cancelled.
        """
        if self._proves or self.seekers:
            return self._seek(progress, urgent=urgent, fresh=fresh)
        began = self._pool.clock.seconds()

        def hung(failure: Failure) -> Deferred[UpstreamConnection]:
            """Wait for a kept connection if there are just too many: that is no fault of the server's."""
            if not self._is_limit(failure, began):
                failure.raiseException()
            self._full()
            return self._seek(progress, urgent=urgent, fresh=fresh)

        return self.dial(prove=False).addErrback(hung)

    def dial(self, *, prove: bool) -> Deferred[UpstreamConnection]:
        """Open a connection, and count it; ``prove``: it must not carry a request yet."""
        self._dialing += 1
        began = self._pool.clock.seconds()

        def connected(connection: UpstreamConnection) -> UpstreamConnection:
            self._dialing -= 1
            self.open += 1
            if not prove:
                self._carry(connection)
            self._took = max(self._pool.clock.seconds() - began, self._took / 2)
            return connection

        def not_connected(failure: Failure) -> Failure:
            self._dialing -= 1
            return failure

        return self._pool.connect(self._lane).addCallbacks(connected, not_connected)

    def answered(self, connection: UpstreamConnection) -> None:
        """Record that a connection has answered for the first time."""
        connection.proved = True
        self._carry(connection)
        self._answering += 1
        self._most = max(self._most, self._answering)
        if self.limit is not None and self._answering > self.limit:
            self.limit = None
            self.spare = 1

    def _carry(self, connection: UpstreamConnection) -> None:
        if not connection.carries:
            connection.carries = True
            self._carrying += 1

    def closed(self, connection: UpstreamConnection) -> None:
        """Record a connection's end. When all have ended the server may have started anew, and nothing is known of it."""
        self.open -= 1
        self._answering -= connection.proved
        self._carrying -= connection.carries
        if not self._others:
            self._most, self.limit, self.spare = 1, None, int(self._pool.question is not None)
        self.grow()

    def retire(self, connection: UpstreamConnection) -> None:
        """Count a connection no more, because the server has left its address; if it is being proved, open another one."""
        for opening in tuple(self._openings):
            if opening.connection is connection:
                opening.stop()
                self._removed(opening)
        self.closed(connection)
        # Its response proves nothing about the connections to other addresses.
        connection.proved = True

    def hand_out(self) -> None:
        """Give idle connections to the requests that wait."""
        idle = self._lane.idle
        for seeker in tuple(self.seekers):
            if len(idle) <= (0 if seeker.urgent else self.spare):
                break
            if not seeker.fresh:
                connection = idle.pop()
                if connection.alive:
                    self._give(seeker, connection)
            elif self.limit is not None and self._others >= self.limit and not self._openings:
                # A new one takes its place when it is gone.
                idle.pop(0).close()
                break

    def grow(self) -> None:
        """Open connections for the requests that wait, as many as may be."""
        pool = self._pool
        while len(self._openings) < len(self.seekers) and not pool.closing:
            retry = not self._openings and pool.clock.seconds() >= self._retry_at
            if not may_open(self._others, self.limit, retry=retry):
                return
            if not self._openings:
                self._begin_silence(pool.clock.seconds())
            opening = Opening(self, prove=self._proves, began=pool.clock.seconds())
            self._openings.add(opening)
            opening.start(self._lane.question)
            self._check_later()

    def left(self, seeker: Deferred[UpstreamConnection]) -> None:
        """Forget a request that is not wanted any more."""
        assert isinstance(seeker, ConnectionWaiter)
        self.seekers.remove(seeker)

    def stop(self, error: UpstreamError) -> None:
        """Fail what waits, and open nothing any more."""
        for opening in tuple(self._openings):
            opening.stop()
            self._removed(opening)
        seekers, self.seekers = self.seekers, deque()
        for seeker in seekers:
            seeker.errback(error)

    # Requests that wait

    def _seek(self, progress: IProgress | None, *, urgent: bool, fresh: bool) -> Deferred[UpstreamConnection]:
        seeker = ConnectionWaiter(self, progress, urgent=urgent, fresh=fresh)
        self._lane.held_up = True
        if urgent:
            self.seekers.insert(sum(each.urgent for each in self.seekers), seeker)
        else:
            self.seekers.append(seeker)
        if progress is not None:
            progress.queued = self.limit is not None
        self.grow()
        self.hand_out()
        if self.limit is not None:
            self._lane.parking.make_room()
        return seeker

    def _give(self, seeker: ConnectionWaiter, connection: UpstreamConnection) -> None:
        self.seekers.remove(seeker)
        progress = seeker.progress
        if progress is not None and progress.queued:
            progress.queued = False
            progress.dequeued_at = self._pool.clock.seconds()
        seeker.callback(connection)

    # New connections, see `mpp.wire.upstream.opening`

    def opened(self, opening: Opening, connection: UpstreamConnection) -> None:
        """Take a connection that needs no proof, or has been proved."""
        self._removed(opening)
        now = self._pool.clock.seconds()
        if opening.prove:
            self._begin_silence(now)
            self._took = max(now - opening.began, self._took / 2)
            if not connection.proved:
                # The server closes each connection after its response: none is kept from it by us.
                self._closes = True
        fresh = next((seeker for seeker in self.seekers if seeker.fresh), None)
        if connection.alive and (not opening.prove or fresh is not None) and self.seekers:
            connection.restart_idle()
            self._lane.take(connection)
            self._give(fresh or self.seekers[0], connection)
        elif connection.alive and not opening.prove:
            self._lane.keep(connection)
        self.hand_out()
        self.grow()

    def not_opened(self, opening: Opening, failure: Failure) -> None:
        """Fail a request that waits, unless there are just too many connections."""
        if opening not in self._openings:
            return
        self._removed(opening)
        if self._is_limit(failure, opening.began):
            self._full()
        elif self.seekers and not failure.check(CancelledError):
            self.seekers.popleft().errback(failure)
            self.grow()

    def _is_limit(self, failure: Failure, began: float) -> bool:
        """Return whether a connection that was not opened in time is one too many."""
        late = isinstance(failure.value, UpstreamError) and failure.value.cause is Cause.TIMEOUT
        return late and self._answering > 0 and (self.limit is not None or self._lane.heard_at > began)

    def _begin_silence(self, now: float) -> None:
        """Record that new connections are silent from now on only."""
        self._silent_since = self._looked_at = now
        self._heard = 0

    def _removed(self, opening: Opening) -> None:
        self._openings.discard(opening)
        if not self._openings and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # Silence

    @property
    def _timeout(self) -> float:
        return max(PATIENCE_S, PATIENCE_FACTOR * self._took)

    def _check_later(self) -> None:
        if self._timer is None and self._openings:
            self._timer = self._pool.clock.callLater(self._timeout / 2, self._check)

    def _check(self) -> None:
        self._timer = None
        now, lane = self._pool.clock.seconds(), self._lane
        if lane.heard_at > self._looked_at and now - self._silent_since >= self._timeout:
            self._heard += 1
            self._looked_at = now
        for opening in sorted(self._openings, key=Opening.age):
            since = max(opening.began, self._silent_since)
            finding = judge(
                waited=now - opening.began,
                silent=now - since,
                patience=self._timeout,
                heard=self._heard if self._answering else 0,
                limited=self.limit is not None and self._answering > 0,
                can_ask=bool(lane.idle) and self._pool.question is not None,
            )
            if finding is SilenceMeaning.FULL:
                self._full()
                break
            if finding is SilenceMeaning.ASK:
                self._ask()
                break
            if finding is SilenceMeaning.FAILED:
                opening.stop()
                detail = f"no answer on a new connection within {now - opening.began:.3g} s"
                opening.report(Failure(UpstreamError(Phase.CONNECT, Cause.TIMEOUT, detail)))
        self._check_later()

    def _ask(self) -> None:
        """Put the question on a connection that has answered before; if it is answered, `_check` knows by ``heard_at``."""
        asked = self._lane.ask()
        if asked is not None:
            asked.addCallbacks(_forget, _nothing)

    def _full(self) -> None:
        """Learn that the server takes no more connections than carry requests, or have carried some."""
        self.limit = self._most = self._carrying
        self._retry_at = self._pool.clock.seconds() + RETRY_S
        self.spare = int(self.limit >= LENDS_BELOW)
        if self.limit not in self._limit_reported:
            self._limit_reported.add(self.limit)
            _log.warn(
                "{backend} takes no more than {count} connections at once: further requests wait for one of them"
                " (--web.max-connections of the server, or a limit in front of it)",
                backend=self._lane.backend.name,
                count=self.limit,
            )
        for opening in tuple(self._openings):
            opening.stop()
            self._removed(opening)
        for seeker in self.seekers:
            if seeker.progress is not None:
                seeker.progress.queued = True
        self.hand_out()


def _forget(response: IResponse) -> None:
    response.release()


def _nothing(_: Failure) -> None:
    """Do nothing: the lane knows of a connection that breaks."""
