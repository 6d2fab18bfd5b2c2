"""
Opens the sockets that the settings ask for, or says in one line why it cannot.

Listening happens at once or not at all: a proxy that runs without its port is worse than one that does not start, because
nobody notices. Knows nothing of what is served; needs a reactor and a factory.
"""

from __future__ import annotations

import errno
import resource
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.python.failure import Failure

from mpp.errors import ConfigError

if TYPE_CHECKING:
    from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint

    from mpp.settings import Settings

BACKLOG = 1024
"""
Connections that may wait to be accepted. With Twisted's 50, the clients of a dashboard that all come at once have their SYN
dropped, and wait a second for the next one. The kernel has its own limit (``net.core.somaxconn``, 4096 on Linux).
"""

_NO_IPV6 = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT)


def listen(settings: Settings, reactor: Any, factory: IProtocolFactory) -> list[IListeningPort]:
    """
    Open every socket that is configured, all or none.

    :return: the open ports, already accepting; the caller stops them.
    :raise ConfigError: one of them cannot be opened; those opened before it are closed again.
    """
    # Twisted would log a line for every port opened and closed, in its own words.
    factory.noisy = False  # type: ignore[attr-defined]
    opened: list[IListeningPort] = []
    try:
        if settings.port is not None:
            opened += _open_port(reactor, settings.port, factory)
        for text in settings.listen:
            opened.append(_open_endpoint(text, endpoint(reactor, text), factory))
    except ConfigError:
        for port in opened:
            port.stopListening()
        raise
    return opened


def endpoint(reactor: Any, text: str) -> IStreamServerEndpoint:
    """
    Give the server endpoint that a string describes; nothing is opened yet, but certificates are read.

    :raise ConfigError: there is no such type of endpoint, or its arguments make no sense, or its files cannot be read.
    """
    try:
        return _with_backlog(reactor, text)
    # Not only ValueError: each type is a plugin of its own, and fails as it likes.
    except Exception as error:
        raise ConfigError("--listen", _why_not_endpoint(text, error)) from None


def raise_file_limit() -> int:
    """
    Raise the number of files (and sockets) this process may have open to what the system grants.

    :return: the limit now in force.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == hard:
        return soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    # macOS says "unlimited" and then does not allow it: what we had must do.
    except (OSError, ValueError):
        return soft
    return hard


def _open_port(reactor: Any, number: int, factory: IProtocolFactory) -> list[IListeningPort]:
    """Open a port on all addresses: one socket for IPv6 and IPv4 where that can be had."""
    try:
        try:
            both = reactor.listenTCP(number, factory, BACKLOG, "::")
        except CannotListenError as error:
            if getattr(error.socketError, "errno", None) not in _NO_IPV6:
                raise
            return [reactor.listenTCP(number, factory, BACKLOG, "")]
        return [both, *_open_ipv4_beside(both, lambda: reactor.listenTCP(number, factory, BACKLOG, ""))]
    except CannotListenError as error:
        raise ConfigError("--port", _why_not_open(str(number), error)) from None


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
    try:
        described = serverFromString(reactor, text if "backlog=" in text else f"{text}:backlog={BACKLOG}")
    # Not every type of endpoint has a backlog of its own (systemd), or it was given by position.
    except TypeError:
        described = serverFromString(reactor, text)
    return described


def _open_endpoint(text: str, described: IStreamServerEndpoint, factory: IProtocolFactory) -> IListeningPort:
    """Open an endpoint now; every server endpoint of Twisted answers before ``listen`` returns."""
    outcome: list[IListeningPort | Failure] = []
    waiting = described.listen(factory)
    waiting.addBoth(outcome.append)
    if not outcome:
        waiting.cancel()
        raise ConfigError("--listen", f"{text!r} does not listen at once, which is not supported")
    if isinstance(outcome[0], Failure):
        raise ConfigError("--listen", _why_not_open(repr(text), outcome[0].value))
    return outcome[0]


def _why_not_open(what: str, error: BaseException | None) -> str:
    cause = error.socketError if isinstance(error, CannotListenError) else error
    number = getattr(cause, "errno", None)
    if number == errno.EADDRINUSE:
        return f"{what} is already in use; expected a free port"
    if number in (errno.EACCES, errno.EPERM):
        return f"{what} may not be opened by this user; expected a port above 1023, or the right to open lower ones"
    if number == errno.EADDRNOTAVAIL:
        return f"{what} is no address of this machine; expected one of its own"
    return f"{what} cannot be listened on: {_in_words(cause)}"


def _why_not_endpoint(text: str, error: Exception) -> str:
    if isinstance(error, OSError) and error.filename:
        return f"{text!r}: {error.filename} cannot be read ({error.strerror}); expected the files of a key and its certificate"
    if text.startswith("systemd:") and isinstance(error, LookupError):
        return f"{text!r}: no such socket was handed over by systemd"
    # OpenSSL's errors have no common base that could be named without importing it.
    if "OpenSSL" in type(error).__module__:
        return f"{text!r}: expected privateKey and certKey to be files in PEM format that belong together"
    return f"{text!r} is not a Twisted server endpoint ({_in_words(error)})"


def _in_words(error: BaseException | None) -> str:
    """Give an error in one line, whatever it is."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split()) or type(error).__name__
