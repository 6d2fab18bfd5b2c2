"""
Background reads of the slowly changing state of servers (such as their version, oldest sample and configuration), so that a slow
``/metrics`` does not delay a round.

`mpp.selection.probing.state` reads it; `mpp.selection.probing.prober` decides when that is due.

# Note [Waiting for the state]

The known state of a server may be outdated: nothing was read yet, or the server has restarted, perhaps without its data. Then the
round waits for the result, `WAIT_S` at most, before the strategy is asked. A server whose last read took longer than that, or
failed, is not waited for: the read goes on in the background, and its result counts in a later round.
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

# A metrics page has some MB. With the second that a probe takes, this is still less than the time a request waits for a round.
WAIT_S = 3.0
# Seconds from a failure to the next read: twice as long after each further one, `PAUSE_MOST_S` at most.
PAUSE_FIRST_S = 10.0
PAUSE_MOST_S = 600.0


@define(eq=False)
class _Record:
    """
    The reads of one server. All times are of the monotonic clock.

    :ivar due: earliest time of the next read, unless the server has restarted.
    :ivar failures: number of reads in a row that failed.
    :ivar slow: whether the last read took longer than `WAIT_S`.
    :ivar started_at: the server's start time as reported before the last read, or None.
    :ivar reading: the read in progress, or None.
    :ivar waiter: a probe that waits for it, or None.
    :ivar found: the result of the last read until it is published; then None.
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
    The background reads of the state of all servers, one at a time per server.

    :param read: reads the state of a server, see `mpp.selection.probing.state.StateReader.read`.
    :param clock: a monotonic clock.
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
        Return the state that the last successful read found.

        :param known: the published state of the server; returned if no newer one was read.
        """
        record = self._records.get(backend)
        if record is not None and record.found == known:
            record.found = None
        return known if record is None or record.found is None else record.found

    def begin(self, backend: Backend, known: ServerState, runtime: RuntimeInfo | None, *, outdated: bool) -> Deferred[None]:
        """
        Start to read the state of a server, unless a read is in progress, or failed a short time ago.

        :param known: the known state.
        :param runtime: the server's current runtime information.
        :param outdated: whether the known state is outdated, see Note [Waiting for the state].
        :return Deferred(None): fires when the read has ended, after `WAIT_S` at the latest. Fires at once if the state is not
            outdated, or the last read failed or took long. Never fails. Cancelling it ends the waiting, not the read.
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
        """Forget all servers except the given ones, and cancel their reads."""
        for backend in [each for each in self._records if each not in backends]:
            self._cancel(self._records.pop(backend))

    def stop(self) -> None:
        """Cancel all reads, and start no further ones. A probe that waits for one continues without its result."""
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
        """Log why a read failed, the first time in a row."""
        if not failure.check(UpstreamError):
            text = "bug: read of the metrics of {backend} failed unexpectedly; its last known state stays"
            _log.failure(text, failure, backend=backend.name)
        elif failures == 1:
            text = "cannot read the metrics of {backend}: {why}; next attempt in {pause:g} s, then at growing intervals"
            _log.info(text, backend=backend.name, why=str(failure.value), pause=pause)

    def _broken(self, failure: Failure, backend: Backend) -> None:
        text = "bug: the result of reading the metrics of {backend} could not be recorded; its last known state stays"
        _log.failure(text, failure, backend=backend.name)


def pause_after(failures: int) -> float:
    """Return the number of seconds until the next read of a server's state, given the number of reads in a row that failed."""
    # The exponent is bounded: a float overflows after a thousand failures.
    return min(PAUSE_MOST_S, PAUSE_FIRST_S * 2.0 ** min(failures - 1, 10))
