"""
Runs something again and again, once at a time, for any number of callers. Knows nothing of what it runs.

# Note [Rounds]

At most one round runs; whoever asks for one while it runs joins it. When something happens that a running round cannot
know any more, the round is *outdated*: it goes on, another one follows it, and who asks from then on waits for that one.

Rounds begin a certain time apart: a hundred callers one after the other must not become a hundred rounds.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure
from txaio.tx import make_logger

_log = make_logger()

# As long as a source of servers may take to restart together with mpp.
STARTING_S = 30.0


class Waiters:
    """Deferreds that fire together; each may be cancelled alone."""

    def __init__(self) -> None:
        self._waiting: list[Deferred[None]] = []

    def wait(self) -> Deferred[None]:
        """Give one more."""
        waiter: Deferred[None] = Deferred(self._leave)
        self._waiting.append(waiter)
        return waiter

    def _leave(self, waiter: Deferred[None]) -> None:
        if waiter in self._waiting:
            self._waiting.remove(waiter)

    def fire(self) -> None:
        """Fire all that wait now. Who is told may wait again, or cancel another one."""
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if not waiter.called:
                waiter.callback(None)


class StartWaiters(Waiters):
    """
    Deferreds that wait for what a program needs to find after its start; once that takes longer than `STARTING_S`, for nothing.

    :param now: the monotonic clock.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        super().__init__()
        self._now = now
        self._until = now() + STARTING_S

    def begin(self) -> None:
        """Count the time from now on, and not from when this was made."""
        self._until = self._now() + STARTING_S

    def settle(self, *, found: bool) -> None:
        """Fire all that wait if what they wait for was found, or if the start is over."""
        if found or self._now() >= self._until:
            self.fire()


class Rounds:
    """
    The rounds of one thing, see Note [Rounds].

    :param run: makes one round; its Deferred is cancelled by `stop`.
    :param spacing: seconds between the beginnings of two rounds, at least.
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
        Wait for a round that knows of everything up to now; begin one if need be.

        :return Deferred(None): fires when that round is over, however it ended, or at `stop`. Cancelling it does not
            stop the round.
        """
        waiter = self._next.wait() if self._in_round and self._outdated else self._joined.wait()
        self._request()
        return waiter

    def refresh(self) -> None:
        """Have a round begin from now on: a running one is outdated."""
        self._outdated = self._in_round
        self._request()

    def stop(self) -> None:
        """Cancel what runs or is to come, and let go everyone who waits."""
        self._outdated = False
        if self._scheduled is not None:
            self._scheduled.cancel()
            self._scheduled = None
        if self._round is not None:
            self._round.cancel()
        self._joined.fire()

    def _request(self) -> None:
        """Begin a round now, or when the last one began long enough ago."""
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
        # Before anything runs, for it may ask for a round itself; and `run` may be over before it returns.
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


class PeriodicCall:
    """
    Calls something again and again, at an interval that can be changed.

    :param call: its Deferred, if it gives one, is waited for.
    :param interval: in seconds.
    """

    def __init__(self, call: Callable[[], object], clock: IReactorTime, interval: float) -> None:
        self._call = call
        self._clock = clock
        self._interval = interval
        self._loop: LoopingCall | None = None

    def start(self) -> None:
        """Begin, now."""
        # Always another one: a LoopingCall that is started again while it waits for a Deferred would run twice.
        self._loop = LoopingCall(self._call)
        self._loop.clock = self._clock
        self._loop.start(self._interval).addErrback(lambda failure: _log.failure("What is repeated has ended", failure))

    def stop(self) -> None:
        """Call no more."""
        loop, self._loop = self._loop, None
        if loop is not None and loop.running:
            loop.stop()

    def change(self, interval: float) -> None:
        """Have another interval from now on."""
        if interval != self._interval:
            self._interval = interval
            if self._loop is not None:
                self.stop()
                self.start()


def log_failure(failure: Failure) -> None:
    """Log what a round ended with, unless it was cancelled."""
    if not failure.check(CancelledError):
        _log.failure("A round failed", failure)
