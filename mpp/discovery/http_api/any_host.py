"""
An endpoint that connects to any host name that the reactor's resolver accepts.

Twisted's ``HostnameEndpoint`` rejects names that are not valid as international ones (IDNA 2008) before it resolves them:
``under_score.example`` and ``ab--c.example``, which Docker Compose and cloud load balancers assign. That class is still used to
race the addresses of a name (RFC 8305), but gets a valid name in place of the real one, which the resolver puts back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.interfaces import (
    IAddress,
    IHostnameResolver,
    IHostResolution,
    IReactorPluggableNameResolver,
    IResolutionReceiver,
    IStreamClientEndpoint,
)
from zope.interface import implementer

# A valid name that is never resolved (RFC 6761 section 6.4), for the endpoint to validate.
_STAND_IN = "host.invalid"


def host_endpoint(reactor: Any, host: str, port: int, timeout: float) -> IStreamClientEndpoint:
    """
    Return an endpoint for a host name or an IP address.

    :param timeout: seconds for the attempt on each of the host's addresses.
    """
    endpoint: IStreamClientEndpoint = HostnameEndpoint(_ReactorForHost(reactor, host), _STAND_IN, port, timeout=timeout)
    return endpoint


@implementer(IReactorPluggableNameResolver, IHostnameResolver)
class _ReactorForHost:
    """A reactor whose resolver always resolves the same host, whatever name it is given."""

    def __init__(self, reactor: Any, host: str) -> None:
        self._reactor = reactor
        self._host = host

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    @property
    def nameResolver(self) -> IHostnameResolver:
        """The resolver of the fixed host."""
        return self

    def installNameResolver(self, resolver: IHostnameResolver) -> IHostnameResolver:
        """Install a resolver in the reactor itself."""
        previous: IHostnameResolver = self._reactor.installNameResolver(resolver)
        return previous

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[type[IAddress]] | None = None,
        transportSemantics: str = "TCP",
    ) -> IHostResolution:
        """Resolve the fixed host, see `IHostnameResolver`."""
        resolver = self._reactor.nameResolver
        resolution: IHostResolution = resolver.resolveHostName(
            resolutionReceiver, self._host, portNumber, addressTypes, transportSemantics
        )
        return resolution
