"""
Tells the workers what the parent knows: the Selection, with the addresses and origins of its backends, and who fails. Each is
told only what it does not know yet (`mpp.app.workers.process`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from mpp.app.workers.codec import backend_out, selection_out
from mpp.app.workers.interfaces import World
from mpp.app.workers.known import Written
from mpp.app.workers.process import Hand, encoded
from mpp.core.model import Selection


class Publishing:
    """
    What all workers are told.

    :param hands: gives those there are.
    """

    def __init__(self, hands: Callable[[], Iterable[Hand]], world: World, clock: IReactorTime) -> None:
        self._hands = hands
        self._world = world
        self._clock = clock
        self._scheduled: IDelayedCall | None = None
        self._written = Written()

    def soon(self) -> None:
        """Tell them after this turn of the reactor, what comes in it together."""
        if self._scheduled is None:
            self._scheduled = self._clock.callLater(0, self.now)

    def now(self) -> None:
        """Tell them."""
        if self._scheduled is not None and self._scheduled.active():
            self._scheduled.cancel()
        self._scheduled = None
        selections = self._world.selections
        selection = selections.current
        failing = encoded([[backend_out(backend), reports] for backend, reports in selections.failing.items()])
        # Encoded at most once, and only if there is somebody who does not know it.
        world = functools.cache(functools.partial(self._describe, selection))
        for hand in self._hands():
            hand.publish(selection, failing, world)

    def _describe(self, selection: Selection) -> tuple[list[str], str]:
        known = self._written.write(selection, self._world.addresses, self._world.origins)
        return [encoded(["known", texts]) for texts in self._written.ahead()], encoded(selection_out(selection, known))
