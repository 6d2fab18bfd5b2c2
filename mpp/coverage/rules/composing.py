"""
Works out which data the servers' rules read, each time their rules change; in slices, so that clients are served meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from txaio.tx import make_logger

from mpp.core.scheduling.pacing import in_slices
from mpp.core.scheduling.unexpected import log_unexpected
from mpp.promql.recorded import Rules
from mpp.promql.rules import RuleDefinition, RuleReading

_log = make_logger()


class RuleComposer:
    """
    The calculation of the data that the servers' rules read; each process makes its own.

    :param composed: called with the result: a function that returns the data that rules read, for a metric that they write.
    :param clock: a monotonic clock.
    """

    def __init__(self, composed: Callable[[Rules], None], clock: IReactorTime) -> None:
        self._composed = composed
        self._clock = clock
        self._running: Deferred[None] | None = None

    def compose(self, definitions: Sequence[RuleDefinition]) -> None:
        """Begin to work out which data some rules read; until that is known, the result for the former rules applies."""
        self.stop()
        running = Deferred.fromCoroutine(self._compose(definitions))
        text = "bug: cannot determine which data the servers' rules read; mpp uses the result of their former rules"
        running.addErrback(log_unexpected, _log, text)
        self._running = running

    def stop(self) -> None:
        """Stop a calculation that is running."""
        if self._running is not None:
            self._running.cancel()
            self._running = None

    async def _compose(self, definitions: Sequence[RuleDefinition]) -> None:
        reading = RuleReading(definitions)
        await in_slices(reading.steps(), self._clock)
        self._composed(reading.book().recorded)
