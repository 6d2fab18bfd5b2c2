"""Which sockets are open."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mpp.app.listen.sockets import SocketSet, sockets_of
from mpp.core.errors import ConfigError
from mpp.core.settings import Settings


class SocketsTests(SynchronousTestCase):
    """From one configuration to another."""

    def setUp(self) -> None:
        self.told: list[str] = []
        self.sockets: SocketSet[str] = SocketSet(self.open, lambda name: self.told.append(f"close {name}"))

    def open(self, alone: Settings) -> list[str]:
        """Open, unless it is taken."""
        name = str(alone.port or alone.listen[0])
        if name == "taken":
            raise ConfigError("--listen", "is taken")
        self.told.append(f"open {name}")
        return [name]

    def follow(self, *listen: str, port: int | None = None) -> list[str]:
        """Have other sockets; give what was done."""
        self.told.clear()
        self.sockets.reconfigure(Settings(port=port, listen=listen))()
        return self.told

    def test_new_sockets_open_before_old_ones_close(self) -> None:
        """What is new is opened before what is gone is closed; what stays is left alone."""
        self.assertEqual(self.follow("a", port=1), ["open 1", "open a"] if self.told[0] == "open 1" else ["open a", "open 1"])
        self.assertEqual(self.follow("a", "b"), ["open b", "close 1"])
        self.assertEqual(self.sockets.open, ["a", "b"])
        self.assertEqual(self.follow("b", "a"), [])

    def test_failed_opening_changes_nothing(self) -> None:
        """When one cannot be opened nothing has changed."""
        self.follow("a")
        self.assertRaises(ConfigError, self.follow, "b", "taken")
        self.assertEqual(self.sockets.open, ["a"])
        self.assertEqual([told for told in self.told if told.startswith("close")], ["close b"] * self.told.count("open b"))

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
