"""How late samples may appear, and what the meaning of a query depends on, by the configurations of real servers."""

from __future__ import annotations

from pathlib import Path

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from mpp.core.facts import ServerState
from mpp.core.prometheus.durations import seconds
from mpp.core.prometheus.runtimeinfo import ProbeResponse
from mpp.selection.probing.answers_id import answers_id
from mpp.selection.probing.config_hash import ConfigHasher
from mpp.selection.probing.config_times import ConfigTimes
from mpp.selection.probing.flags import read_flags

RECORDED = Path(__file__).parents[2] / "recorded"
TIMES_242, TIMES_353, PLAIN = (
    (RECORDED / f"prometheus-{name}-config.json").read_bytes() for name in ("2.42.0-times", "3.5.3-times", "3.5.3")
)


def times(page: bytes, size: int = 65536) -> ConfigTimes:
    """Return the times in a page that comes in pieces of so many bytes."""
    made = ConfigHasher()
    for at in range(0, len(page), size):
        made.feed(page[at : at + size])
    return made.finish().times


class ConfigTimesTests(SynchronousTestCase):
    """The age at which a time is settled."""

    def test_configurations_of_real_servers_are_read(self) -> None:
        """
        The job that takes longest counts, not one that is scraped every five minutes; then the offset of rules (from 2.53 on) and
        the window for samples out of order.
        """
        for size in (1, 13, 65536):
            self.assertEqual(times(TIMES_242, size), ConfigTimes(1.1 * 60 + 10 + 1800, "p", 30.0))
            self.assertEqual(times(TIMES_353, size), ConfigTimes(1.1 * 60 + 10 + 40 + 1800, "p", 30.0))
        self.assertEqual(times(PLAIN), ConfigTimes(1.1 + 1, "p", 60.0))

    def test_timeout_of_the_job(self) -> None:
        """Of two jobs with the same interval the one with the longer timeout counts; its name is shown unquoted."""
        page = TIMES_353.replace(rb"- job_name: quo\"ted", rb"- job_name: \"a: b\"")
        short, long = (rb"scrape_interval: 15s\n  scrape_timeout: 10s", rb"scrape_interval: 1m\n  scrape_timeout: 59s")
        longer = page[:500] + page[500:].replace(short, long)
        self.assertEqual(longer.count(b"59s"), 1)
        self.assertEqual(times(longer), ConfigTimes(1.1 * 60 + 59 + 40 + 1800, "a: b", 30.0))

    def test_jobs_slower_than_two_minutes_do_not_count(self) -> None:
        """A job that is scraped every two minutes counts, one of 121 seconds does not."""
        for interval, expected in ((b"2m", ("slow", 144.0)), (b"2m1s", ("p", 76.0))):
            found = times(TIMES_242.replace(b"scrape_interval: 5m", b"scrape_interval: " + interval))
            self.assertEqual((found.settles_job, found.settles_s - 1800), expected)

    def test_jobs_in_files(self) -> None:
        """The jobs of ``scrape_config_files``, which the server does not show, count with the global interval."""
        page = rb'{"status":"success","data":{"yaml":"global:\n  scrape_interval: 1m\n  scrape_timeout: 20s\n'
        found = times(page + rb'scrape_config_files:\n- jobs/*.yml\n"}}')
        self.assertEqual((found.settles_job, found.settles_s), ("scrape_config_files", 86.0))
        self.assertEqual(times(page + rb'"}}').settles_s, 0.0)

    def test_values_out_of_bounds(self) -> None:
        """A foreign text cannot make the time infinite, and what is no configuration says nothing."""
        page = TIMES_242.replace(b"window: 30m", b"window: " + b"999999999999y" * 3)
        self.assertLessEqual(times(page).settles_s, 1e11)
        for nothing in (b"", b"<html>", rb'{"data":{"yaml":"global:\n  scrape_interval: often\n"}}'):
            self.assertEqual(times(nothing), ConfigTimes())

    def test_durations_are_written_as_prometheus_writes_them(self) -> None:
        """The durations are those that Prometheus writes."""
        for text, expected in (("1m30s", 90.0), ("0", 0.0), ("0s", 0.0), ("100ms", 0.1), ("", None), ("5", None), ("-5m", None)):
            self.assertEqual(seconds(text), expected)


class AnswersIDTests(SynchronousTestCase):
    """The hash of what the responses for the past depend on."""

    def state(self, *, flags: bytes = (RECORDED / "prometheus-3.5.3-flags.json").read_bytes(), **changes: object) -> ServerState:
        """Return the state of a real server."""
        labels = (("prometheus_replica", "a"), ("zone", "x"))
        found = ServerState("3.5.3", flags=read_flags(ProbeResponse(200, flags)), external_labels=labels)
        return evolve(found, **changes)  # type: ignore[arg-type]

    def test_what_counts(self) -> None:
        """Another version, lookback, feature, evaluation interval or label of the pair is another hash."""
        page = (RECORDED / "prometheus-3.5.3-flags.json").read_bytes()
        same = answers_id(self.state(), 60.0)
        others = [
            answers_id(self.state(version="3.6.0"), 60.0),
            answers_id(self.state(flags=page.replace(b'lookback-delta":"5m', b'lookback-delta":"1m')), 60.0),
            answers_id(self.state(flags=page.replace(b'"enable-feature":""', b'"enable-feature":"native-histograms"')), 60.0),
            answers_id(self.state(), 30.0),
            answers_id(self.state(external_labels=(("prometheus_replica", "a"), ("zone", "y"))), 60.0),
            answers_id(self.state(external_labels=None), 60.0),
        ]
        self.assertEqual(len({same, *others}), 7)

    def test_what_does_not_count(self) -> None:
        """The replica's own label, other flags and the age of the data make no difference."""
        page = (RECORDED / "prometheus-3.5.3-flags.json").read_bytes()
        for other in (
            self.state(external_labels=(("Replica_2", "b"), ("zone", "x"))),
            self.state(external_labels=(("zone", "x"),)),
            self.state(flags=page.replace(b'max-concurrency":"20', b'max-concurrency":"4')),
            self.state(oldest=5.0, started_at=7.0, read_at=9.0),
        ):
            self.assertEqual(answers_id(other, 60.0), answers_id(self.state(), 60.0))

    def test_nothing_is_known(self) -> None:
        """A server of which nothing is known has no hash; one that reports only its version has one."""
        self.assertEqual(answers_id(ServerState(), None), "")
        self.assertNotEqual(answers_id(ServerState("3.5.3"), None), "")
