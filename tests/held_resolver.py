"""A resolver of host names whose answers the test gives."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IAddress, IHostnameResolver, IHostResolution, IResolutionReceiver
from zope.interface import implementer


@implementer(IHostResolution)
@frozen
class Resolution:
    """A look-up that began."""

    name: str

    def cancel(self) -> None:
        raise NotImplementedError("like twisted's")


@implementer(IHostnameResolver)
class HeldResolver:
    """
    A resolver; of the name ``broken`` it says that it is none.

    :ivar asked: the names that were asked for.
    :ivar kinds: of which kinds of addresses, for each.
    """

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.kinds: list[Sequence[type[IAddress]] | None] = []
        self.receivers: list[IResolutionReceiver] = []

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[type[IAddress]] | None = None,
        transportSemantics: str = "TCP",
    ) -> IHostResolution:
        if hostName == "broken":
            raise UnicodeError("label too long")
        self.asked.append(hostName)
        self.kinds.append(addressTypes)
        self.receivers.append(resolutionReceiver)
        resolution = Resolution(hostName)
        resolutionReceiver.resolutionBegan(resolution)
        return resolution

    def answer(self, index: int, *addresses: str) -> None:
        """Answer a look-up; without addresses it failed."""
        for address in addresses:
            kind = IPv6Address if ":" in address else IPv4Address
            self.receivers[index].addressResolved(kind("TCP", address, 0))
        self.receivers[index].resolutionComplete()
