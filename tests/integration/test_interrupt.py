"""Ctrl-C at any moment of the start, and later."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.processes import CHECKOUT, free_port
from tests.integration.workers import KEPT

PATIENCE = 60

# Runs mpp, and sends SIGINT to itself when a module is about to be imported.
PROGRAM = """
import os, signal, sys
_, module, *sys.argv[1:] = sys.argv
class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == module:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupt())
from mpp.__main__ import main
main()
"""


class InterruptTests(SynchronousTestCase):
    """SIGINT, as a terminal sends it."""

    def environment(self) -> dict[str, str]:
        return {name: text for name, text in os.environ.items() if name in KEPT or not name.startswith("MPP_")}

    def argv(self) -> list[str]:
        return ["--endpoint", f"127.0.0.1:{free_port()}", "--listen", "tcp:0:interface=127.0.0.1"]

    def test_while_it_starts(self) -> None:
        """It ends the process silently, whatever is being imported: the options, Twisted, the plugin or the program."""
        for module in (
            "mpp.config.options",
            "mpp.config.loader",
            "twisted.scripts.twistd",
            "mpp.wire.tuned",
            "mpp.tap",
            "mpp.app.program",
        ):
            with self.subTest(module=module):
                ended = subprocess.run(
                    [sys.executable, "-c", PROGRAM, module, *self.argv()],
                    env=self.environment(),
                    cwd=CHECKOUT,
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    text=True,
                    timeout=PATIENCE,
                )
                self.assertEqual((ended.returncode, ended.stderr, ended.stdout), (-signal.SIGINT, "", ""))

    def test_while_it_runs(self) -> None:
        """It stops mpp in order."""
        process = subprocess.Popen(
            [sys.executable, "-u", "-m", "mpp", *self.argv()],
            env=self.environment(),
            cwd=CHECKOUT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        # The first line that is logged once the reactor runs.
        for line in process.stdout:
            if "locator" in line or "component=mpp.selection" in line:
                break
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)
        self.assertIn("Received SIGINT", out)
        self.assertEqual((process.returncode, err), (-signal.SIGINT, ""))
