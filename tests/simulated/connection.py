"""
A client connection to a simulated Prometheus: HTTP/1.1 over any Twisted transport.

This module handles the connection; responses, their framing and the faults are in other modules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import httptools
from twisted.internet import protocol
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from tests.simulated.framing import frame, stream
from tests.simulated.messages import Request, SimulatedResponse
from tests.simulated.plan import Plan, is_probe

LINGER = 0.05
"""Seconds between the last bytes and RST: an immediate RST would discard the bytes."""


class ISite(Protocol):
    """The responder behind a connection: a simulated Prometheus, or its control pages."""

    plan: Plan | None

    def now(self) -> float:
        """Return the time in seconds since the epoch."""

    def record(self, request: Request) -> None:
        """Record a request that arrived."""

    def answer(self, request: Request) -> SimulatedResponse:
        """Return the response to a request."""


@implementer(IPushProducer)
class _Pour:
    """A producer that writes pieces of a body as fast as the transport accepts them."""

    def __init__(self, transport: Any, pieces: Iterator[bytes], done: Callable[[], None]) -> None:
        self._transport, self._pieces, self._done = transport, pieces, done
        self._paused = self._over = self._running = False

    def resumeProducing(self) -> None:
        self._paused = False
        if self._running:
            return
        self._running = True
        while not self._paused and not self._over:
            piece = next(self._pieces, None)
            if piece is None:
                self._over = True
                self._transport.unregisterProducer()
                self._done()
            else:
                self._transport.write(piece)
        self._running = False

    def pauseProducing(self) -> None:
        self._paused = True

    def stopProducing(self) -> None:
        self._over = True


class SimulatedConnection(protocol.Protocol):
    """
    A client connection that responds to one request after the other, pipelined ones too. Faults act on it (`ILine`).

    :param open_ones: the set of open connections, to which it belongs while it is open.
    :param streams: the set of connections that follow the event stream.
    :ivar struck: True if a fault of kind ``connection`` affects this connection.
    """

    transport: Any

    def __init__(self, site: ISite, clock: Any, open_ones: set[SimulatedConnection], streams: set[SimulatedConnection]) -> None:
        self._site, self._clock, self._open, self._streams = site, clock, open_ones, streams
        self._parser = httptools.HttpRequestParser(self)
        self._target, self._headers, self._body = b"", list[tuple[bytes, bytes]](), list[bytes]()
        self._waiting, self._timers = list[Request](), set[Any]()
        self._current: Request | None = None
        self._ended = self._closing = self.struck = False

    def connectionMade(self) -> None:
        """Register the connection, and decide whether a fault affects it."""
        self._open.add(self)
        plan = self._site.plan
        self.struck = plan is not None and plan.fault.strikes == "connection" and plan.strikes_now()

    def connectionLost(self, reason: Any = None) -> None:
        """Unregister the connection and cancel its timers."""
        self._ended = True
        self._open.discard(self)
        for timer in tuple(self._timers):
            timer.cancel()
        self._timers.clear()

    def dataReceived(self, data: bytes) -> None:
        """Parse received bytes, and respond to complete requests."""
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.send(b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n400 Bad Request")
            self.close()
            return
        self._next()

    def on_message_begin(self) -> None:
        """Start a new request (callback of llhttp)."""
        self._target, self._headers, self._body = b"", [], []

    def on_url(self, url: bytes) -> None:
        """Append a piece of the target (callback of llhttp)."""
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Append a header field (callback of llhttp)."""
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Send 100 (Continue) if the client waits for it (callback of llhttp)."""
        if any(name.lower() == b"expect" and value.lower() == b"100-continue" for name, value in self._headers):
            self.send(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, data: bytes) -> None:
        """Append a piece of the body (callback of llhttp)."""
        self._body.append(data)

    def on_message_complete(self) -> None:
        """Append the complete request to the queue (callback of llhttp)."""
        method = self._parser.get_method().decode()
        version = self._parser.get_http_version()
        self._waiting.append(Request(method, self._target, tuple(self._headers), b"".join(self._body), version))

    def _next(self) -> None:
        if self._current is not None or not self._waiting or self._ended or self._closing:
            return
        request = self._current = self._waiting.pop(0)
        self._site.record(request)
        answer = self._site.answer(request)
        plan = self._site.plan
        if plan is not None and self._strikes(plan, request):
            head, body = frame(answer, request, self._site.now(), last=self._last(request))
            if answer.pieces is not None and request.method != "HEAD":
                body = b"".join(stream(answer, request))
            plan.fault.act(self, head, body)
        elif answer.delay:
            self.later(answer.delay, lambda: self._deliver(request, answer))
        else:
            self._deliver(request, answer)

    def _strikes(self, plan: Plan, request: Request) -> bool:
        strikes = plan.fault.strikes
        if plan.spare_probes and is_probe(request.path, request.parameters.get("query", [""])[0]):
            return False
        return strikes == "port" or (self.struck if strikes == "connection" else plan.strikes_now())

    def _last(self, request: Request) -> bool:
        connection = request.header("connection").lower()
        return "close" in connection or (request.version == "1.0" and "keep-alive" not in connection)

    def _deliver(self, request: Request, answer: SimulatedResponse) -> None:
        head, body = frame(answer, request, self._site.now(), last=self._last(request))
        self.send(head + body)
        if answer.live:
            self._streams.add(self)
        elif answer.pieces is not None and request.method != "HEAD":
            pour = _Pour(self.transport, stream(answer, request), self.done)
            self.transport.registerProducer(pour, True)
            pour.resumeProducing()
        else:
            self.done()

    def send(self, data: bytes) -> None:
        """Send bytes to the client now."""
        if not self._ended and not self._closing:
            self.transport.write(data)

    def done(self) -> None:
        """End this response; continue with the next request, or close the connection."""
        request, self._current = self._current, None
        if request is not None and self._last(request):
            self.close()
        elif self._waiting:
            self.later(0, self._next)

    def close(self) -> None:
        """Send FIN after the bytes that were sent."""
        self._closing = True
        if not self._ended:
            self.transport.loseConnection()

    def reset(self) -> None:
        """Send RST, after a delay for the bytes that were sent."""
        self._closing = True
        self.later(LINGER, self.abort)

    def abort(self) -> None:
        """Send RST to the client now."""
        if not self._ended:
            self.transport.abortConnection()

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        """Call a function after some seconds, unless the connection has ended by then."""

        def fire() -> None:
            self._timers.discard(timer)
            call()

        if not self._ended:
            timer = self._clock.callLater(seconds, fire)
            self._timers.add(timer)
