"""
Divides the work of planning among the turns of the reactor in a pool with many gaps: some milliseconds in each of them.

A plan takes up to some milliseconds there even when it was prepared (Note [Preparing a plan] in
`mpp.coverage.planning.kept_lacks`), and the panels of a dashboard come all at once. In one turn requests are planned, in the next
one a request is prepared, and so on, so that a request for a known query does not wait for new ones.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from typing import TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from mpp.core.scheduling.pacing import SLICE_S

# When the gaps change while a plan is prepared, it is prepared again: so often at most, then it is made unprepared.
_MOST_PREPARATIONS = 3

Work = Generator[None, None, None]
R = TypeVar("R")


@define(eq=False)
class _Waiting:
    """A request that is to be planned; ``preparations`` counts how often its preparation began."""

    work_left: Callable[[], Work | None]
    is_urgent: bool
    ready: Deferred[None] = field(init=False)
    preparations: int = 0
    is_cancelled: bool = False

    def __attrs_post_init__(self) -> None:
        self.ready = Deferred(self._leave)

    def _leave(self, _: Deferred[None]) -> None:
        self.is_cancelled = True


@define
class PlanQueue:
    """The requests that wait to be planned, and the ones of these that must be prepared before."""

    _clock: IReactorTime
    _to_plan: deque[_Waiting] = field(init=False, factory=deque)
    _to_prepare: deque[_Waiting] = field(init=False, factory=deque)
    _in_preparation: tuple[_Waiting, Work] | None = field(init=False, default=None)
    _runs: bool = field(init=False, default=False)

    def wait(self, work_left: Callable[[], Work | None], *, is_urgent: bool = False) -> Deferred[None]:
        """
        Let a request wait until it may be planned, in a later turn of the reactor.

        :param work_left: returns the work that is to be done before the plan is made, or None if there is none. It is called
            whenever the request is next, so also after the work, because gaps may have changed meanwhile.
        :param is_urgent: whether the work is done before that of other requests; work that has begun goes on first.
        :return: fires when the plan is to be made, by its callbacks; fails with an error of the work. To cancel it ends the work.
        """
        waiting = _Waiting(work_left, is_urgent)
        self._to_plan.append(waiting)
        if not self._runs:
            self._runs = True
            Deferred.fromCoroutine(self._run())
        return waiting.ready

    async def result_of(self, work: Generator[None, None, R]) -> R:
        """
        Run a calculation in slices, before requests are prepared, for a response waits for it; at once if it has only one step.

        :param work: yields before each part that takes long.
        :return: the return value of the generator.
        """
        found: list[R] = []

        def working() -> Work:
            found.append((yield from work))

        steps = working()
        if next(steps, _END) is not _END:
            await self.wait(lambda: None if found else steps, is_urgent=True)
        return found[0]

    async def _run(self) -> None:
        try:
            while self._to_plan or self._is_to_prepare:
                if self._to_plan:
                    await deferLater(self._clock, 0.0)
                    self._make_plans(self._clock.seconds() + SLICE_S)
                if self._is_to_prepare:
                    await deferLater(self._clock, 0.0)
                    self._prepare(self._clock.seconds() + SLICE_S)
        finally:
            self._runs = False

    @property
    def _is_to_prepare(self) -> bool:
        return self._in_preparation is not None or bool(self._to_prepare)

    def _make_plans(self, until: float) -> None:
        """Make plans until a time; a request that has to be prepared waits for that."""
        while self._to_plan and self._clock.seconds() < until:
            waiting = self._to_plan.popleft()
            if waiting.is_cancelled:
                continue
            try:
                left = waiting.preparations < _MOST_PREPARATIONS and waiting.work_left() is not None
            except Exception:
                waiting.ready.errback()
                continue
            if not left:
                waiting.ready.callback(None)
            elif waiting.is_urgent:
                self._to_prepare.appendleft(waiting)
            else:
                self._to_prepare.append(waiting)

    def _prepare(self, until: float) -> None:
        """Prepare requests until a time, or until one of them is prepared."""
        while self._is_to_prepare and self._clock.seconds() < until:
            waiting, work = self._in_preparation or (self._to_prepare.popleft(), None)
            self._in_preparation = None
            if waiting.is_cancelled:
                continue
            try:
                if work is None:
                    # The work may have been done for another request meanwhile.
                    work = waiting.work_left()
                    waiting.preparations += 1
                if work is not None and next(work, _END) is not _END:
                    self._in_preparation = waiting, work
                    continue
            except Exception:
                waiting.ready.errback()
                continue
            # It is planned before another one is prepared: the memory for prepared queries is bounded.
            self._to_plan.appendleft(waiting)
            return


_END = object()
