"""Prometheus' HTTP service discovery, against a server in memory."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Sequence
from pathlib import Path

from treq.testing import RequestTraversalAgent
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http import Request
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from mpp.core.errors import DiscoveryError
from mpp.core.model import Backend
from mpp.discovery.http_api.json_api import JSONClient
from mpp.discovery.http_sd import MAX_BYTES, HTTPSDLocator, url_reader
from tests.locator_contract import locator_tests
from tests.logged import logged

A, B = (Backend("http", name, 9090) for name in ("prom-a", "prom-b"))
PASSWORD = "s3cret pass"
URL = "http://me:s3cret%20pass@sd.example.org:8080/targets?env=token-in-url"
SHOWN = "http://sd.example.org:8080/targets"


class FakeSD(Resource):
    """
    Answers as it is told, and remembers who asked.

    :ivar authorization: what is asked for; nothing if empty.
    :ivar hanging: does not answer.
    :ivar waiting: requests that are not answered, and whose connections are open.
    """

    isLeaf = True

    def __init__(self) -> None:
        Resource.__init__(self)
        self.status = 200
        self.content_type = "application/json"
        self.body = b"[]"
        self.authorization = ""
        self.hanging = False
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.waiting: list[Request] = []

    def render(self, request: Request) -> bytes | int:
        headers = {name.decode().lower(): values[0].decode() for name, values in request.requestHeaders.getAllRawHeaders()}
        self.asked.append((f"{request.method.decode()} {request.uri.decode()}", headers))
        if self.hanging:
            self.waiting.append(request)
            request.notifyFinish().addErrback(lambda _: self.waiting.remove(request))
            return NOT_DONE_YET
        request.setHeader("content-type", self.content_type)
        if self.authorization and headers.get("authorization") != self.authorization:
            request.setResponseCode(401)
            return json.dumps({"error": f"{PASSWORD!r} ({headers.get('authorization')}) is not the password"}).encode()
        request.setResponseCode(self.status)
        return self.body

    def have(self, *addresses: str) -> None:
        """List these, one group for each."""
        self.body = json.dumps([{"targets": [address]} for address in addresses]).encode()


class SDSource:
    """Such a server, as the contract wants it."""

    secrets: Sequence[str] = (PASSWORD, "s3cret%20pass", "token-in-url", base64.b64encode(f"me:{PASSWORD}".encode()).decode())
    watched = False

    def __init__(self, case: SynchronousTestCase) -> None:
        self.fake = FakeSD()
        self.clock = Clock()
        self.agent = RequestTraversalAgent(self.fake)
        self.locator = HTTPSDLocator(lambda: URL, JSONClient(self.agent, self.clock), interval=lambda: 10.0)

    def have(self, *addresses: str) -> None:
        self.fake.have(*addresses)
        self.fake.authorization, self.fake.hanging = "", False

    def fail(self) -> None:
        self.fake.authorization = "another one"

    def hang(self) -> None:
        self.fake.hanging = True

    def leftovers(self) -> Sequence[object]:
        return [*self.fake.waiting, *self.clock.getDelayedCalls()]

    def settle(self) -> None:
        self.agent.flush()


class RecordingApi(JSONClient):
    """Takes note of its end."""

    closed = 0

    def close(self) -> Deferred[None]:
        self.closed += 1
        return super().close()


class HTTPSDContractTests(locator_tests(SDSource)):  # type: ignore[misc]
    """What every locator keeps to."""


class HTTPSDLocatorTests(SynchronousTestCase):
    """What a URL gives."""

    def test_stop_closes_connections(self) -> None:
        """Stopping closes the connections that were kept for the next look-up."""
        api = RecordingApi(self.agent, Clock())
        HTTPSDLocator(lambda: URL, api, interval=lambda: 10.0).stop()
        self.assertEqual(api.closed, 1)

    def setUp(self) -> None:
        self.fake, self.interval = FakeSD(), 2.5
        self.agent = RequestTraversalAgent(self.fake)
        self.locator = HTTPSDLocator(lambda: URL, JSONClient(self.agent, Clock()), interval=lambda: self.interval)
        self.logged = logged(self)

    def located(self) -> tuple[Backend, ...]:
        """Return what is located now."""
        looked = self.locator.locate()
        self.agent.flush()
        return tuple(each.backend for each in self.successResultOf(looked))

    def refused(self) -> str:
        """Return why nothing can be located now."""
        looked = self.locator.locate()
        self.agent.flush()
        return str(self.failureResultOf(looked, DiscoveryError).value)

    def test_request_is_like_that_of_prometheus(self) -> None:
        """It asks as Prometheus does, with user and password as HTTP basic."""
        self.located()
        ((line, headers),) = self.fake.asked
        self.assertEqual(line, "GET /targets?env=token-in-url")
        self.assertEqual(headers["accept"], "application/json")
        self.assertEqual(headers["x-prometheus-refresh-interval-seconds"], "2.5")
        self.assertEqual(headers["host"], "sd.example.org:8080")
        self.assertEqual(base64.b64decode(headers["authorization"].removeprefix("Basic ")).decode(), f"me:{PASSWORD}")

    def test_interval_changes(self) -> None:
        """A request has the interval that is active when it is sent, because a reload may change it and keep the locator."""
        for self.interval in (2.5, 60.0):
            self.located()
        sent = [headers["x-prometheus-refresh-interval-seconds"] for _, headers in self.fake.asked]
        self.assertEqual(sent, ["2.5", "60"])

    def test_url_from_a_file(self) -> None:
        """A URL that stands in a file is read anew for each look-up; what is wrong with it is told without what it says."""
        path = os.path.abspath(self.mktemp())
        Path(path).write_text(f"{URL}\n")
        self.locator = HTTPSDLocator(url_reader(f"@{path}"), JSONClient(self.agent, Clock()), interval=lambda: 10.0)
        self.assertEqual(repr(self.locator), f"<HTTPSDLocator {SHOWN}>")
        self.located()
        Path(path).write_text("http://me:another@sd.example.org:8080/others\n")
        self.located()
        asked = [(line, base64.b64decode(headers["authorization"][6:]).decode()) for line, headers in self.fake.asked]
        self.assertEqual(asked, [("GET /targets?env=token-in-url", f"me:{PASSWORD}"), ("GET /others", "me:another")])
        expected = f"{path}: expected one URL such as http://user:password@host:8080/path"
        for text in ("sd.example.org s3cret", "http://a/ http://b/", "ftp://me:s3cret@a/", "http://me:s3cret@:99999/"):
            Path(path).write_text(text)
            self.assertEqual(self.refused(), expected)
        os.remove(path)
        self.assertEqual(self.refused(), f"{path}: No such file or directory")

    def test_without_credentials(self) -> None:
        """Without user and password there is no Authorization."""
        self.locator = HTTPSDLocator(lambda: "http://sd/targets", JSONClient(self.agent, Clock()), interval=lambda: 10.0)
        self.located()
        self.assertNotIn("authorization", self.fake.asked[0][1])

    def test_labels_of_an_address_count_as_in_files(self) -> None:
        """The labels that say where a server is count as in files."""
        self.fake.body = b'[{"targets": ["prom-a"], "labels": {"__scheme__": "https", "__path_prefix__": "/p"}}]'
        self.assertEqual([b.url for b in self.located()], ["https://prom-a:443/p"])

    def test_empty_list(self) -> None:
        """An empty list is no error, and ``null`` is one, as to Prometheus."""
        for self.fake.body in (b"[]", b"null", b"null\n"):
            self.assertEqual(self.located(), ())

    def test_content_type(self) -> None:
        """The Content-Type must be JSON, with no other charset than UTF-8."""
        good = ("application/json", "Application/JSON; charset=UTF-8", 'application/json;charset="utf-8"')
        for self.fake.content_type in good:
            self.assertEqual(self.located(), ())
        for self.fake.content_type in ("text/html", "application/json; charset=latin-1", "application/jsonp"):
            problem = f"expected Content-Type application/json, not {self.fake.content_type!r}"
            self.assertEqual(self.refused(), f"{SHOWN}: {problem}")

    def test_broken_contract(self) -> None:
        """Whatever else is wrong with an answer, it is told with the URL, and is no list."""
        table = (
            (b"[{\n", "line 2: not JSON: Expecting property name enclosed in double quotes"),
            (b"{}", "expected a list of target groups, like [{targets: [host:port]}], found an object"),
            (b"\xff", "not UTF-8 text (byte 0)"),
            (b'["x"]', "no target is usable; group 1: expected targets and labels, found text"),
            (b" " * (MAX_BYTES + 1), "the response is larger than 1 MiB"),
        )
        for self.fake.body, problem in table:
            self.assertEqual(self.refused(), f"{SHOWN}: {problem}")

    def test_other_status_than_200_is_repeated(self) -> None:
        """Only 200 is an answer; what the server says is repeated."""
        for self.fake.status in (204, 404, 503):
            self.fake.body = b'{"error": "out of targets"}' if self.fake.status != 204 else b""
            self.assertTrue(self.refused().startswith(f"{SHOWN}: status {self.fake.status}"))
        self.assertIn("out of targets", self.refused())

    def test_bad_entry_is_logged_once(self) -> None:
        """A bad entry is logged with the URL when it appears or changes; the others count."""
        self.fake.have("prom-a:9090", "http://me:s3cret@prom")
        for _ in range(2):
            self.assertEqual(self.located(), (A,))
        (logged,) = self.logged
        self.assertTrue(
            logged.startswith(f"target group entry of {SHOWN} skipped: group 2, target 1 (http://***@prom): "), logged
        )
        self.fake.have("prom-a:9090", "prom-b:9090")
        self.assertEqual(self.located(), (A, B))
        self.fake.have("prom-a:9090", "http://me:s3cret@prom")
        self.located()
        self.assertEqual(len(self.logged), 2)

    def test_repr_shows_the_url_without_secrets(self) -> None:
        """It shows its URL, without what may be secret."""
        self.assertEqual(repr(self.locator), f"<HTTPSDLocator {SHOWN}>")
