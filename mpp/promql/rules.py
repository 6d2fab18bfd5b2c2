"""
What rules read, composed: a rule may read what another rule makes. Holds what was found so far; no I/O.

Source: Prometheus documentation, "Defining recording rules" and "Alerting rules". A rule's query is evaluated at each interval of
its group; the result is stored under the rule's name, that of an alert under ``ALERTS`` and ``ALERTS_FOR_STATE``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from operator import attrgetter

from attrs import field, frozen

from mpp.promql.labels import LabelCondition
from mpp.promql.reader import read
from mpp.promql.reads import QueryReads, SelectorReads, merged
from mpp.promql.recorded import MetricSelection, RecordedReads

ALERT_METRICS = ("ALERTS", "ALERTS_FOR_STATE")

MOST_PARTS = 4
"""Parts of what one rule reads that are told apart."""
MOST_TOGETHER = 4
"""Rules whose results one selector reads that are told apart from all others."""
MOST_COMPARED = 200
"""Names of rules that are compared with the beginnings of names."""
DEEPEST = 20
"""Rules that read from one another in a row; what stands behind is left out."""


@frozen
class RuleDefinition:
    """
    One rule in a server's configuration.

    :ivar name: the metric that a recording rule makes, or the alert's name.
    :ivar query: the rule's expression.
    :ivar interval_s: seconds between two evaluations of its group.
    :ivar alerting: it is an alert.
    :ivar pending_s: an alert's ``for`` and ``keep_firing_for`` together, in seconds.
    """

    name: str
    query: str
    interval_s: float
    alerting: bool = False
    pending_s: float = 0.0


@frozen
class RuleBook:
    """
    What all rules read, by what they make.

    :ivar metrics: by metric, for recording rules.
    :ivar alerts: by name, for alerts.
    :ivar any_rule: what all rules read together; empty if there is none.
    :ivar any_alert: what all alerts read together; empty if there is none.
    """

    metrics: Mapping[str, RecordedReads] = field(factory=dict)
    alerts: Mapping[str, RecordedReads] = field(factory=dict)
    any_rule: tuple[RecordedReads, ...] = ()
    any_alert: tuple[RecordedReads, ...] = ()
    _metric_names: frozenset[str] = field(init=False, repr=False, eq=False)
    _alert_names: frozenset[str] = field(init=False, repr=False, eq=False)

    @_metric_names.default
    def _names_of_metrics(self) -> frozenset[str]:
        return frozenset((*self.metrics, *(ALERT_METRICS if self.alerts else ())))

    @_alert_names.default
    def _names_of_alerts(self) -> frozenset[str]:
        return frozenset(self.alerts)

    def recorded(self, selection: MetricSelection) -> tuple[RecordedReads, ...]:
        """
        Return what the rules read that make the selected metrics.

        With more than `MOST_TOGETHER` rules that is what all rules read, so that no query costs more with a thousand of them.
        """
        if not selection.metric:
            return self._unnamed(selection)
        if selection.metric in ALERT_METRICS:
            return self._of_alerts(selection)
        found = self.metrics.get(selection.metric)
        return () if found is None else (found,)

    def _unnamed(self, selection: MetricSelection) -> tuple[RecordedReads, ...]:
        names = _selected(self._metric_names, selection.names)
        if len(names) > MOST_TOGETHER:
            return self.any_rule
        found = [self.metrics[name] for name in sorted(names) if name in self.metrics]
        alerts = self._of_alerts(selection) if len(found) < len(names) else ()
        return _together(*found, *alerts)

    def _of_alerts(self, selection: MetricSelection) -> tuple[RecordedReads, ...]:
        names = _selected(self._alert_names, selection.alerts)
        return self.any_alert if len(names) > MOST_TOGETHER else _together(*(self.alerts[name] for name in sorted(names)))


NO_RULES = RuleBook()
"""No rules at all."""


class RuleReading:
    """
    The composition of a `RuleBook`, in steps that take some milliseconds each.

    :param definitions: all rules; those of the same name count together.
    """

    def __init__(self, definitions: Iterable[RuleDefinition]) -> None:
        self._recording: dict[str, list[RuleDefinition]] = {}
        self._alerting: dict[str, list[RuleDefinition]] = {}
        for definition in definitions:
            (self._alerting if definition.alerting else self._recording).setdefault(definition.name, []).append(definition)
        self._metrics: dict[str, RecordedReads] = {}
        self._alerts: dict[str, RecordedReads] = {}
        self._any_alert: tuple[RecordedReads, ...] = ()
        self._any_rule: tuple[RecordedReads, ...] = ()
        self._unfinished: list[str] = []

    def steps(self) -> Iterator[None]:
        """Read one rule after the other, with those that it reads from; yield after each."""
        for name, definitions in self._alerting.items():
            self._alerts[name] = self._read(definitions)
            self._any_alert = _together(*self._any_alert, self._alerts[name])
            yield
        for name in self._recording:
            self._any_rule = _together(*self._any_rule, self._metric(name))
            yield
        self._any_rule = _together(*self._any_rule, *self._any_alert)

    def book(self) -> RuleBook:
        """Return what was found; all of it once the steps are done."""
        return RuleBook(self._metrics, self._alerts, self._any_rule, self._any_alert)

    def _metric(self, name: str) -> RecordedReads:
        found = self._metrics.get(name)
        if found is None:
            self._unfinished.append(name)
            found = self._metrics[name] = self._read(self._recording[name])
            self._unfinished.pop()
        return found

    def _read(self, definitions: list[RuleDefinition]) -> RecordedReads:
        parts = [part for each in definitions for part in _of_evaluation(read(each.query, self._read_from))]
        return RecordedReads(merged(parts, MOST_PARTS), max(each.interval_s + each.pending_s for each in definitions))

    def _read_from(self, selection: MetricSelection) -> Iterable[RecordedReads]:
        # A rule that reads its own result, or a selector without a name, would go round in circles: it reads at least what it
        # reads directly.
        name = selection.metric
        if name in ALERT_METRICS:
            return self._any_alert
        if name not in self._recording or name in self._unfinished or len(self._unfinished) >= DEEPEST:
            return ()
        return (self._metric(name),)


def _selected(names: frozenset[str], conditions: Iterable[LabelCondition]) -> frozenset[str]:
    """Return the names that some conditions let through; more if these would be compared with too many names."""
    for condition in sorted(conditions, key=attrgetter("has_patterns")):
        if not condition.has_patterns or len(names) <= MOST_COMPARED:
            names = condition.select(names)
    return names


def _of_evaluation(reads: QueryReads) -> Iterable[SelectorReads]:
    """Return the parts of a rule's query; the start and the end of its range are the time of the evaluation."""
    return (*reads.selectors, *reads.from_start, *reads.from_end)


def _together(*rules: RecordedReads) -> tuple[RecordedReads, ...]:
    if len(rules) < 2:
        return rules
    parts = [part for rule in rules for part in rule.selectors]
    return (RecordedReads(merged(parts, MOST_PARTS), max(rule.back_s for rule in rules)),)
