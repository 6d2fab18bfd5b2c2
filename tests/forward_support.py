"""Stand-ins around the Forwarder: they record what was asked of them, and the test fires the Deferreds itself."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, TypeVar

from attrs import define, field, frozen
from prometheus_client import CollectorRegistry
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from zope.interface import implementer

from mpp.core.coverage import WHOLE_POOL
from mpp.core.http.instance import Instance
from mpp.core.interfaces import IBodyConsumer, IDownstream, IProgress, IResponse, ISelections, IUpstreams
from mpp.core.metrics.registry import Metrics
from mpp.core.model import Backend, Choice, Headers, RequestInfo, Selection, Standing
from mpp.core.settings import Settings
from mpp.proxy.context import ForwardContext
from mpp.proxy.decisions.affinity import AffinityChain, CookieAffinity
from mpp.proxy.exchanges.forwarder import Forwarder
from mpp.selection.query_of_death import SuspectQueries

T = TypeVar("T")

INSTANCE = Instance("0123456789abcdef")
A, B, C = (Backend("http", name, 9090) for name in "abc")


@implementer(IResponse)
class FakeResponse:
    """A whole answer."""

    def __init__(self, status: int, body: bytes = b"", headers: Headers = (), *, complete: bool = True) -> None:
        self.status = status
        self.reason = b"Reason"
        self.headers = headers
        self.buffered = [body]
        self.complete = complete
        self.length: int | None = len(body)
        self.cancelled = False
        self.paused = False

    def relay(self, consumer: IBodyConsumer) -> None:
        raise AssertionError("a fake answer is whole")

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def cancel(self) -> None:
        self.cancelled = True

    def release(self) -> None: ...


@frozen(eq=False)
class Sent:
    """One request that was sent, and the Deferred its answer is fired with."""

    backend: Backend
    head: bytes
    body: bytes
    fresh: bool
    answer: Deferred[IResponse]
    progress: IProgress | None
    query_slots: int
    buffer: int


@implementer(IUpstreams)
class RecordingUpstreams:
    """Sends nothing."""

    def __init__(self) -> None:
        self.sent: list[Sent] = []
        self.probes: list[Sent] = []
        self.there = False
        """Every server says at once that it is there."""
        self.cancelled: list[Backend] = []
        self.full: set[Backend] = set()
        """Servers without a free slot: requests wait there until the test says otherwise."""

    def has_room(self, backend: Backend, *, query_slots: int = 0) -> bool:
        return backend not in self.full

    def send(
        self,
        backend: Backend,
        head: bytes,
        body: bytes,
        *,
        fresh: bool,
        buffer: int,
        may_buffer: Callable[[int, Headers], bool] | None = None,
        progress: IProgress | None = None,
        urgent: bool = False,
        query_slots: int = 0,
    ) -> Deferred[IResponse]:
        answer: Deferred[IResponse] = Deferred(lambda _: self.cancelled.append(backend))
        sent = Sent(backend, head, body, fresh, answer, progress, query_slots, buffer)
        (self.probes if urgent else self.sent).append(sent)
        if progress is not None and not urgent:
            progress.queued = backend in self.full
        if urgent and self.there:
            answer.callback(FakeResponse(200))
        return answer

    @property
    def backends(self) -> list[Backend]:
        return [sent.backend for sent in self.sent]


@implementer(ISelections)
class FakeSelections:
    """Publishes what the test says, when it says so."""

    def __init__(self, selection: Selection) -> None:
        self.current = selection
        self.coverage = WHOLE_POOL
        self.reports: list[tuple[Backend, Standing]] = []
        self.well: list[Backend] = []
        self.rescues: list[tuple[Backend, Backend]] = []
        self.damages: list[tuple[Backend, str]] = []
        self.waiting: list[Deferred[Selection]] = []
        self.suspects = SuspectQueries(lambda: 0.0)
        self.suspected: list[tuple[str, str]] = []

    def ready(self) -> Deferred[Selection]:
        return self.reselect()

    def reselect(self) -> Deferred[Selection]:
        self.waiting.append(Deferred())
        return self.waiting[-1]

    def report(self, backend: Backend, standing: Standing, why: str) -> None:
        self.reports.append((backend, standing))

    def suspect(self, key: str, why: str) -> None:
        self.suspects.add(key)
        self.suspected.append((key, why))

    def rescued(self, failed: Backend, by: Backend) -> None:
        self.rescues.append((failed, by))

    def storage_failed(self, backend: Backend, error: str) -> None:
        self.damages.append((backend, error))

    def answered(self, backend: Backend) -> None:
        self.well.append(backend)

    def publish(self, selection: Selection) -> None:
        self.current = selection
        waiting, self.waiting = self.waiting, []
        for waiter in waiting:
            waiter.callback(selection)


@implementer(IDownstream)
@define(eq=False, slots=False)
class FakeDownstream:
    """A client that notes what it gets."""

    info: RequestInfo
    delivered: IResponse | None = None
    served_by: Backend | None = None
    attempts: int = 0
    cookies: tuple[bytes, ...] = ()
    aborted: bool = False
    failed: tuple[int, str, int | None] | None = None
    ended: Callable[[Exception | None], None] = field(default=lambda error: None)
    about: Headers = ()
    also: tuple[Backend, ...] = ()
    sent: int = 0

    def deliver(
        self,
        response: IResponse,
        served_by: Backend,
        cookies: tuple[bytes, ...],
        attempts: int,
        ended: Callable[[Exception | None], None],
        about: Headers = (),
        also: tuple[Backend, ...] = (),
    ) -> None:
        self.also = also
        self.delivered, self.served_by, self.cookies, self.ended = response, served_by, cookies, ended
        self.attempts, self.about = attempts, about

    def fail(self, status: int, error_type: str, message: str, retry_after: int | None) -> None:
        self.failed = status, message, retry_after

    def abort(self) -> None:
        self.aborted = True


class NoCredentials:
    """The credentials of an mpp that has none."""

    def authorizes(self, backend: Backend) -> bool:
        """Return False, because mpp adds no ``Authorization`` field."""
        return False

    def refreshed_since(self, backend: Backend, at: float) -> bool:
        """Return False, because there is no credential file to read again."""
        return False


def _settings(changed: dict[str, Any]) -> Settings:
    """Return settings for tests of attempts: their requests are alike, and each is sent for itself."""
    return Settings(**{"no_single_flight": True, **changed})


def at_once(function: Callable[[], T]) -> Deferred[T]:
    """Call a function in this thread, see `BackgroundThread`."""
    return succeed(function())


class World:
    """Everything around one Exchange."""

    def __init__(self, *, selected: tuple[Backend, ...] = (A,), standbys: tuple[Backend, ...] = (B, C), **settings: Any) -> None:
        known = bool(selected or standbys)
        self.selections = FakeSelections(Selection(1, Choice(selected, standbys)) if known else Selection())
        self.upstreams = RecordingUpstreams()
        self.metrics = Metrics(CollectorRegistry())
        self.clock = Clock()
        self.selections.suspects = SuspectQueries(self.clock.seconds)
        self.affinity = AffinityChain((CookieAffinity(),))
        self.forwarder = Forwarder(
            ForwardContext(
                self.upstreams,
                self.selections,
                self.affinity,
                self.metrics,
                _settings(settings),
                self.clock,
                random.Random(1),
                INSTANCE,
                NoCredentials(),
            ),
            at_once,
        )

    def reload(self, **settings: Any) -> None:
        """Apply new settings."""
        self.forwarder.reconfigure(self.upstreams, self.affinity, _settings(settings))

    def request(self, method: bytes = b"GET", target: bytes = b"/api/v1/query?query=up", headers: Headers = ()) -> FakeDownstream:
        """Begin a request; its Exchange is ``self.exchange``."""
        downstream = FakeDownstream(RequestInfo(method, target, headers, b"", "203.0.113.9"))
        self.exchange = self.forwarder.forward(downstream)
        return downstream

    def counted(self, name: str, **labels: str) -> float:
        """Give the value of a metric, 0 when it was never touched."""
        return self.metrics.registry.get_sample_value(name, labels) or 0.0
