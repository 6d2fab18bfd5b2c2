"""A program that is to give Kubernetes credentials and hangs: mpp names it, and leaves nothing of it behind."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.processes import fetch, wait_until
from tests.integration.test_reload import Configured
from tests.kubeconfigs import make_kubeconfig

HANGS = '#!/bin/sh\nsleep 3600 & echo $$ $! > "$1"\nwait\n'
"""Starts a process, writes both numbers to a file, and waits for ever."""


class HangingPluginTests(SynchronousTestCase):
    """mpp with a plugin that never ends, as processes."""

    def setUp(self) -> None:
        """Start mpp, and wait until the plugin runs."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        self.plugin, self.notes = folder / "get-token", folder / "notes"
        self.plugin.write_text(HANGS)
        self.plugin.chmod(0o755)
        program = {"command": str(self.plugin), "args": [str(self.notes)]}
        user = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "interactiveMode": "Never", **program}}
        kubeconfig = make_kubeconfig(folder, user, {"server": "https://127.0.0.1:1"})
        self.mpp = Configured(kubeconfig=str(kubeconfig), kube_service_name="prometheus", enable_lifecycle=True).start_for(self)
        self.addCleanup(self.kill_plugins)
        self.pids = wait_until(self.noted, "the plugin runs")

    def noted(self) -> list[int]:
        """Return the numbers of the plugin's two processes; an empty list before they run."""
        numbers = self.notes.read_text().split() if self.notes.exists() else []
        return list(map(int, numbers)) if len(numbers) == 2 else []

    def kill_plugins(self) -> None:
        """Kill the plugin that ran last: mpp cannot when it is killed itself, as it is when a test fails."""
        for pid in self.noted():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def are_gone(self, pids: list[int]) -> bool:
        """Return whether none of the processes runs; a zombie only waits for its parent to take its status."""
        for pid in pids:
            try:
                if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
                    return False
            except (FileNotFoundError, ProcessLookupError):
                continue
        return True

    def problem(self) -> str:
        """Return what the status page says of the locator."""
        status = json.loads(fetch(self.mpp.port, "/mpp/status?format=json")[2])
        return str(status["locators"][0]["problem"])

    def test_time_limit_and_end(self) -> None:
        """After its time limit the plugin is gone with its child and named as the problem; so it is when mpp is told to end."""
        self.assertFalse(self.are_gone(self.pids))
        self.notes.unlink()
        expected = f".user.exec.command: {self.plugin}: not finished after 30 s"
        wait_until(lambda: self.problem().endswith(expected), f"the problem names the plugin: {self.problem()}", 45, 0.2)
        wait_until(lambda: self.are_gone(self.pids), "the first run is gone", 5)
        second = wait_until(self.noted, "the plugin runs again")
        self.assertFalse(self.are_gone(second))
        self.mpp.stop()
        wait_until(lambda: self.are_gone(second), "the second run is gone", 5)

    def test_reloaded_away(self) -> None:
        """A plugin that the configuration does not mention any more is gone with its child after the reload."""
        self.mpp.write(endpoint=["127.0.0.1:1"], enable_lifecycle=True)
        self.assertEqual(self.mpp.post()[0], 200)
        wait_until(lambda: self.are_gone(self.pids), "the plugin is gone", 5)
