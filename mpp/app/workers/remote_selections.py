"""
The Selection in a worker: the one that the parent has published last, changed by the failures of this worker's requests since.

This module uses the IPC channel to the parent; it does not know how the parent makes the Selection.

# Note [Until the parent has heard]

A failure that shows that a backend is down or not ready has to take effect at once (`mpp.core.interfaces.ISelections.report`),
before the parent has processed the report.
So a reported backend leaves the worker's Selection immediately. Reports are numbered, and each message of the parent contains the
number of the last report that it has processed. Later reports are applied to the Selection of this message again; the others are
dropped, because the parent has taken them into account.

# Note [Answers]

The parent needs reports of successful responses only while some backend is failing, and then one report per responding backend
until the set of failing backends changes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import evolve
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure
from zope.interface import implementer

from mpp.app.workers.codec import backend_in, backend_out, coverage_in, rules_in, selection_in
from mpp.app.workers.ipc import IPCChannel
from mpp.app.workers.known import ReceivedBackends
from mpp.core.coverage import WHOLE_POOL
from mpp.core.http_config import DiscoverySources
from mpp.core.interfaces import ISelections
from mpp.core.model import Backend, Selection, Standing
from mpp.promql.rules import RuleDefinition
from mpp.selection.outliers.demotion import demoted
from mpp.selection.query_of_death import SuspectQueries
from mpp.selection.rounds import StartWaiters


@implementer(ISelections)
class RemoteSelections(Service):
    """
    The service that receives the Selection from the parent and reports to it.

    :param now: returns the monotonic time in seconds, as used for requests.
    :ivar current: the newest Selection, see `ISelections`.
    :ivar coverage: the known gaps in the histories of the servers.
    :ivar suspects: the queries that may have crashed servers lately; the parent sends each one to all workers.
    :ivar known: the data about each backend that the parent has sent.
    :ivar channel: the IPC channel to the parent.
    """

    channel: IPCChannel

    def __init__(self, now: Callable[[], float]) -> None:
        self.current = Selection()
        self.coverage = WHOLE_POOL
        self.suspects = SuspectQueries(now)
        self._forget: Callable[[Backend], None] = lambda _: None
        self._located: Callable[[DiscoverySources], None] = lambda _: None
        self._moved: Callable[[str, tuple[str, ...]], None] = lambda host, addresses: None
        self._ruled: Callable[[Sequence[RuleDefinition]], None] = lambda _: None
        self._rules: list[RuleDefinition] = []
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
        ruled: Callable[[Sequence[RuleDefinition]], None],
    ) -> RemoteSelections:
        """Set the functions that are called after changes, and return this object, see `mpp.app.client_side.Follow`."""
        self._forget = forget
        self._located = located
        self._moved = moved
        self._ruled = ruled
        return self

    # Notifications from the parent

    def published(self, heard: int, failing: list[Any], selection: Any) -> None:
        """Decode and apply a new Selection from the parent."""
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
        """Drop the reports up to the number ``heard``, which the parent has processed, and store the backends that fail now."""
        self._unheard = [report for report in self._unheard if report[0] > heard]
        self.current = self._published
        for _, backend, standing, why in self._unheard:
            self.current = without(self.current, backend, standing, why)
        now = {backend_in(backend): reports for backend, reports in failing}
        if now != self._failing:
            self._failing = now
            self._reported_backends.clear()

    def covered(self, coverage: Any) -> None:
        """Decode and store the gaps in the histories of the backends."""
        self.coverage = coverage_in(coverage)

    def ruled(self, part: Any, is_last: bool) -> None:
        """Decode a part of the rules of the backends, which arrive in several messages; apply them after the last part."""
        self._rules += rules_in(part)
        if is_last:
            rules, self._rules = self._rules, []
            self._ruled(rules)

    # Calls of this worker

    def addresses(self, backend: Backend) -> tuple[str, ...]:
        """Return the IP addresses to try for a backend, see `mpp.wire.address_book.AddressBook`."""
        return self._addresses.get(backend.host, ())

    def stopService(self) -> None:
        """Fire the Deferreds of `ready` that still wait."""
        Service.stopService(self)
        self._first.fire()

    def ready(self) -> Deferred[Selection]:
        """Wait for the first backend, see `ISelections`."""
        waiter = self._first.wait()
        if self.current.generation:
            self._first.settle(found=bool(self.current.observations))
        return waiter.addCallback(self._give_current)

    def reselect(self) -> Deferred[Selection]:
        """Request a selection round from the parent, see `ISelections`. The new Selection arrives before the response."""
        return self.channel.request("reselect").addBoth(self._unless_cancelled)

    def _unless_cancelled(self, result: Any) -> Any:
        return result if isinstance(result, Failure) and result.check(CancelledError) else self.current

    def _give_current(self, _: None) -> Selection:
        return self.current

    def report(self, backend: Backend, standing: Standing, why: str) -> None:
        """Report a failed request to the parent, see `ISelections` and Note [Until the parent has heard]."""
        self._reported += 1
        if standing > Standing.SUSPECT:
            self._unheard.append((self._reported, backend, standing, why))
            self.current = without(self.current, backend, standing, why)
        else:
            # The parent needs reports of the next successful responses.
            self._failing[backend] = -1
            self._reported_backends.clear()
        self.channel.notify("report", self._reported, backend_out(backend), int(standing), why)

    def rescued(self, failed: Backend, by: Backend) -> None:
        """Report to the parent that a backend out of service (``by``) responded to a request that another one had failed."""
        self.channel.notify("rescued", backend_out(failed), backend_out(by))

    def storage_failed(self, backend: Backend, error: str) -> None:
        """Report to the parent that a backend cannot read a part of its storage, see `ISelections`."""
        self.channel.notify("storage", backend_out(backend), error)

    def suspect(self, key: str, why: str) -> None:
        """Remember a query that may have crashed a server, and report it to the parent, see `ISelections`."""
        self.suspects.add(key)
        self.channel.notify("suspect", key, why)

    def answered(self, backend: Backend) -> None:
        """Report the first successful response of a backend to the parent while some backend is failing, see Note [Answers]."""
        if self._failing and backend not in self._reported_backends:
            self._reported_backends.add(backend)
            self.channel.notify("answered", backend_out(backend))


def without(selection: Selection, backend: Backend, standing: Standing, why: str) -> Selection:
    """Return a Selection in which a backend is used only when no other one is left, see `mpp.selection.outliers.demotion`."""
    observation = selection.observed.get(backend)
    return selection if observation is None else demoted(selection, evolve(observation, standing=standing, why=why))
