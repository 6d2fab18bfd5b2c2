"""What mpp counts."""

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from twisted.trial.unittest import SynchronousTestCase

from mpp.admin.gauges import GaugeCollector, Snapshot, gauges_of_process
from mpp.cache.store import CacheState
from mpp.core.metrics.registry import Metrics
from mpp.core.model import Backend, Choice, Observation, Selection, Standing
from mpp.selection.verdict.verdict import LocatorView

A, B = Backend("http", "a", 9090), Backend("http", "b", 9090)
OBSERVATIONS = (Observation(A, Standing.VIABLE), Observation(B, Standing.DOWN, "refused"))


class MetricsTests(SynchronousTestCase):
    """The page at /mpp/metrics."""

    def setUp(self) -> None:
        self.metrics = Metrics(CollectorRegistry())
        self.selection = Selection(1, Choice((A,), (B,)), OBSERVATIONS)
        locators, load = (LocatorView("file", False, 2),), {"a:9090": (3, 1)}
        self.metrics.watch(GaugeCollector(lambda: Snapshot(self.selection, locators, 17, self.metrics.in_flight, load, 5, 480)))

    def value(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, labels)

    def test_present_is_computed_at_scrape_time(self) -> None:
        """Gauges tell what is true at the moment of the scrape."""
        self.assertEqual(self.value("mpp_selected_backends"), 1)
        self.selection = Selection(2, Choice((), (A, B), "all is lost"), OBSERVATIONS)
        self.assertEqual(self.value("mpp_selected_backends"), 0)
        self.assertEqual(self.value("mpp_selection_degraded"), 1)

    def test_load_of_each_backend(self) -> None:
        """It can be seen who is busy, and that requests wait."""
        self.assertEqual(self.value("mpp_backend_requests", backend="a:9090", state="active"), 3)
        self.assertEqual(self.value("mpp_backend_requests", backend="a:9090", state="queued"), 1)

    def test_backends_and_locators_are_told_apart(self) -> None:
        """An alert can name the backend that is down and the locator that fails."""
        self.assertEqual(self.value("mpp_backend_standing", backend="b:9090", standing="down"), 1)
        self.assertEqual(self.value("mpp_backend_standing", backend="a:9090", standing="down"), 0)
        self.assertEqual(
            (self.value("mpp_backend_selected", backend="a:9090"), self.value("mpp_backend_selected", backend="b:9090")), (1, 0)
        )
        self.assertEqual(
            (self.value("mpp_discovery_up", locator="file"), self.value("mpp_discovered_backends", locator="file")), (0, 2)
        )
        self.assertEqual(self.value("mpp_held_bytes"), 17)
        self.assertEqual((self.value("mpp_client_connections"), self.value("mpp_client_connections_limit")), (5, 480))

    def test_use_of_the_cache(self) -> None:
        """It can be seen what came from the cache, and what that has saved; a cache that is not used has zeros."""
        self.assertEqual([self.value("mpp_cache_steps_total", source=each) for each in ("cache", "server")], [0, 0])
        self.metrics.cache_requests.inc("partial")
        self.metrics.cache_steps(1435, 5)
        self.metrics.cache_saved(0.25)
        self.metrics.cache_saved(0.5)
        self.metrics.shared_requests.inc()
        results = [self.value("mpp_cache_requests_total", result=each) for each in ("hit", "partial", "miss", "bypass")]
        self.assertEqual(results, [0, 1, 0, 0])
        self.assertEqual([self.value("mpp_cache_steps_total", source=each) for each in ("cache", "server")], [1435, 5])
        self.assertEqual((self.value("mpp_cache_saved_seconds_total"), self.value("mpp_shared_requests_total")), (0.75, 1))
        self.assertIn(b"\nmpp_cache_saved_seconds_total 0.75\n", self.metrics.exposition())

    def test_memory_of_the_cache(self) -> None:
        """The gauges of the cache are of the moment of the scrape; those of a worker do not include what it does not know."""
        state, registry = CacheState(3, 1000, 2**20), CollectorRegistry()
        alone = Snapshot(self.selection, (), 0, cache=state, cache_freshness=75.0)
        registry.register(GaugeCollector(lambda: alone))
        names = ("mpp_cache_entries", "mpp_cache_bytes", "mpp_cache_limit_bytes", "mpp_cache_freshness_seconds")
        self.assertEqual([registry.get_sample_value(name) for name in names], [3, 1000, 2**20, 75])
        of_worker = CollectorRegistry()
        of_worker.register(GaugeCollector(lambda: alone, gauges_of_process))
        self.assertEqual([of_worker.get_sample_value(name) for name in names], [3, 1000, 2**20, None])

    def test_metric_tells_which_backend_is_mpp_itself(self) -> None:
        """A backend that is mpp itself has a metric that says so."""
        self.assertEqual(self.value("mpp_backend_is_self", backend="a:9090"), 0)
        self.selection = Selection(2, Choice((B,)), (Observation(A, Standing.NOT_READY, is_self=True), OBSERVATIONS[1]))
        self.assertEqual(self.value("mpp_backend_is_self", backend="a:9090"), 1)

    def test_ejections_are_told(self) -> None:
        """An alert can name who is out of service, and tell that nobody is left who is well."""
        self.assertEqual((self.value("mpp_backend_ejected", backend="b:9090"), self.value("mpp_last_resort")), (0, 0))
        observations = (Observation(A, Standing.SUSPECT, "reset", ejected_at=5.0), OBSERVATIONS[1])
        self.selection = Selection(2, Choice((A,), (B,), "all is lost"), observations)
        self.assertEqual((self.value("mpp_backend_ejected", backend="a:9090"), self.value("mpp_last_resort")), (1, 1))
        self.selection = Selection(3, Choice((), (), "no backend is known"))
        self.assertEqual(self.value("mpp_last_resort"), 0)

    def test_requests_are_counted_once_and_timed(self) -> None:
        """One client request is one count, by the backend that answered and the status."""
        for _ in range(2):
            self.metrics.request_began()
        self.assertEqual(self.value("mpp_requests_in_flight"), 2)
        self.metrics.request_ended("a:9090", 200, 0.02)
        self.metrics.request_ended("a:9090", 200, 3.0)
        self.assertEqual(self.value("mpp_requests_in_flight"), 0)
        self.assertEqual(self.value("mpp_requests_total", backend="a:9090", code="200"), 2)
        self.assertEqual(self.value("mpp_request_duration_seconds_count"), 2)
        self.assertEqual(self.value("mpp_request_duration_seconds_bucket", le="0.025"), 1)

    def test_page_is_what_prometheus_reads(self) -> None:
        """The page parses, and has the names the original had."""
        self.metrics.retries.inc("a:9090", "reset")
        self.metrics.affinity_hits.inc("cookies")
        self.metrics.upstream_answered("a:9090", 0.1)
        self.metrics.truncated_responses.inc("a:9090", "reset")
        names = {family.name for family in text_string_to_metric_families(self.metrics.exposition().decode())}
        for name in (
            "mpp_selected_backends",
            "mpp_retries",
            "mpp_requests",
            "mpp_upstream_duration_seconds",
            "mpp_selection_events",
            "mpp_affinity_hits",
            "mpp_build_info",
            "mpp_truncated_responses",
            "process_resident_memory_bytes",
        ):
            self.assertIn(name, names)

    def test_known_backend_stands_at_zero(self) -> None:
        """What alerts and panels compare has a sample before the first event, and keeps its count when the backend returns."""
        expected = (
            ("mpp_requests_total", {"code": "503"}),
            ("mpp_retries_total", {"reason": "refused"}),
            ("mpp_retries_total", {"reason": "saturated"}),
            ("mpp_retries_total", {"reason": "truncated_reset"}),
            ("mpp_truncated_responses_total", {"reason": "closed"}),
            ("mpp_hedges_total", {"reason": "stuck"}),
            ("mpp_suspicion_probes_total", {"result": "stuck"}),
            ("mpp_probe_errors_total", {"standing": "down"}),
            ("mpp_ejections_total", {"reason": "failures"}),
            ("mpp_slow_clients_reset_total", {}),
            ("mpp_moved_requests_total", {}),
            ("mpp_query_of_death_suspects_total", {}),
            ("mpp_storage_errors_total", {}),
            ("mpp_readmissions_total", {}),
            ("mpp_upstream_duration_seconds_count", {}),
        )
        for name, labels in expected:
            self.assertIsNone(self.value(name, backend="a:9090", **labels), name)
        self.metrics.expect_backend("a:9090")
        for name, labels in expected:
            self.assertEqual(self.value(name, backend="a:9090", **labels), 0, name)
        self.metrics.truncated_responses.inc("a:9090", "closed")
        self.metrics.expect_backend("a:9090")
        self.assertEqual(self.value("mpp_truncated_responses_total", backend="a:9090", reason="closed"), 1)

    def test_page_is_the_librarys(self) -> None:
        """The page has the lines that prometheus_client makes of all samples, those of servers that were not used included."""
        for name in ("a:9090", "b:9090/x", 'odd"\\\n'):
            self.metrics.expect_backend(name)
        self.metrics.retries.inc("a:9090", "reset")
        self.metrics.retries.inc("gone:9090", "reset")
        self.metrics.upstream_answered("a:9090", 0.02)
        self.metrics.request_began()
        self.metrics.request_ended("b:9090/x", 503, 0.2)

        def lines(page: bytes) -> list[str]:
            # What the process itself uses changes all the time.
            return sorted(line for line in page.decode().split("\n") if "process_" not in line and "python_" not in line)

        page = self.metrics.exposition()
        self.assertEqual(lines(page), lines(generate_latest(self.metrics.registry)))
        families = list(text_string_to_metric_families(page.decode()))
        self.assertEqual(len({family.name for family in families}), len(families), "the lines of a family are not together")

    def test_own_reads_create_no_zero_series(self) -> None:
        """What the program itself looks at has no series that are 0, of which there are many when there are many servers."""
        self.metrics.expect_backend("a:9090")
        self.metrics.retries.inc("b:9090", "reset")
        found = list(self.metrics.counted(["mpp_retries_total", "mpp_upstream_duration_seconds_bucket"]))
        self.assertEqual(
            [(family.name, len(family.samples)) for family in found],
            [("mpp_upstream_duration_seconds", 0), ("mpp_retries", 1)][::-1],
        )

    def test_program_stands_at_zero(self) -> None:
        """So do counters that belong to no backend, from the start."""
        for reason in ("retry", "hedge"):
            self.assertEqual(self.value("mpp_retry_budget_exhausted_total", reason=reason), 0)
        self.assertEqual(self.value("mpp_requests_total", backend="mpp", code="503"), 0)
        self.assertEqual(self.value("mpp_selection_rounds_total", result="failed"), 0)
        self.metrics.expect_configured(["dns"], ["cookies"])
        self.assertEqual(self.value("mpp_discovery_errors_total", locator="dns"), 0)
        self.assertEqual(self.value("mpp_affinity_hits_total", type="cookies"), 0)
