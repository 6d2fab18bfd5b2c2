"""
The growth of the number of connections to one server: opens connections, and gives them to the requests that wait.

The decisions are in `mpp.wire.upstream.proving`, see Note [Connection limits] there. It does not know what a request is.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure
from txaio.tx import make_logger

from mpp.core.errors import Cause, Phase, UpstreamError
from mpp.core.interfaces import IProgress, IResponse
from mpp.core.model import Backend
from mpp.wire.upstream.connection import UpstreamConnection
from mpp.wire.upstream.counts import ServerConnectionCounts
from mpp.wire.upstream.idle import IdleConnections
from mpp.wire.upstream.interfaces import IPool
from mpp.wire.upstream.opening import Opening
from mpp.wire.upstream.proving import ConnectionSilence, SilenceMeaning
from mpp.wire.upstream.queues import ConnectionQueue

_log = make_logger()


class ConnectionGrowth:
    """
    The number of connections to one server, which grows as long as requests wait and the server accepts more.

    :param idle: the idle connections to the server.
    :param dial: opens a connection to the server; fails with `UpstreamError`.
    :param waits: called when a request begins to wait for a connection.
    :ivar counts: how many connections there are, and the server's limit.
    :ivar waiters: the requests that wait for a connection.
    """

    def __init__(
        self,
        pool: IPool,
        backend: Backend,
        idle: IdleConnections,
        dial: Callable[[], Deferred[UpstreamConnection]],
        waits: Callable[[], None],
    ) -> None:
        self.counts = ServerConnectionCounts(proves=pool.question is not None)
        self.waiters = ConnectionQueue()
        self._pool = pool
        self._backend = backend
        self._idle = idle
        self._dial = dial
        self._waits = waits
        self._silence = ConnectionSilence()
        self._closes = False
        self._limit_reported: set[int] = set()
        self._openings: set[Opening] = set()
        self._timer: IDelayedCall | None = None

    @property
    def has_room(self) -> bool:
        """Whether a new request would get a connection without having to wait for another request's end."""
        counts = self.counts
        return counts.limit is None or (not self.waiters and (len(self._idle) > counts.spare or counts.open < counts.limit))

    @property
    def in_use(self) -> bool:
        """Whether there are connections to the server, or requests that wait for one."""
        return bool(self.counts.total or self.waiters or self._openings)

    @property
    def opening(self) -> int:
        """How many connections are being opened for requests that wait."""
        return len(self._openings)

    @property
    def _proves(self) -> bool:
        """
        Whether the next connection has to be proved.

        None is proved if connections are not kept: it would be closed after the proof, before it carries a request.
        """
        if self._pool.question is None or self._closes or not self._idle.kept:
            return False
        return self.counts.needs_proof

    def connect(self, progress: IProgress | None, *, urgent: bool, fresh: bool) -> Deferred[UpstreamConnection]:
        """
        Return a connection for a request for which no idle connection is left.

        :param urgent: the request is mpp's own, and comes before requests of clients.
        :param fresh: the request must be sent on a new connection.
        :return Deferred(UpstreamConnection): fires with a new connection, or one that another request has released.
            Fails with `UpstreamError` in phase CONNECT. May be cancelled.
        """
        if self._proves or self.waiters:
            return self._wait(progress, urgent=urgent, fresh=fresh)
        began = self._pool.clock.seconds()

        def hung(failure: Failure) -> Deferred[UpstreamConnection]:
            """Wait for a kept connection if the server's limit is reached, which is no fault of the server."""
            if not self._is_limit(failure, began):
                failure.raiseException()
            self._full()
            return self._wait(progress, urgent=urgent, fresh=fresh)

        return self.dial(prove=False).addErrback(hung)

    def dial(self, *, prove: bool) -> Deferred[UpstreamConnection]:
        """Open a connection, and count it; ``prove``: it does not count as one that may carry requests until it has responded."""
        counts = self.counts
        counts.dialing += 1
        began = self._pool.clock.seconds()

        def connected(connection: UpstreamConnection) -> UpstreamConnection:
            counts.dialing -= 1
            counts.open += 1
            if not prove:
                counts.carry(connection)
            self._silence.record_duration(self._pool.clock.seconds() - began)
            return connection

        def not_connected(failure: Failure) -> Failure:
            counts.dialing -= 1
            return failure

        return self._dial().addCallbacks(connected, not_connected)

    def closed(self, connection: UpstreamConnection) -> None:
        """Record a connection's end, and open another one if requests wait."""
        self.counts.closed(connection)
        self.grow()

    def retire(self, connection: UpstreamConnection) -> None:
        """Stop to count a connection whose address the server has left; open another one if it was not ready for use."""
        for opening in tuple(self._openings):
            if opening.connection is connection:
                opening.stop()
                self._removed(opening)
        self.closed(connection)
        # Its response must not count as proof for connections to other addresses.
        connection.proved = True

    def hand_out(self) -> None:
        """Assign idle connections to the requests that wait."""
        idle, counts = self._idle, self.counts
        for waiter in tuple(self.waiters):
            if len(idle) <= (0 if waiter.urgent else counts.spare):
                break
            if not waiter.fresh:
                connection = idle.pop()
                if connection.alive:
                    self.waiters.give(waiter, connection, self._pool.clock.seconds())
            elif counts.limit is not None and counts.total >= counts.limit and not self._openings:
                # A new connection is opened when this one has ended.
                idle.pop(0).close()
                break

    def grow(self) -> None:
        """Open connections for the requests that wait, as many as the server's limit allows."""
        pool = self._pool
        while len(self._openings) < len(self.waiters) and not pool.closing:
            now = pool.clock.seconds()
            if not self.counts.may_open(now, trying=bool(self._openings)):
                return
            if not self._openings:
                self._silence.begin(now)
            opening = Opening(self, prove=self._proves, began=now)
            self._openings.add(opening)
            opening.start(b"" if pool.question is None else pool.question(self._backend))
            self._check_later()

    def stop(self, error: UpstreamError) -> None:
        """Fail the requests that wait, and stop to open connections."""
        for opening in tuple(self._openings):
            opening.stop()
            self._removed(opening)
        self.waiters.fail_all(error)

    # Requests that wait

    def _wait(self, progress: IProgress | None, *, urgent: bool, fresh: bool) -> Deferred[UpstreamConnection]:
        waiter = self.waiters.join(progress, urgent=urgent, fresh=fresh, queued=self.counts.limit is not None)
        self.grow()
        self.hand_out()
        self._waits()
        return waiter

    # New connections, see `mpp.wire.upstream.opening`

    def opened(self, opening: Opening, connection: UpstreamConnection) -> None:
        """Assign a new connection that is ready for use to a request that waits, or keep it as an idle one."""
        self._removed(opening)
        now = self._pool.clock.seconds()
        if opening.prove:
            self._silence.begin(now)
            self._silence.record_duration(now - opening.began)
            if not connection.proved:
                # The server closes each connection after its response, so kept connections cannot use up its limit.
                self._closes = True
        fresh = next((waiter for waiter in self.waiters if waiter.fresh), None)
        if connection.alive and (not opening.prove or fresh is not None) and self.waiters:
            connection.restart_idle()
            self._idle.discard(connection)
            self.waiters.give(fresh or self.waiters[0], connection, now)
        elif connection.alive and not opening.prove:
            self._idle.keep(connection)
        self.hand_out()
        self.grow()

    def not_opened(self, opening: Opening, failure: Failure) -> None:
        """Fail a request that waits, unless the server has refused only because it accepts no more connections."""
        if opening not in self._openings:
            return
        self._removed(opening)
        if self._is_limit(failure, opening.began):
            self._full()
        elif self.waiters and not failure.check(CancelledError):
            self.waiters.popleft().errback(failure)
            self.grow()

    def _is_limit(self, failure: Failure, began: float) -> bool:
        """Return whether a connection was not opened in time because of the server's limit."""
        late = isinstance(failure.value, UpstreamError) and failure.value.cause is Cause.TIMEOUT
        counts = self.counts
        return late and counts.answering > 0 and (counts.limit is not None or self._idle.heard_at > began)

    def _removed(self, opening: Opening) -> None:
        self._openings.discard(opening)
        if not self._openings and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # Silence of new connections

    def _check_later(self) -> None:
        if self._timer is None and self._openings:
            self._timer = self._pool.clock.callLater(self._silence.timeout / 2, self._check)

    def _check(self) -> None:
        self._timer = None
        now, counts = self._pool.clock.seconds(), self.counts
        self._silence.listen(now, self._idle.heard_at)
        for opening in sorted(self._openings, key=Opening.age):
            meaning = self._silence.meaning(
                opening.began,
                now,
                answering=counts.answering > 0,
                limited=counts.limit is not None,
                can_ask=bool(self._idle) and self._pool.question is not None,
            )
            if meaning is SilenceMeaning.FULL:
                self._full()
                break
            if meaning is SilenceMeaning.ASK:
                self._ask()
                break
            if meaning is SilenceMeaning.FAILED:
                opening.stop()
                detail = f"no response on a new connection within {now - opening.began:.3g} s"
                opening.report(Failure(UpstreamError(Phase.CONNECT, Cause.TIMEOUT, detail)))
        self._check_later()

    def _ask(self) -> None:
        """Send a request on an idle connection; `_check` sees the response to it by ``heard_at``."""
        question = self._pool.question
        asked = None if question is None else self._idle.ask(question(self._backend))
        if asked is not None:
            asked.addCallbacks(_forget, _nothing)

    def _full(self) -> None:
        """Set the limit of the server to the number of connections that carry requests, or have carried some."""
        limit = self.counts.learn_limit(self._pool.clock.seconds())
        if limit not in self._limit_reported:
            self._limit_reported.add(limit)
            _log.warn(
                "{backend} accepts no more than {count} connections at once; further requests wait for one of them"
                " (--web.max-connections of the server, or a limit in front of it)",
                backend=self._backend.name,
                count=limit,
            )
        for opening in tuple(self._openings):
            opening.stop()
            self._removed(opening)
        self.waiters.mark_queued()
        self.hand_out()


def _forget(response: IResponse) -> None:
    response.release()


def _nothing(_: Failure) -> None:
    """Ignore a failure, which the connection reports to the lane."""
