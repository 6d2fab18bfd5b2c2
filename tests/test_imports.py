"""What importing has no right to do: install a reactor, or load half of Twisted for nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).parent.parent


def loaded_by(module: str) -> set[str]:
    """Give what a fresh interpreter has loaded after importing a module."""
    code = f"import {module}, sys; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    return set(run.stdout.split())


class ImportsTests(SynchronousTestCase):
    """Importing a module of mpp has no effects."""

    def test_plugin_imports_nothing_of_mpp(self) -> None:
        """The plugin, which every twistd on the machine imports, loads nothing of mpp, no reactor and no web server."""
        loaded = loaded_by("twisted.plugins.mpp_plugin")
        self.assertEqual({name for name in loaded if name.split(".")[0] == "mpp"}, set())
        self.assertEqual(loaded & {"twisted.internet.reactor", "twisted.web", "httptools", "prometheus_client"}, set())

    def test_without_twisted(self) -> None:
        """What answers ``mpp --help`` does without Twisted."""
        for module in (
            "mpp",
            "mpp.core.model",
            "mpp.core.errors",
            "mpp.core.text.values",
            "mpp.config.options",
            "mpp.config.loader",
            "mpp.__main__",
        ):
            with self.subTest(module=module):
                self.assertEqual({name for name in loaded_by(module) if name.split(".")[0] == "twisted"}, set())

    def test_without_reactor(self) -> None:
        """No module installs a reactor before the operator's choice of one is known."""
        for module in ("mpp.core.interfaces", "mpp.app.listen.endpoints", "mpp.tap", "mpp.wire"):
            with self.subTest(module=module):
                loaded = loaded_by(module)
                self.assertNotIn("twisted.internet.reactor", loaded)
                self.assertNotIn("twisted.web", loaded)
