"""
The queries for a server's newest data, and the parser of the responses. Pure.

# Note [Windows]

A target counts as scraped if it was up at some time within the last two scrape intervals of its job, because one scrape may be
late or fail. So a target that a server has just lost is noticed after two intervals. The queries use `max_over_time`, not the
number of samples: at the edges of a window of two intervals there is one sample more or less, and a job whose scrapes fail now
and then on one side would look like a lack. `up` is 0 for a target that does not respond, so a server that is cut off from its
targets has no targets that are up, though it goes on writing samples.

Jobs of the same interval share a query. A job whose interval is not known belongs to the longest window below `SLOW_S`. Jobs with
longer intervals are judged by an hour at least.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlencode

from attrs import frozen

from mpp.core.prometheus.runtimeinfo import ProbeOutcome, data_of

Jobs = tuple[tuple[str, float], ...]
"""The scrape intervals of a server's jobs: pairs of job name and seconds."""

DEFAULT_INTERVAL_S = 60.0
"""Default scrape interval of Prometheus, in seconds; used when no configuration is known."""
SLOW_S = 150.0
"""A scrape interval in seconds, half of the default of ``--query.lookback-delta``. A job with a longer one is slow: after one
missed scrape, an instant query finds no sample of it."""
MOST_WINDOWS = 4
"""Maximum number of queries for jobs that are not slow; further intervals share the last one. Slow jobs add one query."""

_LEAST_S = 1.0
_HOUR = 3600.0
_UP = "mpp_up"
# The special characters of RE2's regular expressions outside of brackets.
_SPECIAL = re.compile(r"([\\.+*?()|\[\]{}^$])")


@frozen
class Window:
    """
    A query for the jobs that share one length of time.

    :ivar seconds: the length of the window.
    :ivar jobs: the jobs of the query; None for all jobs that belong to no other window.
    :ivar others: where ``jobs`` is None, the jobs of the other windows.
    """

    seconds: float
    jobs: tuple[str, ...] | None = None
    others: tuple[str, ...] = ()

    def path(self, selector: str) -> str:
        """
        Return the path of the instant query, which is evaluated at the server's current time.

        :param selector: the metric that says whether a target was scraped, such as ``up``.
        """
        listed = self.others if self.jobs is None else self.jobs
        matcher = f"job{'!~' if self.jobs is None else '=~'}{alternatives(listed)}" if listed else ""
        newest = f"max_over_time({with_matcher(selector, matcher)}[{math.ceil(self.seconds * 1000)}ms])"
        query = f'count_values by (job) ("{_UP}", max by (job, instance) ({newest}))'
        return "/api/v1/query?" + urlencode({"query": query})


@frozen
class TargetCounts:
    """
    The number of targets of one job on one server, by its newest data.

    :ivar up: targets that it scraped.
    :ivar present: targets that it tried to scrape.
    """

    up: int = 0
    present: int = 0


_NONE = TargetCounts()

JobCounts = Mapping[str, TargetCounts]
"""The newest data of one server: the number of targets by job."""


def longest_intervals(known: Iterable[Jobs]) -> dict[str, float]:
    """Return the longest scrape interval of each job in the configurations of some servers, in seconds."""
    longest: dict[str, float] = {}
    for jobs in known:
        for job, interval in jobs:
            longest[job] = max(interval, longest.get(job, 0.0))
    return longest


def windows_for(known: Iterable[Jobs]) -> tuple[Window, ...]:
    """Return the queries for each server, by the known configurations; if they differ, a job's longest interval counts."""
    longest = longest_intervals(known)
    quick = sorted({interval for interval in longest.values() if interval < SLOW_S})
    # The last window covers all jobs that belong to no other window.
    own = [*quick[:-1][: MOST_WINDOWS - 1]]
    by_window: dict[float, list[str]] = {2 * max(interval, _LEAST_S): [] for interval in own}
    slow: list[str] = []
    for job, interval in sorted(longest.items()):
        if interval in own:
            by_window[2 * max(interval, _LEAST_S)].append(job)
        elif interval >= SLOW_S:
            slow.append(job)
    windows = [Window(seconds, tuple(jobs)) for seconds, jobs in by_window.items()]
    if slow:
        windows.append(Window(max(_HOUR, 2 * max(longest[job] for job in slow)), tuple(slow)))
    rest = quick[-1] if quick else DEFAULT_INTERVAL_S
    asked = tuple(job for window in windows for job in window.jobs or ())
    return (*windows, Window(2 * max(rest, _LEAST_S), None, asked))


def read(outcome: ProbeOutcome) -> JobCounts | None:
    """Return a server's targets by job, parsed from its response to one query; None if the response is not valid."""
    result = (data_of(outcome) or {}).get("result")
    if not isinstance(result, list):
        return None
    found: dict[str, TargetCounts] = {}
    for series in result:
        entry = _entry(series)
        if entry is None:
            return None
        job, up, targets = entry
        before = found.get(job, _NONE)
        own = targets if up else 0
        found[job] = TargetCounts(own, targets) if before is _NONE else TargetCounts(before.up + own, before.present + targets)
    return found


def _entry(series: Any) -> tuple[str, bool, int] | None:
    """Return the job, whether its targets were up, and their number; None if the series is not valid."""
    try:
        labels, (_, value) = series["metric"], series["value"]
        job, up, targets = labels.get("job", ""), float(labels[_UP]), float(value)
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError):
        return None
    if not isinstance(job, str) or not 0 <= targets < 1e9:
        return None
    return job, up > 0, int(targets)


def alternatives(values: Iterable[str]) -> str:
    """Return a regular expression that matches each of some values and nothing else, as a quoted text of PromQL."""
    return json.dumps("|".join(_SPECIAL.sub(r"\\\1", value) for value in values), ensure_ascii=False)


def with_matcher(selector: str, matcher: str) -> str:
    """Return a selector with one more matcher, or the selector itself if the matcher is empty."""
    if not matcher:
        return selector
    if selector.endswith("}"):
        inside = selector[:-1].rstrip().rstrip(",")
        return f"{inside}{'' if inside.endswith('{') else ','}{matcher}}}"
    return f"{selector}{{{matcher}}}"
