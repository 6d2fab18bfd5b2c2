"""Delays the start of jobs for a moment while many others of the same group are under way."""

from __future__ import annotations

from collections.abc import Callable, Hashable

from attrs import Factory, define
from twisted.internet.interfaces import IDelayedCall, IReactorTime


@define
class _Group:
    """
    The jobs of one group.

    :ivar running: how many jobs are under way.
    :ivar waiting: the jobs that wait, the first one first, each with its start and the timer that starts it at the latest.
    """

    running: int = 0
    waiting: dict[Hashable, tuple[Callable[[], object], IDelayedCall]] = Factory(dict)


class LimitedStarts:
    """
    The jobs under way and the ones that wait, by groups.

    :param clock: the reactor, which starts jobs that have waited long enough.
    :param most: the number of jobs of a group under way from which on further ones wait until one has ended.
    :param longest_wait: the seconds for which a job waits at most.
    """

    def __init__(self, clock: IReactorTime, most: int, longest_wait: float) -> None:
        self._clock = clock
        self._most = most
        self._longest_wait = longest_wait
        self._groups: dict[Hashable, _Group] = {}
        self._group_of: dict[Hashable, Hashable] = {}

    def __repr__(self) -> str:
        return f"<LimitedStarts: {len(self._group_of)} jobs>"

    def add(self, job: Hashable, group: Hashable, start: Callable[[], object]) -> None:
        """
        Start a job, now or later.

        :param start: starts the job; must not raise. `ended` has to be called when the job has ended, which may be in this call.
        """
        found = self._groups.setdefault(group, _Group())
        self._group_of[job] = group
        if found.running >= self._most:
            found.waiting[job] = start, self._clock.callLater(self._longest_wait, self._start, found, job)
        else:
            found.running += 1
            start()

    def ended(self, job: Hashable) -> None:
        """Remove a job that has ended, started or not, and start the next one; does nothing for a job that is not known."""
        group = self._group_of.pop(job, None)
        found = self._groups.get(group)
        if found is None:
            return
        waited = found.waiting.pop(job, None)
        if waited is not None:
            waited[1].cancel()
        else:
            found.running -= 1
        if found.waiting and found.running < self._most:
            self._start(found, next(iter(found.waiting)))
        elif not (found.waiting or found.running):
            del self._groups[group]

    def _start(self, group: _Group, job: Hashable) -> None:
        """Start a job that waits."""
        start, timer = group.waiting.pop(job)
        if timer.active():
            timer.cancel()
        group.running += 1
        start()
