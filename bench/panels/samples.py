"""
The samples of the dashboards: each value is a function of series and time, so that a history that is written and the pages that
are scraped afterwards continue one another, on as many servers as there are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from attrs import frozen

ORIGIN = 1_700_000_000
"""Counters begin at 0 here, in seconds since the epoch."""
INSTANCES = 10
NAMES = ("users", "orders", "items", "search", "login", "logout", "cart", "pay", "mail", "ping")
HANDLERS = tuple(f"/api/v1/{name}" for name in NAMES)
CODES = ("200", "204", "304", "404", "500")
METHODS = ("GET", "POST")
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
JOB = "dashboards"


@frozen
class Series:
    """
    One series of a target.

    :ivar name: of the metric.
    :ivar labels: as text, without the instance.
    :ivar number: what makes its values differ from those of others.
    :ivar share: of a counter's growth; 0 for a gauge.
    """

    name: str
    labels: str
    number: int
    share: float

    def at(self, time: float, instance: int) -> str:
        """Return the value at a time, in seconds since the epoch."""
        number = self.number + 7 * instance
        wave = math.sin(time / (300 + 17 * (number % 11)) + number)
        if not self.share:
            return f"{1000 + 400 * wave + (int(time) * (number + 3)) % 97:.1f}"
        # The wave never falls faster than the rest grows, so that the counter never falls.
        return str(int(self.share * (1 + number % 13) * (time - ORIGIN + 110 * wave)))


def _series() -> Iterator[Series]:
    number = 0
    for handler in HANDLERS:
        for code in CODES:
            for method in METHODS:
                number += 1
                yield Series("http_requests_total", f'code="{code}",handler="{handler}",method="{method}"', number, 1.0)
    for handler in HANDLERS[:4]:
        number += 1
        for bucket in BUCKETS:
            share = 1 - math.exp(-bucket / 0.08 / (1 + number % 3))
            yield Series("http_request_seconds_bucket", f'handler="{handler}",le="{bucket:g}"', number, share)
        yield Series("http_request_seconds_bucket", f'handler="{handler}",le="+Inf"', number, 1.0)
    for place in range(10):
        number += 1
        yield Series("queue_length", f'queue="{place}"', number, 0.0)


SERIES = tuple(_series())
"""Those of one target; there are `INSTANCES` targets."""


def page(instance: int, time: int) -> str:
    """Return what a target exposes, with the time of the samples: all servers that scrape it then have the same ones."""
    return "".join(f"{each.name}{{{each.labels}}} {each.at(time, instance)} {time * 1000}\n" for each in SERIES)


def history(instances: list[str], times: list[int]) -> Iterator[str]:
    """
    Yield the lines of an OpenMetrics file with all samples of all targets, and their ``up``.

    :param instances: the addresses of the targets, as they are scraped.
    """
    for place, instance in enumerate(instances):
        yield from (f'up{{instance="{instance}",job="{JOB}"}} 1 {time}\n' for time in times)
        for each in SERIES:
            labels = f'{each.name}{{{each.labels},instance="{instance}",job="{JOB}"}}'
            yield from (f"{labels} {each.at(time, place)} {time}\n" for time in times)
    yield "# EOF\n"
