"""A client's connection to mpp, in bytes: what it sends, and what it gets."""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.logger import formatEvent
from twisted.protocols.policies import WrappingFactory
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.proxy import ReverseProxyResource

from mpp.admin.base_page import RENDERED_PER_SECOND
from mpp.admin.gauges import GaugeCollector, Snapshot
from mpp.admin.resource import AdminPages
from mpp.admin.status.data import StatusView
from mpp.admin.status.identity import Identity
from mpp.cache.store import Flushed
from mpp.config.configured import ConfiguredValue, EffectiveConfig
from mpp.core.errors import Cause, Phase, UpstreamError
from mpp.core.interfaces import IBodyConsumer
from mpp.core.model import MIB, Backend, Choice, Headers, Observation, RequestInfo, Selection, Standing
from mpp.core.settings import Reloaded
from mpp.proxy.decisions.explain import Explanation, explain
from mpp.proxy.placing import planned
from mpp.proxy.site import page_limits
from mpp.proxy.site.kube_probes import KubeProbes
from mpp.proxy.site.resource import ProxyResource
from mpp.proxy.site.site import ProxySite
from mpp.security.web_config.protection import ListenerSecurity
from mpp.wire.downstream.channels import Channels
from mpp.wire.downstream.request_limits import Limits
from mpp.wire.memory_budget import MemoryBudget
from tests.forward_support import A, B, C, FakeResponse, World
from tests.logged import logged

CLIENT = IPv4Address("TCP", "203.0.113.9", 4711)


class Transport(StringTransport):
    """Tells an abort from a close."""

    aborted = False

    def abortConnection(self) -> None:
        self.aborted = True
        super().abortConnection()


class Client:
    """One connection."""

    def __init__(self, site: ProxySite, peer: IPv4Address | IPv6Address | UNIXAddress = CLIENT) -> None:
        self.channel = site.buildProtocol(peer)
        self.transport = Transport(peerAddress=peer)
        self.channel.makeConnection(self.transport)

    def send(self, data: bytes) -> None:
        self.channel.dataReceived(data)

    def get(
        self, target: bytes = b"/api/v1/query?query=up", fields: bytes = b"", method: bytes = b"GET", version: bytes = b"1.1"
    ) -> None:
        self.send(b"%b %b HTTP/%b\r\nHost: mpp\r\n%b\r\n" % (method, target, version, fields))

    def received(self) -> bytes:
        value: bytes = self.transport.value()
        self.transport.clear()
        return value

    def hang_up(self) -> None:
        self.channel.connectionLost(Failure(ConnectionDone()))


class ProxyCase(SynchronousTestCase):
    """The real site, channel, request, resource and forwarder, between a transport in memory and upstreams that record."""

    def setUp(self) -> None:
        self.build()

    def build(self, **settings: Any) -> None:
        self.world = World(**settings)
        self.draining = False
        self.lifecycle = True
        self.guards = ListenerSecurity()
        self.reloaded: Deferred[Reloaded] = Deferred()
        self.flushed: Deferred[Flushed] = Deferred()
        own = AdminPages(
            metrics=self.world.metrics,
            selection=lambda: self.world.selections.current,
            draining=lambda: self.draining,
            view=lambda: StatusView(
                self.world.selections.current, self.world.forwarder.context.settings, (), 0.0, 1.0, security=self.guards
            ),
            explain=self.explain,
            config=lambda: EffectiveConfig((ConfiguredValue("port", 9090, "9090", "default"),)),
            identity=lambda: Identity("gateway-1", 77, ("[::]:9090",)),
            reload=lambda: self.reloaded,
            flush=lambda: self.flushed,
            lifecycle=lambda: self.lifecycle,
            trusted_proxies=lambda: self.world.forwarder.context.settings.trusted_proxies,
            seconds=self.world.clock.seconds,
        )
        self.own = own
        self.root = ProxyResource(self.world.forwarder, own.page_at, KubeProbes())
        channels = Channels(self.world.clock)
        self.site = ProxySite(
            self.root,
            self.world.forwarder,
            limits=Limits(max_body=100, body_rule=page_limits.max_body),
            budget=MemoryBudget(MIB),
            channels=channels,
        )
        self.client = Client(self.site)

    def explain(self, facts: RequestInfo) -> Explanation:
        context, selections = self.world.forwarder.context, self.world.selections
        now = self.world.clock.seconds()
        plan = functools.partial(planned, context, facts)
        return explain(facts, selections.current, context.affinity, context.settings, now, selections.suspects, plan)

    def answer(self, response: FakeResponse, number: int = -1) -> None:
        self.world.upstreams.sent[number].answer.callback(response)


class ForwardedTests(ProxyCase):
    """Requests for a backend."""

    def test_start_and_stop_are_not_logged(self) -> None:
        """Twisted logs neither the start nor the stop of the factory of client connections, also not inside of another one."""
        lines = logged(self, lambda event: str(event.get("log_format")))
        around = WrappingFactory(self.site)
        around.noisy = False  # type: ignore[attr-defined]
        around.doStart()
        around.doStop()
        self.assertEqual(lines, [])

    def test_client_of_a_unix_socket(self) -> None:
        """A client that has no address is served like every other one."""
        client = Client(self.site, UNIXAddress(None))
        client.get()
        self.answer(FakeResponse(200, b"x"))
        self.assertTrue(client.received().endswith(b"\r\n\r\nx"))

    def test_root_is_a_reverse_proxy_resource(self) -> None:
        """The root keeps the type that the resource tree of a Twisted reverse proxy has."""
        self.assertIsInstance(self.root, ReverseProxyResource)

    def test_small_answer_is_one_write(self) -> None:
        """A client gets the backend's answer, and who gave it."""
        self.client.get()
        self.answer(FakeResponse(200, b"{}", ((b"Content-Type", b"application/json"), (b"Content-Length", b"2"))))
        self.assertEqual(
            self.client.received(),
            b"HTTP/1.1 200 Reason\r\nContent-Type: application/json\r\nContent-Length: 2\r\nMPP.ServedBy: a:9090\r\n\r\n{}",
        )

    def test_cookie_only_where_there_is_a_choice(self) -> None:
        """A client is given a cookie while several servers are selected; with but one, caches can store the response."""
        for selected, given in (((A,), False), ((A, B), True)):
            self.world.selections.publish(Selection(1, Choice(selected)))
            client = Client(self.site)
            client.get()
            served_by = self.world.upstreams.sent[-1].backend
            self.answer(FakeResponse(200, b"{}"))
            field = b"\r\nSet-Cookie: MPP.Route=%b; Path=/; HttpOnly; SameSite=Lax\r\n" % served_by.id.encode()
            self.assertEqual(field in client.received(), given)

    def test_redirect_does_not_carry_the_timeout(self) -> None:
        """A client that follows a redirect asks for what it asked for before, also after an attempt elsewhere has failed."""
        self.client.get(b"/api/v1/query?query=up")
        self.world.upstreams.sent[0].answer.errback(UpstreamError(Phase.CONNECT, Cause.REFUSED))
        target = self.world.upstreams.sent[1].head.split(b" ")[1]
        self.assertIn(b"&timeout=", target)
        self.answer(FakeResponse(308, b"", ((b"location", b"https://edge" + target), (b"X", target))))
        received = self.client.received()
        self.assertIn(b"location: https://edge/api/v1/query?query=up\r\nX: " + target + b"\r\n", received)

    def test_whose_word_on_the_clients_address_counts(self) -> None:
        """The address that a named proxy reports reaches the server; a neighbour in a private network is not believed."""
        fields = b"X-Forwarded-Proto: https\r\nX-Forwarded-Host: mon.test\r\nX-Forwarded-Port: 443\r\n"
        for trusted, peer, believed in (
            (("203.0.113.0/24",), "203.0.113.9", True),
            (("203.0.113.0/24",), "10.0.0.1", False),
            (None, "10.0.0.1", False),
            ((), "10.0.0.1", False),
        ):
            self.build(trusted_proxies=trusted)
            Client(self.site, IPv4Address("TCP", peer, 1)).get(fields=fields)
            sent = self.world.upstreams.sent[0].head
            for line in (b"X-Forwarded-Proto: https\r\n", b"X-Forwarded-Host: mon.test\r\n", b"X-Forwarded-Port: 443\r\n"):
                self.assertEqual(line in sent, believed, (trusted, peer, line))

    def test_open_page_after_a_failover(self) -> None:
        """What a page of one server asks for is found on every other one, whatever their prefixes are."""
        first, second = Backend("http", "a", 9090, "/a"), Backend("http", "b", 9090, "/gate/b")
        self.world.selections.publish(Selection(1, Choice((first,), (second, C))))
        self.client.get(b"/a/api/v1/labels?x=/a/")
        for number, (backend, target) in enumerate(
            ((first, b"/a/api/v1/labels?x=/a/"), (second, b"/gate/b/api/v1/labels?x=/a/"), (C, b"/api/v1/labels?x=/a/"))
        ):
            sent = self.world.upstreams.sent[number]
            self.assertEqual((sent.backend, sent.head.split(b" ")[1]), (backend, target))
            sent.answer.errback(UpstreamError(Phase.CONNECT, Cause.REFUSED))

    def test_target_and_body_reach_the_backend_untouched(self) -> None:
        """Raw query strings and form bodies arrive as they were sent."""
        self.client.send(b"POST /api/v1/query?x=%2B+[5m]&x=2 HTTP/1.1\r\nHost: h\r\nContent-Length: 8\r\n\r\nquery=up")
        sent = self.world.upstreams.sent[0]
        self.assertTrue(sent.head.startswith(b"POST /api/v1/query?x=%2B+[5m]&x=2 HTTP/1.1\r\nHost: a:9090\r\n"))
        self.assertEqual(sent.body, b"query=up")

    def test_chunked_body_is_forwarded_with_its_length(self) -> None:
        """A body of unknown length is kept, so that it can be sent again."""
        self.client.send(b"POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
        sent = self.world.upstreams.sent[0]
        self.assertEqual(sent.body, b"abcde")
        self.assertIn(b"Content-Length: 5\r\n", sent.head)
        self.assertNotIn(b"chunked", sent.head)

    def test_client_behind_a_dual_stack_socket_is_known_by_its_ipv4_address(self) -> None:
        """IPv4 clients look the same however the port was opened."""
        client = Client(self.site, IPv6Address("TCP", "::ffff:203.0.113.9", 1))
        client.get()
        self.assertIn(b"X-Forwarded-For: 203.0.113.9\r\n", self.world.upstreams.sent[0].head)

    def test_trace_context_passes_through(self) -> None:
        """W3C trace context reaches every backend that is tried, byte for byte."""
        trace = (
            b"traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n"
            b"TraceState: rojo=00f067aa0ba902b7,congo=t61rcWkgMzE;x , vendor@sys=1\r\ntracestate: more=2\r\n"
        )
        self.client.get(fields=trace)
        self.world.upstreams.sent[0].answer.errback(UpstreamError(Phase.CONNECT, Cause.REFUSED))
        self.assertEqual([trace in sent.head for sent in self.world.upstreams.sent], [True, True])

    def test_timing_is_told_when_asked_for(self) -> None:
        """The answer tells how long it took in all and on the server, if that is wanted."""
        self.client.get()
        self.answer(FakeResponse(200))
        self.assertNotIn(b"Server-Timing", self.client.received())
        self.build(server_timing=True)
        self.client.get()
        self.world.clock.advance(0.2)
        self.world.upstreams.sent[0].answer.errback(UpstreamError(Phase.CONNECT, Cause.REFUSED))
        attempt = self.world.upstreams.sent[1]
        assert attempt.progress is not None
        self.world.clock.advance(0.01)
        attempt.progress.dequeued_at = self.world.clock.seconds()
        self.world.clock.advance(0.03)
        attempt.answer.callback(FakeResponse(200))
        timing = b'Server-Timing: mpp;dur=240.0, queue;dur=10.0, upstream;dur=30.0;desc="%b:9090"\r\n'
        self.assertIn(timing % attempt.backend.host.encode(), self.client.received())

    def test_connection_is_kept_alive(self) -> None:
        """A client sends its next request on the same connection."""
        for _ in range(2):
            self.client.get()
            self.answer(FakeResponse(200))
        self.assertEqual(self.client.received().count(b"HTTP/1.1 200"), 2)
        self.assertFalse(self.client.transport.disconnecting)

    def test_close_is_honored(self) -> None:
        """A client that asks for it is told that the connection closes, and it does."""
        self.client.get(fields=b"Connection: close\r\n")
        self.answer(FakeResponse(200))
        self.assertIn(b"Connection: close\r\n", self.client.received())
        self.assertTrue(self.client.transport.disconnecting)

    def test_http_10_client_can_keep_its_connection(self) -> None:
        """HTTP/1.0 with keep-alive works, as ab and old scripts use it."""
        self.client.get(fields=b"Connection: keep-alive\r\n", version=b"1.0")
        self.answer(FakeResponse(200, b"x"))
        received = self.client.received()
        self.assertIn(b"Connection: keep-alive\r\n", received)
        self.assertIn(b"Content-Length: 1\r\n", received)
        self.assertFalse(self.client.transport.disconnecting)

    def test_answer_to_head_has_no_body(self) -> None:
        """HEAD passes through with the length the backend announced."""
        self.client.get(b"/-/ready", method=b"HEAD")
        self.answer(FakeResponse(200, b"", ((b"Content-Length", b"21"),)))
        received = self.client.received()
        self.assertTrue(received.endswith(b"\r\n\r\n"))
        self.assertIn(b"Content-Length: 21\r\n", received)

    def test_hanging_up_cancels(self) -> None:
        """A client that leaves stops the query on the server."""
        self.client.get()
        self.client.hang_up()
        self.assertEqual(self.world.upstreams.cancelled, [A])

    def test_no_backend_is_told_in_prometheus_words(self) -> None:
        """When all is lost the client gets JSON with a 503 and when to come back."""
        self.client.get()
        for n in range(3):
            self.world.upstreams.sent[n].answer.errback(UpstreamError(Phase.CONNECT, Cause.REFUSED))
        head, _, body = self.client.received().partition(b"\r\n\r\n")
        self.assertTrue(head.startswith(b"HTTP/1.1 503 Service Unavailable\r\n"))
        self.assertIn(b"Retry-After: 5", head)
        self.assertEqual(json.loads(body)["errorType"], "unavailable")
        self.assertFalse(self.client.transport.disconnecting)


class KubernetesProbeTests(ProxyCase):
    """What the log says of probes that servers answer."""

    KUBELET = b"User-Agent: kube-probe/1.31\r\n"

    def setUp(self) -> None:
        """Take note of what is logged."""
        super().setUp()
        self.lines = logged(self, lambda event: formatEvent(event) if "Kubernetes" in formatEvent(event) else "")

    def test_kubernetes_probe_is_forwarded_and_warned_of(self) -> None:
        """A probe is forwarded like any other request, and the first one is warned of, with what to ask for instead."""
        for path in (b"/-/healthy", b"/-/ready", b"/-/healthy"):
            self.client.get(path, self.KUBELET)
            self.assertTrue(self.world.upstreams.sent[-1].head.startswith(b"GET %b HTTP/1.1\r\n" % path))
            self.answer(FakeResponse(200, b"x"))
        (line,) = self.lines
        for words in ("asks mpp for /-/healthy", "livenessProbe ask for /mpp/health", "readinessProbe for /mpp/ready"):
            self.assertIn(words, line)

    def test_everything_else(self) -> None:
        """Nothing is said of other clients, of other paths, nor of probes of mpp's own pages."""
        for path, head in ((b"/-/ready", b""), (b"/api/v1/labels", self.KUBELET), (b"/mpp/ready", self.KUBELET)):
            Client(self.site).get(path, head)
        self.assertEqual(self.lines, [])


class StreamedResponse(FakeResponse):
    """An answer that is still coming."""

    def __init__(self, length: int | None, headers: Headers = ()) -> None:
        super().__init__(200, b"", headers)
        self.complete = False
        self.length = length
        self.buffered = []
        self.paused = False
        self.consumer: IBodyConsumer | None = None

    def relay(self, consumer: IBodyConsumer) -> None:
        self.consumer = consumer

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False


class StreamedTests(ProxyCase):
    """Answers too large to be held back."""

    def test_endless_stream_ends_when_mpp_stops(self) -> None:
        """An event stream does not keep mpp from stopping; another answer is finished first."""
        for headers, ended in (((b"Content-Type", b"text/event-stream"),), True), (((b"Content-Type", b"text/plain"),), False):
            client = self.client = Client(self.site)
            client.get()
            self.answer(StreamedResponse(None, headers))
            client.channel.drain(0.0)
            self.assertEqual(client.transport.aborted, ended)

    def stream(self, length: int | None = None, version: bytes = b"1.1") -> tuple[StreamedResponse, IBodyConsumer]:
        self.client.get(version=version)
        response = StreamedResponse(length)
        self.answer(response)
        assert response.consumer is not None
        return response, response.consumer

    def test_unknown_length_is_chunked(self) -> None:
        """A client can tell where the answer ends."""
        _, body = self.stream()
        body.body_received(b"hello")
        body.body_ended()
        received = self.client.received()
        self.assertIn(b"Transfer-Encoding: chunked\r\n", received)
        self.assertTrue(received.endswith(b"\r\n\r\n5\r\nhello\r\n0\r\n\r\n"))
        self.assertEqual(self.world.counted("mpp_requests_total", backend="a:9090", code="200"), 1)

    def test_http_10_gets_a_close_instead(self) -> None:
        """A client that does not know chunks gets the bytes, and a close at their end."""
        _, body = self.stream(version=b"1.0")
        body.body_received(b"hello")
        body.body_ended()
        received = self.client.received()
        self.assertIn(b"Connection: close\r\n", received)
        self.assertTrue(received.endswith(b"\r\n\r\nhello"))
        self.assertTrue(self.client.transport.disconnecting)

    def test_broken_answer_resets_the_client(self) -> None:
        """Half an answer never looks like a whole one."""
        _, body = self.stream()
        body.body_received(b"hel")
        body.body_failed(UpstreamError(Phase.BODY, Cause.RESET))
        self.assertTrue(self.client.transport.aborted)
        self.assertNotIn(b"0\r\n\r\n", self.client.received())
        self.assertEqual(self.world.selections.reports, [(A, Standing.SUSPECT)])

    def test_slow_client_makes_the_backend_wait(self) -> None:
        """An answer is read from the server no faster than the client takes it."""
        response, _ = self.stream()
        self.client.transport.producer.pauseProducing()
        self.assertTrue(response.paused)
        self.client.transport.producer.resumeProducing()
        self.assertFalse(response.paused)

    def test_hanging_up_in_mid_answer_cancels(self) -> None:
        """A client that leaves in mid-answer is counted, and stops the server's work."""
        response, _ = self.stream()
        self.client.hang_up()
        self.assertTrue(response.cancelled)
        self.assertEqual(self.world.counted("mpp_requests_total", backend="a:9090", code="499"), 1)


class RefusedTests(ProxyCase):
    """Requests that reach no backend."""

    def test_unsafe_path_is_refused_with_the_reason(self) -> None:
        """What would make a pair diverge is refused, and the answer says how to do it."""
        self.client.get(b"/-/reload", method=b"POST", fields=b"Content-Length: 0\r\n")
        received = self.client.received()
        self.assertTrue(received.startswith(b"HTTP/1.1 403 Forbidden\r\n"))
        self.assertIn(b"--allow-unsafe-paths", received)
        self.assertEqual(self.world.upstreams.sent, [])

    def test_unsafe_path_behind_a_backends_prefix_is_refused(self) -> None:
        """No path prefix of a backend makes an unsafe path of a harmless one."""
        prefixed = Backend("http", "a", 9090, "/api")
        self.world.selections.publish(Selection(1, Choice((prefixed,))))
        self.client.get(b"/v1/admin/tsdb/snapshot", method=b"POST", fields=b"Content-Length: 0\r\n")
        self.assertTrue(self.client.received().startswith(b"HTTP/1.1 403 "))

    def test_unsafe_path_behind_another_prefix_is_refused(self) -> None:
        """A path that becomes unsafe when the prefix of another server takes the place of its own is refused beforehand."""
        behind = (Backend("http", "a", 9090, "/prom"), Backend("http", "b", 9090, "/api"))
        for target in (b"/prom/-/reload", b"/prom/v1/admin/tsdb/snapshot", b"/-/reload"):
            self.world.selections.publish(Selection(1, Choice(behind)))
            client = Client(self.site)
            client.get(target, method=b"POST", fields=b"Content-Length: 0\r\n")
            self.assertTrue(client.received().startswith(b"HTTP/1.1 403 "), target)
        self.assertEqual(self.world.upstreams.sent, [])

    def test_long_path(self) -> None:
        """A path that takes longer to judge than it may is refused; shorter ones and queries of any length are forwarded."""
        client = Client(self.site)
        client.get(b"/api/v1/label/" + b"a" * 66_000 + b"/values")
        self.assertTrue(client.received().startswith(b"HTTP/1.1 414 "))
        for number, target in enumerate(
            (b"/api/v1/label/" + b"a" * 60_000 + b"/values", b"/api/v1/query?query=" + b"a" * 70_000), 1
        ):
            Client(self.site).get(target)
            self.assertEqual(len(self.world.upstreams.sent), number)

    def test_bytes_that_belong_percent_encoded(self) -> None:
        """Raw bytes 0x80 to 0xFF in a request target are a 400, percent-encoded ones are passed on."""
        for target in (b"/api/v1/query?query=\xc3\xa4", b"/api/v1/query?query=\xff", b"/\x80"):
            client = Client(self.site)
            client.get(target)
            self.assertTrue(client.received().startswith(b"HTTP/1.1 400 "), target)
        self.assertEqual(self.world.upstreams.sent, [])
        self.client.get(b"/api/v1/query?query=%C3%A4")
        self.assertEqual(len(self.world.upstreams.sent), 1)

    def test_refused_requests_are_counted(self) -> None:
        """Every client request is counted, those that mpp refuses too."""
        self.client.get(b"/-/quit", method=b"POST", fields=b"Content-Length: 0\r\n")
        Client(self.site).get(b"ftp://evil/")
        for code in ("403", "400"):
            self.assertEqual(self.world.counted("mpp_requests_total", backend="mpp", code=code), 1)

    def test_method_that_prometheus_does_not_have(self) -> None:
        """An unsafe path with a method that Prometheus answers with 405 gets a 405, which says what it takes there."""
        for method, target, allow in (
            (b"GET", b"/-/reload", b"POST, PUT"),
            (b"DELETE", b"/prometheus/-/quit?x", b"POST, PUT"),
            (b"GET", b"/api/v1/admin/tsdb/snapshot", b"POST, PUT"),
            (b"GET", b"/api/v1/write", b"POST"),
            (b"PUT", b"/debug/pprof/heap", b"GET, POST"),
        ):
            self.client.get(target, method=method)
            received = self.client.received()
            self.assertTrue(received.startswith(b"HTTP/1.1 405 "), target)
            self.assertIn(b"\r\nAllow: " + allow + b"\r\n", received)
        for method, target in ((b"GET", b"/-/%72eload"), (b"OPTIONS", b"/-/reload"), (b"GET", b"/api/v1/admin/other")):
            self.client.get(target, method=method)
            self.assertTrue(self.client.received().startswith(b"HTTP/1.1 403 "), target)
        self.assertEqual(self.world.upstreams.sent, [])

    def test_profiles_are_refused_with_their_own_reason(self) -> None:
        """Profiles change nothing: they are refused because they tell of one server only."""
        for target in (b"/debug/pprof/heap", b"/debug/%70prof/profile"):
            self.client.get(target)
            received = self.client.received()
            self.assertTrue(received.startswith(b"HTTP/1.1 403 "), target)
            self.assertIn(b"show the profile of an arbitrary one", received)
            self.assertNotIn(b"differ", received)

    def test_unsafe_path_of_a_gateway_is_refused(self) -> None:
        """What only a gateway behind mpp would take for an unsafe path is refused, too."""
        for target in (b"/-\\reload", b"/api/v1//x/../../admin/tsdb/snapshot?x=1"):
            self.client.get(target, method=b"POST", fields=b"Content-Length: 0\r\n")
            self.assertTrue(self.client.received().startswith(b"HTTP/1.1 403 "), target)
        self.assertEqual(self.world.upstreams.sent, [])

    def test_change_is_refused_and_its_read_forwarded(self) -> None:
        """The same path may be read and not be changed."""
        self.client.get(b"/api/v1/rules/a", method=b"DELETE")
        self.assertTrue(self.client.received().startswith(b"HTTP/1.1 403 "))
        self.client.get(b"/api/v1/rules/a")
        self.assertEqual(self.world.upstreams.backends, [A])

    def test_methods_that_are_not_forwarded(self) -> None:
        """A method that no server should be sent gets a 405 that says which may be, also where unsafe paths are allowed."""
        for allow in (False, True):
            self.build(allow_unsafe_paths=allow, access_log=True)
            for method in (b"TRACE", b"CONNECT", b"PROPFIND", b"PURGE", b"MKCOL", b"REPORT", b"M-SEARCH", b"QUERY"):
                self.client.get(b"/api/v1/query?query=up", method=method)
                head, _, body = self.client.received().partition(b"\r\n\r\n")
                self.assertTrue(head.startswith(b"HTTP/1.1 405 Method Not Allowed\r\n"), method)
                self.assertIn(b"\r\nAllow: DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT", head)
                self.assertEqual(json.loads(body)["errorType"], "bad_data")
            self.assertEqual(self.world.upstreams.sent, [])
            self.assertEqual(self.world.counted("mpp_requests_total", backend="mpp", code="405"), 8)
            self.client.get()
            self.answer(FakeResponse(200, b"x"))
            self.assertNotIn(b"Allow", self.client.received())

    def test_methods_that_are_forwarded(self) -> None:
        """Every method that some client of Prometheus uses reaches a server."""
        for method in (b"GET", b"HEAD", b"POST", b"OPTIONS", b"PUT", b"PATCH", b"DELETE"):
            self.client.get(b"/x", method=method, fields=b"Content-Length: 0\r\n")
            self.answer(FakeResponse(200, b""))
            self.assertTrue(self.client.received().startswith(b"HTTP/1.1 200 "), method)

    def test_unsafe_path_is_forwarded_when_allowed(self) -> None:
        """An operator who knows what he does can have them forwarded."""
        self.build(allow_unsafe_paths=True)
        self.client.get(b"/-/reload", method=b"POST", fields=b"Content-Length: 0\r\n")
        self.assertEqual([(s.backend, s.fresh) for s in self.world.upstreams.sent], [(A, True)])

    def test_too_large_a_body_is_refused(self) -> None:
        """A body beyond the limit gets a 413 in Prometheus' shape, and no backend sees it."""
        self.client.send(b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 101\r\n\r\n")
        received = self.client.received()
        self.assertTrue(received.startswith(b"HTTP/1.1 413 "), received)
        self.assertEqual(json.loads(received.partition(b"\r\n\r\n")[2])["status"], "error")

    def test_bad_requests_are_answered_and_reach_nobody(self) -> None:
        """What is no proper request gets a 400 and a closed connection."""
        for target in (b"ftp://evil/", b"*", b"evil:443"):
            client = Client(self.site)
            client.get(target)
            self.assertTrue(client.received().startswith(b"HTTP/1.1 400 "), target)
        self.assertEqual(self.world.upstreams.sent, [])


class OwnPagesTests(ProxyCase):
    """What mpp answers itself."""

    def page(self, path: bytes, method: bytes = b"GET") -> tuple[bytes, bytes, bytes]:
        self.client.get(path, method=method)
        head, _, body = self.client.received().partition(b"\r\n\r\n")
        return head.split(b" ")[1], head, body

    def test_each_page_is_documented(self) -> None:
        """The documentation's list of pages names each of them, and no other."""
        text = (Path(__file__).parents[3] / "docs/reference/pages.rst").read_text(encoding="utf-8")
        documented = set(re.findall(r"(?m)^``/mpp/([\w/]+)\S*``$", text))
        self.assertEqual(documented, {name.decode() for name in self.own.children if name})

    def test_health_is_ok_while_the_process_responds(self) -> None:
        """Health is OK as long as the process answers."""
        self.assertEqual(self.page(b"/mpp/health")[::2], (b"200", b"OK\n"))
        self.assertEqual(self.page(b"/mpp/health", b"HEAD")[::2], (b"200", b""))

    def test_ready_from_the_first_round_until_draining(self) -> None:
        """Traffic may come when backends were looked for, and not any more when mpp is about to stop."""
        self.world.selections.publish(Selection())
        self.assertEqual(self.page(b"/mpp/ready")[0], b"503")
        self.world.selections.publish(Selection(1))
        self.assertEqual(self.page(b"/mpp/ready")[0], b"200")
        self.draining = True
        self.assertEqual(self.page(b"/mpp/ready")[0], b"503")

    def test_ready_can_ask_for_backends(self) -> None:
        """A check may want to know whether anybody could answer."""
        self.world.selections.publish(Selection(1, Choice((), (A,)), (Observation(A, Standing.DOWN),)))
        self.assertEqual([self.page(p)[0] for p in (b"/mpp/ready?backends=1", b"/mpp/ready?backends=0")], [b"503", b"200"])
        self.world.selections.publish(Selection(2, Choice((A,)), (Observation(A, Standing.VIABLE),)))
        self.assertEqual(self.page(b"/mpp/ready?backends=1")[0], b"200")

    def test_whole_lines(self) -> None:
        """What a terminal shows of mpp's own answers ends with a line feed, errors too."""
        for path in (b"/mpp/health", b"/mpp/ready", b"/mpp/nothing", b"/mpp/status?format=json", b"/mpp/status?format=x"):
            with self.subTest(path=path):
                self.assertTrue(self.page(path)[2].endswith(b"\n"))

    def test_checks_with_options(self) -> None:
        """A load balancer that asks with OPTIONS, as HAProxy does by default, is told the same as with GET."""
        for version in (b"1.0", b"1.1"):
            self.build()
            self.client.get(b"/mpp/health", method=b"OPTIONS", version=version)
            head, _, body = self.client.received().partition(b"\r\n\r\n")
            self.assertEqual((head.split(b" ")[1], body), (b"200", b"OK\n"))
            self.assertIn(b"\r\nAllow: GET, HEAD, OPTIONS\r\n", head)
        self.build()
        self.assertEqual(self.page(b"/mpp/ready", b"OPTIONS")[0], b"200")
        self.world.selections.publish(Selection(1, Choice((), (A,)), (Observation(A, Standing.DOWN),)))
        self.assertEqual(self.page(b"/mpp/ready?backends=1", b"OPTIONS")[0], b"503")
        self.draining = True
        self.assertEqual(self.page(b"/mpp/ready", b"OPTIONS")[0], b"503")
        self.assertEqual(self.page(b"/mpp/health", b"OPTIONS")[0], b"200")
        self.assertEqual(self.page(b"/mpp/status", b"OPTIONS")[0], b"405")
        self.assertEqual(self.page(b"/mpp/ready", b"POST")[0], b"405")

    def test_metrics_can_be_scraped(self) -> None:
        """Prometheus can scrape it."""
        self.world.metrics.watch(GaugeCollector(lambda: Snapshot(self.world.selections.current, (), 0)))
        code, head, body = self.page(b"/mpp/metrics")
        self.assertEqual(code, b"200")
        self.assertIn(b"text/plain; version=0.0.4", head)
        self.assertIn(b"mpp_build_info{", body)

    def test_status_is_confined(self) -> None:
        """The status page may load and run nothing."""
        self.world.selections.publish(
            Selection(1, Choice((A,), (B,)), (Observation(A, Standing.VIABLE), Observation(B, Standing.DOWN)))
        )
        code, head, body = self.page(b"/mpp/status")
        self.assertEqual(code, b"200")
        self.assertIn(b"Content-Security-Policy: default-src 'none'", head)
        self.assertIn(b"http://a:9090", body)

    def test_status_as_json(self) -> None:
        """Programs get the same as JSON, and are told when they ask for something else."""
        for path, fields in ((b"/mpp/status?format=json", b""), (b"/mpp/status", b"Accept: application/json\r\n")):
            self.client.get(path, fields)
            head, _, body = self.client.received().partition(b"\r\n\r\n")
            self.assertIn(b"Content-Type: application/json", head)
            self.assertEqual(json.loads(body)["schema"], 1)
        self.assertEqual(self.page(b"/mpp/status?format=xml")[0], b"400")

    def test_explanation_comes_as_text_page_or_json(self) -> None:
        """Who asks which backend would answer is told as text, as a page, or as JSON, by his own cookies; nothing is sent."""
        self.world.selections.publish(
            Selection(1, Choice((A, B)), (Observation(A, Standing.VIABLE), Observation(B, Standing.VIABLE)))
        )
        cookie = b"Cookie: MPP.Route=%b\r\n" % B.id.encode()
        for fields, kind in (
            (b"", b"text/plain"),
            (b"Accept: text/html\r\n", b"text/html"),
            (b"Accept: application/json\r\n", b"json"),
        ):
            self.client.get(b"/mpp/explain?/api/v1/query?query=up", cookie + fields)
            received = self.client.received()
            self.assertIn(b"b:9090 would answer this.", received)
            self.assertIn(kind, received.partition(b"\r\n\r\n")[0])
        _, _, body = self.page(b"/mpp/explain?/-/reload&format=json")
        self.assertEqual((json.loads(body)["outcome"], json.loads(body)["target"]), ("refused", "/-/reload"))
        self.assertEqual(self.world.upstreams.sent, [])

    def test_config_comes_as_page_or_json(self) -> None:
        """The configuration in force is a page for people and JSON for programs, and not there where the own pages are not."""
        _, _, body = self.page(b"/mpp/config?format=json")
        self.assertEqual(json.loads(body)["values"][0]["name"], "port")
        self.client.get(b"/mpp/config", b"Accept: text/html\r\n")
        self.assertIn(b"<th>port</th>", self.client.received())
        for page in (b"/mpp/config", b"/mpp/explain", b"/mpp/explain?/graph"):
            self.client.get(page, b"Accept: text/html\r\n")
            self.assertIn(b"gateway-1, listens on [::]:9090, pid 77</span></header>", self.client.received())
        self.assertEqual(self.page(b"/mpp/config?format=xml")[0], b"400")
        self.root.page_at = self.own.probes().page_at
        self.assertEqual(self.page(b"/mpp/config")[0], b"404")

    def test_nothing_to_explain(self) -> None:
        """Who asks for nothing is told how to, a person by a form."""
        self.assertEqual(self.page(b"/mpp/explain")[0], b"400")
        self.client.get(b"/mpp/explain", b"Accept: text/html\r\n")
        self.assertIn(b"<form", self.client.received())

    def test_the_root_of_the_own_pages_leads_to_the_status(self) -> None:
        """Who knows only that mpp has pages finds them."""
        code, head, _ = self.page(b"/mpp")
        self.assertEqual(code, b"302")
        self.assertIn(b"/mpp/status", head)
        self.assertEqual(self.page(b"/mpp/")[0], b"200")

    def test_unknown_pages_and_methods(self) -> None:
        """A wrong path below /mpp is a 404 in Prometheus' shape, and nothing can be posted."""
        code, _, body = self.page(b"/mpp/nothing")
        self.assertEqual((code, json.loads(body)["errorType"]), (b"404", "not_found"))
        self.assertEqual(self.page(b"/mpp/health/x")[0], b"404")
        self.assertEqual(self.page(b"/mpp/" + b"a/" * 8000)[0], b"404")
        for path in (b"/mpp/status", b"/mpp/nothing", b"/mpp/", b"/mpp"):
            for method in (b"DELETE", b"POST", b"TRACE", b"CONNECT"):
                code, head, _ = self.page(path, method)
                self.assertEqual(code, b"405", (path, method))
                self.assertIn(b"\r\nAllow: GET, HEAD\r\n", head)

    def test_long_targets(self) -> None:
        """A target that no page has a use for is refused before it is read; what is to be explained may be longer."""
        for target, code in (
            (b"/mpp/health?" + b"a" * 16_000, b"200"),
            (b"/mpp/health?" + b"a" * 17_000, b"414"),
            (b"/mpp/" + b"/" * 300_000, b"414"),
            (b"/mpp/explain?/api/v1/query?query=" + b"a" * 60_000, b"200"),
            (b"/mpp/explain?/api/v1/query?query=" + b"a" * 66_000, b"414"),
        ):
            self.assertEqual(self.page(target)[0], code, target[:50])
        self.client.get(b"/mpp/health")
        self.assertTrue(self.client.received().endswith(b"OK\n"))

    def test_body_is_rejected_by_the_head_alone(self) -> None:
        """A body is refused by the head alone, and the connection ends; an empty one is none."""
        for target in (b"/mpp/health", b"/mpp/status?format=json", b"/mpp", b"/mpp/nothing"):
            for fields in (
                b"Content-Length: 1\r\n",
                b"Transfer-Encoding: chunked\r\n",
                b"Content-Length: 90\r\nExpect: 100-continue\r\n",
            ):
                client = Client(self.site)
                client.get(target, fields, method=b"POST")
                self.assertTrue(client.received().startswith(b"HTTP/1.1 413 "), (target, fields))
                self.assertTrue(client.transport.disconnecting)
        self.client.get(b"/mpp/health", b"Content-Length: 0\r\n")
        self.assertIn(b" 200 ", self.client.received())

    def test_flood_of_pages(self) -> None:
        """However often a page is asked for, it is rendered a hundred times a second at most; a second later it is fresh."""
        for number, path in enumerate((b"/mpp/metrics", b"/mpp/status?format=json"), 7):
            self.world.clock.advance(1)
            for _ in range(RENDERED_PER_SECOND):
                self.page(path)
            before = self.page(path)
            self.world.metrics.refused(418)
            self.world.selections.publish(Selection(number, Choice((A, B))))
            self.assertEqual(self.page(path)[2], before[2])
            self.world.clock.advance(1)
            self.assertNotEqual(self.page(path)[2], before[2])

    def test_own_pages_reach_no_backend(self) -> None:
        """Looking at mpp costs the servers nothing."""
        for path in (b"/mpp/health", b"/mpp/metrics", b"/mpp/x"):
            self.page(path)
        self.assertEqual(self.world.upstreams.sent, [])


class ReloadTests(ProxyCase):
    """``/mpp/reload``."""

    def body(self) -> tuple[int, dict[str, object]]:
        """Return status and JSON of the answer."""
        head, _, body = self.client.received().partition(b"\r\n\r\n")
        return int(head.split()[1]), json.loads(body)

    def test_reload_returns_what_has_changed(self) -> None:
        """The client waits until it is over, and is told what has changed; its connection can be used again."""
        self.client.get(b"/mpp/reload", method=b"POST", fields=b"Content-Length: 0\r\n")
        self.assertEqual(self.client.received(), b"")
        self.reloaded.callback(Reloaded(("retries",)))
        self.assertEqual(self.body(), (200, {"status": "success", "data": {"changed": ["retries"]}}))
        self.client.get(b"/mpp/health")
        self.assertTrue(self.client.received().endswith(b"OK\n"))

    def test_reload_errors_have_the_shape_of_prometheus(self) -> None:
        """What is wrong is told in the shape of Prometheus' errors."""
        self.reloaded.callback(Reloaded(errors=("f:1: a: x", "f:2: b: y")))
        self.client.get(b"/mpp/reload", method=b"PUT", fields=b"Content-Length: 0\r\n")
        self.assertEqual(self.body(), (500, {"status": "error", "errorType": "internal", "error": "f:1: a: x; f:2: b: y"}))

    def test_client_gone(self) -> None:
        """A client that does not wait for the end is no trouble."""
        self.client.get(b"/mpp/reload", method=b"POST", fields=b"Content-Length: 0\r\n")
        self.client.hang_up()
        self.reloaded.callback(Reloaded())
        self.assertEqual(self.client.received(), b"")

    def test_large_body_of_a_reload_is_rejected(self) -> None:
        """A small body, such as some clients send by themselves, is ignored; a large one is refused by the head."""
        self.client.send(b"POST /mpp/reload HTTP/1.1\r\nHost: mpp\r\nContent-Length: 4096\r\n\r\n" + b"x" * 4096)
        self.reloaded.callback(Reloaded())
        self.assertEqual(self.body()[0], 200)
        self.client.get(b"/mpp/reload", method=b"POST", fields=b"Content-Length: 4097\r\n")
        self.assertEqual(self.body()[0], 413)

    def test_reload_is_rejected_where_not_enabled(self) -> None:
        """Nobody reloads where it is not allowed."""
        self.lifecycle = False
        self.client.get(b"/mpp/reload", method=b"POST", fields=b"Content-Length: 0\r\n")
        status, answer = self.body()
        self.assertEqual((status, answer["errorType"]), (403, "forbidden"))

    def test_other_sites(self) -> None:
        """A page of another site cannot have a browser reload the configuration; curl and mpp's own pages can."""
        for fields, code in (
            (b"Sec-Fetch-Site: cross-site\r\n", b"403"),
            (b"Origin: http://evil.test\r\n", b"403"),
            (b"Sec-Fetch-Site: same-origin\r\nOrigin: http://mpp\r\n", b"200"),
            (b"", b"200"),
        ):
            self.reloaded = Deferred()
            self.client.get(b"/mpp/reload", method=b"POST", fields=b"Content-Length: 0\r\n" + fields)
            if code == b"200":
                self.reloaded.callback(Reloaded())
            self.assertEqual(self.client.received()[9:12], code, fields)

    def test_behind_a_trusted_proxy(self) -> None:
        """The host that a browser knows is the proxy's; only a proxy that is named may say which."""
        fields = b"Origin: https://mon.test\r\nX-Forwarded-Host: mon.test\r\nContent-Length: 0\r\n"
        self.client.get(b"/mpp/reload", method=b"POST", fields=fields)
        self.assertEqual(self.body()[0], 403)
        self.build(trusted_proxies=("203.0.113.0/24",))
        self.reloaded.callback(Reloaded())
        self.client.get(b"/mpp/reload", method=b"POST", fields=fields)
        self.assertEqual(self.body()[0], 200)

    def test_looking_from_another_site(self) -> None:
        """Methods that change nothing are answered as ever, whoever asks."""
        self.client.get(b"/mpp/reload", fields=b"Sec-Fetch-Site: cross-site\r\n")
        self.assertTrue(self.client.received().startswith(b"HTTP/1.1 405 "))
        self.client.get(b"/mpp/status?format=json", fields=b"Sec-Fetch-Site: cross-site\r\n")
        self.assertTrue(self.client.received().startswith(b"HTTP/1.1 200 "))

    def test_get_does_not_reload(self) -> None:
        """Looking changes nothing."""
        self.client.get(b"/mpp/reload")
        received = self.client.received()
        self.assertTrue(received.startswith(b"HTTP/1.1 405 "))
        self.assertIn(b"Allow: POST, PUT\r\n", received)

    def test_flush_returns_how_much_was_removed(self) -> None:
        """The cache can be flushed; the client waits until it is done in all processes."""
        self.client.get(b"/mpp/cache/flush", method=b"POST", fields=b"Content-Length: 0\r\n")
        self.assertEqual(self.client.received(), b"")
        lines = logged(self, lambda event: formatEvent(event) if "flush" in formatEvent(event) else "")
        self.flushed.callback(Flushed(17))
        self.assertEqual(self.body(), (200, {"status": "success", "data": {"entries": 17}}))
        self.assertEqual(lines, ["the cache was flushed: 17 entries removed"])

    def test_flush_that_is_not_complete(self) -> None:
        """A process that does not respond may have entries left: that is an error."""
        lines = logged(self, lambda event: formatEvent(event) if "flush" in formatEvent(event) else "")
        self.flushed.callback(Flushed(17, "1 of 2 workers did not respond"))
        self.client.get(b"/mpp/cache/flush", method=b"PUT", fields=b"Content-Length: 0\r\n")
        self.assertEqual(
            self.body(), (500, {"status": "error", "errorType": "internal", "error": "1 of 2 workers did not respond"})
        )
        self.assertEqual(lines, ["the cache was flushed in part: 17 entries removed; 1 of 2 workers did not respond"])

    def test_flush_follows_the_rules_of_a_reload(self) -> None:
        """A flush needs POST or PUT, a page of mpp's own or no browser, and the lifecycle switch."""
        post, none = b"POST", b"Content-Length: 0\r\n"
        for method, fields, lifecycle, code in (
            (b"GET", b"", True, 405),
            (post, none + b"Sec-Fetch-Site: cross-site\r\n", True, 403),
            (post, none, False, 403),
            (post, b"Content-Length: 4097\r\n", True, 413),
        ):
            self.build()
            self.lifecycle = lifecycle
            self.client.get(b"/mpp/cache/flush", method=method, fields=fields)
            self.assertEqual(self.body()[0], code, (method, fields))
            self.assertFalse(self.flushed.called or self.flushed.callbacks, (method, fields))

    def test_rejected_path_is_forwarded_once_allowed(self) -> None:
        """What was refused is forwarded when it is allowed."""
        self.client.get(b"/-/quit", method=b"POST", fields=b"Content-Length: 0\r\n")
        self.assertIn(b" 403 ", self.client.received())
        self.world.reload(allow_unsafe_paths=True)
        self.client.get(b"/-/quit", method=b"POST", fields=b"Content-Length: 0\r\n")
        self.assertEqual(len(self.world.upstreams.sent), 1)
