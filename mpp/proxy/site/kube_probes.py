"""
Warns, once, of a Kubernetes probe that asks for what a Prometheus server answers instead of mpp.

Probes copied from the manifest of a Prometheus ask for ``/-/healthy`` and ``/-/ready``. mpp forwards these paths like all
others, and answers 503 when no server can be reached. Kubernetes then restarts mpp, or takes it out of its Service, although
mpp is not what is broken.
"""

from __future__ import annotations

from collections.abc import Callable

from txaio.tx import make_logger

from mpp.core import headers
from mpp.core.model import Headers

_log = make_logger()

PATHS = (b"/-/healthy", b"/-/ready")
"""How the paths end that Prometheus answers and mpp forwards; a route prefix may stand before them."""

# The kubelet's requests have "kube-probe/1.31", or "kube-probe/1.31+" and more.
_USER_AGENT = b"kube-probe/"


class KubeProbes:
    """
    Remembers whether a probe was reported.

    :ivar report: called once, with the path that the probe asked for; logs a warning. A worker has its parent do that, so that
        one line is logged for all workers.
    """

    def __init__(self) -> None:
        self.report: Callable[[str], None] = _warn
        self._reported = False

    def inspect(self, path: bytes, fields: Headers) -> None:
        """
        Report a request for one of `PATHS` if it is the first one of a Kubernetes probe.

        :param path: raw, ends with one of `PATHS`.
        """
        if not self._reported and any(value.startswith(_USER_AGENT) for value in headers.values(fields, b"user-agent")):
            self.report_once(next(each for each in PATHS if path.endswith(each)).decode("ascii"))

    def report_once(self, path: str) -> None:
        """Report a probe, unless one was reported before."""
        if not self._reported:
            self._reported = True
            self.report(path)


def _warn(path: str) -> None:
    _log.warn(
        "a Kubernetes probe asks mpp for {path}, which a Prometheus server answers: while no server can be reached it gets 503,"
        " and Kubernetes restarts mpp for nothing; let the livenessProbe ask for /mpp/health, the"
        " readinessProbe for /mpp/ready",
        path=path,
    )
