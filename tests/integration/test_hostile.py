"""
What is no proper request, and what is one only just: each gets its answer, and nothing of what is refused reaches a server.

Byte for byte, over raw sockets, against a whole mpp in front of a simulated pair. Run as a script it prints the table.
"""

from __future__ import annotations

import contextlib
import re
import socket
import time
from collections.abc import Iterator

from attrs import frozen
from twisted.trial.unittest import SynchronousTestCase

from tests.integration.processes import Mpp, Simulated, fetch, wait_until

PATH = "/api/v1/labels"
OF_PROBES = (
    "/-/ready",
    "/api/v1/query",
    "/api/v1/status/runtimeinfo",
    "/api/v1/status/buildinfo",
    "/api/v1/status/flags",
    "/api/v1/status/config",
    "/api/v1/rules",
    "/metrics",
)
"""What mpp itself asks the servers; no case uses these."""

KEPT, CLOSED = "kept", "closed"
QUIET = 0.15
"""Seconds of silence after which a connection counts as kept; a request on it then shows that it is."""


@frozen
class Case:
    """
    What a client sends, and what it gets.

    :ivar title: what is special about it.
    :ivar sent: the bytes; ``PATH`` stands in it wherever a server might be reached.
    :ivar answers: the statuses, in order.
    :ivar connection: what becomes of it.
    :ivar reached: how many requests reach a server.
    :ivar half_close: the client closes its sending side after it.
    """

    title: str
    sent: bytes
    answers: tuple[int, ...]
    connection: str = CLOSED
    reached: int = 0
    half_close: bool = False


def get(*fields: bytes, version: bytes = b"1.1", target: bytes = PATH.encode(), method: bytes = b"GET") -> bytes:
    """Return a request without a body, with a ``Host`` if its version wants one."""
    host = (b"Host: a",) if version == b"1.1" else ()
    return b"%b %b HTTP/%b\r\n" % (method, target, version) + b"".join(field + b"\r\n" for field in (*host, *fields)) + b"\r\n"


def post(body: bytes, *fields: bytes) -> bytes:
    """Return a POST whose framing is among the fields."""
    return get(b"Content-Type: application/x-www-form-urlencoded", *fields, method=b"POST") + body


CHUNKED = b"Transfer-Encoding: chunked"
SMUGGLED = get()
FORM = b"match[]=up"


def chunks(*pieces: bytes) -> bytes:
    """Return a body in chunks."""
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def refused(title: str, sent: bytes, status: int = 400) -> Case:
    """Return a case that is refused, and after which the connection is closed."""
    return Case(title, sent, (status,))


def works(title: str, sent: bytes, *, count: int = 1, connection: str = KEPT, answers: tuple[int, ...] = ()) -> Case:
    """Return a case that is answered by a server."""
    return Case(title, sent, answers or (200,) * count, connection, count)


LENGTHS = (
    refused("both lengths, chunked last", post(chunks(FORM) + SMUGGLED, b"Content-Length: 4", CHUNKED)),
    refused("both lengths, chunked first", post(chunks(FORM) + SMUGGLED, CHUNKED, b"Content-Length: 4")),
    refused("Content-Length twice, the same", post(FORM, b"Content-Length: 10", b"Content-Length: 10")),
    refused("Content-Length twice, different", post(FORM + SMUGGLED, b"Content-Length: 10", b"Content-Length: 0")),
    refused("Content-Length as a list", post(FORM, b"Content-Length: 10, 10")),
    refused("Content-Length negative", post(FORM, b"Content-Length: -1")),
    refused("Content-Length with a sign", post(FORM, b"Content-Length: +10")),
    refused("Content-Length hexadecimal", post(FORM, b"Content-Length: 0xa")),
    refused("Content-Length empty", post(FORM, b"Content-Length:")),
    refused("Content-Length with a space inside", post(FORM, b"Content-Length: 1 0")),
    refused("Content-Length beyond 64 bits", post(FORM, b"Content-Length: 18446744073709551626")),
    refused("space before the colon", post(FORM + SMUGGLED, b"Content-Length : 10")),
    refused("tab before the colon", post(chunks(FORM), b"Transfer-Encoding\t: chunked")),
    refused("obsolete folding", get(b"X: a", b" b")),
    refused("folded Transfer-Encoding", post(chunks(FORM), b"Transfer-Encoding:", b" chunked")),
    works("a body with GET", get(b"Content-Length: 10") + FORM),
    works("a length of 0", post(b"", b"Content-Length: 0")),
)

CODINGS = (
    refused("gzip, chunked", post(chunks(FORM), b"Transfer-Encoding: gzip, chunked"), 501),
    refused("gzip and chunked in two fields", post(chunks(FORM), b"Transfer-Encoding: gzip", CHUNKED), 501),
    refused("chunked, chunked", post(chunks(FORM), b"Transfer-Encoding: chunked, chunked")),
    refused("chunked twice", post(chunks(FORM), CHUNKED, CHUNKED)),
    refused("chunked, identity", post(chunks(FORM) + SMUGGLED, b"Transfer-Encoding: chunked, identity")),
    refused("chunked and identity", post(chunks(FORM) + SMUGGLED, CHUNKED, b"Transfer-Encoding: identity")),
    refused("identity", post(FORM, b"Transfer-Encoding: identity"), 501),
    refused("xchunked", post(chunks(FORM), b"Transfer-Encoding: xchunked"), 501),
    refused("vertical tab before chunked", post(chunks(FORM), b"Transfer-Encoding: \x0bchunked")),
    refused("chunked in quotes", post(chunks(FORM), b'Transfer-Encoding: "chunked"'), 501),
    refused("chunked;a=b", post(chunks(FORM), b"Transfer-Encoding: chunked;a=b"), 501),
    refused("an empty coding", post(chunks(FORM), b"Transfer-Encoding:")),
    refused("HTTP/1.0 with chunked", get(CHUNKED, version=b"1.0", method=b"POST") + chunks(FORM)),
    refused("tab after chunked", post(chunks(FORM), b"Transfer-Encoding: chunked\t")),
    works("CHUNKED in capitals", post(chunks(FORM), b"Transfer-Encoding:CHUNKED")),
)

CHUNKS = (
    works("chunks", post(chunks(FORM, b"&start=1"), CHUNKED)),
    works("a large chunk", post(chunks(b"match[]=" + b"u" * 20_000), CHUNKED)),
    works("60,000 chunks of one byte", post(chunks(b"match[]=", *[b"u"] * 60_000), CHUNKED)),
    works("chunk extension", post(b"a;name=value\r\n" + FORM + b"\r\n0\r\n\r\n", CHUNKED)),
    works("trailers", post(b"a\r\n" + FORM + b"\r\n0\r\nX-Trailer: a\r\n\r\n", CHUNKED, b"Trailer: X-Trailer", b"TE: trailers")),
    refused("framing in a trailer", post(b"a\r\n" + FORM + b"\r\n0\r\nContent-Length: 50\r\n\r\n", CHUNKED)),
    refused("chunk size negative", post(b"-a\r\n" + FORM + b"\r\n0\r\n\r\n", CHUNKED)),
    refused("chunk size with 0x", post(b"0xa\r\n" + FORM + b"\r\n0\r\n\r\n", CHUNKED)),
    refused("chunk size empty", post(b"\r\n" + FORM + b"\r\n0\r\n\r\n", CHUNKED)),
    refused("chunk size beyond 64 bits", post(b"1000000000000000a\r\n" + FORM + b"\r\n0\r\n\r\n", CHUNKED)),
    refused("chunk size of 63 bits", post(b"7fffffffffffffff\r\n" + b"x" * 11 * 2**20, CHUNKED), 413),
    refused("chunk longer than its size", post(b"5\r\n" + FORM + b"\r\n0\r\n\r\n", CHUNKED)),
    refused("chunk shorter than its size", post(b"f\r\n" + FORM + b"\r\n0\r\n\r\n" + b"x" * 20, CHUNKED)),
    refused("chunk size, bare LF", post(b"a\n" + FORM + b"\r\n0\r\n\r\n", CHUNKED)),
    refused("chunk ended by bare LF", post(b"a\r\n" + FORM + b"\n0\r\n\r\n", CHUNKED)),
    refused("chunk extension with bare LF", post(b"a;x\n" + FORM + b"\r\n0\r\n\r\n", CHUNKED)),
    refused("space before the chunk size", post(b" a\r\n" + FORM + b"\r\n0\r\n\r\n", CHUNKED)),
    refused("NUL in a chunk extension", post(b"a;\x00\r\n" + FORM + b"\r\n0\r\n\r\n", CHUNKED)),
)

LINES = (
    refused("bare LF", b"GET /api/v1/labels HTTP/1.1\nHost: a\n\n"),
    refused("bare LF after a field", b"GET /api/v1/labels HTTP/1.1\r\nHost: a\nX: b\r\n\r\n"),
    refused("bare CR in a value", get(b"X: a\rb")),
    refused("bare CR as line end", b"GET /api/v1/labels HTTP/1.1\rHost: a\r\r"),
    refused("NUL in a value", get(b"X: a\x00b")),
    refused("NUL in a name", get(b"X\x00: a")),
    refused("control byte in a value", get(b"X: a\x01b")),
    refused("control byte in a name", get(b"X\x01: a")),
    refused("space in a name", get(b"X Y: a")),
    refused("a field without a name", get(b": a")),
    refused("a field without a colon", get(b"abc")),
    refused("non-ASCII in a name", get(b"X\xc3\xa9: a")),
    works("non-ASCII in a value", get(b"X: caf\xc3\xa9")),
    works("an empty line before the request", b"\r\n" + get()),
    refused("very many fields", get(*[b"X: y"] * 5000), 431),
    refused("a field of 2 MiB", get(b"X: " + b"y" * 2 * 2**20), 431),
    works("a field of 100 KiB", get(b"X: " + b"y" * 100 * 2**10)),
)

TARGETS = (
    works("absolute form", get(target=b"http://b:9090/api/v1/labels")),
    works("absolute form with https", get(target=b"https://b/api/v1/labels")),
    Case("absolute form of an unsafe path", get(target=b"http://a/-/reload", method=b"POST"), (403,), KEPT),
    refused("absolute form with userinfo", get(target=b"http://x@a/api/v1/labels")),
    refused("absolute form with another scheme", get(target=b"ftp://a/api/v1/labels")),
    refused("absolute form without a Host", b"GET http://a/api/v1/labels HTTP/1.1\r\n\r\n"),
    refused("authority form", get(target=b"a:80")),
    refused("CONNECT", get(target=b"a:80", method=b"CONNECT")),
    refused("OPTIONS *", get(target=b"*", method=b"OPTIONS")),
    refused("userinfo before the path", get(target=b"@b/api/v1/labels")),
    refused("no slash", get(target=b"api/v1/labels")),
    refused("fragment", get(target=b"/api/v1/labels#a")),
    refused("NUL in the target", get(target=b"/api/v1/labels\x00")),
    refused("control byte in the target", get(target=b"/api/v1/\x01labels")),
    refused("non-ASCII in the target", get(target=b"/api/v1/labels?x=\xc3\xa9")),
    refused("space in the target", get(target=b"/api/v1/labels ?x=1")),
    refused("tab in the target", get(target=b"/api/v1/labels\t")),
    refused("a target of 2 MiB", get(target=b"/api/v1/labels?" + b"x" * 2 * 2**20), 431),
    works("a target of 100 KiB", get(target=b"/api/v1/labels?x=" + b"x" * 100 * 2**10)),
    works("braces and pipes", get(target=b'/api/v1/labels?match[]={job="a"}|^`')),
)

VERSIONS = (
    works("HTTP/1.0", get(version=b"1.0"), connection=CLOSED),
    works("HTTP/1.0 with keep-alive", get(b"Connection: keep-alive", version=b"1.0")),
    works("HTTP/1.1 with close", get(b"Connection: close"), connection=CLOSED),
    refused("HTTP/0.9", b"GET /api/v1/labels\r\n\r\n"),
    refused("HTTP/0.9 in the request line", get(version=b"0.9")),
    refused("HTTP/1.2", get(version=b"1.2")),
    refused("HTTP/2.0", get(version=b"2.0"), 505),
    refused("HTTP/11.1", get(version=b"11.1")),
    refused("http in small letters", b"GET /api/v1/labels http/1.1\r\nHost: a\r\n\r\n"),
    refused("HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9)),
    refused("TLS ClientHello", bytes.fromhex("1603010200010001fc0303") + bytes(range(200))),
    refused("SSH", b"SSH-2.0-OpenSSH_9.6\r\n"),
    refused("a method that is none", get(method=b"FOO")),
    refused("method in small letters", get(method=b"get")),
    refused("PROXY protocol", b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n" + get()),
)

HOSTS = (
    refused("no Host", b"GET /api/v1/labels HTTP/1.1\r\n\r\n"),
    refused("two Hosts", get(b"Host: b")),
    refused("two Hosts, the same", get(b"host: a")),
    refused("Host with a path", b"GET /api/v1/labels HTTP/1.1\r\nHost: a/b\r\n\r\n"),
    refused("Host with userinfo", b"GET /api/v1/labels HTTP/1.1\r\nHost: x@a\r\n\r\n"),
    refused("Host with two names", b"GET /api/v1/labels HTTP/1.1\r\nHost: a, b\r\n\r\n"),
    works("an empty Host", b"GET /api/v1/labels HTTP/1.1\r\nHost:\r\n\r\n"),
)

CONVERSATIONS = (
    works("pipelining", get() * 5, count=5),
    works("pipelining, the last one closes", get() * 2 + get(b"Connection: close"), count=3, connection=CLOSED),
    Case("pipelining, then garbage", get() + b"garbage\r\n\r\n", (200, 400), CLOSED, 1),
    Case("pipelining, then a refused one", get() + get(b"Host: b") + get(), (200, 400), CLOSED, 1),
    works("something after the last", get(b"Connection: close") + get(), connection=CLOSED),
    works("upgrade to WebSocket", get(b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 13")),
    works("upgrade to h2c", get(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk")),
    refused("upgrade with a body", post(FORM, b"Connection: Upgrade", b"Upgrade: h2c", b"Content-Length: 10")),
    works("100-continue", post(FORM, b"Content-Length: 10", b"Expect: 100-continue")),
    refused("another expectation", post(FORM, b"Content-Length: 10", b"Expect: 200-ok"), 417),
    refused("100-continue and too large", post(b"", b"Content-Length: 20000000", b"Expect: 100-continue"), 413),
    refused("a body of 20 MB announced", post(b"x" * 1000, b"Content-Length: 20000000"), 413),
    refused("a body of 11 MiB in chunks", post(chunks(*[b"x" * 2**20] * 11), CHUNKED), 413),
    Case("half-close after the request", get(), (200,), CLOSED, 1, half_close=True),
    Case("half-close after two requests", get() * 2, (200, 200), CLOSED, 2, half_close=True),
    Case("half-close in a head", get()[:-2], (), CLOSED, 0, half_close=True),
    Case("half-close in a body", post(FORM, b"Content-Length: 50"), (), CLOSED, 0, half_close=True),
    Case("half-close without a word", b"", (), CLOSED, 0, half_close=True),
)

CASES = LENGTHS + CODINGS + CHUNKS + LINES + TARGETS + VERSIONS + HOSTS + CONVERSATIONS


@frozen
class Seen:
    """What came back."""

    answers: tuple[int, ...]
    connection: str


def statuses(received: bytes) -> tuple[int, ...]:
    """Return the statuses of all answers in it."""
    return tuple(int(status) for status in re.findall(rb"HTTP/1\.1 ([0-9]{3}) ", received))


def converse(port: int, case: Case) -> Seen:
    """Send it, and see what comes back."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        # Whoever sends much may find the connection closed before it is done.
        with contextlib.suppress(ConnectionError):
            connection.sendall(case.sent)
            if case.half_close:
                connection.shutdown(socket.SHUT_WR)
        received, open_still = listen(connection, len(case.answers))
        answers = statuses(received)
        if open_still:
            connection.settimeout(10)
            connection.sendall(get(target=b"/mpp/health"))
            more, _ = listen(connection, 1)
            open_still = statuses(more) == (200,)
        return Seen(answers, KEPT if open_still else CLOSED)


def listen(connection: socket.socket, expected: int, patience: float = 10.0) -> tuple[bytes, bool]:
    """Read until the other side closes, or nothing comes after what was expected; tell whether it is open still."""
    received = b""
    while True:
        connection.settimeout(QUIET if len(statuses(received)) >= expected else patience)
        try:
            data = connection.recv(65536)
        except TimeoutError:
            return received, True
        except ConnectionError:
            return received, False
        if not data:
            return received, False
        received += data


class HostileTests(SynchronousTestCase):
    """mpp in front of a simulated pair."""

    def setUp(self) -> None:
        """Start all three."""
        self.pair = [Simulated("--version", "3.5.0", name=name) for name in ("a", "b")]
        for each in self.pair:
            each.start_for(self)
        self.mpp = Mpp([each.url for each in self.pair]).start_for(self)
        fetch(self.mpp.port, PATH)

    def reached(self) -> int:
        """Tell how many requests reached a server that are not mpp's own."""
        counts = [each.state()["counts"] for each in self.pair]
        return sum(count for each in counts for path, count in each.items() if path not in OF_PROBES)

    def table(self) -> Iterator[tuple[Case, Seen, int]]:
        """Try each case; give what was seen, and how many requests reached a server."""
        for case in CASES:
            before = self.reached()
            seen = converse(self.mpp.port, case)
            yield case, seen, self.reached() - before

    def test_hostile_requests_leave_nothing_behind(self) -> None:
        """Each case is answered as it should be, and leaves nothing behind."""
        descriptors = self.mpp.descriptors()
        wrong = []
        for case, seen, reached in self.table():
            if (seen.answers, seen.connection, reached) != (case.answers, case.connection, case.reached):
                wrong.append(f"{case.title}: {seen}, {reached} reached a server")
        self.assertEqual(wrong, [])
        self.assert_nothing_left(descriptors)

    def test_slow_heads(self) -> None:
        """A head that trickles in gets a 408 and is closed; one that is slow, but in time, is answered."""
        descriptors = self.mpp.descriptors()
        with contextlib.ExitStack() as stack:
            slow, patient = (
                stack.enter_context(socket.create_connection(("127.0.0.1", self.mpp.port), timeout=20)) for _ in range(2)
            )
            head = get(b"X: " + b"y" * 100)
            for at in range(5):
                slow.sendall(head[at : at + 1])
                patient.sendall(head[at : at + 1])
                time.sleep(0.1)
            patient.sendall(head[5:])
            self.assertEqual(statuses(patient.recv(65536)), (200,))
            received, open_still = listen(slow, 2, patience=15)
            self.assertEqual((statuses(received), open_still), ((408,), False))
            self.assertIn(b'"status": "error"', received)
        self.assert_nothing_left(descriptors)

    def test_byte_by_byte(self) -> None:
        """It does not matter in how many pieces it comes."""
        for case in (LENGTHS[0], CODINGS[0], CHUNKS[0], CHUNKS[4], LINES[0], TARGETS[0], CONVERSATIONS[0]):
            with socket.create_connection(("127.0.0.1", self.mpp.port), timeout=10) as connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with contextlib.suppress(ConnectionError):
                    for at in range(len(case.sent)):
                        connection.sendall(case.sent[at : at + 1])
                received, _ = listen(connection, len(case.answers))
                self.assertEqual(statuses(received), case.answers, case.title)

    def assert_nothing_left(self, descriptors: int) -> None:
        """No traceback, no byte, no request and no connection is left."""
        self.assertNotIn("Traceback", self.mpp.log())
        wait_until(lambda: self.mpp.metric("mpp_held_bytes") == 0, "no byte is held", 10)
        wait_until(lambda: self.mpp.metric("mpp_requests_in_flight") == 0, "no request is left", 10)
        wait_until(lambda: self.mpp.descriptors() <= descriptors + len(self.pair), "no connection is left", 10)


def main() -> None:
    """Print the table."""
    tests = HostileTests("test_hostile_requests_leave_nothing_behind")
    tests.setUp()
    try:
        for case, seen, reached in tests.table():
            answers = ", ".join(map(str, seen.answers)) or "none"
            ok = (seen.answers, seen.connection, reached) == (case.answers, case.connection, case.reached)
            print(f"{case.title:36} {answers:24} {seen.connection:7} {reached} reached{'' if ok else '   (expected otherwise)'}")
    finally:
        tests.doCleanups()


if __name__ == "__main__":
    main()
