"""
The sender of the probes' requests, each with a time limit. Knows neither the purpose of a request nor what a response means.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Generic, NoReturn, Protocol, TypeVar
from urllib.parse import urlencode

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from mpp.core.errors import Cause, Phase, UpstreamError
from mpp.core.http.instance import Instance
from mpp.core.interfaces import IBodyConsumer, IResponse, IUpstreams
from mpp.core.model import MIB, Backend
from mpp.core.prometheus.own_requests import own_request_head
from mpp.core.prometheus.runtimeinfo import ProbeOutcome, ProbeResponse
from mpp.selection.probing.interpret import IN_USE
from mpp.selection.probing.progress import ProbeProgress

# A server that takes more than a second to return "1" will not serve dashboards; a round over dead hosts takes as long.
PROBE_TIMEOUT_S = 1.0

# The probes' JSON responses have a few hundred bytes.
BODY_BYTES = 64 * 1024
# The metrics page of a server with 10,000 targets has some 10 MB.
_PAGE_BYTES = 64 * MIB

T = TypeVar("T")
Found = TypeVar("Found", covariant=True)


class PageScanner(Protocol[Found]):
    """A parser of a page that arrives in pieces."""

    def feed(self, chunk: bytes) -> None:
        """Parse the next piece of the page."""

    def finish(self) -> Found:
        """Return the result for the complete page."""


class ProbeRequests:
    """
    The sender of the probes' requests.

    :param clock: a monotonic clock for time limits.
    :param wall: returns the time of day, in seconds since the epoch.
    :param instance: the identity by which this mpp recognizes its own requests.
    :param params: returns the additional parameters for requests to a server, see
        `mpp.core.settings.Settings.probe_params`.
    :ivar timeout: time limit in seconds of each small request, from connecting to the last byte.
    """

    def __init__(
        self,
        upstreams: IUpstreams,
        clock: IReactorTime,
        wall: Callable[[], float],
        instance: Instance,
        *,
        timeout: float,
        params: Callable[[Backend], str],
    ) -> None:
        self.timeout = timeout
        self._instance = instance
        self._params = params
        self._upstreams = upstreams
        self._clock = clock
        self._wall = wall

    async def ask(
        self, backend: Backend, path: str, *, timeout: float | None = None, most: int = BODY_BYTES, urgent: bool = True
    ) -> ProbeOutcome:
        """
        Send one request and return its outcome; failures are outcomes too.

        :param timeout: its time limit in seconds; None: the one of small requests (`timeout` of this object).
        :param most: the number of bytes of the body that are read at most.
        :param urgent: whether it is sent without waiting until requests of clients have been sent.
        """
        at, began, asked = self._wall(), self._clock.seconds(), ProbeProgress()
        try:
            sent = self._send(backend, path, most, asked, urgent=urgent)
            response = await self._within(self.timeout if timeout is None else timeout, sent)
        except UpstreamError as error:
            late = error.cause is Cause.TIMEOUT and (asked.queued or asked.dequeued_at)
            return UpstreamError(Phase.CONNECT, Cause.FULL, IN_USE) if late else error
        body = b"".join(response.buffered)[:most]
        if response.complete:
            response.release()
        else:
            response.cancel()
        # The time in mpp's queue is not the server's time.
        took = self._clock.seconds() - max(began, asked.dequeued_at)
        return ProbeResponse(response.status, body, response.headers, (at + self._wall()) / 2, took)

    def scan(self, backend: Backend, path: str, scanner: PageScanner[T], timeout: float) -> Deferred[T]:
        """
        Scan a page of any size while it arrives.

        :param timeout: time limit in seconds for the whole page.
        :return: the scanner's result. Fails with `UpstreamError` if there is no response, or one with a status other than
            200, with more than 64 MiB, or beyond the time limit.
        """
        return self._within(timeout, self._scan(backend, path, scanner))

    async def _scan(self, backend: Backend, path: str, scanner: PageScanner[T]) -> T:
        response = await self._send(backend, path, 0)
        if response.status != 200:
            response.cancel()
            raise UpstreamError(Phase.HEAD, Cause.GARBLED, f"{path} responded {response.status}")
        page = _ScannedPage(response, path, scanner)
        response.relay(page)
        return await page.ended

    async def _send(
        self, backend: Backend, path: str, buffer: int, asked: ProbeProgress | None = None, *, urgent: bool = True
    ) -> IResponse:
        """Send a request; again on a fresh connection if the kept connection turns out to be dead."""
        head = own_request_head(backend, with_params(path, self._params(backend)), self._instance)
        try:
            return await self._upstreams.send(backend, head, b"", fresh=False, buffer=buffer, progress=asked, urgent=urgent)
        except UpstreamError as error:
            if not error.stale:
                raise
        return await self._upstreams.send(backend, head, b"", fresh=True, buffer=buffer, progress=asked, urgent=urgent)

    def _within(self, seconds: float, coroutine: Coroutine[Deferred[Any], Any, T]) -> Deferred[T]:
        """Run a coroutine; cancel it and fail with `UpstreamError` after the time limit."""

        def run_out(_: object, seconds: float) -> NoReturn:
            raise UpstreamError(Phase.HEAD, Cause.TIMEOUT, f"after {seconds:g} s")

        return Deferred.fromCoroutine(coroutine).addTimeout(seconds, self._clock, onTimeoutCancel=run_out)


@implementer(IBodyConsumer)
class _ScannedPage(Generic[T]):
    """
    A consumer that scans the body of a page while it arrives.

    :ivar ended: fires with the scanner's result; fails with `UpstreamError`. Cancelling it closes the connection.
    """

    def __init__(self, response: IResponse, path: str, scanner: PageScanner[T]) -> None:
        self._response = response
        self._path = path
        self._scanner = scanner
        self._left = _PAGE_BYTES
        self.ended: Deferred[T] = Deferred(lambda _: response.cancel())

    def body_received(self, data: bytes) -> None:
        self._left -= len(data)
        if self._left >= 0:
            self._scanner.feed(data)
        elif not self.ended.called:
            self._response.cancel()
            detail = f"{self._path} is larger than {_PAGE_BYTES // MIB} MiB"
            self.ended.errback(UpstreamError(Phase.BODY, Cause.GARBLED, detail))

    def taken(self) -> int:
        return _PAGE_BYTES - self._left

    def body_ended(self) -> None:
        if not self.ended.called:
            self.ended.callback(self._scanner.finish())

    def body_failed(self, error: Exception) -> None:
        if not self.ended.called:
            self.ended.errback(error)


def query_path(expression: str, **parameters: str) -> str:
    """Return the path and query string of an instant query."""
    return "/api/v1/query?" + urlencode({"query": expression, **parameters})


def with_params(path: str, params: str) -> str:
    """Return a path with additional parameters in its query string."""
    return f"{path}{'&' if '?' in path else '?'}{params}" if params else path


def no_params(backend: Backend) -> str:
    """Return an empty string: no additional parameters."""
    return ""
