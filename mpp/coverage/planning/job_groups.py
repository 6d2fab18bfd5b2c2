"""The jobs that the selectors of a query read, grouped by scrape interval. Pure."""

from __future__ import annotations

from attrs import frozen

from mpp.core.coverage import UNKNOWN_JOB, Coverage, Missing
from mpp.promql.jobs import JobMatchers
from mpp.promql.reads import SelectorReads


@frozen
class JobGroup:
    """
    The jobs with one scrape interval that a selector reads.

    :ivar window: two scrape intervals, in seconds.
    :ivar jobs: their names; empty if mpp knows no job.
    :ivar targets: how many targets they have in all.
    """

    window: float
    jobs: frozenset[str]
    targets: int

    def lacking(self, missing: Missing) -> list[str]:
        """Return the jobs of the group that ``missing`` names: they have gaps of their own, or permanently missing targets."""
        few, many = sorted((self.jobs, {**missing.jobs, **missing.drift}), key=len)
        return [job for job in few if job in many]


Grouped = tuple[tuple[SelectorReads, tuple[JobGroup, ...]], ...]
"""The selectors of a query, each with the jobs that it reads."""


def job_groups(jobs: JobMatchers, coverage: Coverage) -> tuple[JobGroup, ...]:
    """Return the jobs that a selector reads, grouped by scrape interval; one group without names if mpp knows no job."""
    selected = jobs.select(coverage.names)
    if not selected:
        return (JobGroup(UNKNOWN_JOB.window, frozenset(), UNKNOWN_JOB.targets),)
    groups = (_group(window, names, selected, coverage) for window, names in coverage.by_window)
    return tuple(group for group in groups if group.jobs)


def _group(window: float, names: frozenset[str], selected: frozenset[str], coverage: Coverage) -> JobGroup:
    """Return the selected jobs of one window; the work grows with the jobs that are selected, or that are not."""
    targets, total = coverage.targets, coverage.targets_by_window[window]
    if 2 * len(selected) <= len(coverage.names):
        own = selected & names
        return JobGroup(window, own, sum(targets[name] for name in own))
    others = names - selected
    own = selected if len(names) == len(coverage.names) else names - others
    return JobGroup(window, own, total - sum(targets[name] for name in others))
