"""
What backends cannot read of their own storage, as requests found out: counts it, and says so in the log, in the journal and with
what is published. Does not know how it was recognized, nor what becomes of the requests.
"""

from __future__ import annotations

from attrs import evolve, frozen
from twisted.internet.interfaces import IReactorTime
from txaio.tx import make_logger

from mpp.core.metrics import Metrics
from mpp.core.model import Backend, Observation
from mpp.selection.event_log import EventLog

_log = make_logger()

# A broken block stays broken; but what was mended, or is not asked for any more, shall not be shown for ever.
REMEMBERED_S = 600.0


@frozen
class _StorageError:
    """
    What was found at one backend.

    :ivar error: what it said the first time; the later ones name other chunks of the same block.
    :ivar at: when it said something like this last.
    """

    error: str
    at: float


class StorageErrors:
    """
    The damages of all known backends.

    :param clock: for how long they are remembered, monotonic.
    """

    def __init__(self, clock: IReactorTime, metrics: Metrics, event_log: EventLog) -> None:
        self._clock = clock
        self._metrics = metrics
        self._event_log = event_log
        self._found: dict[Backend, _StorageError] = {}

    def record(self, backend: Backend, error: str) -> None:
        """
        Note that a backend could not read its storage; logged once, and again when it had been quiet for `REMEMBERED_S`.

        :param error: what it said, one line.
        """
        self._metrics.storage_errors.inc(backend.name)
        known = self._known(backend)
        self._found[backend] = _StorageError(error if known is None else known.error, self._clock.seconds())
        if known is None:
            _log.warn("{backend} cannot read a part of its storage: {why}", backend=backend.name, why=error)
            self._event_log.record("storage", f"{backend.name} cannot read a part of its storage: {error}")

    def shown(self, observation: Observation) -> Observation:
        """Return an observation as it is published."""
        known = self._known(observation.backend)
        error = "" if known is None else known.error
        return observation if observation.unreadable == error else evolve(observation, unreadable=error)

    def forget(self, backend: Backend) -> None:
        """Forget a backend that is not known any more."""
        self._found.pop(backend, None)

    def _known(self, backend: Backend) -> _StorageError | None:
        found = self._found.get(backend)
        return found if found is not None and self._clock.seconds() - found.at <= REMEMBERED_S else None
