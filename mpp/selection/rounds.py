"""
A runner of repeated rounds, one at a time, shared by any number of callers. Knows nothing of what a round does.

# Note [Rounds]

At most one round runs; a caller that requests one while it runs joins it. After an event that a running round can no longer
take into account, the round is *outdated*: it goes on, another one follows it, and callers from then on wait for that one.

Rounds start a minimum time apart: a hundred callers in succession must not cause a hundred rounds.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure
from txaio.tx import make_logger

from mpp.core.scheduling.waiters import Waiters

_log = make_logger()

# The time that a source of servers may take to restart together with mpp.
STARTING_S = 30.0


class StartWaiters(Waiters):
    """
    A set of Deferreds that wait for the first result after the start of mpp; after `STARTING_S` they fire without a result.

    :param now: returns the time in seconds, by a monotonic clock.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        super().__init__()
        self._now = now
        self._until = now() + STARTING_S

    def begin(self) -> None:
        """Start the time limit of `STARTING_S` now; until this is called, it counts from the construction."""
        self._until = self._now() + STARTING_S

    def settle(self, *, found: bool) -> None:
        """Fire all Deferreds if the first result was found, or if the time limit has passed."""
        if found or self._now() >= self._until:
            self.fire()


class Rounds:
    """
    The rounds of one task, see Note [Rounds].

    :param run: runs one round; its Deferred is cancelled by `stop`.
    :param spacing: minimum number of seconds between the starts of two rounds.
    """

    def __init__(self, run: Callable[[], Deferred[None]], clock: IReactorTime, spacing: float) -> None:
        self._run = run
        self._clock = clock
        self._spacing = spacing
        self._began = float("-inf")
        self._in_round = False
        self._outdated = False
        self._round: Deferred[None] | None = None
        self._scheduled: IDelayedCall | None = None
        self._joined = Waiters()
        self._next = Waiters()

    def join(self) -> Deferred[None]:
        """
        Wait for a round that takes into account everything up to now; start one if necessary.

        :return Deferred(None): fires when that round has ended, successfully or not, or at `stop`. Cancelling it does not
            stop the round.
        """
        waiter = self._next.wait() if self._in_round and self._outdated else self._joined.wait()
        self._request()
        return waiter

    def refresh(self) -> None:
        """Start a new round, because of an event that a running round may have missed; it follows a running round."""
        self._outdated = self._in_round
        self._request()

    def stop(self) -> None:
        """Cancel running and scheduled rounds, and fire all waiting Deferreds."""
        self._outdated = False
        if self._scheduled is not None:
            self._scheduled.cancel()
            self._scheduled = None
        if self._round is not None:
            self._round.cancel()
        self._joined.fire()

    def _request(self) -> None:
        """Start a round now, or as soon as the spacing allows."""
        if self._in_round or self._scheduled is not None:
            return
        wait = self._began + self._spacing - self._clock.seconds()
        if wait > 0:
            self._scheduled = self._clock.callLater(wait, self._begin)
        else:
            self._begin()

    def _begin(self) -> None:
        self._scheduled = None
        self._began = self._clock.seconds()
        # Set this first: `run` may request a round itself, and may be finished before it returns.
        self._in_round = True
        self._round = self._run()
        self._round.addErrback(log_failure)
        self._round.addCallback(self._over)

    def _over(self, _: None) -> None:
        over, self._joined, self._next = self._joined, self._next, Waiters()
        again, self._outdated = self._outdated, False
        self._in_round, self._round = False, None
        if again:
            self._request()
        over.fire()


def log_failure(failure: Failure) -> None:
    """Log the failure of a round or of a probe between rounds, unless it was cancelled."""
    if not failure.check(CancelledError):
        _log.failure(
            "bug: a selection round, or a probe between two, failed unexpectedly; the next one follows as usual", failure
        )
