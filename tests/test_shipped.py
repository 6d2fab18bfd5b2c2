"""What is shipped beside the program: that it is sound in itself, and speaks of what there is."""

from __future__ import annotations

import configparser
import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from prometheus_client import CollectorRegistry
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mpp.admin.gauges import GaugeCollector, Snapshot
from mpp.app.fatal import EXIT_STATUS
from mpp.app.program import BUFFER_MEMORY
from mpp.app.workers import metrics_sum as sums
from mpp.app.workers.aggregate import MetricsGatherer
from mpp.config.file import read_text
from mpp.config.options import OPTIONS
from mpp.core.errors import Cause
from mpp.core.metrics.registry import Metrics
from mpp.core.model import MIB, Backend, Choice, Observation, Selection, Standing
from mpp.core.prometheus.outcomes import ANSWERED
from mpp.core.prometheus.responses import LIMITED, RULES
from mpp.core.settings import Settings
from mpp.security.web_config.active_config import ActiveConfig
from mpp.security.web_config.file import WebConfigFile
from mpp.security.web_config.passwords import Passwords
from mpp.selection.verdict.verdict import LocatorView, VerdictState

ROOT = Path(__file__).parent.parent
CONTRIB = ROOT / "contrib"
KUBERNETES = CONTRIB / "kubernetes"

BACKEND = Backend("http", "prom-a", 9090)

NAME = re.compile(r"\b(?:mpp|process|python)_[a-z_]+\b")
SELECTOR = re.compile(r"\b(mpp_[a-z_]+)\{([^}]*)\}")


class StrictLoader(yaml.SafeLoader):
    """Reads YAML, and refuses keys that are given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = {key for key in keys if keys.count(key) > 1}
        if twice:
            raise yaml.constructor.ConstructorError(None, None, f"given twice: {twice}", node.start_mark)
        return super().construct_mapping(node, deep)


def documents(path: Path) -> list[Any]:
    """Give the documents of a YAML file, read strictly."""
    return list(yaml.load_all(path.read_text(encoding="utf-8"), StrictLoader))


def count_everything(metrics: Metrics) -> None:
    """Count everything once: what has counted nothing has no series that tells its labels."""
    metrics.request_began()
    metrics.request_ended(BACKEND.name, 200, 0.1)
    metrics.upstream_answered(BACKEND.name, 0.1)
    metrics.affinity_hits.inc("cookies")
    metrics.retry_budget_exhausted.inc("retry")
    metrics.query_of_death_suspects.inc(BACKEND.name)
    metrics.query_of_death_refusals.inc()
    metrics.surveyed(BACKEND.name, "ok", 0.1)
    for counter in (metrics.retries, metrics.hedges, metrics.suspicion_probes, metrics.truncated_responses):
        counter.inc(BACKEND.name, "reason")
    for counter in (metrics.moved_requests, metrics.slow_clients_reset):
        counter.inc(BACKEND.name)
    metrics.selection_rounds.inc("ok")
    metrics.discovery_errors.inc("file")
    metrics.readmissions.inc(BACKEND.name)
    metrics.storage_errors.inc(BACKEND.name)
    for counter in (metrics.probe_errors, metrics.ejections):
        counter.inc(BACKEND.name, "down")


def never(password: bytes, hashed: bytes) -> Deferred[bool]:
    """Verify no password."""
    return Deferred()


def series() -> dict[str, set[str]]:
    """Give the names of all series that mpp exposes, with the names of their labels."""
    metrics = Metrics(CollectorRegistry())
    with tempfile.NamedTemporaryFile("w", suffix=".yml") as web_config:
        web_config.write("basic_auth_users: {}\n")
        web_config.flush()
        current = ActiveConfig(Passwords(never, never, Clock()), Clock())
        WebConfigFile(web_config.name, current, metrics.add)
    selection = Selection(1, Choice((BACKEND,)), (Observation(BACKEND, Standing.VIABLE),))
    snapshot = Snapshot(selection, (LocatorView("file", True, 1),), 0, 0, {BACKEND.name: (0, 0)})
    metrics.watch(GaugeCollector(lambda: snapshot))
    count_everything(metrics)
    found: dict[str, set[str]] = {}
    workers = sums.metrics(MetricsGatherer(lambda: (), lambda: [], lambda _: []).own_families())
    for family in (*metrics.registry.collect(), *workers):
        suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}.get(family.type, ("",))
        for suffix in suffixes:
            found[family.name + suffix] = {label for sample in family.samples for label in sample.labels}
    return found


def families() -> set[str]:
    """Give the names of all that mpp exposes of its own, a histogram under one name."""
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in series() if name.startswith("mpp_")}


def strings(value: Any, key: str) -> Iterator[str]:
    """Give all texts that stand anywhere under a key."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name == key and isinstance(inner, str):
                yield inner
            yield from strings(inner, key)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner, key)


class PrometheusTests(SynchronousTestCase):
    """``contrib/prometheus``; whether Prometheus itself takes it is asked of promtool, in tests/integration."""

    def setUp(self) -> None:
        self.rules = self.read("mpp.rules.yml", "mpp.outside.rules.yml")

    def read(self, *names: str) -> list[dict[str, Any]]:
        """Return the rules of these files."""
        files = [each for name in names for each in documents(CONTRIB / "prometheus" / name)]
        return [rule for file in files for group in file["groups"] for rule in group["rules"]]

    def test_metrics_exist(self) -> None:
        """No alert waits for a series that mpp does not have."""
        used = {name for rule in self.rules for name in NAME.findall(rule["expr"])}
        self.assertGreater(len(used), 10)
        self.assertEqual(used - set(series()), set())

    def test_each_alert_is_tested(self) -> None:
        """Each alert has a case in which it fires, and one in which it does not."""
        names = ("mpp.rules.test.yml", "mpp.outside.rules.test.yml")
        files = [each for name in names for each in documents(CONTRIB / "prometheus" / name)]
        cases = [case for file in files for test in file["tests"] for case in test["alert_rule_test"]]
        alerts = {rule["alert"] for rule in self.rules}
        self.assertEqual({case["alertname"] for case in cases if case["exp_alerts"]}, alerts)
        self.assertEqual({case["alertname"] for case in cases if not case["exp_alerts"]}, alerts - {"MppWatchdog"})

    def test_for_people(self) -> None:
        """Each alert has a severity, and says in words what is wrong and what that means."""
        for rule in self.rules:
            self.assertIn(
                rule["labels"]["severity"],
                ("none",) if rule["alert"] == "MppWatchdog" else ("warning", "critical"),
                rule["alert"],
            )
            self.assertEqual(set(rule["annotations"]), {"summary", "description", "runbook_url"}, rule["alert"])

    def test_each_alert_links_to_its_section(self) -> None:
        """Each alert links to its section of the documentation, and there is no section of another one."""
        text = (ROOT / "docs/guides/alerts.rst").read_text(encoding="utf-8")
        sections = re.findall(r"^(\w+)\n-+$", text, re.MULTILINE)
        for rule in self.rules:
            expected = f"https://mpp.example.org/docs/guides/alerts.html#{rule['alert'].lower()}"
            self.assertEqual(rule["annotations"]["runbook_url"], expected)
        self.assertEqual(sections, [rule["alert"] for rule in self.rules])


class MetricsPageTests(SynchronousTestCase):
    """The documentation's page of metrics; their labels and HELP texts are put in when it is built."""

    def test_page_has_every_metric_once(self) -> None:
        """It has every metric, each once, and no other."""
        text = (ROOT / "docs/reference/metrics.rst").read_text(encoding="utf-8")
        self.assertEqual(sorted(re.findall(r"(?m)^\.\. mpp-metric:: (\w+)$", text)), sorted(families()))

    def test_page_has_every_reason_of_a_failed_attempt(self) -> None:
        """It has every reason for which an attempt fails, and no other."""
        text = (ROOT / "docs/reference/metrics.rst").read_text(encoding="utf-8")
        table = text.partition(".. _reasons:")[2].partition("Connections and memory")[0]
        answered = {rule.outcome.reason for rule in RULES if rule.outcome is not ANSWERED} | {LIMITED.reason}
        self.assertEqual(set(re.findall(r"(?m)^``(\w+)``", table)), answered | {cause.value for cause in Cause})

    def test_page_has_every_state_of_the_verdict(self) -> None:
        """It has every state of the verdict."""
        text = (ROOT / "docs/reference/metrics.rst").read_text(encoding="utf-8")
        states = text.partition("The states are ")[2].partition(". ")[0]
        self.assertEqual(set(re.findall(r"``(\w+)``", states)), {state.value for state in VerdictState})


class GrafanaTests(SynchronousTestCase):
    """``contrib/grafana``."""

    def setUp(self) -> None:
        self.dashboard = json.loads((CONTRIB / "grafana" / "mpp.json").read_text(encoding="utf-8"))
        self.panels = [panel for panel in self.dashboard["panels"] if panel["type"] != "row"]

    def test_metrics_exist(self) -> None:
        """No panel shows a series that mpp does not have, or asks for a label that the series has not."""
        known = series()
        expressions = [*strings(self.dashboard, "expr"), *strings(self.dashboard, "query")]
        used = {name for expression in expressions for name in NAME.findall(expression)}
        self.assertGreater(len(used), 20)
        self.assertEqual(used - set(known), set())
        for name, matchers in (found for expression in expressions for found in SELECTOR.findall(expression)):
            asked = set(re.findall(r"(\w+)=", matchers)) - {"job", "instance"}
            self.assertLessEqual(asked, known[name], name)

    def test_nothing_is_missing(self) -> None:
        """All that mpp tells of itself is on it, but how many servers serve: it says which."""
        expressions = strings(self.dashboard, "expr")
        shown = {re.sub(r"_bucket$", "", name) for expression in expressions for name in NAME.findall(expression)}
        self.assertEqual(families() - shown, {"mpp_selected_backends"})

    def test_every_panel_is_complete(self) -> None:
        """Every panel has its own number, a title, a description, a query, and its place without another one."""
        self.assertEqual(len({panel["id"] for panel in self.dashboard["panels"]}), len(self.dashboard["panels"]))
        taken: set[tuple[int, int]] = set()
        for panel in self.dashboard["panels"]:
            place = panel["gridPos"]
            cells = {
                (x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])
            }
            self.assertFalse(cells & taken, panel["title"])
            self.assertLessEqual(place["x"] + place["w"], 24)
            taken |= cells
        for panel in self.panels:
            self.assertTrue(panel["title"] and panel["description"], panel["id"])
            self.assertTrue(all(target["expr"] for target in panel["targets"]), panel["title"])
            self.assertEqual(len({target["refId"] for target in panel["targets"]}), len(panel["targets"]))

    def test_any_data_source(self) -> None:
        """It works with the data source that is chosen, whatever it is called."""
        self.assertEqual(set(strings(self.dashboard, "uid")) - {"mpp"}, {"${datasource}"})

    def test_data_source(self) -> None:
        """The data source is asked by Grafana's server: only that tells the dashboard."""
        (provisioned,) = documents(CONTRIB / "grafana" / "datasource.yml")
        self.assertEqual(provisioned["apiVersion"], 1)
        (source,) = provisioned["datasources"]
        self.assertEqual((source["type"], source["access"]), ("prometheus", "proxy"))


class KubernetesTests(SynchronousTestCase):
    """``contrib/kubernetes``; whether Kubernetes takes it is asked of kubectl, in tests/integration."""

    def setUp(self) -> None:
        self.objects = {each["kind"]: each for name in ("rbac", "mpp") for each in documents(KUBERNETES / f"{name}.yaml")}
        self.pod = self.objects["Deployment"]["spec"]["template"]
        (self.container,) = self.pod["spec"]["containers"]

    def test_manifest_has_all_kinds_that_mpp_needs(self) -> None:
        """All that mpp needs is there, in whatever namespace it is put."""
        kinds = {"Deployment", "Service", "PodDisruptionBudget", "ServiceAccount", "Role", "RoleBinding"}
        self.assertEqual(set(self.objects), kinds)
        for each in self.objects.values():
            self.assertEqual((each["metadata"]["name"], "namespace" in each["metadata"]), ("mpp", False))

    def test_they_belong_together(self) -> None:
        """Service and disruption budget select the pods, and the pods run with the rights."""
        labels = self.pod["metadata"]["labels"].items()
        spec = self.objects["Deployment"]["spec"]
        self.assertEqual(spec["replicas"], 2)
        for selector in (
            spec["selector"]["matchLabels"],
            self.objects["Service"]["spec"]["selector"],
            self.objects["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        ):
            self.assertLessEqual(selector.items(), labels)
        self.assertEqual(self.pod["spec"]["serviceAccountName"], self.objects["ServiceAccount"]["metadata"]["name"])
        self.assertEqual(self.objects["PodDisruptionBudget"]["spec"], {"minAvailable": 1, "selector": spec["selector"]})
        self.assertIs(self.pod["spec"]["enableServiceLinks"], False)

    def test_manifest_sets_variables_of_mpp_only(self) -> None:
        """The variables are mpp's."""
        known = {name for option in OPTIONS for name in option.env}
        self.assertLessEqual({variable["name"] for variable in self.container["env"]}, known)

    def test_kubernetes_waits_longer_than_mpp_drains(self) -> None:
        """Kubernetes waits for longer than mpp takes to finish what is in flight, the pause before it included."""
        pause = float(self.container["lifecycle"]["preStop"]["exec"]["command"][1])
        self.assertGreater(self.pod["spec"]["terminationGracePeriodSeconds"], pause + Settings().drain_timeout)

    def test_liveness_differs_from_readiness(self) -> None:
        """Alive is not the same as ready."""
        paths = {name: self.container[name]["httpGet"]["path"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
        expected = {"startupProbe": "/mpp/ready", "livenessProbe": "/mpp/health", "readinessProbe": "/mpp/ready"}
        self.assertEqual(paths, expected)

    def test_pods_meet_the_restricted_standard(self) -> None:
        """The pods may run where Kubernetes enforces its "restricted" standard, on a root file system that is read-only."""
        pod, container = self.pod["spec"]["securityContext"], self.container["securityContext"]
        self.assertTrue(pod["runAsNonRoot"] and pod["seccompProfile"] == {"type": "RuntimeDefault"})
        expected = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
        self.assertEqual(container, expected)


class SystemdTests(SynchronousTestCase):
    """``systemd/``; whether systemd takes it is asked of systemd-analyze, in tests/integration."""

    def setUp(self) -> None:
        self.service = self.read("mpp.service")
        self.socket = self.read("mpp.socket")

    def read(self, name: str) -> configparser.ConfigParser:
        parser = configparser.ConfigParser(interpolation=None, strict=False, comment_prefixes="#", delimiters="=")
        parser.optionxform = str  # type: ignore[assignment,method-assign]
        parser.read(ROOT / "systemd" / name)
        return parser

    def test_the_socket_is_handed_over(self) -> None:
        """The service takes the socket by the name that it has."""
        name = self.socket["Socket"]["FileDescriptorName"]
        self.assertTrue(self.service["Service"]["ExecStart"].endswith(f"--listen systemd:domain=INET6:name={name}"))

    def test_reload_checks_first(self) -> None:
        """A reload checks what the service was started with before mpp is told to read it again."""
        text = (ROOT / "systemd" / "mpp.service").read_text(encoding="utf-8")
        start = self.service["Service"]["ExecStart"]
        self.assertIn(" --config /etc/mpp/mpp.yaml ", start)
        commands = re.findall(r"(?m)^ExecReload=(.*)$", text)
        self.assertEqual(commands, [f"{start} --check-config", "/bin/kill -HUP $MAINPID"])

    def test_shipped_configuration_is_sound(self) -> None:
        """The configuration file is sound, also with what is commented out."""
        text = (ROOT / "systemd" / "mpp.yaml").read_text(encoding="utf-8")
        self.assertEqual(read_text(text, "mpp.yaml").errors, ())
        everything = read_text(re.sub(r"(?m)^#(?=\S+: )", "", text), "mpp.yaml")
        self.assertEqual(everything.errors, ())
        self.assertEqual(len(everything.given), 4)

    def test_time_to_stop(self) -> None:
        """systemd waits for longer than mpp takes to finish what is in flight."""
        self.assertGreater(float(self.service["Service"]["TimeoutStopSec"].removesuffix("s")), Settings().drain_timeout)

    def test_not_restarted_when_configured_wrongly(self) -> None:
        """What would fail again is not tried again."""
        self.assertEqual(self.service["Service"]["RestartPreventExitStatus"], str(EXIT_STATUS))

    def test_systemd_bounds_memory_above_the_buffers(self) -> None:
        """systemd slows mpp down at 300 MiB beyond what requests and responses may hold, and ends it at twice that."""
        high, most = (int(self.service["Service"][name].removesuffix("M")) for name in ("MemoryHigh", "MemoryMax"))
        self.assertEqual((high, most), (BUFFER_MEMORY // MIB + 300, 2 * high))

    def test_environment_file_sets_variables_of_mpp_only(self) -> None:
        """The variables in the environment file are mpp's, also those that are commented out."""
        text = (ROOT / "systemd" / "mpp.default").read_text(encoding="utf-8")
        names = re.findall(r"(?m)^#?(MPP_\w+)=", text)
        self.assertLessEqual(set(names), {name for option in OPTIONS for name in option.env})
        self.assertIn("MPP_HTTP_SD", names)


class DockerTests(SynchronousTestCase):
    """The Dockerfile."""

    def test_all_that_is_needed_is_sent(self) -> None:
        """Nothing is left out of the build that the package is made of."""
        sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
        self.assertEqual(sent, {"LICENSE", "README.rst", "mpp", "pyproject.toml", "setup.py", "twisted"})

    def test_base_is_exact(self) -> None:
        """All stages are built on one release of Python on one release of Debian."""
        text = (ROOT / "Dockerfile").read_text()
        self.assertRegex(text, r"(?m)^ARG PYTHON=python:3\.\d+\.\d+-slim-[a-z]+$")
        self.assertEqual(set(re.findall(r"(?m)^FROM (\S+)", text)), {"${PYTHON}"})

    def test_program_runs_as_a_user_without_files(self) -> None:
        """The program runs as a user who owns nothing, and Kubernetes knows the same one."""
        text = (ROOT / "Dockerfile").read_text()
        (pod,) = [each for each in documents(KUBERNETES / "mpp.yaml") if each["kind"] == "Deployment"]
        context = pod["spec"]["template"]["spec"]["securityContext"]
        self.assertIn(f"\nUSER {context['runAsUser']}:{context['runAsGroup']}\n", text)
