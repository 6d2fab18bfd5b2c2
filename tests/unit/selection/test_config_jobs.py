"""The scrape jobs and their intervals in a server's configuration."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mpp.selection.probing.config_jobs import JobLines


class JobLinesTests(SynchronousTestCase):
    """The intervals in a configuration."""

    def test_each_job_has_its_interval(self) -> None:
        """Each job has the interval that the server writes out; what makes no sense is left out."""
        lines = JobLines()
        for line in (
            b"scrape_configs:",
            b"- job_name: a",
            b"  honor_timestamps: true",
            b"  scrape_interval: 1m30s",
            b"  scrape_interval: 5s",
            rb"- job_name: \"b: c\"",
            b"  scrape_interval: 500ms",
            b"- job_name: 'd''e'",
            b"  scrape_interval: 15s",
            b"- job_name: " + b"x" * 300,
            b"  scrape_interval: 15s",
            b"- job_name: f",
            b"  scrape_interval: often",
        ):
            lines.take(bytearray(line))
        self.assertEqual(lines.found(), (("a", 90.0), ("b: c", 0.5), ("d'e", 15.0)))

    def test_long_intervals(self) -> None:
        """An interval of years counts as a day: no server is asked about more of its history because of what another one says."""
        for interval in (b"1d1s", b"10y", b"999999999y" * 1000):
            lines = JobLines()
            lines.take(bytearray(b"- job_name: a"))
            lines.take(bytearray(b"  scrape_interval: " + interval))
            self.assertEqual(lines.found(), (("a", 86400.0),))
