"""
Warns once of a Kubernetes probe whose path is answered by a Prometheus server instead of mpp.

Probes copied from the manifest of a Prometheus request ``/-/healthy`` and ``/-/ready``. mpp forwards these paths like all others,
and responds with 503 when no server can be reached. Kubernetes then restarts mpp, or removes it from its Service, although mpp
itself works.
"""

from __future__ import annotations

from collections.abc import Callable

from txaio.tx import make_logger

from mpp.core.http import headers
from mpp.core.model import Headers

_log = make_logger()

PATHS = (b"/-/healthy", b"/-/ready")
"""The paths of Prometheus that mpp forwards; a route prefix may stand before them."""

# The kubelet's requests have "kube-probe/1.31", or "kube-probe/1.31+" and more.
_USER_AGENT = b"kube-probe/"


class KubeProbes:
    """
    The report of Kubernetes probes, which is made only once.

    :ivar report: called once, with the path of the probe; logs a warning. In a worker it notifies the parent instead, so that
        all workers together log one line.
    """

    def __init__(self) -> None:
        self.report: Callable[[str], None] = _warn
        self._reported = False

    def inspect(self, path: bytes, fields: Headers) -> None:
        """
        Report a request for one of `PATHS` if it is the first that a Kubernetes probe sends.

        :param path: the raw path, which ends with one of `PATHS`.
        """
        if not self._reported and any(value.startswith(_USER_AGENT) for value in headers.values(fields, b"user-agent")):
            self.report_once(next(each for each in PATHS if path.endswith(each)).decode("ascii"))

    def report_once(self, path: str) -> None:
        """Report a probe, unless a probe was reported before."""
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
