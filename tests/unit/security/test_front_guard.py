"""A client's requests behind a web configuration, in bytes."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry
from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import globalLogPublisher
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.trial.unittest import SynchronousTestCase

from mpp.admin.resource import AdminRoot
from mpp.app.logs import format as logs
from mpp.app.program import Program
from mpp.core.errors import ConfigError
from mpp.core.metrics.registry import Metrics
from mpp.core.model import MIB
from mpp.core.settings import Settings
from mpp.proxy.decisions import access_fields as access
from mpp.proxy.site.request import ProxyRequest
from mpp.proxy.site.site import ProxySite
from mpp.security.web_config.active_config import ActiveConfig
from mpp.security.web_config.file import WebConfigFile
from mpp.security.web_config.passwords import MOST_OF_NETWORK, Passwords
from mpp.security.web_config.protection import ListenerSecurity
from mpp.security.web_config.request import CheckedRequest
from mpp.security.web_config.service import WebConfigService
from mpp.wire.downstream.channel import ProxyChannel
from mpp.wire.downstream.channels import Channels
from mpp.wire.downstream.early_rejection import EarlyRejectionChannel
from mpp.wire.downstream.request_limits import Limits
from mpp.wire.memory_budget import MemoryBudget
from tests.configured import configured
from tests.fake_https import FakeAuthority
from tests.forward_support import FakeResponse
from tests.unit.proxy.test_proxy import Client, ProxyCase
from tests.unit.security.test_front_passwords import basic
from tests.unit.security.test_front_reading import HASH

USERS = f"basic_auth_users: {{alice: {HASH}}}\n"
HEADERS = "http_server_config: {headers: {X-Frame-Options: deny, Content-Security-Policy: default-src x}}\n"
QUERY = b"/api/v1/query?query=up"


def field(user: str, password: str) -> bytes:
    """Return a header line."""
    return b"Authorization: %b\r\n" % basic(user, password)


class GuardCase(ProxyCase):
    """The real site with guarded requests; the test says which passwords are right."""

    def guard(self, text: str) -> None:
        path = Path(self.mktemp())
        path.write_text(text)
        self.asked: list[Deferred[bool]] = []
        self.passwords = Passwords(self.verify, self.verify, self.world.clock)
        self.current = ActiveConfig(self.passwords, self.world.clock)
        self.file = WebConfigFile(str(path), self.current, CollectorRegistry().register)
        request = functools.partial(
            CheckedRequest,
            current=self.current,
            passwords=self.passwords,
        )
        self.site = ProxySite(
            self.root,
            self.world.forwarder,
            limits=Limits(max_body=100),
            budget=MemoryBudget(MIB),
            channels=Channels(self.world.clock),
            request=request,
            channel=EarlyRejectionChannel,
        )
        self.client = Client(self.site)

    def verify(self, password: bytes, hashed: bytes) -> Deferred[bool]:
        answer: Deferred[bool] = Deferred()
        self.asked.append(answer)
        return answer

    def say(self, right: bool) -> None:
        self.asked.pop(0).callback(right)

    def split(self) -> tuple[bytes, Any]:
        """Return the head and the JSON of what was received."""
        head, _, body = self.client.received().partition(b"\r\n\r\n")
        return head, json.loads(body)


class PasswordTests(GuardCase):
    """Basic authentication."""

    def test_missing_password_is_asked_for(self) -> None:
        """Who has no password is asked for one, in a form that browsers and Prometheus' clients understand."""
        self.guard(USERS)
        self.client.get(QUERY)
        head, body = self.split()
        self.assertTrue(head.startswith(b"HTTP/1.1 401 Unauthorized\r\n"))
        self.assertIn(b'\r\nWWW-Authenticate: Basic realm="mpp"', head)
        self.assertEqual((body["status"], body["errorType"]), ("error", "unauthorized"))
        self.assertEqual(self.world.upstreams.sent, [])
        self.assertIn(b'mpp_requests_total{backend="mpp",code="401"} 1.0', self.world.metrics.exposition())

    def test_own_request(self) -> None:
        """A request that mpp has sent itself gets 508 instead of a 401, so that its probe knows whom it has asked."""
        self.guard(USERS)
        self.client.get(QUERY, b"MPP-Instance: %b\r\n" % self.world.forwarder.context.instance.token.encode())
        head, body = self.split()
        self.assertTrue(head.startswith(b"HTTP/1.1 508 Loop Detected\r\n"))
        self.assertNotIn(b"WWW-Authenticate", head)
        self.assertEqual((body["errorType"], self.world.forwarder.context.instance.token in body["error"]), ("loop", True))

    def test_right_password_is_not_forwarded(self) -> None:
        """A right password is for mpp alone: the servers do not get it; the next request does not wait."""
        self.guard(USERS)
        for number in range(2):
            self.client.get(QUERY, field("alice", "secret") + b"X-Other: 1\r\n")
            if not number:
                self.assertEqual(self.world.upstreams.sent, [])
                self.say(True)
            self.answer(FakeResponse(200, b"{}"))
            self.assertTrue(self.client.received().startswith(b"HTTP/1.1 200"))
        for sent in self.world.upstreams.sent:
            self.assertNotIn(b"uthorization", sent.head)
            self.assertIn(b"X-Other: 1\r\n", sent.head)

    def test_wrong_password_keeps_the_connection(self) -> None:
        """A wrong password is refused, and the connection may be used again."""
        self.guard(USERS)
        self.client.get(QUERY, field("alice", "x"))
        self.say(False)
        self.assertIn(b" 401 ", self.split()[0])
        self.assertFalse(self.client.transport.disconnecting)

    def test_no_users(self) -> None:
        """Without users the servers get what the client sent."""
        self.guard(HEADERS)
        self.client.get(QUERY, field("alice", "secret"))
        self.assertIn(field("alice", "secret"), self.world.upstreams.sent[0].head)

    def test_own_pages(self) -> None:
        """Health and ready are told to everyone, everything else only with a password, however it is spelled."""
        self.guard(USERS)
        for path, status in (
            (b"/mpp/health", b"200"),
            (b"/mpp/ready?backends=1", b"503"),
            (b"/mpp/status", b"401"),
            (b"/mpp/metrics", b"401"),
            (b"/mpp/health/../metrics", b"401"),
            (b"/mpp/health%2f", b"401"),
            (b"/-/healthy", b"401"),
        ):
            with self.subTest(path=path):
                self.client.get(path)
                self.assertEqual(self.client.received().split(b" ")[1], status)
        self.client.get(b"/mpp/metrics", field("alice", "secret"))
        self.say(True)
        self.assertTrue(self.client.received().startswith(b"HTTP/1.1 200"))

    def test_client_that_leaves_early_costs_no_query(self) -> None:
        """A client that hangs up before its password is verified costs no query."""
        self.guard(USERS)
        self.client.get(QUERY, field("alice", "secret"))
        self.client.hang_up()
        self.say(True)
        self.assertEqual(self.world.upstreams.sent, [])

    def test_next_request_waits(self) -> None:
        """Requests sent one after the other without waiting are verified and answered in their order."""
        self.guard(USERS)
        for _ in range(2):
            self.client.get(b"/mpp/metrics", field("alice", "secret"))
        self.say(True)
        self.assertEqual(self.client.received().count(b"HTTP/1.1 200"), 2)

    def test_flood_of_passwords_is_rejected_unverified(self) -> None:
        """Too many passwords from one network are refused unseen, with the advice to come later."""
        self.guard(USERS)
        for number in range(MOST_OF_NETWORK + 1):
            self.client = Client(self.site)
            self.client.get(QUERY, field("alice", str(number)))
        head, body = self.split()
        self.assertTrue(head.startswith(b"HTTP/1.1 429 "))
        self.assertIn(b"Retry-After: 5", head)
        self.assertEqual(body["errorType"], "unavailable")

    def test_flood_through_a_proxy(self) -> None:
        """Behind a trusted proxy each client's network counts alone; what others say of their clients counts for nothing."""
        for trusted, elsewhere in ((("203.0.113.0/24",), b""), (None, b"429")):
            self.world.reload(trusted_proxies=trusted)
            self.guard(USERS)
            for number in range(MOST_OF_NETWORK):
                self.client = Client(self.site)
                self.client.get(QUERY, field("alice", str(number)) + b"X-Forwarded-For: 198.51.100.7\r\n")
            for address, status in ((b"198.51.100.99", b"429"), (b"192.0.2.1", elsewhere)):
                with self.subTest(trusted=trusted, address=address):
                    self.client = Client(self.site)
                    self.client.get(QUERY, field("alice", "secret") + b"X-Forwarded-For: %b\r\n" % address)
                    self.assertEqual(self.client.received()[9:12], status)


class BodyTests(GuardCase):
    """Requests whose body comes after their head."""

    def announce(self, fields: bytes = b"", path: bytes = b"/api/v1/query") -> None:
        method = b"GET" if path.startswith(b"/mpp/") else b"POST"
        self.client.send(b"%b %b HTTP/1.1\r\nHost: mpp\r\nContent-Length: 8\r\n%b\r\n" % (method, path, fields))

    def test_client_without_password_gets_401_before_its_body(self) -> None:
        """Who has no password gets its 401 before the body, and never the word to send it; the connection ends."""
        self.guard(USERS)
        self.announce(b"Expect: 100-continue\r\n")
        head, _ = self.split()
        self.assertTrue(head.startswith(b"HTTP/1.1 401 Unauthorized\r\n"))
        self.assertIn(b"\r\nConnection: close", head)
        self.assertIn(b'\r\nWWW-Authenticate: Basic realm="mpp"', head)
        self.assertTrue(self.client.transport.disconnecting)

    def test_wrong_password_gets_401_before_the_body(self) -> None:
        """So does who has a wrong one."""
        self.guard(USERS)
        self.announce(field("alice", "x") + b"Expect: 100-continue\r\n")
        self.assertEqual(self.client.received(), b"")
        self.say(False)
        self.assertIn(b" 401 ", self.split()[0])

    def test_right_password_lets_the_body_in(self) -> None:
        """With the right password the body is waited for; the servers get it, and no password."""
        self.guard(USERS)
        for number in range(2):
            self.announce(field("alice", "secret") + b"Expect: 100-continue\r\n")
            if not number:
                self.assertEqual(self.client.received(), b"")
                self.say(True)
            self.assertEqual(self.client.received(), b"HTTP/1.1 100 Continue\r\n\r\n")
            self.client.send(b"query=up")
            self.answer(FakeResponse(200, b"{}"))
            self.assertTrue(self.client.received().startswith(b"HTTP/1.1 200"))
        for sent in self.world.upstreams.sent:
            self.assertEqual(sent.body, b"query=up")
            self.assertNotIn(b"uthorization", sent.head)
        self.assertEqual(self.asked, [])

    def test_body_is_read_where_no_password_is_needed(self) -> None:
        """Where nobody is asked for a password the body is read."""
        for text, path, status in ((USERS, b"/mpp/health", b"200"), (HEADERS, b"/mpp/metrics", b"200")):
            self.guard(text)
            self.announce(path=path)
            self.client.send(b"query=up")
            self.assertEqual(self.client.received().split(b" ")[1], status)

    def test_rate_limit(self) -> None:
        """A request is counted once, and refused by its head as well."""
        self.guard("rate_limit: {interval: 1s, burst: 1}\n")
        self.announce(path=b"/mpp/metrics")
        self.client.send(b"query=up")
        self.assertTrue(self.client.received().startswith(b"HTTP/1.1 200 "))
        self.announce(path=b"/mpp/metrics")
        self.assertTrue(self.client.received().startswith(b"HTTP/1.1 429 "))

    def test_client_that_leaves_early_leaves_nothing(self) -> None:
        """A client that hangs up before its password is verified leaves nothing."""
        self.guard(USERS)
        self.announce(field("alice", "secret"))
        self.client.hang_up()
        self.say(True)
        self.assertEqual(self.client.received(), b"")


class CrossOriginTests(GuardCase):
    """What a page of another origin may read of a refusal."""

    def test_other_origins_read_password_errors(self) -> None:
        """It is told that a password is missing or wrong, and that there are too many requests; in both cases once."""
        origin = b"Origin: https://page.test\r\n"
        self.guard(HEADERS + "rate_limit: {interval: 1s, burst: 3}\n" + USERS)
        for credentials, status in ((b"", b"401"), (field("alice", "x"), b"401"), (b"", b"401"), (b"", b"429")):
            self.client.get(QUERY, credentials + origin)
            if credentials:
                self.say(False)
            received = self.client.received()
            self.assertTrue(received.startswith(b"HTTP/1.1 " + status), received)
            self.assertEqual(received.count(b"\r\nAccess-Control-Allow-Origin: *\r\n"), 1)
            self.assertEqual(received.count(b"\r\nX-Frame-Options: deny\r\n"), 1)


class StatusTests(GuardCase):
    """What the status page tells of it."""

    def test_listener_without_tls_is_not_said_to_have_it(self) -> None:
        """A listener without TLS is not said to have it, though others have; passwords are asked for on all."""
        for text, protected in ((HEADERS, False), (USERS, True)):
            self.guard(text)
            self.guards = ListenerSecurity(True, "1.2", users=len(self.current.config.users))
            self.client.get(b"/mpp/status?format=json", field("alice", "secret"))
            if protected:
                self.say(True)
            listener = self.split()[1]["listener"]
            self.assertEqual((listener["protected"], listener["tls"], listener["passwords"]), (protected, False, protected))


class AccessLogTests(GuardCase):
    """What the access log tells of who is asking."""

    def setUp(self) -> None:
        """Begin to listen."""
        self.events: list[Any] = []
        globalLogPublisher.addObserver(self.events.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.events.append)
        self.build(access_log=True)
        self.guard(USERS)

    def told(self, *names: str) -> list[tuple[Any, ...]]:
        """Return these fields of each line."""
        lines = [logs.fields(event) for event in self.events if event["log_namespace"] == access.COMPONENT]
        self.assertNotIn("secret", str(lines))
        return [tuple(line.get(name) for name in names) for line in lines]

    def test_verified_user_is_logged(self) -> None:
        """The user whose password was right is told of, the first time and when he is known; Grafana's user is somebody else."""
        for number in range(2):
            self.client.get(QUERY, field("alice", "secret") + b"X-Grafana-User: bob\r\n")
            if not number:
                self.say(True)
            self.answer(FakeResponse(200, b"{}"))
        self.assertEqual(self.told("user", "grafana_user", "status"), [("alice", "bob", 200)] * 2)

    def test_user_of_an_own_page(self) -> None:
        """So is who looks at mpp's own pages."""
        self.client.get(b"/mpp/metrics", field("alice", "secret"))
        self.say(True)
        self.assertEqual(self.told("user", "path", "status"), [("alice", "/mpp/metrics", 200)])

    def test_rejected_client_is_logged_with_the_reason(self) -> None:
        """Who is refused is told of, with his address, what he asked, and why not."""
        self.client.get(QUERY)
        ((client, user, path, query, status, backend, reason),) = self.told(
            "client", "user", "path", "query", "status", "backend", "reason"
        )
        self.assertEqual((client, user, path, query), ("203.0.113.9", None, "/api/v1/query", "up"))
        self.assertEqual((status, backend), (401, "mpp"))
        self.assertIn("a user and a password are required", reason)

    def test_wrong_password(self) -> None:
        """With a wrong password the user is told who somebody tried to be, if there is such a user; the password never is."""
        for user in ("alice", "secret"):
            self.client.get(QUERY, field(user, "x-secret"))
            self.say(False)
        self.assertEqual(self.told("user", "status"), [("alice", 401), (None, 401)])

    def test_unverified_name_is_not_logged_as_user(self) -> None:
        """A name that nobody verifies, as for the probes, is not told of as a user."""
        self.client.get(b"/mpp/health", field("alice", "x"))
        self.assertEqual(self.told("user", "status"), [(None, 200)])

    def test_too_fast(self) -> None:
        """What the rate limit refuses is told of, too."""
        self.guard("rate_limit: {interval: 1s, burst: 1}\n")
        for _ in range(2):
            self.client.get(b"/mpp/metrics")
        self.assertEqual(self.told("status"), [(200,), (429,)])

    def test_no_users(self) -> None:
        """Where mpp asks for no password, the user is who the client says to the servers that he is."""
        self.guard(HEADERS)
        self.client.get(QUERY, field("alice", "secret"))
        self.answer(FakeResponse(200, b"{}"))
        self.assertEqual(self.told("user"), [("alice",)])


class AnswerTests(GuardCase):
    """What else the file asks for."""

    def test_every_response_has_the_configured_fields(self) -> None:
        """Every answer has the configured fields, once; an own page keeps those that it needs."""
        self.guard(HEADERS)
        self.client.get()
        self.answer(FakeResponse(200, b"x", ((b"x-frame-options", b"sameorigin"), (b"X-Other", b"1"))))
        received = self.client.received()
        self.assertIn(b"X-Frame-Options: deny\r\n", received)
        self.assertIn(b"X-Other: 1\r\n", received)
        self.assertNotIn(b"sameorigin", received)
        self.client.get(b"/-/quit")
        self.assertIn(b"X-Frame-Options: deny\r\n", self.client.received())
        self.client.get(b"/mpp/status")
        received = self.client.received()
        self.assertIn(b"X-Frame-Options: deny\r\n", received)
        self.assertEqual(received.count(b"Content-Security-Policy"), 1)
        self.assertNotIn(b"default-src x", received)

    def test_rate_limit(self) -> None:
        """What comes too fast is refused; probes are not."""
        self.guard("rate_limit: {interval: 1s, burst: 1}\n")
        for path, status in ((b"/mpp/metrics", b"200"), (b"/mpp/metrics", b"429"), (b"/mpp/health", b"200")):
            self.client.get(path)
            self.assertEqual(self.client.received().split(b" ")[1], status)
        self.world.clock.advance(1)
        self.client.get(b"/mpp/metrics")
        self.assertEqual(self.client.received().split(b" ")[1], b"200")


class AdminTests(ProxyCase):
    """The own pages on a listener of their own."""

    def site_of(self, root: Any) -> ProxySite:
        return ProxySite(
            root,
            self.world.forwarder,
            limits=Limits(max_body=100),
            budget=MemoryBudget(MIB),
            channels=Channels(self.world.clock),
        )

    def status(self, client: Client, path: bytes) -> bytes:
        client.get(path)
        return client.received().split(b" ")[1]

    def test_admin_pages_are_on_their_listener_only(self) -> None:
        """There they all are, and nothing else; elsewhere only health and ready."""
        admin = Client(self.site_of(AdminRoot(self.own, self.world.metrics)))
        for path, status in ((b"/mpp/metrics", b"200"), (b"/mpp/health", b"200"), (QUERY, b"404"), (b"/", b"404")):
            self.assertEqual(self.status(admin, path), status)
        self.assertEqual(self.world.upstreams.sent, [])
        self.root.page_at = self.own.probes().page_at
        public = Client(self.site_of(self.root))
        for path, status in (
            (b"/mpp/health", b"200"),
            (b"/mpp/ready", b"200"),
            (b"/mpp/metrics", b"404"),
            (b"/mpp/status", b"404"),
            (b"/mpp/", b"404"),
            (b"/mpp", b"404"),
            (b"/mpp/health/metrics", b"404"),
        ):
            with self.subTest(path=path):
                self.assertEqual(self.status(public, path), status)


class MethodTests(GuardCase):
    """Methods that no server is sent."""

    def test_password_comes_first(self) -> None:
        """Who has no password learns nothing of what is served; who has one is told what is."""
        self.guard(USERS)
        self.client.get(QUERY, method=b"TRACE")
        self.assertTrue(self.client.received().startswith(b"HTTP/1.1 401 "))
        self.client.get(QUERY, field("alice", "right"), method=b"TRACE")
        self.say(True)
        head, _ = self.split()
        self.assertTrue(head.startswith(b"HTTP/1.1 405 "))
        self.assertIn(b"\r\nAllow: ", head)
        self.assertEqual(self.world.upstreams.sent, [])


class FrontTests(SynchronousTestCase):
    """The parts together."""

    def front(self, text: str) -> WebConfigService:
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        (folder / "both.pem").write_bytes(FakeAuthority().issue("localhost"))
        (folder / "web.yml").write_text(text)
        settings = Settings(web_config=str(folder / "web.yml"))
        return WebConfigService(settings, MemoryReactorClock(), Metrics(CollectorRegistry()))

    def test_certificate_encrypts_all_listeners(self) -> None:
        """With a certificate all that is listened on is encrypted, and what is by itself is refused."""
        front = self.front("tls_server_config: {cert_file: both.pem, key_file: both.pem}")
        site: Any = object()
        self.assertIsInstance(front.protect(site), TLSMemoryBIOFactory)
        front.check(Settings(listen=("tcp:1",)))
        for option, settings in (
            ("--listen", Settings(listen=("ssl:1",))),
            ("--admin-listen", Settings(admin_listen=("ssl:1",))),
        ):
            self.assertEqual(self.assertRaises(ConfigError, front.check, settings).option, option)

    def test_configured_guards_are_listed(self) -> None:
        """What the file asks for is told as that."""
        limit = "\nrate_limit: {interval: 1s, burst: 1}\n"
        tls = "tls_server_config: {cert_file: both.pem, key_file: both.pem, min_version: TLS13,"
        tls += " client_auth_type: RequireAndVerifyClientCert, client_ca_file: both.pem}\n"
        for text, guards in (
            ("basic_auth_users: {}", ListenerSecurity()),
            (USERS, ListenerSecurity(users=1)),
            (USERS + limit, ListenerSecurity(users=1, rate_limit=True)),
            (tls + USERS, ListenerSecurity(True, "1.3", "RequireAndVerifyClientCert", 1)),
        ):
            self.assertEqual(self.front(text).security, guards)

    def test_no_tls(self) -> None:
        """Without one nothing is between."""
        front = self.front(USERS)
        site: Any = object()
        self.assertIs(front.protect(site), site)
        front.check(Settings(listen=("ssl:1",)))

    def test_costs_nothing_without(self) -> None:
        """Without a web configuration requests are made as ever, with nothing before them."""
        program = Program(configured(endpoints=("prom:9090",)), MemoryReactorClock())
        channel = program.sites.clients.buildProtocol(None)
        self.assertIs(channel._request_factory, ProxyRequest)
        self.assertIs(type(channel), ProxyChannel)
