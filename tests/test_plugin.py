"""``twistd`` finds mpp."""

from __future__ import annotations

from pathlib import Path

from twisted.application.service import IServiceMaker
from twisted.plugin import getPlugins
from twisted.trial.unittest import SynchronousTestCase

from mpp import tap

ROOT = Path(__file__).parent.parent


class PluginTests(SynchronousTestCase):
    """The plugin file and where it lies."""

    def test_exactly_one_subcommand_is_named_mpp(self) -> None:
        """There is exactly one subcommand named mpp."""
        self.assertEqual([plugin.tapname for plugin in getPlugins(IServiceMaker) if plugin.tapname == "mpp"], ["mpp"])

    def test_leads_to_the_tap(self) -> None:
        """It takes its options and its service from the tap."""
        plugin = next(plugin for plugin in getPlugins(IServiceMaker) if plugin.tapname == "mpp")
        self.assertIs(plugin.options, tap.Options)
        self.assertIs(plugin.makeService, tap.makeService)

    def test_is_no_package(self) -> None:
        """The folders around the plugin are no packages: as such they would hide or overwrite Twisted itself."""
        self.assertEqual(list((ROOT / "twisted").rglob("__init__.py")), [])
