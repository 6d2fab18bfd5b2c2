"""The scrape jobs that a selector's matchers for the label ``job`` select. Pure."""

from __future__ import annotations

from attrs import frozen

from mpp.promql.labels import LabelCondition

MOST_CONDITIONS = 8
"""Maximum number of conditions on ``job`` that are used of one selector; further ones are ignored."""


@frozen(cache_hash=True)
class JobMatchers:
    """
    The matchers of one selector for the label ``job``.

    :ivar conditions: the conditions that restrict the jobs; a job is selected if each of them selects it.
    """

    conditions: tuple[LabelCondition, ...] = ()

    @property
    def work(self) -> int:
        """The work to select among thousands of jobs, see `LabelCondition.work`."""
        return sum(condition.work for condition in self.conditions)

    def select(self, jobs: frozenset[str]) -> frozenset[str]:
        """
        Return the jobs that the selector's samples may come from.

        If no job is selected, or a value is selected that is no job, all are returned: then the label does not say where the
        samples come from. Samples of a Pushgateway or of a recording rule, for example, may have any value of ``job``.

        :param jobs: the jobs of all servers.
        """
        selected = jobs
        for condition in self.conditions:
            if not condition.negative and not condition.values <= jobs:
                return jobs
            selected = condition.select(selected)
        return selected or jobs

    def names(self, job: str) -> bool:
        """Return whether a job is selected, and named by ``=`` or by an alternative of ``=~``."""
        positive = any(not condition.negative for condition in self.conditions)
        return positive and all(condition.selects(job) for condition in self.conditions)


ALL_JOBS = JobMatchers()
"""The value for a selector that reads from all jobs: it has no matcher that restricts them."""


def job_matchers(conditions: list[LabelCondition]) -> JobMatchers:
    """
    Return the conditions of a selector on the label ``job``, without the ones that do not restrict the jobs.

    Series without the label may come from any job. So ``job=""``, ``job=~"a|"`` and ``job!~".+"``, which select such series, do
    not restrict the jobs. ``job=~".+"`` does not restrict them either, because it matches every job. ``job!="a"`` selects series
    without the label, too, but it is written to exclude the job ``a``: it restricts the jobs.

    :param conditions: all conditions of the selector on this label that were understood.
    """
    kept = tuple(each for each in conditions if not each.is_universal and (each.negative or not each.matches("")))
    return JobMatchers(kept[:MOST_CONDITIONS]) if kept else ALL_JOBS
