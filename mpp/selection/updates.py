"""
Publishes what becomes known of single servers between the rounds.

Asking the strategy takes time that grows with the number of servers. If it were asked for each of a thousand servers that are
down, the time would grow with the square of that number. So what becomes known is gathered, and published at most every
`SPACING_S`, unless there are few servers. Only what requests report as failed takes effect at once
(`mpp.core.interfaces.ISelections.report`), by `mpp.selection.outliers.demotion`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from mpp.core.model import Backend, Observation
from mpp.selection.publication import Publication

# No client notices so little, and with a thousand servers the strategy takes less than a tenth of a core.
SPACING_S = 0.1
# With no more servers than these the strategy takes less than a millisecond, and there is no reason to wait.
AT_ONCE = 50


class Updates:
    """
    What is known of single servers and was not published yet.

    :param clock: monotonic.
    :param over: called when single servers have been published; not by `publish`.
    """

    def __init__(self, published: Publication, clock: IReactorTime, over: Callable[[], None]) -> None:
        self._published = published
        self._clock = clock
        self._over = over
        self._pending: dict[Backend, Observation] = {}
        self._gathered: dict[Backend, Observation] = {}
        self._at = float("-inf")
        self._scheduled: IDelayedCall | None = None

    def latest(self, backend: Backend) -> Observation | None:
        """Return what is known of a backend, published or not; None when it is not known."""
        return self._gathered.get(backend) or self._pending.get(backend) or self._published.observation(backend)

    def put(self, observation: Observation, *, at_once: bool = False) -> None:
        """
        Publish what is known of one backend: now, or `SPACING_S` after the last time if there are more than `AT_ONCE`.

        :param at_once: if it is worse than what is published, the backend is not selected any more when this returns.
        """
        if not self._note(observation):
            return
        if not self._publish_soon() and at_once:
            self._published.demote(observation)

    def again(self) -> None:
        """Publish what is known once more, now or as soon as `put` would: something else about the backends is news."""
        self._publish_soon()

    def put_together(self, observations: Iterable[Observation]) -> None:
        """Publish what is known of several backends now, in one step, with all that waits."""
        news = [observation for observation in observations if self._note(observation)]
        if news:
            self._publish()

    def gather(self, observation: Observation) -> None:
        """Note what a round has found, to be published by `publish`."""
        self._gathered[observation.backend] = observation

    def publish(self, backends: Iterable[Backend]) -> None:
        """Publish exactly these backends, with the latest that is known of each, gathered or published."""
        observations = tuple(filter(None, map(self.latest, backends)))
        self.clear()
        self._published.publish(observations)

    def clear(self) -> None:
        """Forget what was not published."""
        self._pending.clear()
        self._gathered.clear()
        self._cancel()

    def _note(self, observation: Observation) -> bool:
        """Note what is to be published of one backend, and return whether that is news."""
        if observation == self.latest(observation.backend):
            return False
        self._pending[observation.backend] = observation
        if observation.backend in self._gathered:
            self._gathered[observation.backend] = observation
        return True

    def _publish_soon(self) -> bool:
        """Publish now if that may be, else soon; return whether it was now."""
        few = len(self._published.current.observations) <= AT_ONCE
        wait = 0.0 if few else self._at + SPACING_S - self._clock.seconds()
        if wait <= 0:
            self._publish()
            return True
        if self._scheduled is None:
            self._scheduled = self._clock.callLater(wait, self._publish)
        return False

    def _cancel(self) -> None:
        scheduled, self._scheduled = self._scheduled, None
        if scheduled is not None and scheduled.active():
            scheduled.cancel()

    def _publish(self) -> None:
        self._cancel()
        self._at = self._clock.seconds()
        pending, self._pending = self._pending, {}
        self._published.replace(pending)
        self._over()
