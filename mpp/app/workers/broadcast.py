"""
Publication of the parent's state to the workers: the Selection, the addresses and discovery sources of its backends, the
failing backends, what the backends lack of their history, and their rules. Each worker gets only what has changed
(`mpp.app.workers.process`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from mpp.app.workers.codec import backend_out, coverage_out, rules_out, selection_out
from mpp.app.workers.interfaces import ParentProgram
from mpp.app.workers.known import SentBackends
from mpp.app.workers.process import WorkerProcess, encoded
from mpp.core.model import Selection


class Broadcast:
    """
    The publisher of the Selection to all workers.

    :param processes: returns the running workers.
    """

    def __init__(self, processes: Callable[[], Iterable[WorkerProcess]], program: ParentProgram, clock: IReactorTime) -> None:
        self._processes = processes
        self._program = program
        self._clock = clock
        self._scheduled: IDelayedCall | None = None
        self._written = SentBackends()

    def soon(self) -> None:
        """Publish the state in the reactor's next iteration, so that several changes are sent together."""
        if self._scheduled is None:
            self._scheduled = self._clock.callLater(0, self.now)

    def now(self) -> None:
        """Publish the state to all workers now."""
        if self._scheduled is not None and self._scheduled.active():
            self._scheduled.cancel()
        self._scheduled = None
        selections = self._program.selections
        selection = selections.current
        failing = encoded([[backend_out(backend), reports] for backend, reports in selections.failing.items()])
        # The Selection is encoded at most once, and only if a worker does not have it yet.
        world = functools.cache(functools.partial(self._describe, selection))
        coverage = selections.coverage
        covered = functools.cache(lambda: [encoded(["coverage", coverage_out(coverage)])])
        rules = selections.rules.definitions
        ruled = functools.cache(lambda: [encoded(["rules", *values]) for values in rules_out(rules)])
        for process in self._processes():
            process.publish_if_new("coverage", coverage, covered)
            process.publish_if_new("rules", rules, ruled)
            process.publish(selection, failing, world)

    def _describe(self, selection: Selection) -> tuple[list[str], str]:
        known = self._written.write(selection, self._program.addresses, self._program.sources)
        return [encoded(["known", texts]) for texts in self._written.ahead()], encoded(selection_out(selection, known))
