"""
The publication of changes to single servers between the rounds.

Asking the strategy takes time that grows with the number of servers. If it were asked for each of a thousand servers that are
down, the time would grow with the square of that number. So changes are gathered, and published at most every `SPACING_S`, unless
there are few servers. Only failures that requests report (`mpp.core.interfaces.ISelections.report`) take effect at once, by
`mpp.selection.outliers.demotion`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from mpp.core.model import Backend, Observation
from mpp.selection.publication import Publication

# Too short for a client to notice, and with a thousand servers the strategy takes less than a tenth of a core.
SPACING_S = 0.1
# With no more servers than this the strategy takes less than a millisecond, so there is no reason to wait.
AT_ONCE = 50


class Updates:
    """
    The observations of single servers that are not published yet.

    :param published: publishes the observations.
    :param clock: a monotonic clock.
    :param over: called after each publication between rounds; not after `publish`, which ends a round.
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
        """Return the latest observation of a backend, published or not; None when it is not known."""
        return self._gathered.get(backend) or self._pending.get(backend) or self._published.observation(backend)

    def put(self, observation: Observation, *, at_once: bool = False) -> None:
        """
        Publish an observation of one backend now; with more than `AT_ONCE` backends, `SPACING_S` after the last publication.

        :param at_once: whether a backend whose observation is worse than the published one is ranked last before this returns.
        """
        if not self._note(observation):
            return
        if not self._publish_soon() and at_once:
            self._published.demote(observation)

    def again(self) -> None:
        """Publish all observations again, with the delay of `put`, because other data changed, such as addresses."""
        self._publish_soon()

    def put_together(self, observations: Iterable[Observation]) -> None:
        """Publish observations of several backends now, together with all pending ones."""
        news = [observation for observation in observations if self._note(observation)]
        if news:
            self._publish()

    def gather(self, observation: Observation) -> None:
        """Record an observation of a round, which is published by `publish` at the end of the round."""
        self._gathered[observation.backend] = observation

    def publish(self, backends: Iterable[Backend]) -> None:
        """Publish exactly these backends, each with its latest observation."""
        observations = tuple(filter(None, map(self.latest, backends)))
        self.clear()
        self._published.publish(observations)

    def clear(self) -> None:
        """Discard all unpublished observations."""
        self._pending.clear()
        self._gathered.clear()
        self._cancel()

    def _note(self, observation: Observation) -> bool:
        """Record a pending observation of one backend, and return whether it differs from the latest."""
        if observation == self.latest(observation.backend):
            return False
        self._pending[observation.backend] = observation
        if observation.backend in self._gathered:
            self._gathered[observation.backend] = observation
        return True

    def _publish_soon(self) -> bool:
        """Publish now if the spacing allows, otherwise soon; return whether it was now."""
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
