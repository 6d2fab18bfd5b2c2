"""
Decides which queries of the look back are sent: a few targets of each job are queried first (witnesses), in pieces. Pure.

`mpp.coverage.holes` reads the answers. A query for sums costs a server `SAMPLE_S` of CPU time for each sample that it reads.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from urllib.parse import urlencode

from attrs import evolve, frozen

from mpp.core.coverage import Job
from mpp.core.intervals import Intervals
from mpp.core.prometheus.runtimeinfo import ProbeOutcome, data_of
from mpp.coverage.holes import COARSE_S, WITNESSES_OF_A_JOB, Windows
from mpp.coverage.windows import alternatives, with_matcher

DAY_S = 86400
MOST_WITNESSES = 80
SAMPLE_S = 0.1e-6
"""CPU time in seconds that Prometheus takes per sample that it reads; measured, 0.06 to 0.1 µs with 3.5.3, 0.1 µs with 2.42."""
TARGET_S = 6e-6
"""CPU time in seconds that Prometheus takes per target for the query of `witnesses_path`; measured, 4 to 9 µs."""
PACES = (COARSE_S, 3600, 6 * 3600)
"""
The lengths in seconds of the windows in which witnesses are compared. A job gets the shortest one that has two of its scrape
intervals. A job that is scraped less often than every three hours gets none: its scrapes are too far apart to find where a gap
begins.
"""
PIECE_S = 0.1
"""Seconds of a server's CPU time that one query may take: a dashboard that is opened meanwhile waits no longer than that."""
MOST_BYTES = 300_000
"""Bytes that one response may have: it is parsed within some milliseconds, in which mpp serves no client."""
MOST_STEPS = 11_000
"""Maximum number of steps that Prometheus evaluates for one query."""

# A gap of few targets is judged by three windows, see `mpp.coverage.holes`.
_WINDOWS_OF_A_HOLE = 3
_VALUE_BYTES = 24
_SERIES_BYTES = 100


@frozen(order=True)
class Witness:
    """A target that is queried in place of all targets of its job."""

    job: str
    instance: str


def jobs_of_day(jobs: Collection[str], day: int) -> tuple[str, ...]:
    """
    Return the jobs whose witnesses are compared for a day: all, or with too many jobs as many as possible, others on each day.

    :param day: days since the epoch.
    """
    ordered, most = sorted(jobs), MOST_WITNESSES // WITNESSES_OF_A_JOB
    if len(ordered) <= most:
        return tuple(ordered)
    first = day * most % len(ordered)
    return tuple(sorted((ordered + ordered)[first : first + most]))


def jobs_of_pace(jobs: Mapping[str, Job], pace: int) -> dict[str, Job]:
    """Return the jobs whose witnesses are compared in windows of one length, see `PACES`."""
    shorter = max((each for each in PACES if each < pace), default=0)
    return {name: job for name, job in jobs.items() if shorter < job.window <= pace}


def is_whole_pool(asked: Collection[str], jobs: Mapping[str, Job]) -> bool:
    """
    Return whether a server that has no data of some jobs at a time is presumed to lack all of its data then.

    It is if these are all jobs that are compared in the shortest windows (`PACES`), and have half of all targets: the scrapes of
    the other jobs are too rare to show it themselves.
    """
    quickest = next((found for pace in PACES if (found := jobs_of_pace(jobs, pace))), {})
    targets = sum(jobs[name].targets for name in asked if name in jobs)
    return set(asked) >= set(quickest) and 2 * targets >= sum(job.targets for job in jobs.values())


def is_whole_interval(asked: Refinement, jobs: Mapping[str, Job]) -> bool:
    """Return whether a query is for all jobs whose windows are as long as its own."""
    return set(asked.jobs) >= {name for name, job in jobs.items() if math.ceil(job.window) == asked.windows.length}


def witnesses_path(selector: str, jobs: Sequence[str], at: float, within: int = COARSE_S) -> str:
    """
    Return the path of the instant query for some targets of each job at a time.

    :param within: seconds before ``at`` in which a target was scraped; for slow jobs more than an instant selector looks back.
    """
    asked = _of_jobs(selector, jobs)
    targets = asked if within <= COARSE_S else f"max_over_time({asked}[{within * 1000}ms])"
    return _instant(f"topk by (job) ({WITNESSES_OF_A_JOB}, {targets})", at)


def present_path(selector: str, at: float) -> str:
    """Return the path of the instant query for the number of targets that an instant selector finds, by job."""
    return _instant(f"count by (job) ({selector})", at)


def read_present(outcome: ProbeOutcome, jobs: Collection[str]) -> int | None:
    """Return the number of targets of some jobs in the response to `present_path`; None if it is not valid."""
    found = 0
    try:
        for series in (data_of(outcome) or {})["result"]:
            if series["metric"].get("job") in jobs:
                found += int(series["value"][1])
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        return None
    return found


def read_witnesses(outcomes: Iterable[ProbeOutcome]) -> tuple[Witness, ...]:
    """
    Return the witnesses, which are chosen from the targets in the responses of all servers.

    They are chosen from each response in turn: a server that lacks targets at that time returns only ones that it has, and if all
    witnesses were of these, its gap would not be seen.
    """
    named: dict[str, list[list[str]]] = {}
    for outcome in outcomes:
        own: dict[str, set[str]] = {}
        for labels in _labels(outcome):
            job, instance = labels.get("job"), labels.get("instance")
            if isinstance(job, str) and isinstance(instance, str):
                own.setdefault(job, set()).add(instance)
        for job, instances in own.items():
            named.setdefault(job, []).append(sorted(instances))
    found = [Witness(job, each) for job, lists in sorted(named.items()) for each in _in_turn(lists)[:WITNESSES_OF_A_JOB]]
    return tuple(found[:MOST_WITNESSES])


def _in_turn(lists: Sequence[Sequence[str]]) -> list[str]:
    """Return the distinct items of some lists: the first one of each that is new, then the next ones."""
    found: dict[str, None] = {}
    for _ in range(max(map(len, lists))):
        for each in lists:
            new = next((item for item in each if item not in found), None)
            if new is not None:
                found[new] = None
    return list(found)


def sums_path(selector: str, windows: Windows, *, jobs: Sequence[str] = (), witnesses: Sequence[Witness] = ()) -> str:
    """
    Return the path of the range query for the sums of ``up`` by job, in each window.

    :param selector: the metric that says whether a target was scraped, such as ``up``.
    :param jobs: the jobs to query with all their targets.
    :param witnesses: the targets to query if ``jobs`` is empty.
    """
    asked = _of_jobs(selector, jobs or sorted({each.job for each in witnesses}))
    if witnesses:
        asked = with_matcher(asked, f"instance=~{alternatives(sorted({each.instance for each in witnesses}))}")
    # One millisecond less: before 3.0 a range has the samples of both of its ends, and each of them would count twice.
    query = f"sum by (job) (sum_over_time({asked}[{windows.length * 1000 - 1}ms]))"
    times = {"start": windows.ends[0], "end": windows.end, "step": windows.length}
    return "/api/v1/query_range?" + urlencode({"query": query, **times})


def pieces(windows: Windows, series: int, samples_per_s: float) -> Iterator[Windows]:
    """
    Split windows into pieces, each small enough for one query; yield the newest piece first.

    :param series: how many series the response has.
    :param samples_per_s: how many samples are read per second of history: targets by the interval of their scrapes.
    """
    values = (MOST_BYTES / max(1, series) - _SERIES_BYTES) / _VALUE_BYTES
    cost = SAMPLE_S * samples_per_s * windows.length
    most = max(1, math.floor(min(values, MOST_STEPS, PIECE_S / cost if cost else MOST_STEPS)))
    left = windows.count
    while left > 0:
        count = min(most, left)
        yield evolve(windows, start=windows.start + windows.length * (left - count), count=count)
        left -= count


def halves(windows: Windows) -> tuple[Windows, ...]:
    """Split windows that were too many for one query into two halves, the newer one first; return nothing for a single window."""
    if windows.count < 2:
        return ()
    older = windows.count // 2
    newer = Windows(windows.start + older * windows.length, windows.length, windows.count - older)
    return newer, evolve(windows, count=older)


def ended(windows: Windows, until: float) -> Windows:
    """Return the windows that end before a time."""
    return evolve(windows, count=max(0, min(windows.count, math.floor((until - windows.start) / windows.length))))


@frozen
class Refinement:
    """
    A second query about suspicious times, for all targets of some jobs instead of their witnesses.

    :ivar jobs: the queried jobs, which have the same scrape interval.
    :ivar windows: the queried windows of time.
    """

    jobs: tuple[str, ...]
    windows: Windows


def refinements(times: Mapping[str, Collection[Intervals]], jobs: Mapping[str, Job], pace: int) -> list[Refinement]:
    """
    Return the times to query again for all targets, the newest first.

    Of a long time only both ends are queried: a window of the witnesses and some more on each side of each edge. The time between
    is presumed to be as bad as the ends.

    :param times: the suspicious times of each server, by job.
    :param pace: the length of the windows in which the witnesses were compared, see `PACES`.
    """
    asked: dict[tuple[int, float, float], list[str]] = {}
    for job, each_server in times.items():
        window = jobs[job].window if job in jobs else Job().window
        length = math.ceil(window)
        # A gap may begin in the last moment of a window of the witnesses; it is known to be one by some windows of its own.
        reach = pace + _WINDOWS_OF_A_HOLE * length
        edges = Intervals.of((edge - reach, edge + reach) for each in each_server for edge in each.edges)
        for start, end in edges:
            asked.setdefault((length, start, end), []).append(job)
    found = [
        Refinement(tuple(sorted(names)), Windows(math.floor(start), length, math.ceil((end - start) / length)))
        for length, start, end, names in _merged(asked, pace)
    ]
    return sorted(found, key=lambda each: -each.windows.end)


def _merged(asked: Mapping[tuple[int, float, float], list[str]], pace: int) -> list[tuple[int, float, float, set[str]]]:
    """Merge the times of jobs with the same interval that differ little: the gap of a whole server shows by all jobs together."""
    found: list[tuple[int, float, float, set[str]]] = []
    for (length, start, end), names in sorted(asked.items()):
        last = found[-1] if found else None
        if last is not None and last[0] == length and start - last[1] <= pace and abs(end - last[2]) <= pace:
            found[-1] = (length, last[1], max(end, last[2]), last[3].union(names))
        else:
            found.append((length, start, end, set(names)))
    return found


def _of_jobs(selector: str, jobs: Sequence[str]) -> str:
    return with_matcher(selector, f"job=~{alternatives(sorted(jobs))}" if jobs else "")


def _instant(query: str, at: float) -> str:
    return "/api/v1/query?" + urlencode({"query": query, "time": f"{at:.3f}"})


def _labels(outcome: ProbeOutcome) -> list[Mapping[str, object]]:
    """Return the labels of all series in a response; none if the response is not valid."""
    result = (data_of(outcome) or {}).get("result")
    series = result if isinstance(result, list) else []
    return [each["metric"] for each in series if isinstance(each, dict) and isinstance(each.get("metric"), dict)]
