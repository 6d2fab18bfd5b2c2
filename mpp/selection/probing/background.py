"""
Reads the slowly changing state of servers beside the rounds, so that a slow ``/metrics`` makes no round longer.

What is read, and how, is `mpp.selection.probing.state`; when it is due, `mpp.selection.probing.prober`.

# Note [Waiting for the state]

What is known of a server may not be true any more: nothing was read yet, or the server has restarted, perhaps without its data.
Then the result is worth waiting for, `WAIT_S` at most, before it is decided who takes traffic. A server whose last reading took
longer than that, or failed, is not waited for: what is read goes on beside the rounds, and counts in a later one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine
from typing import Any

from attrs import define
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from txaio.tx import make_logger

from mpp.core.errors import UpstreamError
from mpp.core.facts import ServerState
from mpp.core.model import Backend
from mpp.core.prometheus.runtimeinfo import RuntimeInfo, is_same_start

_log = make_logger()

# A metrics page has some MB. With the second that a probe takes, this is still shorter than a request waits for a round.
WAIT_S = 3.0
# How long after a failure the next reading begins: twice as long after each further one, `PAUSE_MOST_S` at most.
PAUSE_FIRST_S = 10.0
PAUSE_MOST_S = 600.0


@define(eq=False)
class _Record:
    """
    What is remembered of the readings of one server. All times are those of the monotonic clock.

    :ivar due: no reading begins before this, unless the server has restarted.
    :ivar failures: how many readings in a row have failed.
    :ivar slow: the last reading took longer than `WAIT_S`.
    :ivar started_at: when the server had started, as it said before the last reading, or None.
    :ivar reading: the reading under way, or None.
    :ivar waiter: a probe that waits for it, or None.
    :ivar found: what the last reading found, until it is part of what is published; else None.
    """

    due: float = float("-inf")
    failures: int = 0
    slow: bool = False
    started_at: float | None = None
    reading: Deferred[None] | None = None
    waiter: Deferred[None] | None = None
    found: ServerState | None = None


class BackgroundReads:
    """
    The readings of the state of all servers, one at a time for each.

    :param read: reads the state of a server, see `mpp.selection.probing.state.StateReader.read`.
    :param clock: monotonic.
    """

    def __init__(
        self,
        read: Callable[[Backend, ServerState, RuntimeInfo | None], Coroutine[Deferred[Any], Any, ServerState]],
        clock: IReactorTime,
    ) -> None:
        self._read = read
        self._clock = clock
        self._records: dict[Backend, _Record] = {}
        self._stopped = False

    def __repr__(self) -> str:
        under_way = [backend.name for backend, record in self._records.items() if record.reading is not None]
        return f"<BackgroundReads, under way: {', '.join(under_way) or 'none'}>"

    def latest(self, backend: Backend, known: ServerState) -> ServerState:
        """
        Return what the last successful reading found.

        :param known: what is published of the server; returned if nothing was read since.
        """
        record = self._records.get(backend)
        if record is not None and record.found == known:
            record.found = None
        return known if record is None or record.found is None else record.found

    def begin(self, backend: Backend, known: ServerState, runtime: RuntimeInfo | None, *, outdated: bool) -> Deferred[None]:
        """
        Begin to read the state of a server, unless that is under way, or failed a moment ago.

        :param known: what is known of its state.
        :param runtime: what it has just said of itself.
        :param outdated: what is known is not true any more, see Note [Waiting for the state].
        :return Deferred(None): fires when the result is there if that is worth waiting for, after `WAIT_S` at the latest; else at
            once. Never fails. Cancelling it ends the waiting, not the reading.
        """
        record, now = self._records.setdefault(backend, _Record()), self._clock.seconds()
        started_at = None if runtime is None else runtime.started_at
        if not is_same_start(started_at, record.started_at):
            record.due, record.failures = now, 0
        if self._stopped or record.reading is not None or now < record.due:
            return succeed(None)
        record.started_at = started_at
        waited: Deferred[None] = succeed(None)
        if outdated and not record.slow and not record.failures:
            waited = record.waiter = Deferred()
            waited.addTimeout(WAIT_S, self._clock, onTimeoutCancel=lambda *_: None)
        reading = Deferred.fromCoroutine(self._read(backend, known, runtime))
        record.reading = ended = reading.addBoth(self._ended, backend, record, now).addErrback(self._broken, backend)
        if ended.called:
            record.reading = None
        return waited

    def keep(self, backends: Collection[Backend]) -> None:
        """Forget all servers but these; cancel what is read of the others."""
        for backend in [each for each in self._records if each not in backends]:
            self._cancel(self._records.pop(backend))

    def stop(self) -> None:
        """Cancel all readings, and begin none any more. A probe that waits for one goes on without it."""
        self._stopped = True
        self.keep(())

    def _cancel(self, record: _Record) -> None:
        if record.reading is not None:
            record.reading.cancel()

    def _ended(self, result: ServerState | Failure, backend: Backend, record: _Record, began: float) -> None:
        now = self._clock.seconds()
        record.reading, record.slow = None, now - began > WAIT_S
        waiter, record.waiter = record.waiter, None
        if isinstance(result, ServerState):
            record.found, record.failures = result, 0
        elif not result.check(CancelledError):
            record.failures += 1
            pause = pause_after(record.failures)
            record.due = now + pause
            self._log_failure(result, backend, record.failures, pause)
        if waiter is not None and not waiter.called:
            waiter.callback(None)

    def _log_failure(self, failure: Failure, backend: Backend, failures: int, pause: float) -> None:
        """Log why a reading failed, the first time in a row."""
        if not failure.check(UpstreamError):
            _log.failure("Bug: the metrics of {backend} could not be read", failure, backend=backend.name)
        elif failures == 1:
            text = "cannot read the metrics of {backend}: {why}; the next attempt is in {pause:g} s, further ones ever later"
            _log.info(text, backend=backend.name, why=str(failure.value), pause=pause)

    def _broken(self, failure: Failure, backend: Backend) -> None:
        _log.failure("Bug: what was read of {backend} could not be noted", failure, backend=backend.name)


def pause_after(failures: int) -> float:
    """Return how many seconds after so many failures in a row the next reading begins."""
    # The exponent is bounded: a float overflows after a thousand failures.
    return min(PAUSE_MOST_S, PAUSE_FIRST_S * 2.0 ** min(failures - 1, 10))
