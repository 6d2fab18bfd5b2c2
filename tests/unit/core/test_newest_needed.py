"""The time up to which a request needs data."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mpp.core.model import RequestInfo
from mpp.core.prometheus.newest_needed import newest_needed

FORM = ((b"Content-Type", b"application/x-www-form-urlencoded"),)


class NewestNeededTests(SynchronousTestCase):
    """`newest_needed`."""

    def test_both_time_formats_are_read(self) -> None:
        """Unix time and RFC 3339, in the query string or a form."""
        for target, needed in (
            (b"/api/v1/query?query=up&time=1700000000.5", 1700000000.5),
            (b"/api/v1/query_range?start=1&end=1700000000&step=15", 1700000000.0),
            (b"/api/v1/series?match[]=up&end=2023-11-14T22%3A13%3A20Z", 1700000000.0),
            (b"/prefix/api/v1/query?time=2023-11-14T22:13:20%2B00:00", 1700000000.0),
        ):
            self.assertEqual(newest_needed(RequestInfo(b"GET", target, ())), needed, target)
        posted = RequestInfo(b"POST", b"/api/v1/query", FORM, b"query=up&time=1700000000")
        self.assertEqual(newest_needed(posted), 1700000000.0)

    def test_parameter_of_each_path(self) -> None:
        """An instant query has no end, and a form counts before the query string, as in the servers."""
        for target, needed in (
            (b"/api/v1/query?query=up&end=0", None),
            (b"/api/v1/query?end=0&time=1700000000", 1700000000.0),
            (b"/api/v1/query_range?time=1&start=1&end=1700000000", 1700000000.0),
        ):
            self.assertEqual(newest_needed(RequestInfo(b"GET", target, ())), needed, target)
        posted = RequestInfo(b"POST", b"/api/v1/query?time=5", FORM, b"query=up&time=1700000000")
        self.assertEqual(newest_needed(posted), 1700000000.0)
        # The empty value of a form counts, too.
        self.assertIsNone(newest_needed(RequestInfo(b"POST", b"/api/v1/query?time=1700000000", FORM, b"query=up&time=")))

    def test_unreadable_time_is_now(self) -> None:
        """Without a time that is understood it is now."""
        for target in (
            b"/api/v1/query?query=up",
            b"/api/v1/query?time=",
            b"/api/v1/query?time=soon",
            b"/api/v1/query?time=2023-11-14",
            b"/api/v1/query?time=%ff",
            b"/graph?time=1700000000",
            b"/api/v1/query?uptime=1700000000",
        ):
            self.assertIsNone(newest_needed(RequestInfo(b"GET", target, ())), target)
        self.assertIsNone(newest_needed(RequestInfo(b"POST", b"/api/v1/query", (), b"time=1")))
