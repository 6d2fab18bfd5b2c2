"""Whatever numbers a server reports, nothing behind them fails."""

from __future__ import annotations

import json
import math
from typing import Any

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mpp.admin.status import html_page as page
from mpp.admin.status import json_document as document
from mpp.core.facts import ServerState
from mpp.core.model import Standing
from mpp.core.prometheus.runtimeinfo import ProbeResponse, read_replay, read_retention, read_runtime
from mpp.core.text import bounds
from mpp.selection.probing.interpret import METRICS, read_facts
from mpp.selection.probing.metrics_scanner import MetricsScanner
from mpp.selection.strategies import MinimumHistory, SingleMostData
from tests.status_support import NOW, A, B, view, well

DIGITS = ("9" * 306, "9" * 400, "9" * 5000)
NUMBERS = (
    "NaN",
    "+Inf",
    "-Inf",
    "-1",
    "0",
    "1e308",
    "-1e308",
    "1e-320",
    "9.2233720368547758e+18",
    "1e20",
    *DIGITS,
    "0x10",
    "1_0",
    "",
)
TIMES = (
    *("0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999999Z", "9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00", "9999-12-31"),
    *("1969-12-31T23:59:59Z", "", "now", "2023-13-45T99:99:99Z", "9" * 400, "\u0661\u0662\u0663\u0664-01-01T00:00:00Z"),
)
RETENTIONS = (*(digits + unit for digits in DIGITS for unit in ("d", "y", "ms", "")), "-1d", "1e400d", "NaN", "inf", "9y" * 1000)
DATES = (
    *("Fri, 31 Dec 9999 23:59:59 GMT", "Mon, 01 Jan 0001 00:00:00 -0000", "Mon, 01 Jan 0001 00:00:00 +9999", "1 1 1", ""),
    *("Tue, 14 Nov 99999999999999999999 22:13:20 GMT", "Wed, 3 Apr 2002 12.34.56.78+0800", "Tue, 14 Nov 2023 99:99:99 GMT"),
)
JSON_NUMBERS = (
    "NaN",
    "Infinity",
    "-Infinity",
    "1e999",
    "-5",
    "true",
    "null",
    '"7"',
    "9" * 306,
    "9" * 400,
    "9" * 5000,
    "1.5",
    "{}",
)


def facts_of(lines: str, runtime: bytes = b"", date: bytes = b"") -> ServerState:
    """Return the facts that are read from a page of metrics and an answer to runtimeinfo."""
    scanner = MetricsScanner(METRICS)
    scanner.feed(lines.encode())
    answer = ProbeResponse(200, runtime, ((b"Date", date),) if date else (), NOW)
    return read_facts(scanner.finish(), read_runtime(answer) if runtime else None, ServerState(), NOW)


def info(**data: str) -> bytes:
    """Return an answer to runtimeinfo."""
    return json.dumps({"data": data}).encode()


class BoundsTests(SynchronousTestCase):
    """Single numbers."""

    def test_out_of_bounds(self) -> None:
        """What no server can mean is as if it had not been reported."""
        for value in (math.nan, math.inf, -math.inf, -1, -1.0, 10**306, 10**400, 1e300, True, None, "7", [7]):
            found = [bounds.point_in_time(value), bounds.span(value), bounds.quantity(value), bounds.port(value)]
            self.assertEqual(found, [None] * 4, value)
        self.assertEqual([bounds.port(value) for value in (0, 65536, 80.0, 1, 65535)], [None, None, None, 1, 65535])
        self.assertEqual([bounds.point_in_time(0), bounds.span(0.0), bounds.quantity(0)], [None, None, 0.0])

    def test_within_bounds(self) -> None:
        """All others are taken as they are."""
        self.assertEqual([bounds.point_in_time(NOW), bounds.span(15 * 86400), bounds.quantity(10**15)], [NOW, 1296000.0, 1e15])

    def test_version_is_short_and_printable(self) -> None:
        """A version is a short text that can be shown."""
        self.assertEqual(bounds.version("3.5.0-rc.1+\u202edirty\x1b[31m"), "3.5.0-rc.1+dirty[31m")
        self.assertEqual(len(bounds.version("9" * 60_000)), 64)


class FromServersTests(SynchronousTestCase):
    """All numbers that a server reports, up to the pages and the choice of a server."""

    def check(self, facts: ServerState, **changed: Any) -> None:
        """Show the facts, and choose by them."""
        shown = view(evolve(well(A), facts=facts, **changed), well(B))
        page.render(shown)
        told = json.loads(document.render(shown), parse_constant=self.fail)
        self.assertTrue(told)
        for strategy in (SingleMostData(), MinimumHistory(3600.0)):
            strategy.select(shown.selection.observations, None, NOW)

    def test_no_metric_value_breaks_page_json_or_strategy(self) -> None:
        """Whatever value a metric has, the status page, the JSON and the strategies do without it, or with it."""
        for name in METRICS:
            for number in NUMBERS:
                self.check(facts_of(f'{name} {number}\n{name}{{version="1"}} {number}\n'))

    def test_no_runtimeinfo_breaks_page_json_or_strategy(self) -> None:
        """Whatever retention, start and clock a server reports, in whatever type."""
        for retention in RETENTIONS:
            self.check(facts_of("", info(storageRetention=retention)))
        for moment in TIMES:
            self.check(facts_of("", info(startTime=moment, serverTime=moment)))
        for key in ("storageRetention", "startTime", "serverTime"):
            for number in JSON_NUMBERS:
                self.check(facts_of("", b'{"data":{"%b":%b}}' % (key.encode(), number.encode())))

    def test_no_date_breaks_page_json_or_strategy(self) -> None:
        """Whatever a Date field says."""
        for date in DATES:
            self.check(facts_of("", info(startTime="2023-11-14T22:13:20Z"), date.encode()))

    def test_no_replay_progress_breaks_page_json_or_strategy(self) -> None:
        """Whatever progress of a replay is reported."""
        for number in JSON_NUMBERS:
            for keys in ((b"max",), (b"current", b"max"), (b"min", b"current", b"max")):
                body = b",".join(b'"%b":%b' % (key, number.encode()) for key in keys)
                replay = read_replay(ProbeResponse(200, b'{"data":{%b}}' % body), None, NOW)
                self.check(ServerState(), standing=Standing.NOT_READY, replay=replay)

    def test_huge_retention_counts_as_unknown_limit(self) -> None:
        """A retention of hundreds of digits is none that is known, though it is some limit; what stands beside it counts."""
        for digits in DIGITS:
            self.assertEqual(read_retention(f"{digits}d"), (None, True))
        self.assertEqual(read_retention("99999999999y"), (None, False))
        self.assertEqual(read_retention("15d or 10GB"), (1296000.0, True))

    @given(st.text(max_size=80), st.binary(max_size=80))
    def test_no_other_type_in_place_of_a_number_breaks_anything(self, text: str, date: bytes) -> None:
        """Whatever else stands in place of a number."""
        facts_of(f"process_start_time_seconds {text}", info(storageRetention=text, startTime=text, serverTime=text), date)
