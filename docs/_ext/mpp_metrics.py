"""
The directive ``mpp-metric``: the reference of metrics, made from the registry of the program.

``.. mpp-metric:: mpp_requests_total`` shows the metric's labels, type and HELP, and then the directive's content, which says what
HELP does not. ``:metric:`mpp_requests_total``` refers to it. A metric that is missing, unknown or there twice is a warning, which
the build turns into an error.
"""

from __future__ import annotations

import tempfile

from attrs import frozen
from docutils import nodes
from prometheus_client import CollectorRegistry
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.domains.std import GenericObject
from sphinx.environment import BuildEnvironment
from sphinx.util import logging
from sphinx.util.typing import ExtensionMetadata
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from mpp.admin.gauges import GaugeCollector, Snapshot
from mpp.app.workers import metrics_sum as sums
from mpp.app.workers.aggregate import MetricsGatherer
from mpp.core.metrics.registry import Metrics
from mpp.core.model import Backend, Choice, Observation, Selection, Standing
from mpp.security.web_config.active_config import ActiveConfig
from mpp.security.web_config.file import WebConfigFile
from mpp.security.web_config.passwords import Passwords
from mpp.selection.verdict.verdict import LocatorView

logger = logging.getLogger(__name__)


@frozen
class Family:
    """
    One metric.

    :ivar labels: without ``le``.
    """

    name: str
    kind: str
    help: str
    labels: tuple[str, ...]


def families() -> dict[str, Family]:
    """Return all metrics of the program by the names that queries use, but for histograms: these are under one name."""
    backend = Backend("http", "prom-a", 9090)
    metrics = Metrics(CollectorRegistry())
    with tempfile.NamedTemporaryFile("w", suffix=".yml") as web_config:
        web_config.write("basic_auth_users: {}\n")
        web_config.flush()
        WebConfigFile(web_config.name, ActiveConfig(Passwords(_never, _never, Clock()), Clock()), metrics.add)
    selection = Selection(1, Choice((backend,)), (Observation(backend, Standing.VIABLE),))
    snapshot = Snapshot(selection, (LocatorView("file", True, 1),), 0, 0, {backend.name: (0, 0)})
    metrics.watch(GaugeCollector(lambda: snapshot))
    # A series of each, so that its labels are seen.
    metrics.expect_backend(backend.name)
    metrics.expect_configured(("file",), ("cookies",))
    metrics.request_began()
    metrics.request_ended(backend.name, 200, 0.1)
    for counter in (metrics.retries, metrics.truncated_responses):
        counter.inc(backend.name, "reset")
    metrics.probe_errors.inc(backend.name, "down")
    workers = sums.metrics(MetricsGatherer(lambda: (), lambda: [], lambda _: []).own_families())
    found = {}
    for family in (*metrics.registry.collect(), *workers):
        if family.name.startswith("mpp_"):
            name = family.name + ("_total" if family.type == "counter" else "")
            labels = tuple(label for sample in family.samples[:1] for label in sample.labels if label != "le")
            found[name] = Family(name, family.type, family.documentation, labels)
    return found


def _never(password: bytes, hashed: bytes) -> Deferred[bool]:
    return Deferred()


class MetricDirective(GenericObject):
    """``.. mpp-metric:: NAME``"""

    indextemplate = "pair: %s; metric"

    def handle_signature(self, sig: str, signode: addnodes.desc_signature) -> str:
        """Show name, labels and type."""
        family = self.env.mpp_families.get(sig)  # type: ignore[attr-defined]
        if family is None:
            logger.warning("mpp has no metric %s", sig, location=signode)
            family = Family(sig, "", "", ())
        labels = "{" + ", ".join(family.labels) + "}" if family.labels else ""
        signode += [addnodes.desc_name(sig, sig), addnodes.desc_addname(labels, labels)]
        signode += addnodes.desc_annotation("", f" ({family.kind})")
        self.env.mpp_documented.setdefault(sig, self.env.docname)  # type: ignore[attr-defined]
        self._help = family.help
        return sig

    def transform_content(self, content_node: addnodes.desc_content) -> None:
        """Put HELP before what the page says."""
        content_node.insert(0, nodes.paragraph("", self._help))


def _begin(app: Sphinx, env: BuildEnvironment, docnames: object) -> None:
    env.mpp_families = families()  # type: ignore[attr-defined]
    if not hasattr(env, "mpp_documented"):
        env.mpp_documented = {}  # type: ignore[attr-defined]


def _purge(app: Sphinx, env: BuildEnvironment, docname: str) -> None:
    documented = getattr(env, "mpp_documented", {})
    for name in [name for name, where in documented.items() if where == docname]:
        del documented[name]


def _check(app: Sphinx, env: BuildEnvironment) -> None:
    if app.builder.name == "man":
        return
    for name in sorted(set(env.mpp_families) - set(env.mpp_documented)):  # type: ignore[attr-defined]
        logger.warning("the metric %s is not documented", name)


def setup(app: Sphinx) -> ExtensionMetadata:
    """Register directive and role."""
    app.add_object_type("mpp-metric", "metric", objname="metric")
    app.add_directive_to_domain("std", "mpp-metric", MetricDirective, override=True)
    app.connect("env-before-read-docs", _begin)
    app.connect("env-purge-doc", _purge)
    app.connect("env-check-consistency", _check)
    return {"parallel_read_safe": False, "parallel_write_safe": True}
