"""
What mpp rejects before a server is chosen: methods, unsafe paths, changes asked for by other sites' pages; and what of a server's
response it does not pass on. Over raw sockets, against whole programs, with HAProxy and nginx as gateways behind mpp.
"""

from __future__ import annotations

import contextlib
import functools
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.fixtures import keep
from tests.integration.gateways import Gateway, Recorder
from tests.integration.processes import Mpp, fetch, wait_until
from tests.integration.test_web_config import basic, hashed
from tests.unit.core.test_unsafe_paths import ALWAYS, CHANGING, SAFE, SPELLINGS

# fmt: off
FORWARDED = ("GET", "HEAD", "POST", "OPTIONS", "PUT", "PATCH", "DELETE")
NOT_ALLOWED = (
    "CONNECT", "TRACE", "COPY", "LOCK", "MKCOL", "MOVE", "PROPFIND", "PROPPATCH", "SEARCH", "UNLOCK", "BIND", "REBIND", "UNBIND",
    "ACL", "REPORT", "MKACTIVITY", "CHECKOUT", "MERGE", "M-SEARCH", "NOTIFY", "SUBSCRIBE", "UNSUBSCRIBE", "PURGE", "MKCALENDAR",
    "LINK", "UNLINK", "SOURCE", "QUERY",
)
"""What llhttp knows for HTTP, beside those."""
UNKNOWN = (
    "PRI", "DESCRIBE", "ANNOUNCE", "SETUP", "PLAY", "PAUSE", "TEARDOWN", "GET_PARAMETER", "SET_PARAMETER", "REDIRECT", "RECORD",
    "FLUSH", "FOO", "get", "TRACK", "DEBUG",
)
"""What it knows for RTSP and HTTP/2 only, or not at all."""
# fmt: on


def exchange(port: int, method: str, target: bytes, *fields: bytes, version: bytes = b"1.1") -> tuple[int, bytes]:
    """Send one request in bytes; give the status, 0 if there was none, and all that came back."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        lines = (b"%b %b HTTP/%b" % (method.encode(), target, version), b"Host: mpp", b"Connection: close", *fields)
        connection.sendall(b"\r\n".join(lines) + b"\r\n\r\n")
        received = b""
        while data := connection.recv(65536):
            received += data
    return int(received[9:12] or b"0"), received


@functools.cache
def shared_recorder() -> Recorder:
    """Return the server behind all of them."""
    return Recorder()


@functools.cache
def shared_mpp(*options: str) -> Mpp:
    """Return an mpp in front of it. Not to be stopped."""
    return keep(Mpp([f"127.0.0.1:{shared_recorder().port}"], *options)).start()


class RejectedCase(SynchronousTestCase):
    """mpp in front of a server that notes what reaches it."""

    def setUp(self) -> None:
        """Have the server answer as usual."""
        self.behind = shared_recorder()
        self.behind.answer = Recorder.OK

    def start(self, *options: str, port: int = 0) -> Mpp:
        """Start another mpp, in front of that server or of what listens on a port."""
        return Mpp([f"127.0.0.1:{port or self.behind.port}"], *options).start_for(self)

    @contextlib.contextmanager
    def nothing_arrives(self) -> Iterator[None]:
        """Fail if a request reaches the server."""
        before = len(self.behind.heads)
        yield
        self.assertEqual(self.behind.heads[before:], [])


class MethodTests(RejectedCase):
    """Each method of the parser."""

    def test_only_seven_methods_are_forwarded(self) -> None:
        """Seven methods are forwarded; all others that the parser knows get a 405, with and without ``--allow-unsafe-paths``."""
        for options in ((), ("--allow-unsafe-paths",)):
            mpp = shared_mpp(*options)
            before = mpp.metric("mpp_requests_total", backend="mpp", code="405")
            for method in FORWARDED:
                self.assertEqual(exchange(mpp.port, method, b"/x", b"Content-Length: 0")[0], 200, method)
                self.assertTrue(self.behind.heads[-1].startswith(method.encode() + b" /x HTTP/1.1\r\n"))
            with self.nothing_arrives():
                for method in NOT_ALLOWED:
                    status, received = exchange(mpp.port, method, b"/api/v1/query?query=up")
                    self.assertEqual(status, 405, method)
                    self.assertIn(b"\r\nAllow: DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT\r\n", received)
                for method in UNKNOWN:
                    self.assertEqual(exchange(mpp.port, method, b"/api/v1/query?query=up")[0], 400, method)
            counted = mpp.metric("mpp_requests_total", backend="mpp", code="405") - before
            self.assertEqual(counted, len(NOT_ALLOWED))
            self.assertNotIn("Traceback", mpp.log())

    def test_a_body_is_no_way_round(self) -> None:
        """A method that is not allowed is so with a body, too, and the connection can be used after it."""
        mpp = shared_mpp()
        with socket.create_connection(("127.0.0.1", mpp.port), timeout=10) as connection, self.nothing_arrives():
            connection.sendall(b"PROPFIND /x HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody")
            connection.sendall(b"OPTIONS /mpp/health HTTP/1.1\r\nHost: a\r\n\r\n")
            received = b""
            while not received.endswith(b"\r\n\r\nOK\n"):
                received += connection.recv(65536)
        self.assertEqual(re.findall(rb"HTTP/1.1 ([0-9]+)", received), [b"405", b"200"])

    def test_password_first(self) -> None:
        """Behind a web configuration the password is asked for first, whatever the method."""
        web = Path(self.mktemp()).absolute()
        web.write_text(f"basic_auth_users: {{alice: {hashed('secret')}}}\n")
        mpp = self.start("--web-config", str(web))
        authorization = f"Authorization: {basic('alice', 'secret')['Authorization']}".encode()
        with self.nothing_arrives():
            for method in NOT_ALLOWED:
                self.assertEqual(exchange(mpp.port, method, b"/x")[0], 401, method)
                self.assertEqual(exchange(mpp.port, method, b"/x", authorization)[0], 405, method)
        self.assertEqual(exchange(mpp.port, "OPTIONS", b"/mpp/ready")[0], 200)

    def test_credentials_are_not_shown(self) -> None:
        """A client cannot have a server that implements TRACE show it the credentials that mpp adds."""
        file = Path(self.mktemp() + ".yaml").absolute()
        (file.parent / "token").write_text("topsecret")
        file.write_text("http_config: {authorization: {credentials_file: token}}\n")
        mpp = self.start("--config", str(file))
        exchange(mpp.port, "GET", b"/")
        self.assertIn(b"\r\nAuthorization: Bearer topsecret\r\n", self.behind.heads[-1])
        self.behind.answer = b"HTTP/1.1 200 OK\r\nContent-Type: message/http\r\n\r\n" + self.behind.heads[-1]
        with self.nothing_arrives():
            status, received = exchange(mpp.port, "TRACE", b"/")
        self.assertEqual(status, 405)
        self.assertNotIn(b"topsecret", received)

    def test_own_pages(self) -> None:
        """mpp's own pages say what they can be asked with."""
        mpp = shared_mpp()
        for method in (*NOT_ALLOWED, "PUT", "PATCH", "DELETE"):
            for path in (b"/mpp/status", b"/mpp", b"/mpp/", b"/mpp/nothing", b"/mpp/metrics"):
                status, received = exchange(mpp.port, method, path)
                self.assertEqual(status, 405, (method, path))
                self.assertIn(b"\r\nAllow: GET, HEAD\r\n", received)


class PathTests(RejectedCase):
    """Paths that would change one server of a pair."""

    def test_no_spelling_of_a_listed_path_is_forwarded(self) -> None:
        """No spelling of a listed path reaches a server, with any method that it is listed for."""
        mpp = shared_mpp()
        with self.nothing_arrives():
            for path in (*ALWAYS, *SPELLINGS):
                self.assertEqual(exchange(mpp.port, "POST", path, b"Content-Length: 0")[0], 403, path)
                # Where Prometheus has a route for POST only, it says 405 of GET.
                self.assertIn(exchange(mpp.port, "GET", path, b"Content-Length: 0")[0], (403, 405), path)
            for path in CHANGING:
                for method in ("POST", "PUT", "PATCH", "DELETE"):
                    self.assertEqual(exchange(mpp.port, method, path, b"Content-Length: 0")[0], 403, (method, path))
            self.assertEqual(exchange(mpp.port, "DELETE", b"/api/v1/series")[0], 403)

    def test_reading_paths_are_forwarded_unchanged(self) -> None:
        """What only reads reaches the server as it was sent."""
        mpp = shared_mpp()
        reads = [("GET", path) for path in (*SAFE, *CHANGING) if path]
        for path in (b"query", b"query_range", b"labels", b"series", b"read", b"format_query", b"query_exemplars"):
            reads += [("GET", b"/api/v1/" + path), ("POST", b"/api/v1/" + path)]
        for method, path in reads:
            self.assertEqual(exchange(mpp.port, method, path, b"Content-Length: 0")[0], 200, (method, path))
            self.assertEqual(self.behind.paths[-1].partition(b"?timeout=")[0], path)

    def test_unsafe_paths_are_forwarded_when_allowed(self) -> None:
        """With ``--allow-unsafe-paths`` all of them go through, as they were sent."""
        mpp = shared_mpp("--allow-unsafe-paths")
        for path in (*ALWAYS, *SPELLINGS, *CHANGING):
            self.assertEqual(exchange(mpp.port, "POST", path, b"Content-Length: 0")[0], 200, path)
            self.assertEqual(self.behind.paths[-1], path)

    def test_behind_gateways(self) -> None:
        """What a gateway that normalizes paths would make of them never reaches the server behind it."""
        for program in ("haproxy", "nginx"):
            gateway = Gateway(program, self.behind.port).start_for(self)
            mpp = self.start(port=gateway.port)
            became = []
            for path in SPELLINGS:
                before = len(self.behind.heads)
                exchange(gateway.port, "POST", path, b"Content-Length: 0")
                became += [path for sent in self.behind.paths[before:] if sent == b"/-/reload" != path]
                with self.nothing_arrives():
                    self.assertEqual(exchange(mpp.port, "POST", path, b"Content-Length: 0")[0], 403, path)
            self.assertIn(b"/-//../reload", became, f"{program} made it of {became} only")


class CrossSiteTests(RejectedCase):
    """Changes that a page of another site has a browser ask for."""

    def test_browsers_reload_from_own_pages_only(self) -> None:
        """A browser may reload the configuration for mpp's own pages only, curl always."""
        mpp = self.start("--enable-lifecycle", "--trusted-proxies", "127.0.0.1")
        for fields, status in (
            ((), 200),
            ((b"Sec-Fetch-Site: same-origin", b"Origin: http://mpp"), 200),
            ((b"Sec-Fetch-Site: none",), 200),
            ((b"Origin: https://mon.test", b"X-Forwarded-Host: mon.test"), 200),
            ((b"Sec-Fetch-Site: cross-site",), 403),
            ((b"Sec-Fetch-Site: same-site", b"Origin: http://mpp"), 403),
            ((b"Origin: http://evil.test",), 403),
            ((b"Origin: null",), 403),
            ((b"Origin: https://evil.test", b"X-Forwarded-Host: mon.test"), 403),
        ):
            for method in ("POST", "PUT"):
                self.assertEqual(exchange(mpp.port, method, b"/mpp/reload", b"Content-Length: 0", *fields)[0], status, fields)

    def test_no_proxy_is_named(self) -> None:
        """Unless a proxy is named, nobody's X-Forwarded-Host is believed."""
        mpp = self.start("--enable-lifecycle")
        fields = (b"Content-Length: 0", b"Origin: https://mon.test", b"X-Forwarded-Host: mon.test")
        self.assertEqual(exchange(mpp.port, "POST", b"/mpp/reload", *fields)[0], 403)


class ReasonTests(RejectedCase):
    """What a server says behind the status."""

    def test_control_characters(self) -> None:
        """Nothing that a terminal acts upon reaches a client."""
        mpp = shared_mpp()
        for reason, sent in (
            (b"All right", b"All right"),
            (b"\x1b]0;pwned\x07", b"Not Found"),
            ("\u202egnp.exe".encode(), b"Not Found"),
            (b"\x9b2J", b"Not Found"),
        ):
            self.behind.answer = b"HTTP/1.1 404 %b\r\nContent-Length: 0\r\n\r\n" % reason
            _, received = exchange(mpp.port, "GET", b"/x")
            self.assertTrue(received.startswith(b"HTTP/1.1 404 %b\r\n" % sent), received)


class HAProxyTests(RejectedCase):
    """HAProxy in front of mpp."""

    def test_default_check(self) -> None:
        """``option httpchk /mpp/ready`` as it stands takes mpp for up, and for down once it is gone."""
        if shutil.which("haproxy") is None:
            raise SkipTest("no haproxy")
        mpp = self.start()
        front = Gateway("haproxy", mpp.port)
        self.addCleanup(front.close)
        text = front.configuration.read_text().replace(
            f"server behind 127.0.0.1:{mpp.port}",
            f"option httpchk /mpp/ready\n  server behind 127.0.0.1:{mpp.port} check inter 100ms rise 1 fall 1",
        )
        front.configuration.write_text("\n".join(line for line in text.splitlines() if "normalize" not in line) + "\n")
        subprocess.run(["haproxy", "-c", "-f", str(front.configuration)], check=True, capture_output=True, timeout=20)
        front.start()
        for _ in range(5):
            wait_until(lambda: fetch(front.port, "/api/v1/query?query=up")[0] == 200, "HAProxy takes mpp for up", 5, every=0.2)
        mpp.kill()
        wait_until(lambda: fetch(front.port, "/x")[0] == 503, "HAProxy takes mpp for down", 5)
