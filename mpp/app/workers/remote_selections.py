"""
The Selection in a worker: what the parent published last, and what this worker's requests have found out since.

Knows the line to the parent; does not know how the parent comes to its Selection.

# Note [Until the parent has heard]

Hard evidence has to take effect at once (`mpp.core.interfaces.ISelections.report`), before the parent's answer to it comes. So
whom a report is about leaves the Selection here and now. Reports are numbered, and the parent says with everything it publishes
which one it has heard last: those it has not are applied to what it published, the others are forgotten, since the parent knows
better.

# Note [Answers]

The parent wants to know of requests that were answered well, but only while some backend is failing, and then only once from each
backend until something new is known about those that fail.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from attrs import evolve
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure
from zope.interface import implementer

from mpp.app.workers.codec import backend_in, backend_out, selection_in
from mpp.app.workers.ipc import IPCChannel
from mpp.app.workers.known import ReceivedBackends
from mpp.core.http_config import DiscoverySources
from mpp.core.interfaces import ISelections
from mpp.core.model import Backend, Selection, Standing
from mpp.selection.event_log import EventLog
from mpp.selection.outliers.demotion import demoted
from mpp.selection.query_of_death import SuspectQueries
from mpp.selection.rounds import StartWaiters


@implementer(ISelections)
class RemoteSelections(Service):
    """
    The Selection as the parent publishes it.

    :param now: the monotonic clock that requests are timed with.
    :ivar current: see `ISelections`.
    :ivar suspects: see `ISelections`; the parent keeps those of all workers alike.
    :ivar known: what is known of each backend.
    :ivar channel: to the parent.
    :ivar event_log: remains empty, the parent keeps it.
    """

    channel: IPCChannel

    def __init__(self, now: Callable[[], float]) -> None:
        self.current = Selection()
        self.suspects = SuspectQueries(now)
        self.event_log = EventLog(time.time)
        self._forget: Callable[[Backend], None] = lambda _: None
        self._located: Callable[[DiscoverySources], None] = lambda _: None
        self._moved: Callable[[str, tuple[str, ...]], None] = lambda host, addresses: None
        self._published = Selection()
        self.known = ReceivedBackends()
        self._addresses: Mapping[str, tuple[str, ...]] = {}
        self._first = StartWaiters(now)
        self._reported = 0
        self._unheard: list[tuple[int, Backend, Standing, str]] = []
        self._failing: dict[Backend, int] = {}
        self._reported_backends: set[Backend] = set()

    def bound_to(
        self,
        forget: Callable[[Backend], None],
        located: Callable[[DiscoverySources], None],
        moved: Callable[[str, tuple[str, ...]], None],
    ) -> RemoteSelections:
        """
        Give itself, and have others know, too.

        :param forget: called with each backend that is not known any more.
        :param located: called with who finds the backends, before they are in ``current``.
        :param moved: called when a host name has lost addresses, see `mpp.wire.address_book.AddressBook`.
        """
        self._forget = forget
        self._located = located
        self._moved = moved
        return self

    # From the parent

    def published(self, heard: int, failing: list[Any], selection: Any) -> None:
        """Take a new Selection."""
        before, self._published = self._published, selection_in(selection, self.known.read)
        self._located(self.known.origins)
        self._take_addresses(self.known.addresses)
        self.heard(heard, failing)
        for backend in before.observed:
            if backend not in self._published.observed:
                self._forget(backend)
        if self.current.generation:
            self._first.settle(found=bool(self.current.observations))

    def _take_addresses(self, addresses: Mapping[str, tuple[str, ...]]) -> None:
        before, self._addresses = self._addresses, addresses
        for host, found in addresses.items():
            if found and not set(before.get(host, ())) <= set(found):
                self._moved(host, found)

    def heard(self, heard: int, failing: list[Any]) -> None:
        """Take note of what the parent knows."""
        self._unheard = [report for report in self._unheard if report[0] > heard]
        self.current = self._published
        for _, backend, standing, why in self._unheard:
            self.current = without(self.current, backend, standing, why)
        now = {backend_in(backend): reports for backend, reports in failing}
        if now != self._failing:
            self._failing = now
            self._reported_backends.clear()

    # For this worker

    def addresses(self, backend: Backend) -> tuple[str, ...]:
        """Give the IP addresses to try, see `mpp.wire.address_book.AddressBook`."""
        return self._addresses.get(backend.host, ())

    def reconfigure(self, prober: object, strategy: object, interval: float, coverage_query: str = "") -> None:
        """Do nothing: that is the parent's affair."""

    def stopService(self) -> None:
        """Let go who waits."""
        Service.stopService(self)
        self._first.fire()

    def ready(self) -> Deferred[Selection]:
        """Wait for the first backend, see `ISelections`."""
        waiter = self._first.wait()
        if self.current.generation:
            self._first.settle(found=bool(self.current.observations))
        return waiter.addCallback(self._give_current)

    def reselect(self) -> Deferred[Selection]:
        """Have the parent make a round, see `ISelections`. The new Selection comes before the answer."""
        return self.channel.request("reselect").addBoth(self._unless_cancelled)

    def _unless_cancelled(self, result: Any) -> Any:
        return result if isinstance(result, Failure) and result.check(CancelledError) else self.current

    def _give_current(self, _: None) -> Selection:
        return self.current

    def report(self, backend: Backend, standing: Standing, why: str) -> None:
        """Tell the parent of a request that failed, see `ISelections` and Note [Until the parent has heard]."""
        self._reported += 1
        if standing > Standing.SUSPECT:
            self._unheard.append((self._reported, backend, standing, why))
            self.current = without(self.current, backend, standing, why)
        else:
            # What is answered from now on is news.
            self._failing[backend] = -1
            self._reported_backends.clear()
        self.channel.notify("report", self._reported, backend_out(backend), int(standing), why)

    def rescued(self, failed: Backend, by: Backend) -> None:
        """Tell the parent of a request that a backend out of service answered, see `ISelections`."""
        self.channel.notify("rescued", backend_out(failed), backend_out(by))

    def storage_failed(self, backend: Backend, error: str) -> None:
        """Report to the parent that a backend cannot read a part of its storage, see `ISelections`."""
        self.channel.notify("storage", backend_out(backend), error)

    def suspect(self, key: str, why: str) -> None:
        """Remember a read that a server may have died of, and have the parent tell the other workers, see `ISelections`."""
        self.suspects.add(key)
        self.channel.notify("suspect", key, why)

    def answered(self, backend: Backend) -> None:
        """Tell the parent of a request that was answered, if it wants to know; see Note [Answers]."""
        if self._failing and backend not in self._reported_backends:
            self._reported_backends.add(backend)
            self.channel.notify("answered", backend_out(backend))


def without(selection: Selection, backend: Backend, standing: Standing, why: str) -> Selection:
    """Return a Selection in which a backend is used only when no other one is left, see `mpp.selection.outliers.demotion`."""
    observation = selection.observed.get(backend)
    return selection if observation is None else demoted(selection, evolve(observation, standing=standing, why=why))
