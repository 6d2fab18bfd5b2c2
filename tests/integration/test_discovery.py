"""Where the servers are changes, breaks and is mended while requests run, and none of them fails."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.names import dns
from twisted.names.authority import FileAuthority
from twisted.names.server import DNSServerFactory
from twisted.trial.unittest import SynchronousTestCase, TestCase

from mpp.core.errors import DiscoveryError
from mpp.discovery.dns import SRV_TIMEOUTS_S, DNSLocator
from mpp.discovery.name_servers import NameServers
from tests.integration.clients import Load, Tally
from tests.integration.processes import Mpp, Process, Simulated, wait_until


class Bare(Mpp):
    """mpp without an endpoints file: all it knows of servers is in its options."""

    def __init__(self, *options: str) -> None:
        super().__init__([], "--routing-strategy", "random", "--affinity-options", "none", *options, interval="200ms")

    def command(self) -> list[str]:
        """Return the command line."""
        command = super().command()
        at = command.index("--endpoints-file")
        return command[:at] + command[at + 2 :]


class TargetList:
    """A server for HTTP service discovery. ``body``, ``status`` and ``content_type`` may be changed at any time."""

    def __init__(self) -> None:
        self.body, self.status, self.content_type = "[]", 200, "application/json; charset=utf-8"
        self.asked: list[dict[str, str]] = []
        self.closed = False
        told = self

        class Answer(BaseHTTPRequestHandler):
            """Gives the list."""

            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                if told.closed:
                    self.close_connection = True
                    return
                body = told.body.encode()
                told.asked.append({name.lower(): value for name, value in self.headers.items()})
                self.send_response(told.status)
                self.send_header("Content-Type", told.content_type)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *arguments: Any) -> None:
                """Log nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        """Stop, on kept connections too."""
        self.closed = True
        self._server.shutdown()
        self._server.server_close()


def groups(*servers: Process) -> str:
    """Return a list of target groups."""
    return json.dumps([{"targets": [each.address], "labels": {"job": "prometheus"}} for each in servers])


class DiscoveryCase(SynchronousTestCase):
    """Two simulated servers, and mpp under load."""

    def setUp(self) -> None:
        self.first, self.second = (Simulated(name=name).start_for(self) for name in ("a", "b"))

    def launch(self, *options: str) -> Load:
        """Start mpp, wait until the first server is selected, and put a load on it."""
        self.mpp = Bare(*options).start_for(self)
        self.mpp.wait_selected(self.first.address)
        load = Load(self.mpp.port, clients=4)
        self.addCleanup(load.stop)
        return load.start()

    def wait_listed(self, *servers: Process) -> None:
        """Wait until just these servers are known, and take traffic."""
        wanted = {each.address for each in servers}
        wait_until(lambda: self.selected() == wanted, f"{wanted} are selected; log: {self.mpp.log()[-2000:]}", 5)

    def selected(self) -> set[str]:
        """Return the server that takes traffic."""
        return {has["backend"] for name, has, value in self.mpp.samples() if name == "mpp_backend_selected" and value}

    def state(self, locator: str) -> tuple[float, float]:
        """Return whether a locator is up, and how many servers it has."""
        metric = self.mpp.metric
        return metric("mpp_discovery_up", locator=locator), metric("mpp_discovered_backends", locator=locator)

    def wait_state(self, locator: str, up: int, backends: int) -> None:
        """Wait until a locator is in this state."""
        what = f"{locator} is up: {up}, with {backends} servers; log: {self.mpp.log()[-2000:]}"
        wait_until(lambda: self.state(locator) == (up, backends), what, 5)

    def assert_none_failed(self, load: Load, *servers: Process) -> None:
        """Nobody failed, and these had their share."""
        tally: Tally = load.stop()
        self.assertEqual(tally.failures, [], str(tally))
        self.assertEqual(set(tally.served_by), {each.address for each in servers}, str(tally))


class FileSDTests(DiscoveryCase):
    """Files of target groups."""

    def setUp(self) -> None:
        super().setUp()
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.json, self.yaml = self.folder / "a.json", self.folder / "b.yml"
        self.json.write_text(groups(self.first))
        self.load = self.launch("--file-sd", str(self.folder / "*.json"), "--file-sd", str(self.folder / "*.yml"))

    def test_added_changed_removed(self) -> None:
        """Servers come and go with files and with what is in them."""
        self.wait_state("file-sd", 1, 1)
        self.yaml.write_text(f"- targets:\n  - '{self.second.address}'\n")
        self.wait_listed(self.first, self.second)
        self.json.unlink()
        self.wait_listed(self.second)
        self.yaml.write_text(f"# the other one\n- targets: ['{self.first.address}']\n")
        self.wait_listed(self.first)
        self.wait_state("file-sd", 1, 1)
        self.assert_none_failed(self.load, self.first, self.second)

    def test_broken_and_mended(self) -> None:
        """A broken file keeps its servers while the other ones are followed; it is told once, with file and line."""
        self.json.write_text('[{"targets": [\n')
        self.wait_state("file-sd", 0, 1)
        self.yaml.write_text(f"- targets: ['{self.second.address}']\n")
        self.wait_listed(self.first, self.second)
        self.wait_state("file-sd", 0, 2)
        errors = self.mpp.metric("mpp_discovery_errors_total", locator="file-sd")
        wait_until(lambda: self.mpp.metric("mpp_discovery_errors_total", locator="file-sd") > errors + 2, "errors are counted")
        told = [line for line in self.mpp.log().splitlines() if f"{self.json}: line 2: not JSON" in line]
        self.assertEqual(len(told), 1, self.mpp.log())
        self.json.write_text(groups())
        self.wait_listed(self.second)
        self.wait_state("file-sd", 1, 1)
        self.assert_none_failed(self.load, self.first, self.second)


class HTTPSDTests(DiscoveryCase):
    """A URL that lists target groups."""

    def setUp(self) -> None:
        super().setUp()
        self.list = TargetList()
        self.addCleanup(self.list.close)
        self.list.body = groups(self.first)
        self.load = self.launch("--http-sd", f"http://me:s3cret@127.0.0.1:{self.list.port}/targets")

    def test_added_changed_removed(self) -> None:
        """Servers come and go with the list."""
        self.list.body = groups(self.first, self.second)
        self.wait_listed(self.first, self.second)
        self.list.body = groups(self.second)
        self.wait_listed(self.second)
        self.list.body = groups(self.first)
        self.wait_listed(self.first)
        self.wait_state("http-sd", 1, 1)
        self.assert_none_failed(self.load, self.first, self.second)
        asked = self.list.asked[-1]
        self.assertEqual((asked["x-prometheus-refresh-interval-seconds"], asked["authorization"]), ("0.2", "Basic bWU6czNjcmV0"))

    def test_broken_and_mended(self) -> None:
        """Whatever the URL answers instead of a list, the last list stays; no secret gets into the log."""
        good = {"body": groups(self.first), "status": 200, "content_type": "application/json"}
        for broken in ({"status": 503}, {"content_type": "text/html"}, {"body": "[{"}, {"body": "{}"}):
            vars(self.list).update(broken)
            self.wait_state("http-sd", 0, 1)
            vars(self.list).update(good)
            self.wait_state("http-sd", 1, 1)
        self.list.close()
        self.wait_state("http-sd", 0, 1)
        self.assert_none_failed(self.load, self.first)
        self.assertNotIn("s3cret", self.mpp.log())
        self.assertIn(f"http://127.0.0.1:{self.list.port}/targets: status 503", self.mpp.log())


class EndpointTests(DiscoveryCase):
    """Servers on the command line."""

    def test_several_endpoints_serve_together(self) -> None:
        """All that are given serve, beside those of other locators; each is one server, however often it is listed."""
        path = Path(self.mktemp()).absolute().with_suffix(".json")
        path.write_text(groups(self.second))
        load = self.launch("--endpoint", self.first.url, "--endpoint", self.first.address, "--file-sd", str(path))
        self.wait_listed(self.first, self.second)
        self.assertEqual(self.state("endpoint"), (1, 1))
        path.write_text(groups(self.first))
        self.wait_listed(self.first)
        self.assert_none_failed(load, self.first, self.second)


class DNSTests(DiscoveryCase):
    """Host names."""

    def test_system_resolver(self) -> None:
        """A name of the hosts file gives its addresses, those that do not serve included."""
        load = self.launch("--dns", f"localhost:{self.first.port}")
        self.wait_listed(self.first)
        self.assertGreaterEqual(self.state("dns"), (1, 1))
        self.assert_none_failed(load, self.first)

    def test_unknown_name(self) -> None:
        """A name that nobody knows is told once, and takes nothing from the others."""
        load = self.launch("--endpoint", self.first.url, "--dns", "nobody.invalid:9090")
        wait_until(lambda: self.mpp.metric("mpp_discovery_errors_total", locator="dns") > 2, "the errors are counted")
        self.assertEqual(self.state("dns"), (0, 0))
        self.assert_none_failed(load, self.first)


class Zone(FileAuthority):
    """
    A zone in memory.

    :ivar silent: queries are not answered.
    """

    silent = False

    def loadFile(self, filename: object) -> None:
        """Take what is given for a file."""
        self.soa, self.records = (b"example.org", dns.Record_SOA()), filename

    def query(self, query: dns.Query, timeout: object = None) -> Deferred[Any]:
        """Answer, if at all."""
        answered: Deferred[Any] = Deferred() if self.silent else super().query(query, timeout)
        return answered


def srv(number: int) -> dns.Record_SRV:
    """Return a record that sorts by its number."""
    return dns.Record_SRV(number, 0, 9090, b"prom-%d.example.org" % number, ttl=60)


class SRVTests(TestCase):
    """SRV records, asked of a real name server on this machine."""

    def setUp(self) -> None:
        names = {"few": range(3), "many": range(200)}
        self.zone = Zone({f"_web._tcp.{name}.example.org".encode(): [srv(n) for n in count] for name, count in names.items()})
        factory = DNSServerFactory(authorities=[self.zone])
        factory.noisy = False
        streams = reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(streams.stopListening)
        datagrams = reactor.listenUDP(streams.getHost().port, dns.DNSDatagramProtocol(factory), interface="127.0.0.1")
        self.addCleanup(datagrams.stopListening)
        self.server = ("127.0.0.1", streams.getHost().port)
        self.names = NameServers("", reactor, [self.server])

    async def located(self, name: str) -> list[str]:
        """Return what is located."""
        locator = DNSLocator(f"srv+_web._tcp.{name}.example.org", reactor.nameResolver, self.names)
        try:
            return [each.backend.url for each in await locator.locate()]
        finally:
            # A connection over which a long answer came is closed, which takes a moment.
            await deferLater(reactor, 0.1)

    async def test_server_that_cannot_be_asked(self) -> None:
        """Where the first name server cannot even be asked, for want of a route to it, the next one is asked at once."""
        # The broadcast address needs a permission that the socket has not: an error of the system, as without a route.
        self.names = NameServers("", reactor, [("255.255.255.255", 53), self.server])
        self.assertEqual(len(await self.located("few")), 3)
        self.assertEqual(len(await self.located("many")), 200)

    async def test_srv_targets_are_found_over_udp(self) -> None:
        """The targets are found over UDP."""
        self.assertEqual(await self.located("few"), [f"http://prom-{n}.example.org:9090" for n in range(3)])

    async def test_long_answer(self) -> None:
        """An answer that is too long for a datagram is fetched over TCP."""
        self.assertEqual(await self.located("many"), [f"http://prom-{n}.example.org:9090" for n in range(200)])

    async def test_unknown_name(self) -> None:
        """A name that the server does not know is an error that says so."""
        with self.assertRaises(DiscoveryError) as caught:
            await self.located("nobody")
        self.assertIn("srv+_web._tcp.nobody.example.org: no such name", str(caught.exception))

    async def test_unanswered_lookup_can_be_cancelled(self) -> None:
        """A look-up that nobody answers can be given up, and the same name be asked for again."""
        self.zone.silent = True
        for _ in range(2):
            looked = DNSLocator("srv+_web._tcp.few.example.org", reactor.nameResolver, self.names).locate()
            await deferLater(reactor, 0.1)
            looked.cancel()
            with self.assertRaises(CancelledError):
                await looked
        self.zone.silent = False
        self.assertEqual(len(await self.located("few")), 3)
        # The timer of a datagram's answer cannot be stopped.
        await deferLater(reactor, SRV_TIMEOUTS_S[0])
