"""Kubernetes probes that were copied from the manifest of a Prometheus."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.processes import Mpp, Simulated, fetch

KUBELET = {"User-Agent": "kube-probe/1.31"}


class KubernetesProbeTests(SynchronousTestCase):
    """mpp with one worker and with two, in front of a server that goes down."""

    def test_said_once(self) -> None:
        """The log warns once, while all is well: when the server is down the probe gets 503, and mpp's own page 200."""
        for workers in ("1", "2"):
            server = Simulated("--version", "3.5.0")
            self.addCleanup(server.close)
            mpp = Mpp([server.start().url], "--workers", workers).start_for(self)
            for _ in range(10):
                self.assertEqual(fetch(mpp.port, "/-/healthy", headers=KUBELET)[0], 200)
                self.assertEqual(fetch(mpp.port, "/-/ready", headers=KUBELET)[0], 200)
            server.kill()
            self.assertEqual(fetch(mpp.port, "/-/healthy", headers=KUBELET)[0], 503)
            self.assertEqual(fetch(mpp.port, "/mpp/health", headers=KUBELET)[0], 200)
            said = [line for line in mpp.log().splitlines() if "kube" in line.lower()]
            self.assertEqual(["let the livenessProbe ask for /mpp/health" in line for line in said], [True], said)
