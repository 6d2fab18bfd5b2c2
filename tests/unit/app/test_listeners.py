"""Which sockets are open."""

from __future__ import annotations

from typing import Any

from attrs import frozen
from twisted.internet.address import IPv4Address
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mpp.app.listen.listeners import Listeners, sockets_of
from mpp.core.errors import ConfigError
from mpp.core.settings import Settings
from mpp.wire.downstream.channels import Channels
from mpp.wire.downstream.connection_limit import ConnectionLimit

FACTORY = Factory.forProtocol(Protocol)
TAKEN = 9


@frozen
class Opener:
    """A reactor that notes which ports are opened and closed; one of them is taken."""

    told: list[str]

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Any:
        """Open, unless it is taken."""
        if port == TAKEN:
            raise CannotListenError(interface, port, OSError("is taken"))
        self.told.append(f"open {port}")
        return Port(port, self.told)


@frozen
class Port:
    """An open port."""

    number: int
    told: list[str]

    def getHost(self) -> IPv4Address:
        """Return the address."""
        return IPv4Address("TCP", "0.0.0.0", self.number)

    def stopListening(self) -> None:
        """Close."""
        self.told.append(f"close {self.number}")


class ListenersTests(SynchronousTestCase):
    """From one configuration to another."""

    def setUp(self) -> None:
        self.told: list[str] = []
        gate = ConnectionLimit(Channels(Clock()), 10)
        self.listeners = Listeners(Opener(self.told), FACTORY, FACTORY, gate)

    def follow(self, *listen: int, port: int | None = None) -> list[str]:
        """Have other sockets; give what was done."""
        self.told.clear()
        self.listeners.reconfigure(Settings(port=port, listen=tuple(f"tcp:{number}" for number in listen)))()
        return self.told

    def test_new_sockets_open_before_old_ones_close(self) -> None:
        """What is new is opened before what is gone is closed; what stays is left alone."""
        self.assertEqual(self.follow(2, port=1), ["open 1", "open 2"])
        self.assertEqual(self.follow(2, 3), ["open 3", "close 1"])
        self.assertEqual(self.listeners.addresses, ("0.0.0.0:2", "0.0.0.0:3"))
        self.assertEqual(self.follow(3, 2), [])
        self.assertEqual(self.listeners.addresses, ("0.0.0.0:3", "0.0.0.0:2"))

    def test_failed_opening_changes_nothing(self) -> None:
        """When one cannot be opened nothing has changed."""
        self.follow(2)
        self.assertRaises(ConfigError, self.follow, 3, TAKEN)
        self.assertEqual(self.listeners.addresses, ("0.0.0.0:2",))
        self.assertEqual(self.told, ["open 3", "close 3"])

    def test_reuse_port_concerns_the_port_only(self) -> None:
        """A reload that changes it opens no other socket a second time."""
        before, after = (
            sockets_of(Settings(port=1, listen=("a",), admin_listen=("b",), reuse_port=each)) for each in (False, True)
        )
        self.assertEqual([one == other for one, other in zip(before, after, strict=True)], [False, True, True])

    def test_each_once(self) -> None:
        """A socket that is configured twice is one."""
        alone = sockets_of(Settings(port=1, listen=("a", "a")))
        self.assertEqual([(each.port, each.listen) for each in alone], [(1, ()), (None, ("a",))])
