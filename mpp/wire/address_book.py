"""
The IP addresses of backends' host names, looked up in each selection round, not for each request. Knows no connections.

A request gets them from `AddressBook.addresses`, which returns at once from memory. The selection round calls
`AddressBook.refresh`. A look-up that fails changes nothing: the addresses of the last successful look-up stay in use.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable
from functools import partial

from attrs import Factory, define
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IAddress, IHostnameResolver, IHostResolution, IReactorTime, IResolutionReceiver
from twisted.python.failure import Failure
from txaio.tx import make_logger
from zope.interface import implementer

from mpp.core.model import Backend
from mpp.core.scheduling.pacing import of_each

_log = make_logger()

# How long a selection round waits for the first addresses of a new host. Most resolvers ask a second server after 5 s or fail
# earlier; by then the next round asks again.
FIRST_WAIT_S = 2.0
# How long a selection round waits for a host whose addresses are known: long enough for a resolver that works, so that this round
# sees a host that has moved; too short to be felt when the resolver does not work.
REFRESH_WAIT_S = 0.1
# After this time a look-up counts as lost, and another one is started. A look-up in a thread cannot be cancelled, and starting
# one in every round of an outage would soon occupy all threads.
LOST_AFTER_S = 60.0


@define(eq=False)
class _Host:
    """
    The addresses of one host name and the state of its look-ups.

    :ivar asked_at: when the running look-up started, None when none runs.
    :ivar waiting: fire when the running look-up ends.
    :ivar failing: the last look-up failed, and that was logged.
    """

    name: str
    addresses: tuple[str, ...] = ()
    asked_at: float | None = None
    waiting: list[Deferred[None]] = Factory(list)
    failing: bool = False


def _unwatched(host: str, addresses: tuple[str, ...]) -> None:
    """Do nothing, because no connections depend on the addresses."""


class AddressBook:
    """
    The addresses of all backends in use, each as found by its last successful look-up.

    :param resolver: looks names up, for both address families (Twisted's default resolver does it in a thread).
    :param clock: for the time limits of the waits.
    :param moved: called with a host name and its current addresses when a former address is no longer among them.
    """

    def __init__(
        self, resolver: IHostnameResolver, clock: IReactorTime, moved: Callable[[str, tuple[str, ...]], None] = _unwatched
    ) -> None:
        self._resolver = resolver
        self._clock = clock
        self._moved = moved
        self._hosts: dict[str, _Host] = {}
        self._literals: set[str] = set()

    def addresses(self, backend: Backend) -> tuple[str, ...]:
        """
        Return the IP addresses of a backend's host, in the resolver's order; empty while none is known.

        A host that is an IP address itself needs no look-up, and is returned unchanged.
        """
        host = self._hosts.get(backend.host)
        if host is not None:
            return host.addresses
        return (backend.host,) if self._is_literal(backend.host) else ()

    def _is_literal(self, host: str) -> bool:
        """Return whether a host is an IP address, without parsing it if it was one at the last `refresh`."""
        return host in self._literals or _is_literal(host)

    def refresh(self, backends: Iterable[Backend]) -> Deferred[None]:
        """
        Look up the host names of exactly these backends concurrently, and forget all other hosts.

        :return Deferred(None): fires when all are looked up, or after a short wait (`FIRST_WAIT_S` if a host has no address yet,
            else `REFRESH_WAIT_S`); a later result is still used. Never fails, except by cancellation, which stops the wait but no
            look-up.
        """
        hosts = dict.fromkeys(backend.host for backend in backends)
        self._literals = set(filter(self._is_literal, hosts))
        self._hosts = {host: self._hosts.get(host) or _Host(host) for host in hosts if host not in self._literals}
        waited = Deferred.fromCoroutine(of_each(self._wait, self._hosts.values(), self._clock))
        return waited.addCallback(lambda _: None)

    def _wait(self, host: _Host) -> Deferred[None]:
        ended: Deferred[None] = Deferred()
        host.waiting.append(ended)
        # Set before the look-up starts, because a look-up may end at once.
        ended.addTimeout(REFRESH_WAIT_S if host.addresses else FIRST_WAIT_S, self._clock)
        ended.addErrback(self._waited_enough, host)
        if host.asked_at is None or self._clock.seconds() - host.asked_at >= LOST_AFTER_S:
            self._ask(host)
        return ended

    def _waited_enough(self, failure: Failure, host: _Host) -> Failure | None:
        host.waiting = [waiter for waiter in host.waiting if not waiter.called]
        if failure.check(CancelledError):
            return failure
        if not host.addresses:
            self._complain(host, "no response yet")
        return None

    def _ask(self, host: _Host) -> None:
        host.asked_at = self._clock.seconds()
        try:
            answers = ResolutionReceiver(partial(self.answered, host))
            self._resolver.resolveHostName(answers, host.name, addressTypes=(IPv4Address, IPv6Address))
        except Exception as error:  # any fault of a resolver; no traffic depends on this look-up
            self.answered(host, (), f"{type(error).__name__}: {error}")

    def answered(self, host: _Host, addresses: tuple[str, ...], problem: str = "no address found") -> None:
        """
        Store the addresses that a look-up found, and end the waits for it. If it found none, the former addresses stay.

        :param problem: why there are no addresses, for the log.
        """
        host.asked_at = None
        if not addresses:
            self._complain(host, problem)
        else:
            if host.failing:
                _log.info("host {host} resolves again", host=host.name, log_same=f"{host.name} resolves again")
            host.failing = False
            before, host.addresses = host.addresses, addresses
            if not set(before) <= set(addresses):
                self._report_move(host, before)
        waiting, host.waiting = host.waiting, []
        for waiter in waiting:
            waiter.callback(None)

    def _report_move(self, host: _Host, before: tuple[str, ...]) -> None:
        # Identical moves are logged as one kind: a name server that rotates its addresses causes the same moves again and again.
        _log.info(
            "host {host} has moved from {before} to {addresses}: connections to its former addresses are no longer used",
            host=host.name,
            before=", ".join(before),
            addresses=", ".join(host.addresses),
            log_same=f"{host.name} has moved",
        )
        self._moved(host.name, host.addresses)

    def _complain(self, host: _Host, problem: str) -> None:
        """Log that a host does not resolve, once per outage."""
        if not host.failing:
            kept = ", ".join(host.addresses) or "none"
            _log.warn(
                "host {host} does not resolve ({problem}); mpp goes on with its last known addresses: {kept}",
                host=host.name,
                problem=problem,
                kept=kept,
            )
        host.failing = True


@implementer(IResolutionReceiver)
class ResolutionReceiver:
    """
    The receiver of the addresses of one look-up.

    :param complete: called once, at the end of the look-up, with the addresses in the resolver's order and without duplicates;
        empty if the look-up failed.
    """

    def __init__(self, complete: Callable[[tuple[str, ...]], None]) -> None:
        self._complete = complete
        self._addresses: dict[str, None] = {}

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        """Ignore the running look-up: Twisted's default resolver cannot cancel it."""

    def addressResolved(self, address: IAddress) -> None:
        """Add one address; a resolver may report the same one once for each socket type."""
        if isinstance(address, IPv4Address | IPv6Address):
            self._addresses.setdefault(address.host)

    def resolutionComplete(self) -> None:
        """Pass the collected addresses to ``complete``."""
        self._complete(tuple(self._addresses))


def _is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
