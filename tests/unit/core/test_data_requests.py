"""What requests to the API ask for."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mpp.core.model import RequestInfo
from mpp.core.prometheus.data_requests import DataKind, DataRequest, find, kind_of, with_range

NOW = 1_700_000_000.5
FORM = ((b"Content-Type", b"application/x-www-form-urlencoded"),)


def asked(target: str, body: bytes = b"", headers: tuple[tuple[bytes, bytes], ...] = ()) -> DataRequest | None:
    """Return what a request asks for."""
    info = RequestInfo(b"POST" if body else b"GET", target.encode(), headers, body=body)
    kind = kind_of(info.target.partition(b"?")[0])
    assert kind is not None, target
    return find(kind, info, NOW)


class KindTests(SynchronousTestCase):
    """Which paths return data."""

    def test_paths_that_return_data(self) -> None:
        """Those of the query API, behind any prefix."""
        for path, kind in (
            (b"/api/v1/query", DataKind.INSTANT),
            (b"/prom/a/api/v1/query_range", DataKind.RANGE),
            (b"/api/v1/query_exemplars", DataKind.EXEMPLARS),
            (b"/api/v1/series", DataKind.SERIES),
            (b"/api/v1/labels", DataKind.SERIES),
            (b"/api/v1/label/job/values", DataKind.SERIES),
            (b"/api/v1/rules", None),
            (b"/graph", None),
            (b"/api/v1/query/", None),
        ):
            self.assertEqual(kind_of(path), kind, path)


class QueryTests(SynchronousTestCase):
    """Instant and range queries."""

    def test_instant_query_without_a_time_is_for_now(self) -> None:
        """Prometheus evaluates it at its own now."""
        self.assertEqual(
            asked("/api/v1/query?query=up"), DataRequest(DataKind.INSTANT, (b"up",), 1_700_000_000_500, 1_700_000_000_500)
        )

    def test_times_are_read_as_prometheus_reads_them(self) -> None:
        """Numbers are rounded to milliseconds, RFC 3339 is cut."""
        for text, milliseconds in (
            ("1700000000", 1_700_000_000_000),
            ("1700000000.0014", 1_700_000_000_001),
            ("1700000000.0016", 1_700_000_000_002),
            ("1.7e9", 1_700_000_000_000),
            ("1.7e%2B9", 1_700_000_000_000),
            ("2023-11-14T22:13:20Z", 1_700_000_000_000),
            ("2023-11-14T22%3A13%3A20.0019Z", 1_700_000_000_001),
            ("2023-11-15T00:13:20%2B02:00", 1_700_000_000_000),
            ("-10", -10_000),
            ("1e99", 10**13),
        ):
            found = asked(f"/api/v1/query?query=up&time={text}")
            self.assertIsNotNone(found, text)
            self.assertEqual(found and found.start, milliseconds, text)
        for text in ("now", "2023-11-14T22:13:20", "2023-11-15T00:13:20+02:00", "0x10", "1e999", "inf", "nan", "%00", "1" * 200):
            self.assertIsNone(asked(f"/api/v1/query?query=up&time={text}"), text)

    def test_range_query(self) -> None:
        """Its steps, from numbers and durations."""
        for text, step in (("15", 15_000), ("0.0019", 1), ("1m30s", 90_000), ("1h", 3_600_000)):
            self.assertEqual(
                asked(f"/api/v1/query_range?step={text}&query=rate(a%5B5m%5D)&start=100&end=10000"),
                DataRequest(DataKind.RANGE, (b"rate(a%5B5m%5D)",), 100_000, 10_000_000, step) if step > 1 else None,
                text,
            )

    def test_steps_with_fractions(self) -> None:
        """Cut to milliseconds as by a real server (2.42 and 3.5.3 have answered these)."""
        for text, step in (
            ("1.025", 1024),
            ("1s1ms", 1001),
            ("2.3", 2300),
            ("4.35", 4350),
            ("1.001", 1000),
            ("2m3s7ms", 123_007),
        ):
            found = asked(f"/api/v1/query_range?query=up&start=100&end=200&step={text}")
            self.assertEqual(found and found.step, step, text)

    def test_a_range_query_that_prometheus_rejects_is_not_understood(self) -> None:
        """No step, no query, the end before the start, or more than 11,000 steps."""
        for parameters in (
            "query=up&start=1&end=2",
            "query=up&start=1&end=2&step=0",
            "query=up&start=1&end=2&step=x",
            "start=1&end=2&step=1",
            "query=up&end=2&step=1",
            "query=up&start=3&end=2&step=1",
            "query=up&start=0&end=11000&step=1",
        ):
            self.assertIsNone(asked(f"/api/v1/query_range?{parameters}"), parameters)
        self.assertIsNotNone(asked("/api/v1/query_range?query=up&start=0&end=10999&step=1"))

    def test_a_form_comes_before_the_query_string(self) -> None:
        """As in Go's Request.FormValue; a body that is no form is not read."""
        found = asked("/api/v1/query?query=b&time=7", b"query=a&time=5", FORM)
        self.assertEqual(found, DataRequest(DataKind.INSTANT, (b"a",), 5000, 5000))
        self.assertEqual(
            asked("/api/v1/query?query=b&time=7", b"query=a&time=5"), DataRequest(DataKind.INSTANT, (b"b",), 7000, 7000)
        )

    def test_parameters_that_change_what_is_read(self) -> None:
        """The look back, and what only one server can answer."""
        found = asked("/api/v1/query?query=up&time=1&lookback_delta=1m&stats=all")
        self.assertEqual(found and (found.lookback, found.whole), (60.0, "it has a parameter that holds for the whole range"))
        self.assertIsNone(asked("/api/v1/query?query=up&lookback_delta=x"))


class SeriesTests(SynchronousTestCase):
    """Requests without an evaluation."""

    def test_selectors_and_times(self) -> None:
        """All selectors count, however their name is written; without an end they are for now."""
        found = asked("/api/v1/series?match[]=up&start=5&match%5B%5D=a&end=9")
        self.assertEqual(found, DataRequest(DataKind.SERIES, (b"up", b"a"), 5000, 9000))
        self.assertEqual(asked("/api/v1/labels?start=5"), DataRequest(DataKind.SERIES, (), 5000, 1_700_000_000_500))
        self.assertIsNone(asked("/api/v1/labels"), "names of all time are what each server has")
        found = asked("/api/v1/query_exemplars?query=a&start=5&end=9")
        self.assertEqual(found, DataRequest(DataKind.EXEMPLARS, (b"a",), 5000, 9000))

    def test_too_many_selectors(self) -> None:
        """A request with a thousand selectors is not looked at."""
        self.assertIsNone(asked("/api/v1/series?" + "&match[]=a" * 1000))


class RangeTests(SynchronousTestCase):
    """A range query for other steps."""

    def test_only_the_range_changes(self) -> None:
        """Wherever its parameters stand; what else a request says stays as it is, byte for byte."""
        for target, body, expected in (
            ("/q?start=1&query=a%2Bb&end=2.5&step=1", b"", (b"/q?start=100.001&query=a%2Bb&end=1700000000.000&step=1", b"")),
            ("/q", b"query=up&end=9&start=3", (b"/q", b"query=up&end=1700000000.000&start=100.001")),
            ("/q?end=4&start=8", b"start=3&a=b", (b"/q?end=1700000000.000&start=8", b"start=100.001&a=b")),
        ):
            info = RequestInfo(b"POST" if body else b"GET", target.encode(), FORM if body else (), body=body)
            found = with_range(info, 100_001, 1_700_000_000_000)
            self.assertEqual((found.target, found.body), expected)
