"""
Opens the sockets that the settings ask for, or says in one line why it cannot.

Listening happens at once or not at all: a proxy that runs without its port is worse than one that does not start, because
nobody notices. Knows nothing of what is served; needs a reactor and a factory.
"""

from __future__ import annotations

import errno
import functools
import os
import re
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from attrs import frozen
from twisted.internet.address import UNIXAddress
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.python.failure import Failure

from mpp.app.listen.certificate import ReloadableCertificate
from mpp.app.listen.errors import why_not_endpoint, why_not_open
from mpp.core.errors import ConfigError
from mpp.wire.downstream.connection_limit import close_empty
from mpp.wire.downstream.proxy_protocol import ProxyHeaderFactory

if TYPE_CHECKING:
    from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint

    from mpp.core.settings import Settings

BACKLOG = 1024
"""
Connections that may wait to be accepted. With Twisted's 50, the clients of a dashboard that all come at once have their SYN
dropped, and wait a second for the next one. The kernel has its own limit (``net.core.somaxconn``, 4096 on Linux).
"""

UNIX_MODE = "660"
"""
Who may connect to a Unix socket where its ``mode=`` does not say: user and group. Twisted's default is everybody on the machine,
which goes past every firewall, and to mpp's own pages as well.
"""

_SYSTEMD = "systemd:"
# Twisted's word for an endpoint whose connections begin with a PROXY protocol header.
_PROXIED = "haproxy:"
_UNIX = "unix:"
# A colon in a path has a backslash before it, and so has that backslash.
_HAS_MODE = re.compile(r"(?<!\\)(?:\\\\)*:mode=").search
_NO_IPV6 = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT)


def _nothing() -> bool:
    """Renew nothing."""
    return False


@frozen
class OpenEndpoint:
    """
    An open socket.

    :ivar inherited: it was handed over by systemd, which keeps it open for the next process.
    :ivar reload_certificate: reads the files of its certificate again, for new connections, and tells whether it is another one;
        raises `ConfigError` when they are no good, and then the former one stays. Does nothing where it has none.
    """

    port: IListeningPort
    inherited: bool = False
    reload_certificate: Callable[[], bool] = _nothing

    def close(self) -> None:
        """
        Accept nothing more.

        Who waits to be accepted still is, at once; on a socket that was inherited the next process will do that.
        """
        if self.inherited:
            self.port.stopListening()
        else:
            close_empty(self.port)


def listen(
    settings: Settings, reactor: Any, factory: IProtocolFactory, admin: IProtocolFactory | None = None
) -> list[OpenEndpoint]:
    """
    Open every socket that is configured, all or none.

    :param factory: for clients.
    :param admin: for those who look after mpp, on the sockets that are theirs.
    :return: the open sockets, already accepting; the caller closes them.
    :raise ConfigError: one of them cannot be opened; those opened before it are closed again.
    """
    # Twisted would log when it begins to use each, and when it ends.
    for each in filter(None, (factory, admin)):
        each.noisy = False  # type: ignore[attr-defined]
    opened: list[OpenEndpoint] = []
    try:
        if settings.port is not None:
            bind = functools.partial(_bind_shared if settings.reuse_port else _bind, reactor, settings.port, factory)
            opened += map(OpenEndpoint, _open_port(settings, bind))
        opened += (_open(reactor, "--listen", text, factory) for text in settings.listen)
        if admin is not None:
            opened += (_open(reactor, "--admin-listen", text, admin) for text in settings.admin_listen)
    except ConfigError:
        for socket_ in opened:
            socket_.port.stopListening()
        raise
    return opened


def where(port: IListeningPort) -> str:
    """Give an open port's address as one would write it."""
    address = port.getHost()
    if isinstance(address, UNIXAddress):
        return f"unix:{os.fsdecode(address.name or b'')}"
    host, number = getattr(address, "host", None), getattr(address, "port", None)
    if host is None:
        return str(address)
    return f"[{host}]:{number}" if ":" in host else f"{host}:{number}"


def is_inherited(text: str) -> bool:
    """Return whether the socket of this endpoint is one that systemd hands over."""
    return text.removeprefix(_PROXIED).startswith(_SYSTEMD)


def endpoint(reactor: Any, text: str, option: str = "--listen") -> IStreamServerEndpoint:
    """
    Give the server endpoint that a string describes; nothing is opened yet, but certificates are read.

    :param option: to blame.
    :raise ConfigError: there is no such type of endpoint, or its arguments make no sense, or its files cannot be read.
    """
    if text.startswith(_PROXIED + "ssl:"):
        header_first = "a load balancer sends its PROXY header before TLS, which this endpoint cannot read"
        raise ConfigError(option, f"{text!r}: {header_first}; expected haproxy:tcp: with --web-config for the certificate")
    try:
        return _with_backlog(reactor, text.removeprefix(_PROXIED))
    # Not only ValueError: each type is a plugin of its own, and fails as it likes.
    except Exception as error:
        raise ConfigError(option, why_not_endpoint(text, error)) from None


def _open_port(settings: Settings, bind: Callable[[str], IListeningPort]) -> list[IListeningPort]:
    """Open a port on all addresses: one socket for IPv6 and IPv4 where that can be had."""
    try:
        try:
            both = bind("::")
        except CannotListenError as error:
            if getattr(error.socketError, "errno", None) not in _NO_IPV6:
                raise
            return [bind("")]
        return [both, *_open_ipv4_beside(both, lambda: bind(""))]
    except CannotListenError as error:
        if settings.reuse_port and getattr(error.socketError, "errno", None) == errno.EADDRINUSE:
            raise ConfigError("--port", f"{settings.port} {_NOT_SHARED}") from None
        raise ConfigError("--port", why_not_open(str(settings.port), error)) from None


_NOT_SHARED = (
    "is in use by somebody who does not share it; expected a free port, or another mpp with --reuse-port, of the same user"
)


def _bind(reactor: Any, number: int, factory: IProtocolFactory, interface: str) -> IListeningPort:
    port: IListeningPort = reactor.listenTCP(number, factory, BACKLOG, interface)
    return port


def _bind_shared(reactor: Any, number: int, factory: IProtocolFactory, interface: str) -> IListeningPort:
    """Open a port that other processes may open, too; the kernel deals connections out among them."""
    family = socket.AF_INET6 if interface else socket.AF_INET
    try:
        # The reactor takes a copy of the descriptor.
        with socket.socket(family, socket.SOCK_STREAM) as skt:
            skt.setblocking(False)
            skt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            skt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            skt.bind((interface, number))
            skt.listen(BACKLOG)
            port: IListeningPort = reactor.adoptStreamPort(skt.fileno(), family, factory)
            return port
    except OSError as error:
        raise CannotListenError(interface, number, error) from None


def _open_ipv4_beside(port: IListeningPort, open_ipv4: Callable[[], IListeningPort]) -> list[IListeningPort]:
    """Open a second socket where IPv6 sockets take IPv6 only (some BSDs, and Linux with ``net.ipv6.bindv6only=1``)."""
    skt = getattr(port, "socket", None)  # a port in memory has none
    if skt is None or not skt.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY):
        return []
    try:
        return [open_ipv4()]
    except CannotListenError:
        port.stopListening()
        raise


def _with_backlog(reactor: Any, text: str) -> IStreamServerEndpoint:
    described: IStreamServerEndpoint
    if text.startswith(_SYSTEMD) and hasattr(reactor, "inherited_endpoint"):
        # A worker has from its parent what systemd handed over to that.
        described = reactor.inherited_endpoint()
        return described
    text = _with_mode(reactor, text)
    try:
        described = serverFromString(reactor, text if "backlog=" in text else f"{text}:backlog={BACKLOG}")
    # Not every type of endpoint has a backlog of its own (systemd), or it was given by position.
    except TypeError:
        described = serverFromString(reactor, text)
    return described


def _with_mode(reactor: Any, text: str) -> str:
    """Return a description with a mode of its own, or with `UNIX_MODE` if it is one of a Unix socket that has none."""
    if not text.startswith(_UNIX) or _HAS_MODE(text):
        return text
    with_mode = f"{text}:mode={UNIX_MODE}"
    try:
        serverFromString(reactor, with_mode)
    # It was given by position.
    except TypeError:
        return text
    return with_mode


def _open(reactor: Any, option: str, text: str, factory: IProtocolFactory) -> OpenEndpoint:
    """Open an endpoint now; every server endpoint of Twisted answers before ``listen`` returns."""
    outcome: list[IListeningPort | Failure] = []
    renewable = ReloadableCertificate(reactor) if text.startswith("ssl:") else None
    served = ProxyHeaderFactory(factory, reactor) if text.startswith(_PROXIED) else factory
    waiting = endpoint(renewable or reactor, text, option).listen(served)
    waiting.addBoth(outcome.append)
    if not outcome:
        waiting.cancel()
        raise ConfigError(option, f"{text!r} does not listen at once, which is not supported")
    if isinstance(outcome[0], Failure):
        raise ConfigError(option, why_not_open(repr(text), outcome[0].value))
    renew = _nothing if renewable is None else functools.partial(_reload_certificate, renewable, text, option, factory)
    return OpenEndpoint(outcome[0], is_inherited(text), renew)


def _reload_certificate(renewable: ReloadableCertificate, text: str, option: str, factory: IProtocolFactory) -> bool:
    before = renewable.shown
    outcome: list[IListeningPort | Failure] = []
    endpoint(renewable, text, option).listen(factory).addBoth(outcome.append)
    if isinstance(outcome[0], Failure):
        raise ConfigError(option, why_not_open(repr(text), outcome[0].value))
    return renewable.shown != before
