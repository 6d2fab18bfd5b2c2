"""Values that describe metrics that rules write: the metrics that a selector may read, and the data that a rule reads. Frozen."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from attrs import frozen

from mpp.promql.labels import LabelCondition
from mpp.promql.reads import SelectorReads


@frozen
class MetricSelection:
    """
    The metrics that a selector may read.

    :ivar metric: the metric that the selector names; empty if it names none.
    :ivar names: the conditions on the metric's name.
    :ivar alerts: the conditions on the label ``alertname``.
    """

    metric: str
    names: tuple[LabelCondition, ...] = ()
    alerts: tuple[LabelCondition, ...] = ()


@frozen
class RecordedReads:
    """
    The data that a rule reads at each evaluation.

    :ivar selectors: their times are relative to the evaluation. The selectors of other rules whose results the rule reads are
        included.
    :ivar back_s: a sample of the rule's result may depend on an evaluation that is this much older, in seconds: the interval
        between two evaluations, and for an alert the time for which it is pending as well.
    """

    selectors: tuple[SelectorReads, ...]
    back_s: float

    def behind(self, read: SelectorReads) -> Iterable[SelectorReads]:
        """
        Return the data that the rule has read to compute the samples that a selector reads, and these samples.

        The computed samples count as samples of the jobs that the rule reads: a server lacks the results of a rule for the time
        in which it was away and did not evaluate it, and for the same time it lacks the samples of these jobs.
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
"""A function that returns, for each rule that writes one of the selected metrics, the data that the rule reads."""


def no_rules(selection: MetricSelection) -> Iterable[RecordedReads]:
    """Return no rule at all, for servers without rules."""
    return ()
