"""Kubernetes probes that ask for what a Prometheus server answers."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mpp.proxy.site.kube_probes import KubeProbes


class KubeProbesTests(SynchronousTestCase):
    """What is reported."""

    def test_user_agents(self) -> None:
        """Only a User-Agent that begins with kube-probe/ is a probe's."""
        for value, reported in ((b"kube-probe/1.31+", True), (b"Prometheus kube-probe/1", False), (b"curl/8", False)):
            probes, paths = KubeProbes(), []
            probes.report = paths.append
            probes.inspect(b"/prometheus/-/ready", ((b"Accept", b"*/*"), (b"user-agent", value)))
            self.assertEqual(paths, ["/-/ready"] if reported else [], value)
