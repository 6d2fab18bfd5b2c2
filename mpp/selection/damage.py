"""
The record of backends that cannot read a part of their storage, according to their responses to clients. It counts the errors and
reports them in the log, the event log and the published observations. Does not know how errors are recognized.
"""

from __future__ import annotations

from attrs import evolve, frozen
from twisted.internet.interfaces import IReactorTime
from txaio.tx import make_logger

from mpp.core.metrics.registry import Metrics
from mpp.core.model import Backend, Observation
from mpp.selection.event_log import EventLog

_log = make_logger()

# A broken block stays broken; but a repaired block, or one that is no longer queried, must not be shown indefinitely.
REMEMBERED_S = 600.0


@frozen
class _StorageError:
    """
    The storage error of one backend.

    :ivar error: its first error message; later ones name other chunks of the same block.
    :ivar at: time of its last error, on the monotonic clock.
    """

    error: str
    at: float


class StorageErrors:
    """
    The latest storage error of each known backend.

    :param clock: a monotonic clock that limits how long errors are remembered.
    """

    def __init__(self, clock: IReactorTime, metrics: Metrics, event_log: EventLog) -> None:
        self._clock = clock
        self._metrics = metrics
        self._event_log = event_log
        self._found: dict[Backend, _StorageError] = {}

    def record(self, backend: Backend, error: str) -> None:
        """
        Record a storage error of a backend, and log it unless the backend had another one in the last `REMEMBERED_S` seconds.

        :param error: the error message of the backend, one line.
        """
        self._metrics.storage_errors.inc(backend.name)
        known = self._known(backend)
        self._found[backend] = _StorageError(error if known is None else known.error, self._clock.seconds())
        if known is None:
            text = (
                "{backend} cannot read a part of its storage, so requests that fail by this are retried on another server: {why}"
            )
            _log.warn(text, backend=backend.name, why=error)
            self._event_log.record("storage", f"{backend.name} cannot read a part of its storage: {error}")

    def shown(self, observation: Observation) -> Observation:
        """Return the observation with the remembered storage error of its backend, or with none if none is remembered."""
        known = self._known(observation.backend)
        error = "" if known is None else known.error
        return observation if observation.unreadable == error else evolve(observation, unreadable=error)

    def forget(self, backend: Backend) -> None:
        """Forget a backend that has been removed."""
        self._found.pop(backend, None)

    def _known(self, backend: Backend) -> _StorageError | None:
        found = self._found.get(backend)
        return found if found is not None and self._clock.seconds() - found.at <= REMEMBERED_S else None
