"""JSON over HTTP, the connections below it, and files that hold secrets."""

from __future__ import annotations

import gzip
import os
from collections.abc import Awaitable
from typing import Any

from OpenSSL import SSL
from treq.testing import RequestTraversalAgent
from twisted.internet import error as errors
from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import ResponseNeverReceived
from twisted.web.http import Request
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from mpp.core.errors import DiscoveryError
from mpp.core.secret_file import MAX_BYTES, SecretFile
from mpp.core.urls import basic
from mpp.discovery.http_api import json_api as api_module
from mpp.discovery.http_api.client import BodyCollector, TrackedConnections
from mpp.discovery.http_api.json_api import APIResponse, JSONClient, NoResponse
from mpp.wire.tls import TLSPolicy

URL = "http://user:hush@api.example/list?token=hush"


class Server(Resource):
    """
    A server that answers what it is told to.

    :ivar answers: by path: status, headers, body; a body of None is never ended.
    :ivar seen: method, target, ``Authorization`` and body of each request.
    :ivar headers: the header fields of each request.
    :ivar lost: how many requests were given up by the client.
    """

    isLeaf = True

    def __init__(self) -> None:
        Resource.__init__(self)
        self.answers: dict[str, tuple[int, dict[str, str], bytes | None]] = {}
        self.seen: list[tuple[str, str, str | None, bytes]] = []
        self.headers: list[Headers] = []
        self.lost = 0

    def render(self, request: Request) -> bytes | int:
        target = request.uri.decode("ascii")
        self.seen.append((request.method.decode("ascii"), target, request.getHeader("authorization"), request.content.read()))
        self.headers.append(request.requestHeaders)
        status, headers, body = self.answers[request.path.decode("ascii")]
        request.setResponseCode(status)
        for name, value in headers.items():
            request.setHeader(name, value)
        if body is not None:
            return body
        request.notifyFinish().addErrback(self._count)
        request.write(b"{")
        return NOT_DONE_YET

    def _count(self, failure: Failure) -> None:
        self.lost += 1


@implementer(IAgent)
class FailingAgent:
    """An agent that cannot."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def request(self, method: bytes, uri: bytes, headers: Any = None, bodyProducer: Any = None) -> Deferred[Any]:
        """Fail, see `IAgent`."""
        return fail(self._error)


async def get_json(api: JSONClient, url: str, **how: Any) -> Any:
    """Get what is at a URL, as a locator does that wants JSON."""
    answer = await api.request("GET", url, **how)
    if answer.status != 200:
        raise answer.rejected()
    return answer.json()


class ApiTests(SynchronousTestCase):
    """Requests, and what comes of them."""

    def setUp(self) -> None:
        self.server = Server()
        self.agent = RequestTraversalAgent(self.server)
        self.clock = Clock()
        self.api = JSONClient(self.agent, self.clock)

    def begin(self, waiting: Any) -> Deferred[Any]:
        """Begin what is to be awaited."""
        begun = Deferred.fromCoroutine(waiting)
        self.agent.flush()
        return begun

    def result(self, waiting: Awaitable[Any]) -> Any:
        """Return the result of a request."""
        return self.successResultOf(self.begin(waiting))

    def refusal(self, waiting: Awaitable[Any], kind: type[DiscoveryError] = DiscoveryError) -> str:
        """Return the error of a request, which must not contain a secret."""
        why = str(self.failureResultOf(self.begin(waiting), kind).value)
        self.assertNotIn("hush", why)
        return why

    def test_json_is_decoded(self) -> None:
        """JSON is read."""
        self.server.answers["/list"] = (200, {}, b'{"a": [1]}')
        self.assertEqual(
            self.result(get_json(self.api, "http://a/list?b=c%20d,e", headers={"Authorization": "Bearer t"})), {"a": [1]}
        )
        self.assertEqual(self.server.seen, [("GET", "/list?b=c%20d,e", "Bearer t", b"")])

    def test_not_json(self) -> None:
        """An answer that is no JSON is told, without the answer."""
        for body in (b"<html>hush", b"", b"[" * 100_000, b"\xff"):
            self.server.answers["/list"] = (200, {}, body)
            self.assertEqual(self.refusal(get_json(self.api, "http://a/list?hush")), "http://a/list: the response is not JSON")

    def test_body_is_sent_unchanged(self) -> None:
        """A body is sent as it is; any status is an answer."""
        self.server.answers["/login"] = (403, {"X-Why": "no"}, b"no")
        answer = self.result(self.api.request("POST", "http://a/login", data=b"data"))
        self.assertEqual(self.server.seen, [("POST", "/login", None, b"data")])
        self.assertEqual((answer.status, answer.headers["x-why"], answer.body), (403, "no", b"no"))

    def test_compressed_response_is_unpacked(self) -> None:
        """A compressed answer is unpacked."""
        self.server.answers["/list"] = (200, {"Content-Encoding": "gzip"}, gzip.compress(b"[1]"))
        self.assertEqual(self.result(get_json(self.api, "http://a/list")), [1])
        self.assertEqual(self.server.headers[0].getRawHeaders("Accept-Encoding"), ["gzip"])
        twice = gzip.compress(gzip.compress(b"[1]"))
        for codings, body in (("gzip, gzip", twice), ("br", b"[1]"), ("deflate, gzip", gzip.compress(b"[1]"))):
            self.server.answers["/list"] = (200, {"Content-Encoding": codings}, body)
            self.assertEqual(
                self.refusal(get_json(self.api, "http://a/list")),
                f"http://a/list: Content-Encoding {codings!r} is not supported; expected gzip, once, or none",
            )

    def test_compressed_beyond_the_limit(self) -> None:
        """A small response that would be too large when it is decompressed is rejected."""
        self.patch(api_module, "MAX_BYTES", 1024 * 1024)
        self.server.answers["/list"] = (200, {"Content-Encoding": "gzip"}, gzip.compress(b" " * (1024 * 1024 + 1)))
        self.assertEqual(self.refusal(get_json(self.api, "http://a/list")), "http://a/list: the response is larger than 1 MiB")

    def test_host_in_url_is_requested_as_written(self) -> None:
        """IPv6 addresses, and names that are not valid as international ones, can be requested."""
        self.server.answers["/list"] = (200, {}, b"[]")
        for host in ("[2001:db8::5]", "[::1]:8080", "under_score.example", "ab--c.example:8080", "xn--a.example"):
            self.assertEqual(self.result(get_json(self.api, f"http://{host}/list?a=%5B")), [])
            self.assertEqual((self.server.headers[-1].getRawHeaders("Host"), self.server.seen[-1][1]), ([host], "/list?a=%5B"))

    def test_cookies_of_a_server_are_not_sent_back(self) -> None:
        """A cookie of a load balancer does not bind mpp to one server."""
        self.server.answers["/list"] = (200, {"Set-Cookie": "a=b; Path=/"}, b"[]")
        for _ in range(2):
            self.result(get_json(self.api, "http://a/list"))
        self.assertEqual([fields.getRawHeaders("Cookie") for fields in self.server.headers], [None, None])

    def test_fields_of_every_request(self) -> None:
        """A client may add header fields of its own to every request; names may be repeated."""
        self.server.answers["/list"] = (200, {}, b"[]")
        api = JSONClient(self.agent, self.clock, fields=(("Impersonate-Group", "a"), ("Impersonate-Group", "\u00e4")))
        self.result(get_json(api, "http://a/list"))
        self.assertEqual(self.server.headers[0].getRawHeaders("Impersonate-Group"), ["a", "\u00e4"])

    def test_other_status_than_200_is_an_error(self) -> None:
        """Another status than 200 is an error with the server's words."""
        self.server.answers["/list"] = (403, {}, b'{"kind": "Status", "message": "pods is forbidden"}')
        self.assertEqual(self.refusal(get_json(self.api, "http://a/list?hush")), "http://a/list: status 403: pods is forbidden")

    def test_secrets_in_words(self) -> None:
        """A server that repeats what it was sent does not make us repeat it."""
        for authorization in ("Bearer hush", "token=hush", basic("user", "hush")):
            self.server.answers["/list"] = (401, {}, b'{"message": "bad: %s hush"}' % authorization.encode())
            why = self.refusal(get_json(self.api, "http://a/list", headers={"Authorization": authorization}))
            self.assertNotIn(basic("user", "hush")[6:], why)
        self.server.answers["/list"] = (401, {}, b'{"message": "bad: hush"}')
        answer = self.result(self.api.request("GET", "http://a/list", hide=["hush", ""]))
        self.assertEqual(answer.error_text(), "bad: ...")

    def test_slow_response_is_cancelled_in_time(self) -> None:
        """An answer that does not come, or does not end, is given up in time, and the connection is dropped."""
        self.server.answers["/list"] = (200, {}, None)
        asked = self.begin(get_json(self.api, "http://a/list?hush", timeout=2.0))
        self.clock.advance(1.9)
        self.assertNoResult(asked)
        self.clock.advance(0.1)
        self.agent.flush()
        self.assertEqual(str(self.failureResultOf(asked, NoResponse).value), "http://a/list: no response within 2 s")
        self.assertEqual((self.server.lost, self.clock.getDelayedCalls()), (1, []))

    def test_cancelled_request_drops_its_connection(self) -> None:
        """A request that is given up drops its connection, and fails as what it is."""
        self.server.answers["/list"] = (200, {}, None)
        asked = self.begin(get_json(self.api, "http://a/list"))
        asked.cancel()
        self.agent.flush()
        self.failureResultOf(asked, CancelledError)
        self.assertEqual((self.server.lost, self.clock.getDelayedCalls()), (1, []))

    def test_too_large(self) -> None:
        """An answer is read up to a limit."""
        self.patch(api_module, "MAX_BYTES", 1024 * 1024)
        self.server.answers["/list"] = (200, {}, b" " * (1024 * 1024 + 1))
        refusal = self.refusal(get_json(self.api, "http://a/list?hush"))
        self.assertEqual(refusal, "http://a/list: the response is larger than 1 MiB")
        self.server.answers["/list"] = (200, {}, b"[]" + b" " * (1024 * 1024 - 2))
        self.assertEqual(self.result(get_json(self.api, "http://a/list")), [])

    def test_redirects_carry_credentials_to_the_same_origin_only(self) -> None:
        """Redirects of GET are followed; credentials go along to the same origin only."""
        self.server.answers = {
            "/a": (301, {"Location": "b?c=d"}, b""),
            "/b": (307, {"Location": "http://user:hush@b:80/c"}, b""),
            "/c": (200, {}, b"[]"),
        }
        self.result(get_json(self.api, "http://a/a", headers={"Authorization": "Bearer t"}))
        self.assertEqual([seen[1:3] for seen in self.server.seen], [("/a", "Bearer t"), ("/b?c=d", "Bearer t"), ("/c", None)])

    def test_redirected_post(self) -> None:
        """What is posted goes only where it was sent: there are passwords in it."""
        self.server.answers["/login"] = (307, {"Location": "/elsewhere"}, b"")
        self.assertEqual(self.result(self.api.request("POST", "http://a/login", data=b"hush")).status, 307)

    def test_bad_redirects(self) -> None:
        """Redirects in circles, to other schemes and to nowhere are told."""
        for location, expected in (
            ("/list?hush", "http://a/list: too many redirects"),
            ("file:///etc/passwd?hush", "file:///etc/passwd: neither http nor https"),
            ("http://[hush", "http://a/list: redirects to an invalid URL"),
        ):
            self.server.answers["/list"] = (302, {"Location": location}, b"")
            self.assertEqual(self.refusal(get_json(self.api, "http://a/list")), expected)

    def test_unusable_urls(self) -> None:
        """What cannot be asked is told."""
        for url, expected in (
            ("http://a/\u00e9?hush", "http://a/\u00e9: not a URL that can be requested"),
            ("http://a/b c?hush", "http://a/b c: not a URL that can be requested"),
            ("http://[hush/", "(an unreadable URL): not a URL that can be requested"),
            ("unix:/run/a", "unix:/run/a: neither http nor https"),
        ):
            self.assertEqual(self.refusal(get_json(self.api, url)), expected)

    def test_response_may_be_read_in_parts_or_dropped(self) -> None:
        """An answer can be read as it comes, or to its end, or be dropped."""
        self.server.answers["/list"] = (200, {}, b"[]")
        response = self.result(self.api.open("GET", "http://a/list"))
        self.assertEqual(self.result(self.api.read("http://a/list", response)).json(), [])
        # A compressed stream would reach mpp late, in blocks.
        self.assertIsNone(self.server.headers[0].getRawHeaders("Accept-Encoding"))
        self.server.answers["/list"] = (200, {}, None)
        body = BodyCollector(10)
        self.result(self.api.open("GET", "http://a/list")).deliverBody(body)
        body.whole.cancel()
        self.agent.flush()
        self.failureResultOf(body.whole, CancelledError)
        self.assertEqual(self.server.lost, 1)

    def test_close_in_memory(self) -> None:
        """There is nothing to be closed where nothing is kept."""
        self.assertIsNone(self.successResultOf(self.api.close()))

    def test_failure_names_the_url_without_secrets(self) -> None:
        """A failure to reach a server is told in plain words, with the URL but without what is secret in it."""
        broken_off = ResponseNeverReceived([Failure(errors.ConnectionDone())])
        refused = ResponseNeverReceived([Failure(SSL.Error([("SSL routines", "", "certificate verify failed")]))])
        for error, expected in (
            (errors.DNSLookupError("hush"), "the host name cannot be resolved"),
            (errors.ConnectionRefusedError("hush"), "connection refused"),
            (errors.TimeoutError("hush"), "no connection in time"),
            (errors.ConnectionLost("hush"), "the connection was lost"),
            (broken_off, "the connection was closed before the response was complete"),
            (refused, "TLS failed: certificate verify failed"),
            (SSL.Error(), "TLS failed: the connection was closed"),
            (SSL.ZeroReturnError("hush"), "TLS failed: the connection was closed"),
            (RuntimeError("hush"), "no usable response (RuntimeError)"),
        ):
            api = JSONClient(FailingAgent(error), self.clock)
            self.assertEqual(self.refusal(get_json(api, URL), NoResponse), f"http://api.example/list: {expected}")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_cancelled_below(self) -> None:
        """Whatever form a cancellation takes on its way, it is one."""
        for error in (
            CancelledError(),
            errors.ConnectingCancelledError(None),
            ResponseNeverReceived([Failure(CancelledError())]),
        ):
            asked = self.begin(get_json(JSONClient(FailingAgent(error), self.clock), URL))
            self.failureResultOf(asked, CancelledError)


class WordsTests(SynchronousTestCase):
    """What a server says itself."""

    def test_message_is_one_short_line(self) -> None:
        """The message of a JSON object, or the first line of a plain text; one short line."""
        for body, content_type, expected in (
            (b'{"message": "App \'/x\' does not exist"}', "application/json", "App '/x' does not exist"),
            (b'{"title": "Unauthorized", "description": "Invalid credentials"}', "", "Invalid credentials"),
            (b'{"message": "", "error": "e"}', "", "e"),
            (b'{"message": {"a": 1}}', "", ""),
            (b'{"message": "a\\r\\n\\u001b[31mb  c"}', "", "a [31mb c"),
            (b'{"message"', "", ""),
            (b'{"a":' * 100_000, "", ""),
            (b"not found\nreally", "text/plain; charset=utf-8", "not found"),
            (b"not found", "", ""),
            (b"<html>", "text/html", ""),
            (b"x" * 1000, "text/plain", "x" * 300),
        ):
            self.assertEqual(APIResponse("u", 404, {"content-type": content_type}, body).error_text(), expected)

    def test_error_has_place_status_and_message(self) -> None:
        """An error says where or what, the status, and the words if there are any."""
        self.assertEqual(str(APIResponse("http://a", 404).rejected()), "http://a: status 404")
        said = APIResponse("http://a", 404, {"content-type": "text/plain"}, b"no")
        self.assertEqual(str(said.rejected("--option")), "--option: status 404: no")

    def test_repr_hides_body_and_secrets(self) -> None:
        """What was answered, and what is to be hidden, is in no repr."""
        self.assertEqual(
            repr(APIResponse("http://a", 200, {"a": "hush"}, b"hush", ("hush",))), "APIResponse(url='http://a', status=200)"
        )


class ConnectionsTests(SynchronousTestCase):
    """Connections over a reactor in memory."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.connections = TrackedConnections(self.reactor, TLSPolicy(), 1.5)
        self.api = JSONClient(self.connections.agent, self.reactor, self.connections)

    def connect(self) -> Any:
        """Let the newest connection succeed, and give the transport of its client's end."""
        _, port, factory, timeout, _ = self.reactor.tcpClients[-1]
        self.assertEqual((port, timeout), (8080, 1.5))
        transport = StringTransport()
        protocol = factory.buildProtocol(None)
        transport.abortConnection = transport.loseConnection  # type: ignore[method-assign]
        protocol.makeConnection(transport)
        transport.protocol = protocol
        return transport

    def answer(self, transport: Any, data: bytes) -> None:
        """Have the server write."""
        transport.protocol.dataReceived(data)

    def test_connection_is_reused_until_it_is_idle_too_long(self) -> None:
        """A connection is used again, and is dropped when it was not used for a while."""
        for _ in range(2):
            asked = Deferred.fromCoroutine(get_json(self.api, "http://192.0.2.1:8080/"))
            if not self.connections.open:
                transport = self.connect()
            self.answer(transport, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]")
            self.assertEqual(self.successResultOf(asked), [])
        self.assertEqual((len(self.reactor.tcpClients), len(self.connections.open)), (1, 1))
        self.reactor.advance(60)
        self.assertTrue(transport.disconnecting)

    def test_close_aborts_all_connections(self) -> None:
        """Closing aborts what is in use and what is kept, and is over when all is gone."""
        Deferred.fromCoroutine(get_json(self.api, "http://192.0.2.1:8080/")).addErrback(lambda failure: failure.trap(NoResponse))
        transport = self.connect()
        closed = self.api.close()
        self.assertNoResult(closed)
        self.assertTrue(transport.disconnecting)
        transport.protocol.connectionLost(Failure(errors.ConnectionAborted()))
        self.successResultOf(closed)
        self.assertEqual((set(self.connections.open), self.reactor.getDelayedCalls()), (set(), []))
        self.successResultOf(self.api.close())

    def test_too_large_response_drops_its_connection(self) -> None:
        """An answer that is too large, or not wanted any more, has its connection aborted, not closed in order."""
        self.patch(api_module, "MAX_BYTES", 10)
        asked = Deferred.fromCoroutine(get_json(self.api, "http://192.0.2.1:8080/"))
        transport = self.connect()
        aborted: list[str] = []
        transport.abortConnection = lambda: aborted.append("aborted")
        self.answer(transport, b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + b"x" * 11)
        self.failureResultOf(asked, DiscoveryError)
        self.assertEqual(aborted, ["aborted"])
        self.answer(transport, b"x" * 50)

    def test_without_length(self) -> None:
        """An answer may end with its connection; one that announced more is no answer."""
        for head, kind in ((b"HTTP/1.0 200 OK\r\n\r\n", None), (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", NoResponse)):
            asked = Deferred.fromCoroutine(get_json(self.api, "http://192.0.2.1:8080/"))
            transport = self.connect()
            self.answer(transport, head + b"[]")
            transport.protocol.connectionLost(Failure(errors.ConnectionDone()))
            if kind is None:
                self.assertEqual(self.successResultOf(asked), [])
            else:
                self.failureResultOf(asked, kind)


class SecretFileTests(SynchronousTestCase):
    """Files that hold secrets."""

    def setUp(self) -> None:
        self.path = self.mktemp()

    def read(self, content: bytes) -> str:
        """Return what is read of this content."""
        with open(self.path, "wb") as file:
            file.write(content)
        return SecretFile(self.path).read()

    def refused(self) -> str:
        """Return why the file as it is cannot be used."""
        return str(self.assertRaises(DiscoveryError, SecretFile(self.path).read))

    def test_blanks_and_bom_of_a_secret_are_stripped(self) -> None:
        """Blanks and line ends around it, and a byte order mark, do not count; each reading is anew."""
        self.assertEqual(self.read(b"\xef\xbb\xbf hush\r\n"), "hush")
        self.assertEqual(self.read(b"other"), "other")

    def test_unusable_secret_is_named_not_quoted(self) -> None:
        """What cannot be used is named, not quoted."""
        self.assertEqual(self.refused(), f"{self.path}: No such file or directory")
        for content, expected in (
            (b" \n", "empty"),
            (b"hush\xff", "not UTF-8 text"),
            (b"h" * (MAX_BYTES + 1), "larger than 1 MiB, not a secret"),
        ):
            self.assertEqual(str(self.assertRaises(DiscoveryError, self.read, content)), f"{self.path}: {expected}")
        os.remove(self.path)
        os.mkfifo(self.path)
        self.assertEqual(self.refused(), f"{self.path}: not a regular file")
        self.path = "a\0b"
        self.assertEqual(self.refused(), "'a\\x00b': not a path")
