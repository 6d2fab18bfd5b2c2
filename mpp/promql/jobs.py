"""Which scrape jobs a selector's matchers for the label ``job`` let through. Pure."""

from __future__ import annotations

from attrs import frozen

from mpp.promql.labels import LabelCondition


@frozen(cache_hash=True)
class JobMatchers:
    """
    The matchers of one selector for the label ``job``.

    :ivar conditions: those that restrict the jobs; all of them have to let a job through.
    """

    conditions: tuple[LabelCondition, ...] = ()

    def select(self, jobs: frozenset[str]) -> frozenset[str]:
        """
        Return those of some jobs that the samples may come from.

        If none is let through, all are returned: then the label does not say where the samples come from, as with those of a
        Pushgateway or of a recording rule, which have any value of ``job``.

        :param jobs: the jobs of all servers.
        """
        selected = jobs
        for condition in self.conditions:
            selected = condition.select(selected)
        return selected or jobs

    def names(self, job: str) -> bool:
        """Return whether a job is let through and asked for by ``=`` or by an alternative of ``=~``."""
        positive = any(not condition.negative for condition in self.conditions)
        return positive and all(condition.lets(job) for condition in self.conditions)


ALL_JOBS = JobMatchers()
"""No matcher that restricts the jobs."""


def job_matchers(conditions: list[LabelCondition]) -> JobMatchers:
    """
    Return the matchers without those that say nothing of where samples come from.

    A matcher whose value may be empty (``job=""``, ``job=~"a|"``) also selects series without a job, and these may come from any
    job, as with ``job!~".+"``; ``job=~".+"`` requires nothing.
    """
    kept = tuple(each for each in conditions if not each.is_universal and (each.negative or not each.matches("")))
    return JobMatchers(kept[:MOST_CONDITIONS]) if kept else ALL_JOBS


MOST_CONDITIONS = 8
"""Matchers for the same label of one selector that are heeded."""
