"""The configuration, read again."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import formatEvent
from twisted.trial.unittest import SynchronousTestCase

from mpp.app.components import Components, build
from mpp.app.early_interrupt import record_hangup
from mpp.app.reload import Reloader, SighupListener
from mpp.config.diff import changes, check_lasting
from mpp.config.loader import ConfigSources
from mpp.core.errors import ConfigError, ConfigErrors
from mpp.core.http.headers import ConfiguredFields
from mpp.core.http_config import DiscoverySource, HTTPConfig, HTTPConfigs, LocatorRule
from mpp.core.settings import Reloaded, Settings
from mpp.core.url_pattern import URLPattern
from mpp.discovery.kinds.endpoint import EndpointSettings
from mpp.discovery.kinds.planner import LocatorPlanner
from mpp.discovery.kubernetes.settings import KubeSettings
from mpp.discovery.marathon.settings import MarathonSettings
from mpp.discovery.merged import MergedLocator
from mpp.security.web_config.file import LoadedConfig
from mpp.security.web_config.values import WebConfig
from mpp.selection.verdict.verdict import ConfigProblem
from tests.configured import configured
from tests.logged import logged


def _own(event: Mapping[str, Any]) -> str:
    return str(formatEvent(event)) if str(event.get("log_namespace", "")).startswith("mpp.") else ""  # type: ignore[arg-type]


class ChangesTests(SynchronousTestCase):
    """What differs."""

    def test_changed_options_are_named_without_values(self) -> None:
        """Options are named as in a file, in the order of the table; their values are not told."""
        before = configured(endpoints=("a:1",), marathon=MarathonSettings(principal_secret="s3cr3t"))
        after = configured(config="f", endpoints=("b:1",), kube=KubeSettings(namespace="n"), retries=5)
        self.assertEqual(changes(before, after), ("endpoint", "marathon-principal-secret", "kube-namespace", "retries"))
        self.assertEqual(changes(before, before), ())

    def test_changed_http_settings_are_named_by_place(self) -> None:
        """How servers are spoken to is named by where it is said."""
        config = HTTPConfig(username="u")
        after = HTTPConfigs(config, ((URLPattern(), config),), (LocatorRule(DiscoverySource("dns"), config),))
        self.assertEqual(changes(Settings(), Settings(http=after)), ("http_config", "backends", "locators"))


class WiringTests(SynchronousTestCase):
    """What is made anew, and what is taken over."""

    def wire(self, last: Components | None = None, **settings: object) -> Components:
        """Wire some settings."""
        return build(configured(**settings), LocatorPlanner(MemoryReactorClock(), {}), last)  # type: ignore[arg-type]

    def test_unchanged_locators_and_affinities_are_kept(self) -> None:
        """A locator or affinity that is configured as before goes on with all it remembers."""
        first = self.wire(endpoints=("a:1",), endpoints_file="f")
        second = self.wire(first, endpoints=("b:1",), endpoints_file="f")
        self.assertIs(second.locators[0][1], first.locators[0][1])
        self.assertEqual(second.made, (second.locators[1][1],))
        self.assertIs(second.affinity, first.affinity)
        self.assertIsNot(self.wire(first, affinity_options=()).affinity, first.affinity)

    def test_locators_get_their_names_when_they_become_active(self) -> None:
        """A source keeps its locator when another one of its kind is added, which gives it a number as soon as it is active."""
        first = self.wire(dns=("a:1",))
        second = self.wire(first, dns=("b:1", "a:1"), selection_interval=5.0)
        (_, kept), (_, added) = (*first.locators, *((None, each) for each in second.made))
        self.assertEqual(kept.name, "dns")
        self.assertEqual(second.named_locators(), [added, kept])
        self.assertEqual((added.name, kept.name), ("dns-1", "dns-2"))

    def test_found_by(self) -> None:
        """Credentials follow the locators, each of several by its source."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        rules = []
        for name, source in (("endpoint", ""), ("file-sd", f"{folder}/b.json"), ("file-sd", "")):
            secret = folder / f"{name}{len(rules)}"
            secret.write_text(secret.name)
            rules.append(LocatorRule(DiscoverySource(name, source), HTTPConfig(credentials_file=str(secret))))
        for name, hosts in (("a", ["a:1", "both:1"]), ("b", ["b:1", "both:1", "first:1"])):
            (folder / f"{name}.json").write_text(json.dumps([{"targets": hosts}]))
        patterns = f"{folder}/*.json", f"{folder}/b.json"
        wiring = self.wire(endpoints=("first:1", "e:1"), file_sd=patterns, http=HTTPConfigs(locators=tuple(rules)))
        merged = MergedLocator([locator for _, locator in wiring.locators], MemoryReactorClock(), failed=lambda name: None)
        located = self.successResultOf(merged.locate())
        self.assertFalse(wiring.credentials.set_sources(wiring.origins(merged.sources)))
        found = {each.backend.host: wiring.credentials.fields(each.backend) for each in located}
        lines = (f"Bearer {name}" for name in ("endpoint0", "file-sd1", "file-sd2"))
        first, second, third = (ConfiguredFields.of(((b"Authorization", line.encode()),)) for line in lines)
        self.assertEqual(found, {"first": first, "e": first, "a": third, "both": second, "b": second})

    def test_everything_wrong(self) -> None:
        """All that cannot work is told."""
        error = self.assertRaises(ConfigErrors, self.wire, routing_strategy="x", affinity_options=("y",), endpoints=("z",))
        self.assertEqual([each.option for each in error.all], ["--routing-strategy", "--affinity-options", "--endpoint"])


class LastingTests(SynchronousTestCase):
    """What only a restart can change."""

    def test_sharing_of_an_open_port(self) -> None:
        """Whether an open port is shared is changed by a restart only; another port may be shared or not."""
        for active, new, rejected in (
            (Settings(port=1), Settings(port=1, reuse_port=True), True),
            (Settings(port=1, reuse_port=True), Settings(port=1), True),
            (Settings(port=1), Settings(port=2, reuse_port=True), False),
            (Settings(port=None), Settings(port=None, reuse_port=True), False),
            (Settings(port=None), Settings(port=1, reuse_port=True), False),
            (Settings(port=1, workers=2), Settings(port=2, workers=2, reuse_port=True), True),
        ):
            if rejected:
                error = self.assertRaises(ConfigError, check_lasting, active, new)
                self.assertEqual((error.option, error.needs_restart), ("--reuse-port", True))
            else:
                check_lasting(active, new)


class FakeWebConfig:
    """A web configuration whose files have some content, or are invalid."""

    def __init__(self, content: LoadedConfig | ConfigError) -> None:
        self.content = content
        self.secured: list[LoadedConfig] = []

    def read(self) -> LoadedConfig:
        if isinstance(self.content, ConfigError):
            raise self.content
        return self.content

    def take_over(self, loaded: LoadedConfig) -> bool:
        self.secured.append(loaded)
        return True


class FakeProgram:
    """A program that notes what it is told."""

    def __init__(self) -> None:
        self.settings = configured(endpoints=("a:1",))
        self.backends = self.client_side = self
        self.verifying: Deferred[None] = succeed(None)
        self.following: Deferred[None] = succeed(None)
        self.refusal: ConfigError | None = None
        self.prepared: list[Components] = []
        self.locating = LocatorPlanner(MemoryReactorClock(), {})
        self.web_config: FakeWebConfig | None = None

    def prepare(self, settings: Settings) -> Components:
        self.prepared.append(build(settings, self.locating))
        return self.prepared[-1]

    def verify(self, wiring: Components) -> Deferred[None]:
        return self.verifying

    def apply(self, wiring: Components) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.settings = wiring.settings

    def in_step(self) -> Deferred[None]:
        return self.following


class ReloaderTests(SynchronousTestCase):
    """The order of the steps."""

    def setUp(self) -> None:
        folder = Path(self.mktemp())
        folder.mkdir()
        self.file = folder / "mpp.yaml"
        self.file.write_text("endpoint: a:1\n")
        self.program = FakeProgram()
        self.told: list[bool] = []
        self.noted: list[tuple[str, str]] = []
        self.applied: list[int] = []
        self.lines = logged(self, _own)
        self.checked: ConfigError | None = None
        self.reloader = Reloader(
            self.program,
            ConfigSources(("--config", "mpp.yaml"), {}, str(folder.absolute())),
            check=self.check,
            applied=lambda reading: self.applied.append(reading.settings.retries),
            report=self.told.append,
            note=lambda kind, text: self.noted.append((kind, text)),
        )

    def check(self, settings: Settings) -> None:
        if self.checked is not None:
            raise self.checked

    def reload(self, text: str) -> Reloaded:
        """Have another file, and read it."""
        self.file.write_text(text)
        reloaded: Reloaded = self.successResultOf(self.reloader.reload())
        return reloaded

    def test_changed_options_are_active_and_reported(self) -> None:
        """What has changed is in force, and told by name."""
        self.assertEqual(self.reload("endpoint: b:1\nretries: 5\n"), Reloaded(("endpoint", "retries")))
        self.assertEqual(
            (self.program.settings.discovery[EndpointSettings].urls, self.applied, self.told), (("b:1",), [5], [None])
        )
        self.assertEqual(self.lines, ["configuration reloaded from mpp.yaml, changed: endpoint, retries"])
        self.assertEqual(self.noted, [("reload", "the configuration was read again, changed: endpoint, retries")])

    def test_in_step(self) -> None:
        """It is over when all who serve clients have followed."""
        self.program.following = Deferred()
        self.file.write_text("endpoint: b:1\n")
        reloading = self.reloader.reload()
        self.assertEqual(self.program.settings.discovery[EndpointSettings].urls, ("b:1",))
        self.assertNoResult(reloading)
        self.program.following.callback(None)
        self.assertEqual(self.successResultOf(reloading), Reloaded(("endpoint",)))

    def test_nothing_changed(self) -> None:
        """A file that says the same is no trouble."""
        before = self.program.settings
        self.assertEqual(self.reload("endpoint: [a:1]\n"), Reloaded())
        self.assertIs(self.program.settings, before)
        self.assertEqual(self.lines, ["configuration reloaded from mpp.yaml, nothing has changed"])

    def test_wrong_configuration_changes_nothing(self) -> None:
        """All that is wrong is told, and nothing changes."""
        before = self.program.settings
        reloaded = self.reload("endpoint: b:1\nretries: x\nprot: 1\n")
        self.assertEqual(reloaded.changed, ())
        self.assertEqual(
            reloaded.errors,
            (
                "mpp.yaml:2: retries: expected a whole number, found the text 'x'",
                "mpp.yaml:3: prot: no such key; did you mean port?",
            ),
        )
        self.assertEqual(self.lines, [f"configuration not applied: {error}" for error in reloaded.errors])
        self.assertEqual(self.told, [ConfigProblem("mpp.yaml:2: retries and mpp.yaml:3: prot")])
        self.assertEqual(self.applied, [])
        why = f"the configuration was read again and not applied: {reloaded.errors[0]} (and 1 more)"
        self.assertEqual(self.noted, [("refused", why)])
        self.assertIs(self.program.settings, before)

    def test_later_error_names_the_line(self) -> None:
        """What is found by whatever step is told with the line."""
        text = "endpoint: b:1\nport: 1\n"
        wrong = ConfigError("--port", "is taken")
        expected = Reloaded(errors=("mpp.yaml:2: port: is taken",))
        self.checked = wrong
        self.assertEqual(self.reload(text), expected)
        self.checked, self.program.refusal = None, wrong
        self.assertEqual(self.reload(text), expected)
        self.program.refusal, self.program.verifying = None, Deferred()
        self.program.verifying.errback(wrong)
        self.assertEqual(self.reload(text), expected)
        self.assertEqual(self.reload("endpoint: b\n").errors[0].partition(": 'b'")[0], "mpp.yaml:1: endpoint")

    def test_web_config(self) -> None:
        """A changed web configuration is taken over with the rest, and told by its option's name."""
        loaded = LoadedConfig(WebConfig(), None, {})
        web_config = self.program.web_config = FakeWebConfig(loaded)
        self.assertEqual(self.reload("endpoint: [a:1]\n"), Reloaded(("web-config",)))
        self.assertEqual(self.reload("endpoint: b:1\n"), Reloaded(("endpoint", "web-config")))
        self.assertEqual(web_config.secured, [loaded, loaded])

    def test_broken_web_config(self) -> None:
        """While the web configuration is no good nothing is applied, and when something else is not, neither is it."""
        web_config = self.program.web_config = FakeWebConfig(ConfigError("--web-config", "web.yml: has no key at all"))
        reloaded = self.reload("endpoint: b:1\n")
        self.assertEqual(reloaded.errors, ("--web-config: web.yml: has no key at all",))
        web_config.content, self.program.refusal = LoadedConfig(WebConfig(), None, {}), ConfigError("--port", "is taken")
        self.assertEqual(self.reload("endpoint: b:1\n").errors, ("--port: is taken",))
        self.assertEqual(self.program.settings.discovery[EndpointSettings].urls, ("a:1",))
        self.assertEqual(web_config.secured, [])

    def test_one_after_the_other(self) -> None:
        """A reload waits for the one before, and reads the file when it is its turn."""
        self.program.verifying = Deferred()
        self.file.write_text("endpoint: b:1\n")
        first, second = self.reloader.reload(), self.reloader.reload()
        self.assertNoResult(first)
        self.file.write_text("endpoint: c:1\n")
        self.program.verifying.callback(None)
        self.successResultOf(first)
        self.successResultOf(second)
        self.assertEqual(self.program.settings.discovery[EndpointSettings].urls, ("c:1",))

    def test_bug_is_logged_and_the_next_reload_works(self) -> None:
        """A bug is logged, and the next reload is made all the same."""
        self.program.verifying = Deferred()
        self.program.verifying.errback(ZeroDivisionError())
        self.assertEqual(self.reload("endpoint: b:1\n").errors, ("internal error of mpp, see its log",))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.program.verifying = succeed(None)
        self.assertEqual(self.reload("endpoint: b:1\n"), Reloaded(("endpoint",)))


class AtOnce:
    """The part of a reactor that a signal needs."""

    def callFromThread(self, call: Callable[[], object]) -> None:
        call()

    callWhenRunning = callFromThread


class HangUpTests(SynchronousTestCase):
    """SIGHUP."""

    def test_sighup_reloads_while_running_only(self) -> None:
        """It is acted on while the program runs, and ignored while it stops."""
        self.addCleanup(signal.signal, signal.SIGHUP, signal.getsignal(signal.SIGHUP))
        called: list[str] = []
        service = SighupListener(AtOnce(), lambda: called.append("called"))
        service.startService()
        os.kill(os.getpid(), signal.SIGHUP)
        service.stopService()
        os.kill(os.getpid(), signal.SIGHUP)
        self.assertEqual(called, ["called"])

    def test_sighup_during_the_start(self) -> None:
        """A SIGHUP that arrives before the program runs does not end it: the configuration is read once more, if it arrived."""
        self.addCleanup(signal.signal, signal.SIGHUP, signal.getsignal(signal.SIGHUP))
        for hangups, expected in ((0, []), (2, ["called"])):
            called: list[str] = []
            signal.signal(signal.SIGHUP, signal.SIG_DFL)
            record_hangup()
            for _ in range(hangups):
                os.kill(os.getpid(), signal.SIGHUP)
            service = SighupListener(AtOnce(), lambda called=called: called.append("called"))
            service.startService()
            self.assertEqual(called, expected)

    def test_ignored_sighup_stays_ignored(self) -> None:
        """Under nohup, a SIGHUP during the start is ignored."""
        self.addCleanup(signal.signal, signal.SIGHUP, signal.getsignal(signal.SIGHUP))
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        record_hangup()
        self.assertIs(signal.getsignal(signal.SIGHUP), signal.SIG_IGN)
