"""Tests of `mpp.wire.upstream.dialer`: opening connections. A clock and a played reactor for the race, real sockets for TLS."""

from __future__ import annotations

import datetime
import errno
import ipaddress
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from twisted.internet import error, protocol, ssl
from twisted.internet.defer import CancelledError, Deferred, inlineCallbacks
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from mpp.core.errors import Cause, Phase, UpstreamError
from mpp.core.model import Backend
from mpp.wire.memory_budget import MemoryBudget
from mpp.wire.tls import TLSPolicy
from mpp.wire.upstream.connection import UpstreamConnection
from mpp.wire.upstream.dial_errors import cause_of, detail_of
from mpp.wire.upstream.dialer import Dialer
from tests.wire_support import PROM_A, Keeping, Transport


class RaceTests(SynchronousTestCase):
    """Several addresses of one backend."""

    def dial(self, *addresses: str, backend: Backend = PROM_A) -> Deferred[UpstreamConnection]:
        self.reactor = MemoryReactorClock()
        return Dialer(self.reactor, lambda backend: addresses, connect_timeout=1.0, stagger=0.25).dial(backend)

    @property
    def tried(self) -> list[str]:
        return [host for host, *_ in self.reactor.tcpClients]

    @property
    def stopped(self) -> list[bool]:
        return [connector.stoppedConnecting for connector in self.reactor.connectors]

    def connect(self, index: int) -> UpstreamConnection:
        connection = self.reactor.tcpClients[index][2].buildProtocol(None)
        connection.makeConnection(Transport())
        return connection  # type: ignore[no-any-return]

    def refuse(self, index: int, reason: Exception | None = None) -> None:
        factory = self.reactor.tcpClients[index][2]
        factory.clientConnectionFailed(None, Failure(reason or error.ConnectionRefusedError()))

    def cause(self, dialing: Deferred[UpstreamConnection]) -> Cause:
        failed = self.failureResultOf(dialing, UpstreamError).value
        self.assertEqual(failed.phase, Phase.CONNECT)
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        return failed.cause  # type: ignore[no-any-return]

    def test_first_address_is_tried_at_once(self) -> None:
        """The first address is tried at once; when it answers, that is it."""
        dialing = self.dial("10.0.0.1", "10.0.0.2")
        self.assertEqual(self.reactor.tcpClients[0][:2], ("10.0.0.1", 9090))
        connection = self.connect(0)
        self.assertIs(self.successResultOf(dialing), connection)
        self.assertEqual((self.tried, self.reactor.getDelayedCalls()), (["10.0.0.1"], []))

    def test_next_at_once(self) -> None:
        """When an address fails the next one is tried at once, and the one after it has its full delay."""
        self.dial("10.0.0.1", "10.0.0.2", "10.0.0.3")
        self.reactor.advance(0.2)
        self.refuse(0)
        self.assertEqual(self.tried, ["10.0.0.1", "10.0.0.2"])
        self.reactor.advance(0.2)
        self.assertEqual(len(self.tried), 2)
        self.reactor.advance(0.05)
        self.assertEqual(len(self.tried), 3)

    def test_next_beside(self) -> None:
        """When an address does not answer soon the next one is tried beside it; the first to answer wins."""
        dialing = self.dial("10.0.0.1", "10.0.0.2")
        self.reactor.advance(0.25)
        self.assertEqual(self.tried, ["10.0.0.1", "10.0.0.2"])
        connection = self.connect(1)
        self.assertIs(self.successResultOf(dialing), connection)
        self.assertEqual(self.stopped, [True, False])

    def test_moved_meanwhile(self) -> None:
        """A connection to an address that the backend has left meanwhile is given up for one to its new address."""
        addresses = ["10.0.0.1"]
        self.reactor = MemoryReactorClock()
        dialing = Dialer(self.reactor, lambda backend: addresses).dial(PROM_A)
        addresses[:] = ["10.0.0.7"]
        late = self.connect(0)
        self.assertNoResult(dialing)
        self.assertTrue(late.transport.aborted)
        connection = self.connect(1)
        self.assertIs(self.successResultOf(dialing), connection)
        self.assertEqual((connection.address, self.tried), ("10.0.0.7", ["10.0.0.1", "10.0.0.7"]))
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_left_before_it_was_tried(self) -> None:
        """An address that the backend has left is not tried any more; the attempt under way goes on."""
        addresses = ["10.0.0.1", "10.0.0.2"]
        self.reactor = MemoryReactorClock()
        dialing = Dialer(self.reactor, lambda backend: addresses, stagger=0.25).dial(PROM_A)
        addresses[:] = ["10.0.0.1"]
        self.reactor.advance(0.25)
        self.assertEqual(self.tried, ["10.0.0.1"])
        self.assertIs(self.connect(0), self.successResultOf(dialing))

    def test_all_refused(self) -> None:
        """When all addresses fail at once that is told at once, with what the first one showed."""
        dialing = self.dial("10.0.0.1", "10.0.0.2")
        self.refuse(0)
        self.refuse(1, error.NoRouteError())
        self.assertEqual(self.cause(dialing), Cause.REFUSED)

    def test_cause_of_a_failure_is_named(self) -> None:
        """What went wrong is named."""
        for reason, cause in (
            (error.ConnectionRefusedError(), Cause.REFUSED),
            (error.NoRouteError(), Cause.UNREACHABLE),
            (error.ConnectError(113, "No route to host"), Cause.UNREACHABLE),
            (error.TCPTimedOutError(), Cause.TIMEOUT),
            (error.ConnectBindError(24, "Too many open files"), Cause.LOCAL),
        ):
            dialing = self.dial("10.0.0.1")
            self.refuse(0, reason)
            self.assertEqual(self.cause(dialing), cause)

    def test_no_local_port(self) -> None:
        """A lack of local ports is mpp's own; with IPv6 the same error can mean that the address cannot be reached from here."""
        for address, cause in (
            ("10.0.0.1", Cause.LOCAL),
            ("2001:db8::1", Cause.UNREACHABLE),
            ("::ffff:10.0.0.1", Cause.UNREACHABLE),
        ):
            dialing = self.dial(address)
            self.refuse(0, error.ConnectError(errno.EADDRNOTAVAIL, "Cannot assign requested address"))
            self.assertEqual(self.cause(dialing), cause)

    def test_each_thing_is_said_once(self) -> None:
        """An error names its cause, and beside that only what the cause does not say."""
        for problem, said in (
            (error.ConnectionRefusedError(111, "Connection refused"), "connect: refused"),
            (error.TCPTimedOutError(110, "Connection timed out"), "connect: timeout"),
            (error.TimeoutError(), "connect: timeout"),
            (error.NoRouteError(113, "No route to host"), "connect: unreachable (No route to host)"),
            (error.ConnectionLost(), "connect: reset"),
            (error.ConnectionDone(), "connect: closed"),
            (error.ConnectBindError(24, "Too many open files"), "connect: local (Too many open files)"),
            (ValueError("odd"), "connect: tls (ValueError: odd)"),
        ):
            reason = Failure(problem)
            cause = cause_of(reason)
            self.assertEqual(str(UpstreamError(Phase.CONNECT, cause, detail_of(reason, cause))), said)

    def test_connect_timeout_covers_all_addresses(self) -> None:
        """The time for connecting covers all addresses together."""
        dialing = self.dial("10.0.0.1", "10.0.0.2")
        self.reactor.pump([0.25, 0.74])
        self.assertNoResult(dialing)
        self.reactor.advance(0.01)
        self.assertEqual(self.cause(dialing), Cause.TIMEOUT)
        self.assertEqual(self.stopped, [True, True])

    def test_late_failure(self) -> None:
        """What a stopped attempt has to say is of no interest any more."""
        dialing = self.dial("10.0.0.1")
        self.reactor.advance(1)
        self.refuse(0, error.UserError())
        self.assertEqual(self.cause(dialing), Cause.TIMEOUT)

    def test_no_address(self) -> None:
        """A backend whose addresses nobody knows cannot be reached."""
        self.assertEqual(self.cause(self.dial()), Cause.UNREACHABLE)

    def test_no_tls(self) -> None:
        """Without TLS options an https backend is not connected to at all."""
        self.assertEqual(self.cause(self.dial("10.0.0.1", backend=Backend("https", "prom-a", 9090))), Cause.TLS)
        self.assertEqual(self.tried, [])

    def test_cancelling_stops_all_attempts(self) -> None:
        """Cancelling stops all attempts and leaves nothing."""
        dialing = self.dial("10.0.0.1", "10.0.0.2", "10.0.0.3")
        self.reactor.advance(0.25)
        dialing.cancel()
        self.failureResultOf(dialing, CancelledError)
        self.assertEqual((self.stopped, self.reactor.getDelayedCalls()), ([True, True], []))


def certificate(name: x509.GeneralName) -> ssl.PrivateCertificate:
    """Make a self-signed certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([name]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return ssl.PrivateCertificate.loadPEM(built.public_bytes(serialization.Encoding.PEM) + private)


class Answering(protocol.Protocol):
    """Answers each segment."""

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")  # type: ignore[union-attr]


class Closing(protocol.Protocol):
    """Closes at once."""

    def connectionMade(self) -> None:
        self.transport.loseConnection()  # type: ignore[union-attr]


class TLSTests(TestCase):
    """Connections over TLS, on the loopback."""

    def listen(self, served: type[protocol.Protocol] = Answering, options: Any = None) -> int:
        from twisted.internet import reactor

        running: Any = reactor
        factory = protocol.Factory.forProtocol(served)
        if options is None:
            port = running.listenTCP(0, factory, interface="127.0.0.1")
        else:
            port = running.listenSSL(0, factory, options, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        return port.getHost().port  # type: ignore[no-any-return]

    def dial(self, port: int, host: str, trusted: ssl.PrivateCertificate) -> Deferred[UpstreamConnection]:
        from twisted.internet import reactor

        policy = TLSPolicy(ca=trusted.dumpPEM())
        dialer = Dialer(
            reactor,
            lambda backend: ["127.0.0.1"],
            connect_timeout=10.0,
            tls=lambda backend: policy.creator(backend.host),
            eager=True,
        )
        return dialer.dial(Backend("https", host, port))

    @inlineCallbacks
    def test_backend_with_a_valid_name_is_connected(self) -> Any:
        """A backend that proves its name, or its IP address, is connected to, and answers."""
        for host, name in (
            ("prom-a.example", x509.DNSName("prom-a.example")),
            ("127.0.0.1", x509.IPAddress(ipaddress.ip_address("127.0.0.1"))),
        ):
            served = certificate(name)
            connection = yield self.dial(self.listen(options=served.options()), host, served)
            ended: Deferred[None] = Deferred()
            connection.adopt(Keeper(ended), MemoryBudget(100))
            response = yield connection.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"", 100, None)
            self.assertEqual(response.buffered, [b"hello"])
            connection.close()
            yield ended

    @inlineCallbacks
    def test_not_verified(self) -> Any:
        """A backend that proves another name, or nothing, fails because of TLS."""
        served = certificate(x509.DNSName("prom-b.example"))
        other = certificate(x509.DNSName("prom-a.example"))
        for trusted in (served, other):
            failed = yield self.assertFailure(
                self.dial(self.listen(options=served.options()), "prom-a.example", trusted), UpstreamError
            )
            self.assertEqual((failed.phase, failed.cause), (Phase.CONNECT, Cause.TLS))
            self.assertRegex(
                failed.detail, "certificate verify failed: it is self-signed|the certificate is not for prom-a.example"
            )

    def test_a_name_no_certificate_can_be_for(self) -> None:
        """A backend whose name TLS cannot even ask for fails like every other one."""
        policy = TLSPolicy(server_name="prom_\u2603")
        dialer = Dialer(MemoryReactorClock(), lambda backend: ("127.0.0.1",), tls=lambda backend: policy.creator(backend.host))
        failure = self.failureResultOf(dialer.dial(Backend("https", "prom_a", 443)), UpstreamError)
        self.assertEqual((failure.value.phase, failure.value.cause), (Phase.CONNECT, Cause.TLS))

    @inlineCallbacks
    def test_no_tls_there(self) -> Any:
        """A backend that does not speak TLS fails because of TLS; one that hangs up is told from it."""
        for served, cause in ((Answering, Cause.TLS), (Closing, Cause.CLOSED)):
            trusted = certificate(x509.DNSName("prom-a.example"))
            failed = yield self.assertFailure(self.dial(self.listen(served), "prom-a.example", trusted), UpstreamError)
            self.assertIn(failed.cause, (cause, Cause.RESET) if cause is Cause.CLOSED else (cause,))


class Keeper(Keeping):
    """Waits for the end of a connection."""

    def __init__(self, ended: Deferred[None]) -> None:
        self.ended = ended

    def connection_closed(self, connection: UpstreamConnection) -> None:
        self.ended.callback(None)
