"""
Lets requests be planned one after the other in a pool with many gaps, for a few milliseconds in each turn of the reactor.

A plan takes up to some milliseconds there even when it was prepared (Note [Preparing a plan] in
`mpp.coverage.planning.kept_lacks`), and the panels of a dashboard come all at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from mpp.core.scheduling.pacing import SLICE_S, in_slices

# When the gaps change while a plan is prepared, it is prepared again: so often in all, for the client waits.
_MOST_PREPARATIONS = 3

Work = Generator[None, None, None]


@define
class _Waiting:
    """A request that is to be planned; ``preparations`` counts how often it was prepared."""

    work_left: Callable[[], Work | None]
    ready: Deferred[None]
    preparations: int = 0


@define
class PlanQueue:
    """The requests that are to be planned, in the order of their arrival."""

    _clock: IReactorTime
    _waiting: deque[_Waiting] = field(init=False, factory=deque)
    _runs: bool = field(init=False, default=False)

    def wait(self, work_left: Callable[[], Work | None]) -> Deferred[None]:
        """
        Let a request wait until it may be planned, in a later turn of the reactor.

        :param work_left: returns the work that is to be done before the plan is made, or None if there is none. It is called
            whenever the request is next, so also after the work, because gaps may have changed meanwhile.
        :return: fires when the plan is to be made, by its callbacks; fails with an error of the work.
        """
        ready: Deferred[None] = Deferred()
        self._waiting.append(_Waiting(work_left, ready))
        if not self._runs:
            self._runs = True
            Deferred.fromCoroutine(self._run())
        return ready

    async def _run(self) -> None:
        try:
            while self._waiting:
                await deferLater(self._clock, 0.0)
                work = self._make_plans()
                if work is not None:
                    try:
                        await in_slices(work, self._clock, 0.0)
                    except Exception:
                        self._waiting.popleft().ready.errback()
        finally:
            self._runs = False

    def _make_plans(self) -> Work | None:
        """Make plans for the time of a slice; return the work that the first request needs, if that is to be done now."""
        until, made = self._clock.seconds() + SLICE_S, False
        while self._waiting and self._clock.seconds() < until:
            first = self._waiting[0]
            try:
                work = first.work_left()
            except Exception:
                self._waiting.popleft().ready.errback()
                continue
            if work is not None and first.preparations < _MOST_PREPARATIONS:
                if made:
                    # This turn of the reactor has had its plans: the work begins in the next one.
                    return None
                first.preparations += 1
                return work
            self._waiting.popleft().ready.callback(None)
            made = True
        return None
