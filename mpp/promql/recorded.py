"""Metrics that rules make of others, as values: what a rule reads, and what selects its result. Frozen."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from attrs import frozen

from mpp.promql.labels import LabelCondition
from mpp.promql.reads import SelectorReads


@frozen
class MetricSelection:
    """
    Which metrics a selector may read.

    :ivar metric: the one that it names, or empty.
    :ivar names: the conditions on the name, where that is not one name.
    :ivar alerts: the conditions on the label ``alertname``.
    """

    metric: str
    names: tuple[LabelCondition, ...] = ()
    alerts: tuple[LabelCondition, ...] = ()


@frozen
class RecordedReads:
    """
    What a rule reads at each evaluation.

    :ivar selectors: relative to the time of the evaluation, with the reads of rules that it reads.
    :ivar back_s: for how many seconds before the time of a sample the rule's evaluations matter: the interval between two
        evaluations, and for an alert the time for which it is pending as well.
    """

    selectors: tuple[SelectorReads, ...]
    back_s: float

    def behind(self, read: SelectorReads) -> Iterable[SelectorReads]:
        """
        Return what the rule has read to write the samples that a selector reads.

        The samples themselves are written by the server while it evaluates the rule. They are missing when the server was away,
        and then it lacks the same time of the jobs that the rule reads; that the selector reads.
        """
        if not self.selectors:
            yield read
        for jobs in dict.fromkeys(each.jobs for each in self.selectors):
            yield SelectorReads(read.start, read.end, read.newest, read.fixed, jobs, read.metric)
        for each in self.selectors:
            if each.fixed:
                yield each
            else:
                start, end = read.start - self.back_s + each.start, read.end + each.end
                yield SelectorReads(start, end, each.newest, read.fixed, each.jobs, each.metric)


Rules = Callable[[MetricSelection], Iterable[RecordedReads]]
"""Returns what the rules read whose results are selected."""


def no_rules(selection: MetricSelection) -> Iterable[RecordedReads]:
    """Return nothing: no metric is made by a rule."""
    return ()
