"""The access log: what is told of every request when it has ended, however it ended."""

from __future__ import annotations

import base64
from typing import Any

from twisted.logger import globalLogPublisher

from mpp.app.logs import format as logs
from mpp.core.errors import Cause, Phase, UpstreamError
from mpp.core.model import Choice, Selection
from mpp.proxy.decisions import access_fields as access
from tests.forward_support import A, FakeResponse
from tests.unit.proxy.test_proxy import Client, ProxyCase, StreamedResponse

REFUSED = UpstreamError(Phase.CONNECT, Cause.REFUSED)


class AccessLogCase(ProxyCase):
    """The real site with the access log, between a transport in memory and upstreams that record."""

    def setUp(self) -> None:
        """Begin to listen."""
        self.events: list[Any] = []
        globalLogPublisher.addObserver(self.events.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.events.append)
        self.build(access_log=True)

    def told(self) -> list[dict[str, logs.Value]]:
        """Return what was told of each request."""
        return [logs.fields(event) for event in self.events if event["log_namespace"] == access.COMPONENT]

    def one(self, **expected: logs.Value) -> dict[str, logs.Value]:
        """Require that one request was told of, and this of it."""
        told = self.told()
        self.assertEqual(len(told), 1, told)
        self.assertEqual({name: told[0].get(name) for name in expected}, expected)
        return told[0]


class AnsweredTests(AccessLogCase):
    """Requests that a backend answered."""

    def test_served_request_is_logged_with_its_fields(self) -> None:
        """A request has who asked, what, who answered, how long it took and how large it was."""
        self.client.get(fields=b"Authorization: Basic %b\r\nX-Dashboard-Uid: d1\r\n" % base64.b64encode(b"ann:s3cret"))
        self.world.clock.advance(0.25)
        self.answer(FakeResponse(200, b"12345"))
        told = self.one(client="203.0.113.9", user="ann", dashboard="d1", method="GET", path="/api/v1/query", query="up")
        self.one(status=200, backend="a:9090", attempts=1, duration_s=0.25, bytes=5)
        self.assertNotIn("reason", told)
        self.assertNotIn("s3cret", str(self.events))

    def test_behind_a_proxy(self) -> None:
        """Behind a proxy that was named the client is who it says; what the servers are told is the same as ever."""
        chain = b"X-Forwarded-For: 6.6.6.6, 198.51.100.7, 203.0.113.8\r\n"
        for networks, client in ((("203.0.113.0/24",), "198.51.100.7"), (("192.0.2.0/24",), "203.0.113.9"), ((), "203.0.113.9")):
            self.events.clear()
            self.build(access_log=True, trusted_proxies=networks)
            self.client.get(fields=chain)
            self.assertIn(chain[:-2] + b", 203.0.113.9\r\n", self.world.upstreams.sent[0].head)
            self.answer(FakeResponse(200))
            self.one(client=client)

    def test_own_page_behind_a_proxy(self) -> None:
        """So it is for mpp's own pages."""
        self.build(access_log=True, trusted_proxies=("203.0.113.9/32",))
        self.client.get(b"/mpp/health", b"X-Forwarded-For: 198.51.100.7\r\n")
        self.one(client="198.51.100.7")

    def test_query_of_a_form_is_logged(self) -> None:
        """A form's query is told."""
        self.client.send(b"POST /api/v1/query HTTP/1.1\r\nHost: h\r\nContent-Length: 13\r\n\r\nquery=sum%28a")
        self.answer(FakeResponse(200))
        self.one(method="POST", query="sum(a", bytes=0)

    def test_bytes_of_a_relayed_body_are_counted(self) -> None:
        """Of an answer that is passed on as it comes the bytes of its body are counted."""
        self.client.get()
        response = StreamedResponse(None)
        self.answer(response)
        assert response.consumer is not None
        response.consumer.body_received(b"x" * 1000)
        self.assertEqual(self.told(), [])
        response.consumer.body_ended()
        self.one(status=200, bytes=1000)

    def test_nothing_is_logged_unless_enabled(self) -> None:
        """Nothing is told unless it is wanted."""
        self.build()
        self.client.get()
        self.answer(FakeResponse(200))
        self.client.get(b"/mpp/health")
        self.assertEqual(self.told(), [])


class TroubleTests(AccessLogCase):
    """Requests that went another way."""

    def test_reason_of_a_retry_is_logged(self) -> None:
        """Why there was a second attempt is told."""
        self.client.get()
        self.world.upstreams.sent[0].answer.errback(REFUSED)
        self.answer(FakeResponse(200, b"x"))
        self.one(status=200, backend="b:9090", attempts=2, reason="a:9090: connect: refused")

    def test_reason_of_a_hedge_is_logged(self) -> None:
        """So is why one was made beside the first."""
        self.build(access_log=True, hedge_after=1.0)
        self.world.upstreams.there = True
        self.client.get()
        self.world.clock.pump([0.1] * 12)
        self.answer(FakeResponse(200), 1)
        self.one(status=200, backend="b:9090", attempts=2, reason="a:9090: slow")

    def test_each_failed_attempt_is_logged_once(self) -> None:
        """When nobody could answer it is told what became of each attempt, once."""
        self.client.get()
        for number in range(3):
            self.world.upstreams.sent[number].answer.errback(REFUSED)
        told = self.one(status=503, backend="mpp", attempts=3)
        self.assertTrue(str(told["reason"]).startswith("a:9090: connect: refused; "))
        self.assertTrue(
            str(told["reason"]).endswith("; no Prometheus server could answer, tried 3; last: c:9090: connect: refused")
        )
        self.assertEqual(told["bytes"], len(self.client.received().partition(b"\r\n\r\n")[2]))

    def test_client_gone_before_the_answer(self) -> None:
        """A client who leaves is told of, with who was asked."""
        self.client.get()
        self.client.hang_up()
        self.one(status=499, backend="a:9090", attempts=1, reason="client gone", bytes=0)

    def test_client_gone_in_mid_answer(self) -> None:
        """A client who leaves in mid-answer is told of, with what it was sent."""
        self.client.get()
        response = StreamedResponse(None)
        self.answer(response)
        assert response.consumer is not None
        response.consumer.body_received(b"x" * 10)
        self.client.hang_up()
        self.one(status=499, reason="client gone", bytes=10)

    def test_broken_answer(self) -> None:
        """An answer that broke off is told of, and why."""
        self.client.get()
        response = StreamedResponse(None)
        self.answer(response)
        assert response.consumer is not None
        response.consumer.body_received(b"x" * 10)
        response.consumer.body_failed(UpstreamError(Phase.BODY, Cause.RESET))
        told = self.one(status=200, backend="a:9090", bytes=10)
        self.assertEqual(told["reason"], "a:9090: body: reset; the response broke off")

    def test_unknown_servers(self) -> None:
        """A request that no attempt could be made for is told of."""
        self.world.selections.publish(Selection())
        self.client.get()
        self.world.clock.advance(10)
        self.one(status=503, backend="mpp", attempts=0, reason="no Prometheus server is known; see /mpp/status")


class OwnAnswersTests(AccessLogCase):
    """Requests that mpp answers itself."""

    def test_refused_path(self) -> None:
        """What is refused is told of."""
        self.client.get(b"/-/quit", method=b"POST", fields=b"Content-Length: 0\r\n")
        told = self.one(status=403, backend="mpp", attempts=0, path="/-/quit")
        self.assertIn("--allow-unsafe-paths", str(told["reason"]))

    def test_no_request(self) -> None:
        """So is who sent what is no request, and why it is none."""
        Client(self.site).get(b"ftp://evil/")
        told = self.one(client="203.0.113.9", status=400, backend="mpp")
        self.assertTrue(told["reason"])

    def test_own_page(self) -> None:
        """So are mpp's own pages, with their size."""
        self.world.selections.publish(Selection(1, Choice((A,))))
        self.client.get(b"/mpp/ready")
        self.one(status=200, backend="mpp", path="/mpp/ready", bytes=len(self.client.received().partition(b"\r\n\r\n")[2]))
