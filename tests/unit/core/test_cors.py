"""Which of mpp's own errors pages of another origin may read."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mpp.core.errors import Cause, Phase, UpstreamError
from mpp.core.model import Choice, Selection
from mpp.core.prometheus import cors
from mpp.core.prometheus.cors import AllowedOrigins
from mpp.core.settings import Settings
from tests.forward_support import FakeResponse
from tests.unit.proxy.test_proxy import Client, ProxyCase

PAGE = b"https://page.test"
ORIGIN = b"Origin: %b\r\n" % PAGE
QUERY = b"/api/v1/query?query=up"


class OriginTests(SynchronousTestCase):
    """Which requests are made by a page, to the API."""

    def test_only_origins_of_api_requests_are_read(self) -> None:
        """Only the API has such pages, behind any prefix; an origin that is too long for one is none."""
        for target, fields, expected in (
            (QUERY, ((b"oRIGIN", PAGE),), PAGE),
            (b"/prometheus/api/v1/label/x/values", ((b"Origin", b"null"),), b"null"),
            (QUERY, (), b""),
            (QUERY, ((b"Origin", b""),), b""),
            (QUERY, ((b"Origin", PAGE), (b"Origin", b"https://other.test")), PAGE),
            (QUERY, ((b"Origin", b"https://" + b"a" * 248),), b"https://" + b"a" * 248),
            (QUERY, ((b"Origin", b"https://" + b"a" * 249),), b""),
            (b"/graph?x=/api/v1/query", ((b"Origin", PAGE),), b""),
            (b"/federate", ((b"Origin", PAGE),), b""),
            (b"/mpp/api/v1/query", ((b"Origin", PAGE),), b""),
            (b"/api/v1", ((b"Origin", PAGE),), b""),
            (b"", ((b"Origin", PAGE),), b""),
        ):
            self.assertEqual(cors.origin_of(target, fields), expected, (target, fields))


class AllowedTests(SynchronousTestCase):
    """Which origins may read."""

    def allowed(self, pattern: str, origin: bytes) -> bytes | None:
        """Return the value of Access-Control-Allow-Origin."""
        fields = dict(AllowedOrigins(pattern).fields(origin))
        if fields:
            self.assertEqual(fields[b"Vary"], b"Origin")
        return fields.get(b"Access-Control-Allow-Origin")

    def test_all_origins_are_allowed_by_default(self) -> None:
        """All of them may by default, and nothing is said to programs that are no pages."""
        self.assertEqual(Settings().web_cors_origin, cors.ALL)
        self.assertEqual(self.allowed(cors.ALL, PAGE), b"*")
        self.assertEqual(AllowedOrigins().fields(b""), ())
        self.assertEqual(AllowedOrigins("x").fields(b""), ())

    def test_expression_matches_the_whole_origin(self) -> None:
        """The expression has to match the whole origin, which is returned as it came."""
        for pattern, origin, expected in (
            (r"https?://(a|b)\.test", b"https://a.test", b"https://a.test"),
            (r"https?://(a|b)\.test", b"http://b.test", b"http://b.test"),
            (r"https?://(a|b)\.test", b"https://c.test", None),
            (r"https?://(a|b)\.test", b"https://a.test.evil.test", None),
            (r"https?://(a|b)\.test", b"https://evil.test/https://a.test", None),
            (r"https://a\.test|https://b\.test", b"https://b.test", b"https://b.test"),
            (r"https://a\.test|https://b\.test", b"https://b.test.evil.test", None),
            (r"(?i)HTTPS://A\.test", b"https://a.test", b"https://a.test"),
            (".+", b"https://\xff", b"https://\xff"),
            ("", PAGE, None),
        ):
            self.assertEqual(self.allowed(pattern, origin), expected, (pattern, origin))


class ErrorTests(ProxyCase):
    """The errors, as a page receives them."""

    def head(self, client: Client, status: bytes) -> bytes:
        """Return the head of the response, which has this status."""
        head: bytes = client.received().partition(b"\r\n\r\n")[0]
        self.assertTrue(head.startswith(b"HTTP/1.1 " + status), head)
        return head

    def assert_readable(self, client: Client, status: bytes, allowed: bytes = b"*") -> None:
        """Check that a page can read the response, once and for all that Prometheus lets it read."""
        head = self.head(client, status)
        for field in (
            b"Access-Control-Allow-Origin: " + allowed,
            b"Access-Control-Allow-Methods: GET, POST, OPTIONS",
            b"Access-Control-Allow-Headers: Accept, Authorization, Content-Type, Origin",
            b"Access-Control-Expose-Headers: Date",
            b"Vary: Origin",
        ):
            self.assertEqual(head.count(b"\r\n" + field), 1, (field, head))

    def test_no_server_answers(self) -> None:
        """A page is told that no server answered, or was in time."""
        self.build(retries=0, request_timeout=30.0)
        self.client.get(QUERY, fields=ORIGIN)
        self.world.upstreams.sent[-1].answer.errback(UpstreamError(Phase.HEAD, Cause.CLOSED))
        self.assert_readable(self.client, b"503")
        self.client.get(QUERY, fields=ORIGIN)
        self.world.clock.pump([1.0] * 35)
        self.assert_readable(self.client, b"504")
        self.world.selections.publish(Selection(2, Choice(), ()))
        self.client.get(QUERY, fields=ORIGIN)
        self.world.selections.publish(Selection(3, Choice(), ()))
        self.assert_readable(self.client, b"503")

    def test_rejected_by_its_head(self) -> None:
        """A page is told why its request is not forwarded."""
        for target, method, status in (
            (b"/api/v1/admin/tsdb/snapshot", b"POST", b"403"),
            (b"/prom/api/v1/admin/tsdb/snapshot", b"POST", b"403"),
            (b"/api/v1/query", b"TRACE", b"405"),
            (b"/api/v1/label/" + b"a" * 66_000 + b"/values", b"GET", b"414"),
        ):
            client = Client(self.site)
            client.get(target, method=method, fields=ORIGIN + b"Content-Length: 0\r\n")
            self.assert_readable(client, status)

    def test_rejected_before_it_is_complete(self) -> None:
        """A page is told that its body is too large, its head is, or that either is malformed or took too long."""
        start = b"POST /api/v1/query HTTP/1.1\r\nHost: mpp\r\n" + ORIGIN
        for rest, status in (
            (b"Content-Length: 101\r\n\r\n", b"413"),
            (b"Transfer-Encoding: chunked\r\n\r\n65\r\n" + b"a" * 101, b"413"),
            (b"Expect: 200-maybe\r\nContent-Length: 1\r\n\r\n", b"417"),
            (b"Transfer-Encoding: gzip\r\n\r\n", b"501"),
            (b"X: 1\r\n" * 2000 + b"\r\n", b"431"),
            (b"X: \x01\r\n\r\n", b"400"),
        ):
            client = Client(self.site)
            client.send(start + rest)
            self.assert_readable(client, status)
        for rest in (b"X-Begun: ", b"Content-Length: 5\r\n\r\nab"):
            client = Client(self.site)
            client.send(start + rest)
            for seconds in range(1, 200):
                client.channel.check_timeouts(self.world.clock.seconds() + seconds, 10_000)
            self.assert_readable(client, b"408")

    def test_memory_is_short(self) -> None:
        """A page whose request gives way to another one's is told so."""
        self.client.get(QUERY)
        self.client.get(QUERY, fields=ORIGIN)
        self.client.channel._reader.give_way()
        self.answer(FakeResponse(200, b"{}"))
        received = self.client.received()
        self.assertIn(b"HTTP/1.1 503 ", received)
        self.assertIn(b"\r\nAccess-Control-Allow-Origin: *\r\n", received)

    def test_preflight_gets_204_where_mpp_rejects(self) -> None:
        """mpp answers a preflight request with 204 where it would answer it with an error of its own, and nowhere else."""
        asks = b"Access-Control-Request-Method: GET\r\nAccess-Control-Request-Headers: authorization\r\n"
        self.world.selections.publish(Selection(2, Choice(), ()))
        for target, fields, status in (
            (QUERY, ORIGIN + asks, b"204"),
            (QUERY, ORIGIN, b"503"),
            (QUERY, asks, b"503"),
            (b"/x", ORIGIN + asks, b"503"),
            (b"/api/v1/" + b"a" * 66_000, ORIGIN + asks, b"204"),
        ):
            client = Client(self.site)
            client.get(target, method=b"OPTIONS", fields=fields)
            self.world.selections.publish(Selection(3, Choice(), ()))
            if status == b"204":
                self.assert_readable(client, status)
                self.assertEqual(client.received().partition(b"\r\n\r\n")[2], b"")
                self.assertNotIn(b"Content-Length", client.received())
                self.assertNotIn(b"Set-Cookie", client.received())
            else:
                self.head(client, status)

    def test_preflight_of_a_page_that_may_not_read(self) -> None:
        """A page that the option does not name is not told more than before."""
        self.world.reload(web_cors_origin=r"https://other\.test")
        self.world.selections.publish(Selection(2, Choice(), ()))
        self.client.get(QUERY, method=b"OPTIONS", fields=ORIGIN + b"Access-Control-Request-Method: GET\r\n")
        self.world.selections.publish(Selection(3, Choice(), ()))
        self.assertNotIn(b"Allow-Origin", self.client.received())

    def test_preflight_is_up_to_the_server(self) -> None:
        """What a server answers to the question is passed on."""
        self.client.get(QUERY, method=b"OPTIONS", fields=ORIGIN + b"Access-Control-Request-Method: GET\r\n")
        self.answer(FakeResponse(204, b"", ((b"Access-Control-Allow-Headers", b"X-Scope-OrgID"),)))
        self.assertIn(b"\r\nAccess-Control-Allow-Headers: X-Scope-OrgID\r\n", self.client.received())

    def test_others_are_not_told(self) -> None:
        """Programs that are no pages, and pages that ask for something else than the API, get none of these fields."""
        for target, fields in ((QUERY, b""), (b"/x", ORIGIN), (b"/mpp/api/v1/query?" + b"x" * 10_000, ORIGIN)):
            client = Client(self.site)
            client.get(target, method=b"TRACE", fields=fields)
            self.assertNotIn(b"Access-Control", client.received())
        client = Client(self.site)
        client.send(b"POST /x HTTP/1.1\r\nHost: mpp\r\n" + ORIGIN + b"Content-Length: 101\r\n\r\n")
        self.assertNotIn(b"Access-Control", self.head(client, b"413"))

    def test_responses_of_servers_are_passed_on(self) -> None:
        """What pages may read of a server's response is up to the server."""
        self.client.get(QUERY, fields=ORIGIN)
        self.answer(FakeResponse(400, b"{}", ((b"Access-Control-Allow-Origin", b"https://its.test"),)))
        received = self.client.received()
        self.assertEqual(received.count(b"Access-Control"), 1)
        self.assertIn(b"\r\nAccess-Control-Allow-Origin: https://its.test\r\n", received)

    def test_only_allowed_origins_read_errors(self) -> None:
        """Only the pages that the option allows can read mpp's errors; other values count from the next request on."""
        for pattern, status in ((r"https://page\.test", b"405"), (r"https://other\.test", b"405")):
            self.world.reload(web_cors_origin=pattern)
            self.client.get(QUERY, method=b"TRACE", fields=ORIGIN)
            if pattern.startswith("https://page"):
                self.assert_readable(self.client, status, PAGE)
            else:
                self.assertNotIn(b"Allow-Origin", self.head(self.client, status))
