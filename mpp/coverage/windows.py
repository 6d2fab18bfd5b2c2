"""
What servers are asked about their newest data, and what their responses say. Pure.

# Note [Windows]

A target counts as scraped if it was up at some time within the last two scrape intervals of its job: one scrape may be late or
fail. So a target that a server has just lost is noticed after two intervals. Asked is by `max_over_time`, not by the number of
samples: at the edges of a window of two intervals there is one sample more or less, and a job whose scrapes fail now and then on
one side would look like a lack. `up` is 0 for a target that does not answer, so a server that is cut off from its targets has
none that are up, though it goes on writing samples.

Jobs of the same interval are asked for together. A job of which no interval is known belongs to the longest window below
`SLOW_S`. Jobs with longer intervals are judged by an hour at least.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlencode

from attrs import frozen

from mpp.core.errors import UpstreamError
from mpp.core.prometheus.runtimeinfo import ProbeOutcome, parse_object

Jobs = tuple[tuple[str, float], ...]
"""The scrape intervals of a server's jobs, in seconds, by job."""

DEFAULT_INTERVAL_S = 60.0
"""Prometheus' own default, where no configuration is known."""
SLOW_S = 150.0
"""Half of the default of ``--query.lookback-delta``: a slower job has no newest sample as soon as one scrape is missed."""
MOST_WINDOWS = 4
"""Queries for jobs that are not slow; jobs of further intervals share the last one. Slow jobs add one query."""

_LEAST_S = 1.0
_HOUR = 3600.0
_UP = "mpp_up"
# What has a meaning in a regular expression of RE2 outside of brackets.
_SPECIAL = re.compile(r"([\\.+*?()|\[\]{}^$])")


@frozen
class Window:
    """
    What one query asks for.

    :ivar seconds: the length of the window.
    :ivar jobs: which jobs it asks for; None for all that no other window asks for.
    :ivar others: where ``jobs`` is None, those that other windows ask for.
    """

    seconds: float
    jobs: tuple[str, ...] | None = None
    others: tuple[str, ...] = ()

    def path(self, selector: str) -> str:
        """
        Return the path of the instant query, at the server's own now.

        :param selector: the metric that says whether a target was scraped, such as ``up``.
        """
        listed = self.others if self.jobs is None else self.jobs
        pattern = json.dumps("|".join(_SPECIAL.sub(r"\\\1", job) for job in listed), ensure_ascii=False)
        matcher = f"job{'!~' if self.jobs is None else '=~'}{pattern}" if listed else ""
        newest = f"max_over_time({_with_matcher(selector, matcher)}[{math.ceil(self.seconds * 1000)}ms])"
        query = f'count_values by (job) ("{_UP}", max by (job, instance) ({newest}))'
        return "/api/v1/query?" + urlencode({"query": query})


@frozen
class TargetCounts:
    """
    The targets of one job on one server, as its newest data show them.

    :ivar up: those that it scraped.
    :ivar present: those that it tried to scrape.
    """

    up: int = 0
    present: int = 0


JobCounts = Mapping[str, TargetCounts]
"""What one server has of the newest data, by job."""


def windows_for(known: Iterable[Jobs]) -> tuple[Window, ...]:
    """Return what is asked of each server, by the configurations that are known. The longest interval of a job counts."""
    longest: dict[str, float] = {}
    for jobs in known:
        for job, interval in jobs:
            longest[job] = max(interval, longest.get(job, 0.0))
    quick = sorted({interval for interval in longest.values() if interval < SLOW_S})
    # The last one takes all that no other window asks for.
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
    """Return what a server has by its response to one query; None when the response says nothing of that."""
    if isinstance(outcome, UpstreamError) or outcome.status != 200:
        return None
    data = parse_object(outcome.body).get("data")
    result = data.get("result") if isinstance(data, dict) else None
    if not isinstance(result, list):
        return None
    found: dict[str, TargetCounts] = {}
    for series in result:
        entry = _entry(series)
        if entry is None:
            return None
        job, up, targets = entry
        before = found.get(job, TargetCounts())
        found[job] = TargetCounts(before.up + (targets if up else 0), before.present + targets)
    return found


def _entry(series: Any) -> tuple[str, bool, int] | None:
    """Return the job, whether its targets were up, and how many they are."""
    try:
        labels, (_, value) = series["metric"], series["value"]
        job, up, targets = labels.get("job", ""), float(labels[_UP]), float(value)
    except (AttributeError, KeyError, TypeError, ValueError):
        return None
    if not isinstance(job, str) or not 0 <= targets < 1e9:
        return None
    return job, up > 0, int(targets)


def _with_matcher(selector: str, matcher: str) -> str:
    if not matcher:
        return selector
    if selector.endswith("}"):
        inside = selector[:-1].rstrip().rstrip(",")
        return f"{inside}{'' if inside.endswith('{') else ','}{matcher}}}"
    return f"{selector}{{{matcher}}}"
