"""
Opening of the configured listening sockets, with an error of one line if one of them cannot be opened.

All sockets are opened at start, or mpp does not start: a proxy that runs without one of its ports would be noticed too late.
This module knows nothing about what is served; it needs a reactor and a protocol factory.
"""

from __future__ import annotations

import errno
import functools
import os
import re
import socket
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

from attrs import frozen
from twisted.internet.address import UNIXAddress
from twisted.internet.endpoints import AdoptedStreamServerEndpoint, serverFromString
from twisted.internet.error import CannotListenError
from twisted.python.failure import Failure

from mpp.app.listen.certificate import ReloadableCertificate
from mpp.app.listen.errors import why_not_endpoint, why_not_open
from mpp.app.listen.inherited import SystemdEndpoint
from mpp.app.listen.unix_lock import locked_socket, remove_abandoned, why_locked
from mpp.core.errors import ConfigError
from mpp.wire.downstream.connection_limit import close_empty
from mpp.wire.downstream.proxy_protocol import ProxyHeaderFactory

if TYPE_CHECKING:
    from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint

    from mpp.core.settings import Settings

BACKLOG = 1024
"""
The number of connections that may wait to be accepted. With Twisted's default of 50, the kernel drops SYNs when the clients of
a dashboard connect at the same time, and they send the next one after a second. The kernel has a limit too
(``net.core.somaxconn``, 4096 on Linux).
"""

UNIX_MODE = "660"
"""
The file mode of a Unix socket without ``mode=``: its user and group may connect. With Twisted's default, every local user could
connect, past every firewall, also to the admin pages.
"""

_SYSTEMD = "systemd:"
# Twisted's prefix for an endpoint whose connections begin with a PROXY protocol header.
_PROXIED = "haproxy:"
_UNIX = "unix:"
# In an endpoint description, a backslash escapes a colon and another backslash.
_HAS_MODE = re.compile(r"(?<!\\)(?:\\\\)*:mode=").search
_NO_IPV6 = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT)


def _nothing() -> bool:
    """Return False, because the endpoint has no certificate to reload."""
    return False


@frozen
class OpenEndpoint:
    """
    An open listening socket.

    :ivar inherited: True if systemd passed the socket to mpp; systemd keeps it open for the next process.
    :ivar reload_certificate: reads the certificate files again, for new connections, and returns whether the certificate has
        changed. It raises `ConfigError` if the files are invalid; the previous certificate is then kept. It returns False on an
        endpoint without a certificate.
    """

    port: IListeningPort
    inherited: bool = False
    reload_certificate: Callable[[], bool] = _nothing

    def close(self) -> None:
        """
        Stop listening on this endpoint.

        Connections that wait in the backlog are accepted first; on an inherited socket they are left to the next process.
        """
        if self.inherited:
            self.port.stopListening()
        else:
            close_empty(self.port)


def listen(
    settings: Settings,
    reactor: Any,
    factory: IProtocolFactory,
    admin: IProtocolFactory | None = None,
    own: Collection[str] = (),
) -> list[OpenEndpoint]:
    """
    Open all configured sockets, or none.

    :param factory: the protocol factory for clients.
    :param admin: the protocol factory for the sockets of ``--admin-listen``.
    :param own: the addresses (`where`) of the sockets that this mpp has open already.
    :return: the open sockets, already accepting; the caller closes them.
    :raise ConfigError: one of them cannot be opened; the sockets opened before it are closed again.
    """
    # Otherwise Twisted logs the start and the stop of each factory.
    for each in filter(None, (factory, admin)):
        each.noisy = False  # type: ignore[attr-defined]
    opened: list[OpenEndpoint] = []
    try:
        if settings.port is not None:
            bind = functools.partial(_bind_shared if settings.reuse_port else _bind, reactor, settings.port, factory)
            opened += map(OpenEndpoint, _open_port(settings, bind))
        opened += (_open(reactor, "--listen", text, factory, own) for text in settings.listen)
        if admin is not None:
            opened += (_open(reactor, "--admin-listen", text, admin, own) for text in settings.admin_listen)
    except ConfigError:
        for socket_ in opened:
            socket_.port.stopListening()
        raise
    return opened


def where(port: IListeningPort) -> str:
    """Return the address of an open port as text, ``host:port``, ``[host]:port`` or ``unix:path``."""
    address = port.getHost()
    if isinstance(address, UNIXAddress):
        return f"unix:{os.fsdecode(address.name or b'')}"
    host, number = getattr(address, "host", None), getattr(address, "port", None)
    if host is None:
        return str(address)
    return f"[{host}]:{number}" if ":" in host else f"{host}:{number}"


def is_inherited(text: str) -> bool:
    """Return whether the socket of this endpoint is passed to mpp by systemd."""
    return text.removeprefix(_PROXIED).startswith(_SYSTEMD)


def endpoint(reactor: Any, text: str, option: str = "--listen") -> IStreamServerEndpoint:
    """
    Return the server endpoint that a string describes; certificates are read, but no socket is opened.

    :param option: the option that errors name.
    :raise ConfigError: the type of endpoint is unknown, its arguments are invalid, or its files cannot be read.
    """
    if text.startswith(_PROXIED + "ssl:"):
        header_first = "a load balancer sends its PROXY header before TLS, which this endpoint cannot read"
        raise ConfigError(option, f"{text!r}: {header_first}; expected haproxy:tcp: with --web-config for the certificate")
    try:
        return _with_backlog(reactor, text.removeprefix(_PROXIED))
    # Not only ValueError: each type of endpoint is a plugin and may raise anything.
    except Exception as error:
        raise ConfigError(option, why_not_endpoint(text, error)) from None


def _open_port(settings: Settings, bind: Callable[[str], IListeningPort]) -> list[IListeningPort]:
    """Open a port on all addresses: with one socket for IPv6 and IPv4 where the system supports it."""
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
    "is in use by a process that does not share it; expected a free port, or another mpp with --reuse-port, of the same user"
)


def _bind(reactor: Any, number: int, factory: IProtocolFactory, interface: str) -> IListeningPort:
    port: IListeningPort = reactor.listenTCP(number, factory, BACKLOG, interface)
    return port


def _bind_shared(reactor: Any, number: int, factory: IProtocolFactory, interface: str) -> IListeningPort:
    """Open a port with SO_REUSEPORT: other processes may open it too, and the kernel distributes connections among them."""
    family = socket.AF_INET6 if interface else socket.AF_INET
    try:
        # The reactor duplicates the descriptor.
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
    """Open a second socket where IPv6 sockets accept IPv6 only (some BSDs, and Linux with ``net.ipv6.bindv6only=1``)."""
    skt = getattr(port, "socket", None)  # a port in memory has no socket
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
        # A worker gets the socket from its parent, which got it from systemd.
        described = reactor.inherited_endpoint()
        return described
    text = _with_mode(reactor, text)
    try:
        described = serverFromString(reactor, text if "backlog=" in text else f"{text}:backlog={BACKLOG}")
    # The type of endpoint has no backlog argument (systemd), or the description has it as a positional argument.
    except TypeError:
        described = serverFromString(reactor, text)
    if isinstance(described, AdoptedStreamServerEndpoint):
        return SystemdEndpoint(reactor, described.fileno, described.addressFamily)
    return described


def _with_mode(reactor: Any, text: str) -> str:
    """Return an endpoint description, with `UNIX_MODE` added if it describes a Unix socket without a mode."""
    if not text.startswith(_UNIX) or _HAS_MODE(text):
        return text
    with_mode = f"{text}:mode={UNIX_MODE}"
    try:
        serverFromString(reactor, with_mode)
    # The description has the mode as a positional argument.
    except TypeError:
        return text
    return with_mode


def _open(reactor: Any, option: str, text: str, factory: IProtocolFactory, own: Collection[str]) -> OpenEndpoint:
    """Open an endpoint now."""
    renewable = ReloadableCertificate(reactor) if text.startswith("ssl:") else None
    served = ProxyHeaderFactory(factory, reactor) if text.startswith(_PROXIED) else factory
    described = endpoint(renewable or reactor, text, option)
    outcome = _listen(described, served)
    locked = locked_socket(outcome)
    if locked and f"unix:{locked}" in own:
        why = f"{text!r} is open with other arguments; a change of them needs a restart"
        raise ConfigError(option, why, needs_restart=True)
    if locked and remove_abandoned(locked):
        outcome = _listen(described, served)
    if isinstance(outcome, BaseException):
        locked = locked_socket(outcome)
        raise ConfigError(option, why_locked(repr(text), locked) if locked else why_not_open(repr(text), outcome))
    if outcome is None:
        raise ConfigError(option, f"{text!r} does not listen at once, which is not supported")
    renew = _nothing if renewable is None else functools.partial(_reload_certificate, renewable, text, option, factory)
    return OpenEndpoint(outcome, is_inherited(text), renew)


def _listen(described: IStreamServerEndpoint, factory: IProtocolFactory) -> IListeningPort | BaseException | None:
    """
    Return the port of an endpoint, the error that it fails with, or None for an endpoint that does not listen at once.

    With every server endpoint of Twisted, ``listen`` returns a Deferred that has already fired.
    """
    outcome: list[IListeningPort | Failure] = []
    waiting = described.listen(factory)
    waiting.addBoth(outcome.append)
    if not outcome:
        waiting.cancel()
        return None
    return outcome[0].value if isinstance(outcome[0], Failure) else outcome[0]


def _reload_certificate(renewable: ReloadableCertificate, text: str, option: str, factory: IProtocolFactory) -> bool:
    before = renewable.shown
    outcome = _listen(endpoint(renewable, text, option), factory)
    if isinstance(outcome, BaseException):
        raise ConfigError(option, why_not_open(repr(text), outcome))
    return renewable.shown != before
