"""Strategies, locators and affinities by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from ipaddress import ip_network
from typing import Any

from attrs import frozen
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from mpp.app.extensions import build_affinities, build_strategy
from mpp.core.errors import ConfigError
from mpp.core.facts import ServerState
from mpp.core.model import Backend, Observation, Standing
from mpp.core.settings import Settings
from mpp.discovery.kinds.planner import LocatorPlanner
from mpp.discovery.kubernetes.settings import KubeSettings
from mpp.discovery.marathon.settings import MarathonSettings
from mpp.proxy.decisions.affinity import CookieAffinity, HeaderAffinity, SourceIPAffinity
from mpp.selection.strategies import DAY, MinimumHistory, RandomStrategy, SingleMostData
from tests.configured import configured
from tests.documents import all_blocks


@frozen
class Point:
    """An entry point."""

    name: str
    value: str
    load: Callable[[], Any]


def missing() -> Any:
    """Fail like the import of something that is not there."""
    raise ModuleNotFoundError("No module named 'elsewhere'")


def picky(arguments: str) -> RandomStrategy:
    """Make a strategy of the right arguments."""
    if arguments != "a:b":
        raise ValueError(f"expected a:b, not {arguments!r}")
    return RandomStrategy()


POINTS = {
    "mpp.strategies": [
        Point("picky", "elsewhere:picky", lambda: picky),
        Point("missing", "elsewhere:missing", missing),
        Point("wrong", "elsewhere:wrong", lambda: lambda arguments: object()),
        Point("random", "elsewhere:imposter", missing),
    ],
}


def entry_points(group: str) -> Iterable[Point]:
    """Return the entry points of a group."""
    return POINTS.get(group, [])


class BuildTests(SynchronousTestCase):
    """What is made of what is written."""

    def refused(self, spec: str) -> str:
        """Return why a strategy is refused."""
        return str(self.assertRaises(ConfigError, build_strategy, spec, entry_points=entry_points))

    def test_own_strategies(self) -> None:
        """The strategies that mpp brings are known by name; nobody else can take their names."""
        self.assertIsInstance(build_strategy("single-most-data"), SingleMostData)
        self.assertIsInstance(build_strategy("random", entry_points=entry_points), RandomStrategy)
        self.assertEqual(build_strategy("minimum-history:15d"), MinimumHistory(15 * DAY))

    def test_strategy_from_elsewhere(self) -> None:
        """An installed strategy gets what stands behind the first colon."""
        self.assertIsInstance(build_strategy("picky:a:b", entry_points=entry_points), RandomStrategy)

    def test_bad_extension_is_rejected_in_one_line(self) -> None:
        """A mistake is answered in one line that names the option, the culprit, and what was expected."""
        for spec, message in {
            "most": (
                "--routing-strategy: unknown 'most'; expected one of "
                "single-most-data, minimum-history:DURATION, random, missing, picky, wrong"
            ),
            "": (
                "--routing-strategy: unknown ''; expected one of "
                "single-most-data, minimum-history:DURATION, random, missing, picky, wrong"
            ),
            "random:3": "--routing-strategy: random: expected no arguments, not '3'",
            "minimum-history": "--routing-strategy: minimum-history: expected a duration, like minimum-history:15d",
            "minimum-history:0": "--routing-strategy: minimum-history: expected a duration above 0, not '0'",
            "picky:x": "--routing-strategy: picky: expected a:b, not 'x'",
            "missing": "--routing-strategy: missing: elsewhere:missing cannot be loaded: No module named 'elsewhere'",
        }.items():
            with self.subTest(spec=spec):
                self.assertEqual(self.refused(spec), message)
        self.assertIn("minimum-history: 'soon' is not a duration", self.refused("minimum-history:soon"))

    def test_wrong_object(self) -> None:
        """An entry point that makes something else is blamed by name."""
        self.assertIn("--routing-strategy: wrong: elsewhere:wrong does not return an IStrategy: ", self.refused("wrong"))

    def test_configured_locators(self) -> None:
        """The locators that are configured are made; none is none."""
        self.assertEqual(self.located(Settings()), [])
        settings = configured(
            endpoints_file="endpoints",
            endpoints=("prom-a:9090",),
            file_sd=("targets/*.json",),
            http_sd=("http://sd/a", "http://sd/b"),
            dns=("prom:9090",),
            marathon=MarathonSettings(("http://marathon:8080",), ("/prom",)),
        )
        self.assertEqual(self.located(settings), ["file", "endpoint", "file-sd", "http-sd-1", "http-sd-2", "dns", "marathon"])

    def test_locators_that_can_never_work(self) -> None:
        """What is wrong with a locator's options is told before anything starts."""
        for settings, option in (
            (configured(endpoints=("x:y",)), "--endpoint"),
            (configured(file_sd=("targets",)), "--file-sd"),
            (configured(marathon=MarathonSettings(("http://marathon:8080",))), "--marathon-apps"),
            (configured(kube=KubeSettings(kubeconfig="/nonexistent", service_name="prom")), "--kubeconfig"),
        ):
            error = self.assertRaises(ConfigError, self.located, settings)
            self.assertEqual(error.option, option)

    def located(self, settings: Settings) -> list[str]:
        """Return the names of the locators that are made."""
        return [plan.build().name for plan in LocatorPlanner(MemoryReactorClock(), {}).plans(settings)]

    def test_affinities_are_tried_in_order(self) -> None:
        """Affinities are made in the order they are tried."""
        made = build_affinities(["header:X-Dashboard-Uid", "sourceip", "cookies"], [ip_network("10.0.0.0/8")])
        self.assertEqual([affinity.name for affinity in made], ["header:X-Dashboard-Uid", "sourceip", "cookies"])
        self.assertEqual([type(affinity) for affinity in made], [HeaderAffinity, SourceIPAffinity, CookieAffinity])
        error = self.assertRaises(ConfigError, build_affinities, ["cookie"], [])
        self.assertEqual(str(error), "--affinity-options: unknown 'cookie'; expected one of cookies, sourceip, header:NAME")

    def test_installed_entry_points_are_looked_up(self) -> None:
        """Without anything installed only mpp's own names are known."""
        self.assertRaises(ConfigError, build_strategy, "surely-not-installed")


class DocumentedTests(SynchronousTestCase):
    """The strategy that the documentation shows."""

    def setUp(self) -> None:
        """Run its module, and name it as its package would."""
        (code,) = [block.text for block in all_blocks() if block.language == "python"]
        (declared,) = [block.text for block in all_blocks() if "mpp.strategies" in block.text and block.language == "ini"]
        self.assertIn("newest = my_strategies:MinimumVersion", declared)
        module: dict[str, Any] = {}
        exec(code, module)
        self.point = Point("newest", "my_strategies:MinimumVersion", lambda: module["MinimumVersion"])

    def build(self, spec: str) -> Any:
        return build_strategy(spec, entry_points=lambda group: [self.point] if group == "mpp.strategies" else [])

    def test_documented_strategy_selects_by_version(self) -> None:
        """It selects the servers with the version, and without any such server the best one, and says so."""
        servers = [Backend("http", name, 9090) for name in ("a", "b", "c")]
        versions = ("2.42.0+ds", "3.5.0", "")
        seen = [
            Observation(server, Standing.VIABLE, "", ServerState(each)) for server, each in zip(servers, versions, strict=True)
        ]
        choice = self.build("newest:3.0").select(seen, None, 0.0)
        self.assertEqual((choice.selected, choice.standbys, choice.degraded), ((servers[1],), (servers[0], servers[2]), ""))
        choice = self.build("newest:4").select(seen, None, 0.0)
        self.assertEqual((choice.selected, choice.standbys), ((servers[0],), (servers[1], servers[2])))
        self.assertTrue(choice.degraded)

    def test_wrong_arguments(self) -> None:
        """Arguments that make no sense end in one line."""
        error = self.assertRaises(ConfigError, self.build, "newest:new")
        self.assertEqual(str(error), "--routing-strategy: newest: 'new' is no version such as 3.0")
