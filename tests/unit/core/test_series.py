"""Tests of `mpp.core.metrics.series`: which series of counters exist, and for how long."""

from __future__ import annotations

from prometheus_client import CollectorRegistry
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mpp.app.upkeep import SeriesExpiry
from mpp.core.metrics.registry import Metrics
from mpp.core.metrics.series import KEPT_INTERVALS, expired, gone_since

INTERVAL = 10.0
KEPT_S = KEPT_INTERVALS * INTERVAL


class DecisionTests(SynchronousTestCase):
    """The pure decisions."""

    def test_time_of_leaving_is_kept(self) -> None:
        """A backend that stays away has been gone since it was first missed; one that returns is not gone any more."""
        gone = gone_since({}, ["a", "b", "c"], {"a"}, 5.0)
        self.assertEqual(gone, {"b": 5.0, "c": 5.0})
        self.assertEqual(gone_since(gone, ["a", "b", "c"], {"a", "c"}, 9.0), {"b": 5.0})

    def test_series_expire_after_thirty_selection_intervals(self) -> None:
        """The series go thirty selection intervals after the backend has."""
        self.assertEqual(KEPT_INTERVALS, 30)
        for since, gone in ((100.0, ["a"]), (100.5, [])):
            self.assertEqual(expired({"a": since}, 100.0 + KEPT_S, INTERVAL), gone)


class UpkeepTests(SynchronousTestCase):
    """The counters of backends that come and go, as a scrape shows them."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.metrics = Metrics(CollectorRegistry())
        self.known = {"backend": {"mpp", "a:1"}, "locator": {"dns"}, "type": {"cookies"}}
        self.upkeep = SeriesExpiry(self.metrics, lambda: self.known, lambda: INTERVAL, self.clock.seconds)
        for backend in ("a:1", "b:1"):
            self.metrics.expect_backend(backend)
        self.metrics.expect_configured(["dns", "file"], ["cookies", "sourceip"])

    def value(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, labels)

    def wait(self, seconds: float) -> None:
        """Let time pass, with a sweep each second."""
        for _ in range(int(seconds)):
            self.clock.advance(1.0)
            self.upkeep.remove_expired()

    def shown(self) -> set[str]:
        return {label for label in ("a:1", "b:1", "dns", "file", "cookies", "sourceip") if f'"{label}"' in self.page()}

    def page(self) -> str:
        return self.metrics.exposition().decode()

    def test_gone_after_thirty_intervals(self) -> None:
        """Nothing is left of what has gone, and everything of what is known and of mpp itself."""
        self.wait(KEPT_S)
        self.assertEqual(self.shown(), {"a:1", "b:1", "dns", "file", "cookies", "sourceip"})
        self.wait(2 * INTERVAL)
        self.assertEqual(self.shown(), {"a:1", "dns", "cookies"})
        self.assertEqual(self.value("mpp_requests_total", backend="mpp", code="503"), 0)

    def test_back_in_time(self) -> None:
        """A backend that returns before that goes on with its counts."""
        self.metrics.truncated_responses.inc("b:1", "reset")
        self.wait(KEPT_S - INTERVAL)
        self.known["backend"].add("b:1")
        self.wait(3 * INTERVAL)
        self.known["backend"].discard("b:1")
        self.wait(KEPT_S - INTERVAL)
        self.assertEqual(self.value("mpp_truncated_responses_total", backend="b:1", reason="reset"), 1)

    def test_late_request(self) -> None:
        """The series that a very late request brings back go, too."""
        self.wait(KEPT_S + 2 * INTERVAL)
        self.metrics.request_began()
        self.metrics.request_ended("b:1", 499, 1.0)
        self.wait(KEPT_S + 2 * INTERVAL)
        self.assertEqual(self.shown(), {"a:1", "dns", "cookies"})
