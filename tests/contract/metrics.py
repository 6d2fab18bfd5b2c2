"""The metrics at ``/mpp/metrics``: names, types, labels, and the values of labels that do not come from the configuration."""

from __future__ import annotations

from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from mpp.admin.gauges import GaugeCollector, Snapshot
from mpp.app.extensions import build_affinities, build_strategy
from mpp.app.workers.aggregate import MetricsGatherer
from mpp.core.errors import ConfigError
from mpp.core.metrics.registry import Metrics
from mpp.core.model import Backend, Choice, Observation, Selection, Standing
from mpp.discovery.kinds.planner import LocatorPlanner
from mpp.discovery.kubernetes.settings import KubeSettings
from mpp.discovery.marathon.settings import MarathonSettings
from mpp.proxy.decisions import placement
from mpp.selection.verdict.verdict import LocatorView
from tests.configured import configured
from tests.contract import source

ANY = "*"
"""Stands for names that the operator, or discovery, gives."""

_OPEN = {"mpp_build_info"}
"""Metrics whose label values differ from machine to machine."""

_BACKEND = Backend("http", "prom-a", 9090)

_COUNTED = {
    'mpp_hedges_total{{reason="{}"}}': ("hedge", 2),
    'mpp_retry_budget_exhausted_total{{reason="{}"}}': ("take_retry_token", 0),
    'mpp_suspicion_probes_total{{result="{}"}}': ("suspicion_probes.inc", 1),
    'mpp_coverage_surveys_total{{result="{}"}}': ("counted", 1),
    'mpp_selection_rounds_total{{result="{}"}}': ("selection_rounds.inc", 0),
    'mpp_ejections_total{{reason="{}"}}': ("ejections.inc", 1),
}
"""Where values of labels stand as they are: a function, and the number of its argument."""


def lines() -> set[str]:
    """Return a line for each metric, and one for each label and value."""
    found = {line for template, place in _COUNTED.items() for line in map(template.format, source.passed(*place))}
    text = _metrics().exposition().decode()
    for family in text_string_to_metric_families(text):
        if not family.name.startswith("mpp_"):
            # The client library's own, whatever there is of them on this machine.
            found.add(f"{family.name.partition('_')[0]}_{ANY} of the client library")
            continue
        found.add(f"{family.name}{_ending(family.type)} {family.type}")
        for sample in family.samples:
            name = family.name if family.type == "histogram" else sample.name
            for label, value in sample.labels.items():
                shown = ANY if family.name in _OPEN or value == _BACKEND.name else value
                found.add(f'{name}{{{label}="{shown}"}}')
    # The gauges that are made with the service that they belong to.
    found |= {f"{name} gauge" for name in source.passed("Gauge", 0)}
    found |= {f"{name}{_ending(kind)} {kind}" for name, kind, *_ in MetricsGatherer(tuple, list, lambda names: []).own_families()}
    exposed = {line.partition(" ")[0].partition("{")[0].removesuffix("_total") for line in found}
    # A metric that is exposed in another way than the ones above is noticed by its name.
    rest = {name for name in source.constants(r"^mpp_[a-z_]+$") if _family(name) not in exposed}
    return found | {f"{name} named in the code, and not exposed" for name in rest}


def _ending(kind: str) -> str:
    return "_total" if kind == "counter" else ""


def _family(name: str) -> str:
    return name.removesuffix("_total").removesuffix("_bucket")


def _metrics() -> Metrics:
    """Return metrics of which everything is exposed."""
    metrics = Metrics(CollectorRegistry())
    metrics.expect_backend(ANY)
    metrics.expect_configured(_locators(), _affinities())
    selection = Selection(1, Choice((_BACKEND,)), (Observation(_BACKEND, Standing.VIABLE),))
    locator = LocatorView(ANY, True, 1)
    metrics.watch(GaugeCollector(lambda: Snapshot(selection, (locator,), 0, load={ANY: (0, 0)})))
    return metrics


def _affinities() -> list[str]:
    """Return the names of all that may decide which server a client is kept on."""
    written = (choice.replace("NAME", ANY) for choice in choices_of_affinity())
    return [*(each.name for each in build_affinities(written, ())), placement.STICKY]


def _locators() -> set[str]:
    """Return the names of all locators; if there may be several of a kind, also with a number, written as ``*``."""
    found = set()
    for count in (1, 2):
        several = ("srv+prom.example.org",) * count
        settings = configured(
            endpoints=(ANY,),
            endpoints_file=ANY,
            file_sd=several,
            http_sd=several,
            dns=several,
            marathon=MarathonSettings(urls=(ANY,)),
            kube=KubeSettings(service_name=ANY),
        )
        for plan in LocatorPlanner(None, {}).plans(settings):
            found.add(plan.name if count == 1 else "".join(ANY if each.isdigit() else each for each in plan.name))
    return found


def choices_of_affinity() -> list[str]:
    """Return what an affinity of mpp's own may be written as."""
    try:
        build_affinities(("none of these",), (), entry_points=lambda group: ())
    except ConfigError as error:
        return error.problem.partition("expected one of ")[2].split(", ")
    raise AssertionError("there is no such affinity")


def choices_of_strategy() -> list[str]:
    """Return what a routing strategy of mpp's own may be written as."""
    try:
        build_strategy("none of these", entry_points=lambda group: ())
    except ConfigError as error:
        return error.problem.partition("expected one of ")[2].split(", ")
    raise AssertionError("there is no such strategy")
