"""
Tells the workers what the parent knows: the Selection, with the addresses and origins of its backends, and who fails. Each is
told only what it does not know yet (`mpp.app.workers.process`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from mpp.app.workers.codec import backend_out, selection_out
from mpp.app.workers.interfaces import ParentProgram
from mpp.app.workers.known import SentBackends
from mpp.app.workers.process import WorkerProcess, encoded
from mpp.core.model import Selection


class Broadcast:
    """
    What all workers are told.

    :param processes: gives those there are.
    """

    def __init__(self, processes: Callable[[], Iterable[WorkerProcess]], program: ParentProgram, clock: IReactorTime) -> None:
        self._processes = processes
        self._program = program
        self._clock = clock
        self._scheduled: IDelayedCall | None = None
        self._written = SentBackends()

    def soon(self) -> None:
        """Tell them after this turn of the reactor, what comes in it together."""
        if self._scheduled is None:
            self._scheduled = self._clock.callLater(0, self.now)

    def now(self) -> None:
        """Tell them."""
        if self._scheduled is not None and self._scheduled.active():
            self._scheduled.cancel()
        self._scheduled = None
        selections = self._program.selections
        selection = selections.current
        failing = encoded([[backend_out(backend), reports] for backend, reports in selections.failing.items()])
        # Encoded at most once, and only if there is somebody who does not know it.
        world = functools.cache(functools.partial(self._describe, selection))
        for process in self._processes():
            process.publish(selection, failing, world)

    def _describe(self, selection: Selection) -> tuple[list[str], str]:
        known = self._written.write(selection, self._program.addresses, self._program.sources)
        return [encoded(["known", texts]) for texts in self._written.ahead()], encoded(selection_out(selection, known))
