"""Opening sockets."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from typing import Any

from attrs import define, field
from twisted.internet import reactor
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IStreamServerEndpointStringParser
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock, deferLater
from twisted.internet.testing import MemoryReactorClock
from twisted.internet.threads import deferToThread
from twisted.plugin import getPlugins
from twisted.python.filepath import FilePath
from twisted.python.systemd import ListenFDs
from twisted.trial.unittest import SynchronousTestCase, TestCase

from mpp.app.checks import check
from mpp.app.listen.endpoints import BACKLOG, OpenEndpoint, endpoint, listen, where
from mpp.app.listen.listeners import Listeners
from mpp.core.errors import ConfigError
from mpp.core.settings import Settings
from mpp.wire.downstream.channels import Channels
from mpp.wire.downstream.connection_limit import ConnectionLimit
from tests.fake_https import FakeAuthority

FACTORY = Factory.forProtocol(Protocol)


@define
class RefusingReactor:
    """A reactor on which some interfaces cannot be listened on, each for its own reason."""

    errors: dict[str, int]
    opened: list[str] = field(factory=list)
    closed: list[str] = field(factory=list)

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Any:
        """Listen, or fail as told."""
        if interface in self.errors:
            raise CannotListenError(interface, port, OSError(self.errors[interface], "no"))
        self.opened.append(interface)
        return RecordingPort(interface, self.closed)


@define
class RecordingPort:
    """A port that notes when it is closed."""

    interface: str
    closed: list[str]

    def stopListening(self) -> None:
        """Close."""
        self.closed.append(self.interface)


@define
class Recorded:
    """Opens Unix sockets, and notes which."""

    opened: list[tuple[str, int]] = field(factory=list)

    def __call__(self, address: str, factory: Any, backlog: int = 50, mode: int = 0o666, wantPID: bool = False) -> Any:
        self.opened.append((address, mode))
        return RecordingPort(address, [])


class UnixTests(SynchronousTestCase):
    """Unix sockets."""

    def test_sockets_have_mode_0660_by_default(self) -> None:
        """User and group may connect, for clients and for admins, unless a mode is given in whatever way."""
        for text, path, mode in (
            ("unix:/run/mpp.sock", "/run/mpp.sock", 0o660),
            ("unix:/run/mpp.sock:backlog=7", "/run/mpp.sock", 0o660),
            ("unix:address=/run/mpp.sock:lockfile=0", "/run/mpp.sock", 0o660),
            (r"unix:/run/a\:mode\=666", "/run/a:mode=666", 0o660),
            (r"unix:/run/a\\:mode=666", "/run/a\\", 0o666),
            ("unix:/run/mpp.sock:mode=666", "/run/mpp.sock", 0o666),
            ("unix:mode=600:address=/run/mpp.sock", "/run/mpp.sock", 0o600),
            ("unix:/run/mpp.sock:600", "/run/mpp.sock", 0o600),
            ("unix:/run/mpp.sock:666:50", "/run/mpp.sock", 0o666),
        ):
            for settings in (Settings(port=None, listen=(text,)), Settings(port=None, admin_listen=(text,))):
                with self.subTest(text=text):
                    memory = MemoryReactorClock()
                    # It does not tell what it opened in a form that `listen` looks at.
                    memory.listenUNIX = Recorded()  # type: ignore[method-assign]
                    listen(settings, memory, FACTORY, FACTORY)
                    self.assertEqual(memory.listenUNIX.opened, [(path, mode)])

    def test_no_mode(self) -> None:
        """What is no mode is said to be none of a Unix socket."""
        for text in ("unix:/run/mpp.sock:mode=rw", "unix:/run/mpp.sock:mode=680"):
            error = self.assertRaises(ConfigError, endpoint, MemoryReactorClock(), text)
            self.assertIn(repr(text), str(error))


class PortTests(SynchronousTestCase):
    """``--port``."""

    def test_both_families(self) -> None:
        """The port is opened once, for IPv6 and IPv4 together, with room for many who wait."""
        memory = MemoryReactorClock()
        ports = listen(Settings(port=9090), memory, FACTORY)
        self.assertEqual(len(ports), 1)
        self.assertEqual(memory.tcpServers, [(9090, FACTORY, BACKLOG, "::")])
        self.assertGreaterEqual(BACKLOG, 1024)

    def test_no_ipv6(self) -> None:
        """Where there is no IPv6 the port is opened for IPv4."""
        for number in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
            refusing = RefusingReactor({"::": number})
            self.assertEqual(len(listen(Settings(), refusing, FACTORY)), 1)
            self.assertEqual(refusing.opened, [""])

    def test_in_use(self) -> None:
        """A port that is taken is not opened for the other family instead."""
        refusing = RefusingReactor({"::": errno.EADDRINUSE})
        error = self.assertRaises(ConfigError, listen, Settings(port=9090), refusing, FACTORY)
        self.assertEqual(str(error), "--port: 9090 is already in use; expected a free port")
        self.assertEqual(refusing.opened, [])

    def test_not_allowed(self) -> None:
        """A privileged port says that it is one."""
        refusing = RefusingReactor({"::": errno.EACCES})
        error = self.assertRaises(ConfigError, listen, Settings(port=80), refusing, FACTORY)
        self.assertEqual(
            str(error), "--port: 80 may not be opened by this user; expected a port above 1023, or the right to open lower ones"
        )

    def test_unrequested_port_is_not_opened(self) -> None:
        """No port is opened that is not asked for."""
        memory = MemoryReactorClock()
        self.assertEqual(listen(Settings(port=None), memory, FACTORY), [])
        self.assertEqual(memory.tcpServers, [])

    def test_all_or_none(self) -> None:
        """When one socket cannot be opened, those opened before it are closed."""
        refusing = RefusingReactor({"127.0.0.1": errno.EADDRINUSE})
        settings = Settings(port=9090, listen=("tcp:9091:interface=127.0.0.1",))
        error = self.assertRaises(ConfigError, listen, settings, refusing, FACTORY)
        self.assertEqual(str(error), "--listen: 'tcp:9091:interface=127.0.0.1' is already in use; expected a free port")
        self.assertEqual(refusing.closed, ["::"])


class SharedSystemdTests(SynchronousTestCase):
    """Sockets from systemd that two endpoints want."""

    def test_one_endpoint_for_each_socket(self) -> None:
        """A socket from systemd serves clients, or clients behind a load balancer, or admins: not a mixture of them."""
        passed(self, 0)
        text = "systemd:domain=INET:name=mpp"
        for settings, problem in (
            (
                Settings(port=None, listen=(text, f"haproxy:{text}")),
                f"--listen: 'haproxy:{text}' is the same socket as --listen {text}",
            ),
            (
                Settings(port=None, listen=(text,), admin_listen=(text,)),
                f"--admin-listen: {text!r} is the same socket as --listen {text}",
            ),
        ):
            error = self.assertRaises(ConfigError, check, settings, MemoryReactorClock())
            self.assertEqual(str(error), f"{problem}; expected one endpoint for each socket")
        check(Settings(port=None, listen=(text, text)), MemoryReactorClock())


class EndpointTests(SynchronousTestCase):
    """``--listen``."""

    def test_endpoint_gets_the_backlog_of_the_port(self) -> None:
        """An endpoint that says nothing of it gets the same backlog as the port; one that does keeps its own."""
        for text, backlog in (("tcp:1", BACKLOG), ("tcp6:1", BACKLOG), ("tcp:1:backlog=7", 7), ("tcp:1:127.0.0.1:7", 7)):
            with self.subTest(text=text):
                memory = MemoryReactorClock()
                listen(Settings(port=None, listen=(text,)), memory, FACTORY)
                self.assertEqual(memory.tcpServers[0][2], backlog)

    def test_unknown_address(self) -> None:
        """An address of another machine says so."""
        refusing = RefusingReactor({"192.0.2.1": errno.EADDRNOTAVAIL})
        settings = Settings(port=None, listen=("tcp:1:interface=192.0.2.1",))
        error = self.assertRaises(ConfigError, listen, settings, refusing, FACTORY)
        self.assertEqual(
            str(error), "--listen: 'tcp:1:interface=192.0.2.1' is no address of this machine; expected one of its own"
        )

    def test_bad_endpoint_is_rejected_in_one_line(self) -> None:
        """What is wrong with an endpoint is said in one line."""
        for text, message in (
            ("foo:1", "'foo:1' is not a Twisted server endpoint (Unknown endpoint type: 'foo')"),
            ("tcp:abc", "'tcp:abc' is not a Twisted server endpoint (invalid literal for int() with base 10: 'abc')"),
            ("systemd:domain=INET6:name=mpp", "'systemd:domain=INET6:name=mpp': no such socket was passed to mpp by systemd"),
            ("systemd:domain=INET6:index=3", "'systemd:domain=INET6:index=3': no such socket was passed to mpp by systemd"),
            (
                "ssl:1:privateKey=/nowhere/key.pem",
                "'ssl:1:privateKey=/nowhere/key.pem': /nowhere/key.pem cannot be read (No such file or directory);"
                " expected the files of a key and its certificate",
            ),
            (
                "haproxy:tcp:abc",
                "'haproxy:tcp:abc' is not a Twisted server endpoint (invalid literal for int() with base 10: 'abc')",
            ),
            (
                "haproxy:ssl:1",
                "'haproxy:ssl:1': a load balancer sends its PROXY header before TLS, which this endpoint cannot read;"
                " expected haproxy:tcp: with --web-config for the certificate",
            ),
        ):
            with self.subTest(text=text):
                error = self.assertRaises(ConfigError, endpoint, MemoryReactorClock(), text)
                self.assertEqual(str(error), f"--listen: {message}")

    def test_changed_certificate_is_used_for_new_connections(self) -> None:
        """A certificate is read again for new connections; while its files are broken the former one stays in use."""
        authority, path = FakeAuthority(), FilePath(self.mktemp())
        reactor = MemoryReactorClock()
        path.setContent(authority.issue("one"))
        settings = Settings(port=None, listen=(f"ssl:1:privateKey={path.path}", "tcp:2"))
        opened = listen(settings, reactor, Factory())
        ((_, _, shown, backlog, _),) = reactor.sslServers
        self.assertEqual(backlog, BACKLOG)
        contexts = [shown.getContext(), shown.getContext()]
        path.setContent(authority.issue("two"))
        self.assertEqual([[each.reload_certificate() for each in opened] for _ in range(2)], [[True, False], [False, False]])
        contexts.append(shown.getContext())
        path.setContent(b"broken")
        error = self.assertRaises(ConfigError, opened[0].reload_certificate)
        self.assertIn("expected privateKey and certKey to be files in PEM format that belong together", str(error))
        path.remove()
        self.assertIn("No such file", str(self.assertRaises(ConfigError, opened[0].reload_certificate)))
        contexts.append(shown.getContext())
        self.assertEqual([context is contexts[0] for context in contexts], [True, True, False, False])
        self.assertIs(contexts[2], contexts[3])
        self.assertEqual((len(reactor.sslServers), len(reactor.tcpServers)), (1, 1))

    def test_no_certificate(self) -> None:
        """Files that hold no key and certificate say what they should be."""
        path = self.mktemp()
        FilePath(path).setContent(b"http://localhost:9090\n")
        text = f"ssl:1:privateKey={path}:certKey={path}"
        error = self.assertRaises(ConfigError, endpoint, MemoryReactorClock(), text)
        self.assertEqual(
            str(error), f"--listen: {text!r}: expected privateKey and certKey to be files in PEM format that belong together"
        )


class WhereTests(SynchronousTestCase):
    """How an address is written in the log."""

    def test_addresses_are_written_as_usual(self) -> None:
        """As one would write it elsewhere."""
        for address, text in (
            (IPv4Address("TCP", "127.0.0.1", 9090), "127.0.0.1:9090"),
            (IPv6Address("TCP", "::", 9090), "[::]:9090"),
            (UNIXAddress("/run/mpp.sock"), "unix:/run/mpp.sock"),
            (UNIXAddress(None), "unix:"),
        ):
            self.assertEqual(where(Bound(address)), text)


@define
class Bound:
    """A port that has an address, and nothing else."""

    address: Any

    def getHost(self) -> Any:
        return self.address

    def startListening(self) -> None:
        """Be a port."""

    def stopListening(self) -> None:
        """Be a port."""


class Greeting(Protocol):
    """Says something to whoever is let in."""

    def connectionMade(self) -> None:
        """Greet and close."""
        assert self.transport is not None
        self.transport.write(b"hello")
        self.transport.loseConnection()


class SocketTests(TestCase):
    """Real sockets."""

    def listen(self, **how: Any) -> list[OpenEndpoint]:
        """Listen, for as long as the test takes."""
        opened = listen(Settings(**how), reactor, Factory.forProtocol(Greeting))
        for each in opened:
            self.addCleanup(stop, each.port)
        return opened

    @inlineCallbacks
    def test_shared_port_can_be_opened_twice(self) -> Any:
        """A port that is opened to be shared can be opened once more, for both families, and each of the two can be closed."""
        number = free_port()
        (first,) = self.listen(port=number, reuse_port=True)
        (second,) = self.listen(port=number, reuse_port=True)
        first.close()
        yield deferToThread(self.greeted, number, "127.0.0.1")
        second.close()
        error = yield self.assertFailure(deferToThread(self.greeted, number, "127.0.0.1"), OSError)
        self.assertEqual(error.errno, errno.ECONNREFUSED)

    def test_not_shared(self) -> None:
        """A port that somebody has for himself is refused in words that say so."""
        number = free_port()
        for held, wanted in ((False, True), (True, False)):
            (holder,) = self.listen(port=number, reuse_port=held)
            error = self.assertRaises(ConfigError, self.listen, port=number, reuse_port=wanted)
            self.assertIn(f"--port: {number} is ", str(error))
            self.assertEqual("--reuse-port" in str(error), wanted)
            holder.close()

    @inlineCallbacks
    def test_queue_is_emptied(self) -> Any:
        """Clients that wait to be accepted when the port is closed are served."""
        number = free_port()
        (opened,) = self.listen(port=number)
        with contextlib.ExitStack() as stack:
            # The kernel makes the connections; the reactor has no turn before the port is closed.
            clients = [stack.enter_context(socket.create_connection(("127.0.0.1", number))) for _ in range(150)]
            opened.close()
            for client in clients:
                greeting = yield deferToThread(client.recv, 10)
                self.assertEqual(greeting, b"hello")

    @inlineCallbacks
    def test_inherited_queue_is_left(self) -> Any:
        """Clients that wait on an inherited socket are left to the next process."""
        with socket.create_server(("127.0.0.1", 0)) as held:
            held.setblocking(False)
            port = reactor.adoptStreamPort(held.fileno(), socket.AF_INET, FACTORY)  # type: ignore[attr-defined]
            with socket.create_connection(held.getsockname()):
                OpenEndpoint(port, inherited=True).close()
                yield deferLater(reactor, 0)  # type: ignore[arg-type]
                accepted, _ = held.accept()
                accepted.close()

    @inlineCallbacks
    def test_socket_of_systemd_is_opened_again(self) -> Any:
        """A socket from systemd that is no longer configured, or differently, can be opened again, whatever has opened since."""
        with socket.create_server(("127.0.0.1", 0)) as held:
            number = held.getsockname()[1]
            passed(self, held.fileno())
            former = self.listen(port=None, listen=("systemd:domain=INET:name=mpp",))
            with contextlib.ExitStack() as others:
                # The lowest free descriptors, as any other file would get them.
                for _ in range(10):
                    others.callback(os.close, os.open(os.devnull, os.O_RDONLY))
                again = self.listen(port=None, listen=("systemd:domain=INET:index=0",))
                yield former[0].close()
                yield deferLater(reactor, 0)  # type: ignore[arg-type]
                yield deferToThread(self.greeted, number, "127.0.0.1")
                yield again[0].close()
                yield deferLater(reactor, 0)  # type: ignore[arg-type]
                self.listen(port=None, listen=("systemd:domain=INET:name=mpp",))
                yield deferToThread(self.greeted, number, "127.0.0.1")

    def test_socket_of_a_crashed_process(self) -> None:
        """A Unix socket is opened although a crashed mpp has left it with a lock that names a living process, or this one."""
        for holder in (os.getpid(), os.getppid()):
            for has_socket in (True, False):
                path = f"mpp-{os.getpid()}-{id(self)}.sock"
                os.symlink(str(holder), f"{path}.lock")
                if has_socket:
                    with socket.socket(socket.AF_UNIX) as crashed:
                        crashed.bind(path)
                        crashed.listen()
                (opened,) = self.listen(port=None, listen=(f"unix:{path}",))
                self.assertEqual(os.readlink(f"{path}.lock"), str(os.getpid()))
                with socket.socket(socket.AF_UNIX) as client:
                    client.connect(path)
                opened.close()
                self.assertEqual([os.path.lexists(each) for each in (path, f"{path}.lock")], [False, False])

    def test_other_arguments_for_an_open_socket(self) -> None:
        """Another mode for a Unix socket that this mpp has open needs a restart, and is not blamed on another process."""
        path = f"mpp-{os.getpid()}-{id(self)}.sock"
        gate = ConnectionLimit(Channels(Clock()), 10)
        listeners = Listeners(reactor, FACTORY, FACTORY, gate)
        listeners.reconfigure(Settings(port=None, listen=(f"unix:{path}",)))
        self.addCleanup(listeners.close)
        error = self.assertRaises(ConfigError, listeners.reconfigure, Settings(port=None, listen=(f"unix:{path}:mode=600",)))
        said = f"--listen: 'unix:{path}:mode=600' is open with other arguments; a change of them needs a restart"
        self.assertEqual((str(error), error.needs_restart), (said, True))

    def test_socket_in_use(self) -> None:
        """A Unix socket that another process serves is left to it, also if its queue is full; the error names the lock file."""
        path, holder = f"mpp-{os.getpid()}-{id(self)}.sock", str(os.getppid())
        os.symlink(holder, f"{path}.lock")
        self.addCleanup(os.remove, f"{path}.lock")
        with contextlib.ExitStack() as sockets:
            other = sockets.enter_context(socket.socket(socket.AF_UNIX))
            other.bind(path)
            self.addCleanup(os.remove, path)
            other.listen(0)
            for _ in range(2):
                error = self.assertRaises(ConfigError, self.listen, port=None, listen=(f"unix:{path}",))
                self.assertEqual(
                    str(error),
                    f"--listen: 'unix:{path}' is in use by another process; its lock file {path}.lock names process {holder}."
                    " Expected another path, or that this process is stopped first;"
                    " if it does not use the socket, remove both files",
                )
                client = sockets.enter_context(socket.socket(socket.AF_UNIX))
                client.setblocking(False)
                client.connect_ex(path)
            self.assertEqual(os.readlink(f"{path}.lock"), holder)
            other.accept()[0].close()

    def test_file_that_is_no_socket(self) -> None:
        """A file of another kind is never removed for a socket, whatever lock file there is."""
        path = self.mktemp()
        FilePath(path).setContent(b"precious")
        os.symlink(str(os.getppid()), f"{path}.lock")
        error = self.assertRaises(ConfigError, self.listen, port=None, listen=(f"unix:{path}",))
        self.assertEqual(str(error), f"--listen: 'unix:{path}' is already in use; expected a free port")
        self.assertEqual(FilePath(path).getContent(), b"precious")

    @inlineCallbacks
    def test_unix_socket_of_systemd_is_left_as_it_is(self) -> Any:
        """A Unix socket from systemd keeps its file and its mode, and serves the next process."""
        path = f"mpp-{os.getpid()}-{id(self)}.sock"
        with socket.socket(socket.AF_UNIX) as held:
            held.bind(path)
            self.addCleanup(os.remove, path)
            os.chmod(path, 0o600)
            held.listen()
            passed(self, held.fileno())
            (opened,) = self.listen(port=None, listen=("systemd:domain=UNIX:name=mpp",))
            self.assertEqual(where(opened.port), f"unix:{path}")
            opened.close()
            yield deferLater(reactor, 0)  # type: ignore[arg-type]
            self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)
            self.listen(port=None, listen=("systemd:domain=UNIX:name=mpp",))
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(path)
                greeting = yield deferToThread(client.recv, 10)
            self.assertEqual(greeting, b"hello")

    def test_unix_socket_of_systemd_keeps_a_long_queue(self) -> None:
        """As many clients may wait for it as before: one that does not wait itself, as nginx, would get an error."""
        path = f"mpp-{os.getpid()}-{id(self)}.sock"
        with socket.socket(socket.AF_UNIX) as held, contextlib.ExitStack() as clients:
            held.bind(path)
            self.addCleanup(os.remove, path)
            held.listen(300)
            passed(self, held.fileno())
            self.listen(port=None, listen=("systemd:domain=UNIX:name=mpp",))
            for _ in range(min(300, socket.SOMAXCONN)):
                client = clients.enter_context(socket.socket(socket.AF_UNIX))
                client.setblocking(False)
                client.connect(path)

    def greeted(self, number: int, host: str) -> None:
        """Connect and read to the end."""
        with socket.create_connection((host, number), timeout=5) as client:
            while client.recv(100):
                pass

    @inlineCallbacks
    def test_both_families(self) -> Any:
        """One port answers on IPv4 and IPv6."""
        number = free_port()
        ports = listen(Settings(port=number), reactor, FACTORY)
        try:
            for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
                with socket.socket(family) as client:
                    try:
                        client.connect((host, number))
                    except OSError as error:
                        if family is socket.AF_INET6 and error.errno != errno.ECONNREFUSED:
                            continue  # no IPv6 on this machine
                        raise
        finally:
            for port in ports:
                yield stop(port.port)

    @inlineCallbacks
    def test_in_use(self) -> Any:
        """A port that is really taken is refused."""
        number = free_port()
        ports = listen(Settings(port=number), reactor, FACTORY)
        try:
            error = self.assertRaises(ConfigError, listen, Settings(port=number), reactor, FACTORY)
            self.assertEqual(error.option, "--port")
            text = f"tcp6:{number}"
            error = self.assertRaises(ConfigError, listen, Settings(port=None, listen=(text,)), reactor, FACTORY)
            self.assertEqual(error.option, "--listen")
        finally:
            for port in ports:
                yield stop(port.port)


def passed(case: SynchronousTestCase, descriptor: int) -> None:
    """Let this process have a socket from systemd, as by LISTEN_FDS, with the name "mpp"."""
    parser = next(each for each in getPlugins(IStreamServerEndpointStringParser) if each.prefix == "systemd")
    case.patch(type(parser), "_sddaemon", ListenFDs([descriptor], ["mpp"]))


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
        return number


def stop(port: Any) -> Deferred[None] | None:
    """Close a port."""
    result: Deferred[None] | None = port.stopListening()
    return result
