"""The descriptions of the kinds of discovery sources, and the locators that are planned from them."""

from __future__ import annotations

import os
import pickle

from attrs import evolve, fields
from twisted.trial.unittest import SynchronousTestCase

from mpp.core.http_config import DiscoverySource
from mpp.core.settings import NO_DISCOVERY, DiscoverySettings, Settings
from mpp.discovery.kinds.all_kinds import BY_NAME, KINDS
from mpp.discovery.kinds.dns import DNSSettings
from mpp.discovery.kinds.endpoint import EndpointSettings
from mpp.discovery.kinds.planner import LocatorPlan, LocatorPlanner
from mpp.discovery.kubernetes.settings import KubeSettings
from mpp.discovery.marathon.settings import MarathonSettings
from tests.configured import configured


def plans(settings: Settings) -> tuple[LocatorPlan, ...]:
    """Return the plans for settings."""
    return LocatorPlanner(None, {}).plans(settings)


class KindsTests(SynchronousTestCase):
    """Each kind's description agrees with itself."""

    def test_options_fill_the_settings(self) -> None:
        """Each setting of a kind has one option, and at least one option turns the kind on."""
        for kind in KINDS:
            with self.subTest(kind=kind.name):
                names = [f"{kind.name}.{field.name}" for field in fields(kind.settings)]
                self.assertEqual(sorted(option.field for option in kind.options), sorted(names))
                self.assertNotEqual(kind.locating, ())

    def test_defaults_configure_no_source(self) -> None:
        """Without options there is no locator, and no file with secrets."""
        self.assertEqual(plans(Settings()), ())
        for kind in KINDS:
            self.assertEqual(list(kind.secret_files(kind.settings())), [])

    def test_names_are_unique(self) -> None:
        """Every kind has a name and settings of its own."""
        self.assertEqual(len(BY_NAME), len(KINDS))
        self.assertEqual(len({kind.settings for kind in KINDS}), len(KINDS))


class SettingsTests(SynchronousTestCase):
    """The settings of all kinds."""

    def test_found_by_class(self) -> None:
        """The settings of a kind that was not configured are its defaults."""
        settings = DiscoverySettings(DNSSettings(("a:1",)))
        self.assertEqual((settings[DNSSettings].names, settings[EndpointSettings].urls), (("a:1",), ()))

    def test_order_and_explicit_defaults_are_equal(self) -> None:
        """Neither the order nor explicit defaults make a difference, so that a reload sees none."""
        settings = DiscoverySettings(EndpointSettings(("a:1",)), DNSSettings(("a:1",)), KubeSettings())
        self.assertEqual(settings, DiscoverySettings(DNSSettings(("a:1",)), EndpointSettings(("a:1",))))
        self.assertEqual(DiscoverySettings(EndpointSettings(), MarathonSettings()), NO_DISCOVERY)
        self.assertEqual(pickle.loads(pickle.dumps(settings)), settings)

    def test_secrets_are_not_in_a_repr(self) -> None:
        """The principal's secret is in no repr."""
        self.assertNotIn("hush", repr(configured(marathon=MarathonSettings(principal_secret="hush"))))


class PlansTests(SynchronousTestCase):
    """The plans of locators."""

    def test_order_and_names(self) -> None:
        """Locators are planned in the order of the options; several of a kind are numbered, and know their sources."""
        settings = configured(
            kube=KubeSettings(service_name="s"),
            marathon=MarathonSettings(apps=("/a",)),
            dns=("a:1",),
            http_sd=("http://u:p@sd/a", "@file"),
            file_sd=("a.json", "b.json"),
            endpoints=("a:1", "b:1"),
            endpoints_file="f",
        )
        found = {plan.name: plan.source for plan in plans(settings)}
        expected = {
            "file": DiscoverySource("file"),
            "endpoint": DiscoverySource("endpoint"),
            "file-sd": DiscoverySource("file-sd"),
            "http-sd-1": DiscoverySource("http-sd", "http://sd/a"),
            "http-sd-2": DiscoverySource("http-sd", "@file"),
            "dns": DiscoverySource("dns", "a:1"),
            "marathon": DiscoverySource("marathon"),
            "kubernetes": DiscoverySource("kubernetes"),
        }
        self.assertEqual(list(found.items()), list(expected.items()))

    def test_rebuilt_only_when_it_would_differ(self) -> None:
        """A locator is kept when what changes does not concern it: its last list would be lost."""
        settings = configured(endpoints=("a:1",), http_sd=("http://sd/",), marathon=MarathonSettings(("http://m",), ("/a",)))
        for change, rebuilt in (
            ({"retries": 5}, []),
            ({"insecure": True}, ["http-sd", "marathon"]),
            ({"selection_interval": 5.0}, []),
        ):
            before, after = plans(settings), plans(evolve(settings, **change))
            self.assertEqual([new.source.locator for old, new in zip(before, after, strict=True) if old != new], rebuilt)

    def test_number_of_a_source_does_not_matter(self) -> None:
        """A source stays the same when others of its kind come or go or the order changes, and gets another number."""
        one, two, turned = (
            plans(configured(dns=names, http_sd=urls))
            for names, urls in (
                (("a:1",), ("http://a/",)),
                (("a:1", "b:1"), ("http://b/", "http://a/")),
                (("b:1", "a:1"), ("http://a/", "http://b/")),
            )
        )
        self.assertEqual({plan.name for plan in one if plan in two}, {"dns", "http-sd"})
        self.assertEqual([plan.name for plan in two if plan in one], ["http-sd-2", "dns-1"])
        self.assertEqual(set(two), set(turned))

    def test_source_that_is_configured_twice(self) -> None:
        """A source that is configured twice has two locators, of which one stays when it is configured once."""
        twice, once = plans(configured(dns=("a:1", "a:1"))), plans(configured(dns=("a:1",)))
        self.assertEqual(([plan.name for plan in twice], len(set(twice))), (["dns-1", "dns-2"], 2))
        self.assertEqual(once, twice[:1])

    def test_sources_in_their_normal_form(self) -> None:
        """The names of sources in the configuration file are compared in one form; most kinds have none."""
        texts = {"file-sd": "a/../b.json", "http-sd": "http://user:hush@sd/?a=@b", "dns": "a:1"}
        found = {kind.name: kind.source(texts[kind.name]) for kind in KINDS if kind.source is not None}
        self.assertEqual(found, {"file-sd": os.path.abspath("b.json"), "http-sd": "http://sd/?a=@b", "dns": "a:1"})
