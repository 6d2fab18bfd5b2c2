"""Tests of `mpp.core.metrics.counters`: counting, as prometheus_client itself would."""

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics, generate_latest
from twisted.trial.unittest import SynchronousTestCase

from mpp.core.metrics.counters import LabelledCounter, LabelledHistogram

BOUNDS = (0.01, 0.1, 1.0)
VALUES = (0.0, 0.01, 0.011, 0.5, 1.0, 7.0)


class TallyTests(SynchronousTestCase):
    """The page is the same, byte by byte, as with the library's own counters."""

    def setUp(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.ours, self.theirs = CollectorRegistry(), CollectorRegistry()

    def assert_same(self) -> None:
        self.assertEqual(generate_latest(self.ours).decode(), generate_latest(self.theirs).decode())

    def test_counters_have_labels(self) -> None:
        """Counters with labels."""
        counts = LabelledCounter("mpp_requests", "All of them.", ("backend", "code"))
        self.ours.register(counts)
        counter = Counter("mpp_requests", "All of them.", ("backend", "code"), registry=self.theirs)
        self.assert_same()
        for backend, code in (("a", 200), ("b", 503), ("a", 200)):
            counts.inc(backend, code)
            counter.labels(backend, str(code)).inc()
        self.assert_same()

    def test_amounts(self) -> None:
        """A counter can count amounts, such as seconds."""
        counts = LabelledCounter("mpp_seconds", "All of them.", ("source",))
        self.ours.register(counts)
        counter = Counter("mpp_seconds", "All of them.", ("source",), registry=self.theirs)
        counts.expect("b")
        counter.labels("b")
        for source, amount in (("a", 2.5), ("b", 3), ("a", 0.25)):
            counts.add(amount, source)
            counter.labels(source).inc(amount)
        self.assert_same()

    def test_one_distribution(self) -> None:
        """A histogram without a label is there from the start."""
        distributions = LabelledHistogram("mpp_seconds", "How long.", BOUNDS)
        self.ours.register(distributions)
        histogram = Histogram("mpp_seconds", "How long.", buckets=BOUNDS, registry=self.theirs)
        self.assert_same()
        for value in VALUES:
            distributions.of("").observe(value)
            histogram.observe(value)
        self.assert_same()

    def test_histogram_has_one_series_per_label_value(self) -> None:
        """A histogram with a label has one series for each value."""
        distributions = LabelledHistogram("mpp_seconds", "How long.", BOUNDS, "backend")
        self.ours.register(distributions)
        histogram = Histogram("mpp_seconds", "How long.", ("backend",), buckets=BOUNDS, registry=self.theirs)
        self.assert_same()
        for number, value in enumerate(VALUES):
            distributions.of("ab"[number % 2]).observe(value)
            histogram.labels("ab"[number % 2]).observe(value)
        self.assert_same()
