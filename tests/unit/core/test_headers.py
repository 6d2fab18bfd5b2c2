"""Message heads."""

import json

from twisted.trial.unittest import SynchronousTestCase

from mpp.core.errors import LoopDetected
from mpp.core.http import heads
from mpp.core.http.instance import Instance
from mpp.core.model import Backend, Headers, RequestInfo

BACKEND = Backend("http", "prom-a", 9090)
OTHER = Backend("http", "prom-b", 9090)
INSTANCE = Instance("0123456789abcdef")


def request(fields: Headers = (), **changes: object) -> RequestInfo:
    values: dict[str, object] = {"method": b"GET", "target": b"/x", "headers": fields, "peer": "192.0.2.7", **changes}
    return RequestInfo(**values)  # type: ignore[arg-type]


def head(fields: Headers = (), **changes: object) -> list[bytes]:
    facts = request(fields, **changes)
    return heads.request_head(facts, BACKEND, facts.target, len(facts.body), INSTANCE).split(b"\r\n")


class RequestHeadTests(SynchronousTestCase):
    """What a backend is sent."""

    def test_target_is_untouched_and_host_is_the_backends(self) -> None:
        """The raw target arrives as the client wrote it, addressed to the backend."""
        lines = head(((b"Host", b"mpp.example"),), target=b"/api/v1/query?query=rate(x[5m])%2B1+2")
        self.assertEqual(lines[0], b"GET /api/v1/query?query=rate(x[5m])%2B1+2 HTTP/1.1")
        self.assertEqual([line for line in lines if line.lower().startswith(b"host:")], [b"Host: prom-a:9090"])
        self.assertIn(b"X-Forwarded-Host: mpp.example", lines)

    def test_end_to_end_fields_keep_order_case_and_repetition(self) -> None:
        """Fields that are the client's business arrive as they were."""
        fields = ((b"X-a", b"1"), (b"accept-ENCODING", b"gzip;q=0"), (b"X-a", b"2"))
        self.assertEqual(head(fields)[2:5], [b"X-a: 1", b"accept-ENCODING: gzip;q=0", b"X-a: 2"])

    def test_hop_by_hop_fields_and_those_connection_names_are_removed(self) -> None:
        """What concerned the client's connection only is not passed on."""
        fields = (
            (b"Connection", b"keep-alive, X-Secret"),
            (b"x-secret", b"1"),
            (b"Keep-Alive", b"1"),
            (b"TE", b"trailers"),
            (b"Transfer-Encoding", b"chunked"),
            (b"Upgrade", b"h2c"),
            (b"Expect", b"100-continue"),
            (b"Proxy-Authorization", b"x"),
            (b"Kept", b"1"),
        )
        names = {line.partition(b":")[0].lower() for line in head(fields)[1:-2]}
        self.assertEqual(names, {b"host", b"kept", b"mpp-instance", b"x-forwarded-for", b"x-forwarded-proto"})

    def test_sender_is_named(self) -> None:
        """A request carries the token of this mpp, behind those of other ones that it has passed, whatever Connection says."""
        self.assertIn(b"MPP-Instance: 0123456789abcdef", head())
        fields = ((b"mpp-instance", b"aaa, bbb"), (b"MPP-Instance", b"ccc"), (b"Connection", b"mpp-instance"))
        named = [line for line in head(fields) if line.lower().startswith(b"mpp-instance:")]
        self.assertEqual(named, [b"MPP-Instance: aaa, bbb, ccc, 0123456789abcdef"])

    def test_own_request_is_recognized(self) -> None:
        """A request that has the token of this mpp is not sent again."""
        for value in (b"0123456789abcdef", b"aaa, 0123456789abcdef, bbb"):
            self.assertRaises(LoopDetected, head, ((b"MPP-INSTANCE", value),))
        self.assertTrue(head(((b"X-Other", b"0123456789abcdef"),)))

    def test_client_is_appended_to_the_forwarding_chain(self) -> None:
        """A backend's log can tell the client, and how it came."""
        lines = head(((b"X-Forwarded-For", b"198.51.100.1"), (b"X-Forwarded-Proto", b"gopher")), secure=True)
        self.assertIn(b"X-Forwarded-For: 198.51.100.1, 192.0.2.7", lines)
        self.assertEqual([line for line in lines if b"Proto" in line], [b"X-Forwarded-Proto: https"])

    def reported(self, *fields: tuple[bytes, bytes], **changes: object) -> list[bytes]:
        """Return what a backend is told of the client's connection by a request from a trusted proxy."""
        facts = request((*fields, (b"Host", b"mpp:9090")), **changes)
        built = heads.request_head(facts, BACKEND, b"/x", 0, INSTANCE, from_trusted_proxy=True)
        names = (b"x-forwarded-proto", b"x-forwarded-host", b"x-forwarded-port")
        return sorted(line for line in built.split(b"\r\n") if line.partition(b":")[0].lower() in names)

    def test_what_a_trusted_proxy_reports_is_passed_on(self) -> None:
        """A gateway learns by what address the client came to the outermost proxy."""
        fields = ((b"x-forwarded-proto", b"HTTPS"), (b"X-Forwarded-Host", b"mon.example:8443"), (b"X-Forwarded-Port", b"8443"))
        expected = [b"X-Forwarded-Host: mon.example:8443", b"X-Forwarded-Port: 8443", b"X-Forwarded-Proto: https"]
        self.assertEqual(self.reported(*fields), expected)
        named = (b"Connection", b"X-Forwarded-Proto, X-Forwarded-Host, X")
        self.assertEqual(self.reported(named, *fields), expected)
        for host in (b"[2001:db8::1]:443", b"192.0.2.1"):
            self.assertIn(b"X-Forwarded-Host: " + host, self.reported((b"X-Forwarded-Host", host)))

    def test_what_a_trusted_proxy_does_not_report(self) -> None:
        """What is missing, repeated or malformed is what mpp was asked by."""
        own = [b"X-Forwarded-Host: mpp:9090", b"X-Forwarded-Proto: http"]
        self.assertEqual(self.reported(), own)
        for name, values in (
            (b"X-Forwarded-Proto", (b"", b"gopher", b"https, http")),
            (b"X-Forwarded-Host", (b"", b"a, b", b"a/b", b"user@a", b"a b", b"a:b")),
            (b"X-Forwarded-Port", (b"", b"https", b"443, 80", b"-1", b"123456")),
        ):
            for value in values:
                self.assertEqual(self.reported((name, value)), own, value)
            self.assertEqual(self.reported((name, b"1"), (name, b"1")), own)
        self.assertIn(b"X-Forwarded-Proto: https", self.reported(secure=True))

    def test_port_that_anybody_may_have_made_up(self) -> None:
        """A port that no trusted proxy reports would be combined with another host, and is not passed on."""
        self.assertEqual([line for line in head(((b"X-Forwarded-Port", b"1"),)) if b"-Port" in line], [])

    def test_chain_cannot_be_hidden(self) -> None:
        """Who came before is passed on even if Connection names the field, and so is the name by which mpp was asked."""
        fields = (
            (b"Connection", b"X-Forwarded-For, Host, X"),
            (b"Host", b"mpp"),
            (b"X-Forwarded-For", b"198.51.100.1"),
            (b"X", b"1"),
        )
        lines = head(fields)
        self.assertIn(b"X-Forwarded-For: 198.51.100.1, 192.0.2.7", lines)
        self.assertIn(b"X-Forwarded-Host: mpp", lines)
        self.assertNotIn(b"X: 1", lines)

    def test_client_of_a_unix_socket_adds_nothing_to_the_chain(self) -> None:
        """Who has no address is not named; who came before him is."""
        self.assertEqual([line for line in head(peer="") if b"-For:" in line], [])
        fields = ((b"X-Forwarded-For", b"198.51.100.1"),)
        self.assertIn(b"X-Forwarded-For: 198.51.100.1", head(fields, peer=""))

    def test_cookies_that_connection_names_are_removed(self) -> None:
        """No field is exempt from what Connection names."""
        self.assertNotIn(b"Cookie: a=1", head(((b"Connection", b"Cookie"), (b"Cookie", b"a=1"))))

    def test_only_the_own_cookie_is_stripped(self) -> None:
        """A backend sees the client's other cookies and not mpp's."""
        lines = head(((b"Cookie", b"a=1; MPP.Route=abc; b=2"), (b"Cookie", b"MPP.Route=abc")))
        self.assertEqual([line for line in lines if line.startswith(b"Cookie")], [b"Cookie: a=1; b=2"])

    def test_length_is_announced_for_bodies_and_for_methods_that_have_one(self) -> None:
        """A body, even an empty one of a POST, is framed by its length."""
        self.assertIn(b"Content-Length: 3", head(body=b"abc", method=b"POST"))
        self.assertIn(b"Content-Length: 0", head(method=b"POST"))
        self.assertNotIn(b"Content-Length: 0", head())


class ResponseHeadTests(SynchronousTestCase):
    """What a client is sent."""

    def build(self, fields: Headers = (), status: int = 200, **changes: object) -> list[bytes]:
        keywords: dict[str, object] = {"length": None, "bodyless": False, "chunked": False, **changes}
        return heads.response_head(status, b"Why", fields, ((b"MPP.ServedBy", b"a:1"),), **keywords).split(b"\r\n")  # type: ignore[arg-type]

    def test_reason_phrase(self) -> None:
        """A client gets the server's reason phrase, but nothing in it that a terminal acts upon."""
        for status, reason, sent in (
            (200, b"OK", b"OK"),
            (200, b"", b""),
            (404, b"Nicht gefunden", b"Nicht gefunden"),
            (404, "Introuvable, désolé".encode(), "Introuvable, désolé".encode()),
            (200, b"\x1b[2Jgone", b"OK"),
            (404, b"a\x00b", b"Not Found"),
            (404, b"a\tb", b"Not Found"),
            (404, b"a\x7fb", b"Not Found"),
            (503, "\u202egnp.exe".encode(), b"Service Unavailable"),
            (503, "\u2066x\u200f".encode(), b"Service Unavailable"),
            (503, "\x9b2J".encode(), b"Service Unavailable"),
            (503, b"\x9b2J", b"Service Unavailable"),
            (503, b"\xff", b"Service Unavailable"),
            (599, b"\x1b", b""),
        ):
            head = heads.response_head(status, reason, (), (), length=None, bodyless=True, chunked=False)
            self.assertEqual(head, b"HTTP/1.1 %d %b\r\n\r\n" % (status, sent))

    def test_whole_answer_gets_a_length(self) -> None:
        """An answer that came in chunks and is held whole goes out with its length."""
        lines = self.build(((b"Transfer-Encoding", b"chunked"), (b"X", b"1")), length=5)
        self.assertEqual(lines, [b"HTTP/1.1 200 Why", b"X: 1", b"MPP.ServedBy: a:1", b"Content-Length: 5", b"", b""])

    def test_announced_length_stands(self) -> None:
        """A length the backend announced is passed on once, as it wrote it."""
        lines = self.build(((b"content-length", b"5"),), length=5)
        self.assertEqual([line for line in lines if b"ength" in line], [b"content-length: 5"])

    def test_answer_to_head_keeps_the_announced_length_and_invents_none(self) -> None:
        """HEAD tells what GET would have told, no more."""
        self.assertIn(b"Content-Length: 500", self.build(((b"Content-Length", b"500"),), bodyless=True, length=0))
        self.assertNotIn(b"Content-Length: 0", self.build(bodyless=True, length=0))

    def test_bodyless_statuses_get_no_length(self) -> None:
        """204 and 304 have no body to measure (RFC 9110 section 8.6)."""
        for status in (204, 304):
            self.assertFalse([line for line in self.build(status=status, length=0) if b"Length" in line])

    def test_stream_of_unknown_length_is_chunked(self) -> None:
        """An answer that is still being made goes out in chunks."""
        self.assertIn(b"Transfer-Encoding: chunked", self.build(chunked=True))

    def test_fields_that_connection_names_are_removed(self) -> None:
        """What concerned the backend's connection only is not passed on."""
        lines = self.build(((b"Connection", b"close, X-Hop"), (b"X-Hop", b"1"), (b"Y", b"2")))
        self.assertEqual(lines[1:-2], [b"Y: 2", b"MPP.ServedBy: a:1"])


class ChainedTests(SynchronousTestCase):
    """An mpp behind an mpp."""

    def test_the_nearest_says_who_served(self) -> None:
        """A client is told one server, the one that its mpp asked."""
        built = heads.response_head(
            200, b"OK", ((b"mpp.servedby", b"b:2"),), ((b"MPP.ServedBy", b"a:1"),), length=0, bodyless=False, chunked=False
        )
        self.assertEqual(built.lower().count(b"mpp.servedby"), 1)
        self.assertIn(b"MPP.ServedBy: a:1", built)

    def test_only_the_nearest_counts_attempts(self) -> None:
        """A client is told the attempts of its own mpp, and nothing where that made one."""
        built = heads.response_head(200, b"OK", ((b"Mpp.Attempts", b"2"),), (), length=0, bodyless=False, chunked=False)
        self.assertNotIn(b"attempts", built.lower())

    def test_cookie_of_the_inner_one_gets_a_name_of_its_own(self) -> None:
        """A browser keeps the cookies of both: the inner one's is named after the server that set it, at any depth."""
        for given, expected in (
            (b"MPP.Route=p1; Path=/; HttpOnly", b"MPP.Route-%b=p1; Path=/; HttpOnly" % BACKEND.route),
            (b" MPP.Route = p1", b" MPP.Route-%b = p1" % BACKEND.route),
            (b"MPP.Route-0123=p1", b"MPP.Route-%b-0123=p1" % BACKEND.route),
            (b"MPP.Routes=p1", b"MPP.Routes=p1"),
            (b"session=MPP.Route=p1", b"session=MPP.Route=p1"),
            (b"MPP.Route", b"MPP.Route"),
        ):
            fields = ((b"SET-COOKIE", given), (b"set-cookie", b"a=b"), (b"Connection", b"X"), (b"X", b"1"))
            own = ((b"Set-Cookie", b"MPP.Route=i1"),)
            built = heads.response_head(200, b"OK", fields, own, length=0, bodyless=False, chunked=False, served_by=BACKEND)
            lines = [line for line in built.split(b"\r\n") if line.lower().startswith(b"set-cookie")]
            self.assertEqual(lines, [b"SET-COOKIE: " + expected, b"set-cookie: a=b", b"Set-Cookie: MPP.Route=i1"])

    def test_the_inner_one_gets_its_own_cookie_back(self) -> None:
        """The server that set a cookie gets it under the name that it knows; the cookies of other servers go nowhere."""
        own, other = BACKEND.route, OTHER.route
        for given, expected in (
            (b"MPP.Route=i1; MPP.Route-%b=p1" % own, b"MPP.Route=p1"),
            (b"a=1; MPP.Route-%b=p1; MPP.Route-%b=p2;b=MPP.Route" % (other, own), b"a=1; MPP.Route=p2;b=MPP.Route"),
            (b"MPP.Route-%b-0123=p1" % own, b"MPP.Route-0123=p1"),
            (b"MPP.Route-%b-%b=p1" % (other, own), b""),
            (b"MPP.Route-%b0=p1; MPP.Route-=p2; MPP.Route-" % own, b""),
            (b"MPP.Routes=1; MPP.Route.x=2", b"MPP.Routes=1; MPP.Route.x=2"),
        ):
            cookies = [line.partition(b": ")[2] for line in head(((b"Cookie", given),)) if line.startswith(b"Cookie")]
            self.assertEqual(b"".join(cookies), expected, given)


class ConnectionFieldTests(SynchronousTestCase):
    """Keep-alive."""

    def test_field_says_what_is_not_the_default(self) -> None:
        """HTTP/1.1 keeps alive by default, HTTP/1.0 does not."""
        close, keep = ((b"Connection", b"close"),), ((b"Connection", b"keep-alive"),)
        self.assertEqual(heads.connection_field(persistent=True, http_10=False), ())
        self.assertEqual(heads.connection_field(persistent=True, http_10=True), keep)
        self.assertEqual(heads.connection_field(persistent=False, http_10=False), close)
        self.assertEqual(heads.connection_field(persistent=False, http_10=True), close)


class ServerTimingTests(SynchronousTestCase):
    """The field that tells where time was spent."""

    def test_queue_is_told_when_there_was_one(self) -> None:
        """All times are in milliseconds; the queue's only if the request waited."""
        backend = Backend("http", "::1", 9090, "/p")
        self.assertEqual(heads.server_timing(0.0357, backend, 0.0345, 0.0), b'mpp;dur=35.7, upstream;dur=34.5;desc="[::1]:9090"')
        self.assertIn(b"queue;dur=1.1, upstream", heads.server_timing(0.0357, backend, 0.0345, 0.0011))


class ErrorAnswerTests(SynchronousTestCase):
    """mpp's own errors."""

    def test_shape_is_prometheus(self) -> None:
        """Grafana can show an error of mpp, because it looks like one of Prometheus."""
        answer = heads.error_answer(503, "unavailable", 'no "server"', ((b"Retry-After", b"5"),))
        top, _, body = answer.partition(b"\r\n\r\n")
        self.assertEqual(json.loads(body), {"status": "error", "errorType": "unavailable", "error": 'no "server"'})
        lines = top.split(b"\r\n")
        self.assertEqual(lines[0], b"HTTP/1.1 503 Service Unavailable")
        self.assertIn(b"Content-Type: application/json", lines)
        self.assertIn(b"Content-Length: %d" % len(body), lines)
        self.assertIn(b"Retry-After: 5", lines)

    def test_head_gets_no_body(self) -> None:
        """An error to HEAD has the head only."""
        self.assertTrue(heads.error_answer(503, "unavailable", "x", bodyless=True).endswith(b"\r\n\r\n"))
