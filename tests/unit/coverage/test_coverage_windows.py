"""What servers are asked about their newest data, and what their responses say."""

from __future__ import annotations

import json
from urllib.parse import parse_qs

from twisted.trial.unittest import SynchronousTestCase

from mpp.core.errors import Cause, Phase, UpstreamError
from mpp.core.prometheus.runtimeinfo import ProbeResponse
from mpp.coverage.windows import TargetCounts, Window, read, windows_for


def query(window: Window, selector: str = "up") -> str:
    """Return the query of a window."""
    return parse_qs(window.path(selector).partition("?")[2])["query"][0]


def answer(*series: tuple[dict[str, str], str]) -> ProbeResponse:
    """Return a successful response to an instant query."""
    result = [{"metric": labels, "value": [1.5, value]} for labels, value in series]
    return ProbeResponse(200, json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}}).encode())


class WindowsTests(SynchronousTestCase):
    """The queries."""

    def test_one_interval(self) -> None:
        """Jobs of one interval are asked for together, over two intervals."""
        (window,) = windows_for([(("a", 15.0), ("b", 15.0))])
        self.assertEqual(query(window), 'count_values by (job) ("mpp_up", max by (job, instance) (max_over_time(up[30000ms])))')

    def test_nothing_known(self) -> None:
        """Where no configuration is known, the default interval counts."""
        self.assertEqual(windows_for([()]), (Window(120.0),))

    def test_several_intervals(self) -> None:
        """Each interval has a window of its own; the longest one asks for all other jobs, and slow jobs have an hour at least."""
        windows = windows_for([(("a", 5.0), ("b.c", 15.0), ("d", 600.0))])
        self.assertEqual([window.seconds for window in windows], [10.0, 3600.0, 30.0])
        self.assertIn('up{job=~"a"}[10000ms]', query(windows[0]))
        self.assertIn('up{job=~"d"}[3600000ms]', query(windows[1]))
        self.assertIn('up{job!~"a|d"}[30000ms]', query(windows[2]))

    def test_longest_interval_of_a_job_counts(self) -> None:
        """A job whose interval differs between the servers is asked for by the longer one."""
        windows = windows_for([(("a", 5.0), ("b", 15.0)), (("a", 15.0), ("b", 15.0))])
        self.assertEqual([window.seconds for window in windows], [30.0])

    def test_names_are_quoted(self) -> None:
        """What means something in a regular expression or a string stands for itself."""
        self.assertIn('{job=~"a\\\\.b\\"c"}', query(Window(10.0, ('a.b"c',))))

    def test_another_metric_keeps_its_matchers(self) -> None:
        """Another metric may be asked for, with matchers of its own."""
        self.assertIn('alive{x="y",job=~"a"}[10000ms]', query(Window(10.0, ("a",)), 'alive{x="y"}'))
        self.assertIn('alive{job=~"a"}[10000ms]', query(Window(10.0, ("a",)), "alive{}"))


class ReadTests(SynchronousTestCase):
    """The responses."""

    def test_targets_are_counted_by_job(self) -> None:
        """Targets that are up and those that are not are counted by job."""
        found = read(answer(({"job": "a", "mpp_up": "1"}, "18"), ({"job": "a", "mpp_up": "0"}, "2"), ({"mpp_up": "1"}, "3")))
        self.assertEqual(found, {"a": TargetCounts(18, 20), "": TargetCounts(3, 3)})

    def test_no_samples_are_no_targets(self) -> None:
        """A server without samples has nothing."""
        self.assertEqual(read(answer()), {})

    def test_no_answer(self) -> None:
        """What is no response to the query says nothing."""
        for outcome in (
            UpstreamError(Phase.HEAD, Cause.TIMEOUT, "late"),
            ProbeResponse(403, b"{}"),
            ProbeResponse(200, b"<html>"),
            ProbeResponse(200, b'{"data": {"result": 3}}'),
            answer(({"job": "a"}, "1")),
            answer(({"job": "a", "mpp_up": "x"}, "1")),
            answer(({"job": "a", "mpp_up": "1"}, "NaN")),
            answer(({"job": "a", "mpp_up": "1"}, "1e300")),
        ):
            self.assertIsNone(read(outcome), outcome)

    def test_unfit_numbers_say_nothing(self) -> None:
        """A response with numbers that do not fit into a float says nothing, and is no error of mpp."""
        for number in ("9" * 400, "-" + "9" * 400, json.dumps("9" * 400), "1e999", "true", "null", "[]", "{}"):
            for up, value in ((number, "1"), ("1", number), (number, number)):
                body = b'{"data":{"result":[{"metric":{"job":"a","mpp_up":%b},"value":[1,%b]}]}}' % (up.encode(), value.encode())
                self.assertIn(read(ProbeResponse(200, body)), (None, {"a": TargetCounts(1, 1)}), body[:100])
