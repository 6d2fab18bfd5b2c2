"""The rules of the servers: when they are asked for them, what is read from real pages, and what becomes of it."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogLevel, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from mpp.core.errors import Cause, Phase, UpstreamError
from mpp.core.facts import ServerState
from mpp.core.model import Backend, Observation, Standing
from mpp.core.prometheus.runtimeinfo import ProbeOutcome, ProbeResponse
from mpp.coverage.rules.composing import RuleComposer
from mpp.coverage.rules.page import LONGEST_S, RulesPage
from mpp.coverage.rules.survey import FIRST_S, MOST_BYTES, MOST_RULES, PATHS, PAUSE_LEAST_S, PAUSE_MOST_S, RuleSurvey
from mpp.promql.memory import QueryMemory
from mpp.promql.rules import RuleDefinition
from tests.logged import logged

RECORDED = Path(__file__).parents[2] / "recorded"
A, B = (Backend("http", name, 9090) for name in ("prom-a", "prom-b"))
STATE = ServerState("3.5.3", started_at=100.0, config_at=200.0, read_at=300.0)
RULE = RuleDefinition("a:b", "sum(rate(x[10m]))", 20.0)


def found(body: bytes) -> list[RuleDefinition]:
    """Return the rules on a page."""
    page = RulesPage(body)
    for _ in page.steps():
        pass
    return list(page.found)


def recorded(version: str, kind: str) -> bytes:
    """Return a page of a real server."""
    return (RECORDED / f"prometheus-{version}-{kind}-rules.json").read_bytes()


def page(*rules: RuleDefinition) -> bytes:
    """Return a page with recording rules, each in a group of its own."""
    groups = [
        {"interval": each.interval_s, "rules": [{"name": each.name, "query": each.query, "type": "recording"}]} for each in rules
    ]
    return json.dumps({"status": "success", "data": {"groups": groups}}).encode()


EMPTY = page()


class PageTests(SynchronousTestCase):
    """What is read from a page."""

    def test_rules_of_real_servers_are_read(self) -> None:
        """The rules of real servers; the older one does not know how long an alert goes on firing."""
        for version, pending in (("2.42.0", 300.0), ("3.5.3", 420.0)):
            self.assertEqual(found(recorded(version, "recording")), [RULE])
            alert = RuleDefinition("Al", "a:b > 0", 20.0, alerting=True, pending_s=pending)
            self.assertEqual(found(recorded(version, "alerting")), [alert])

    def test_what_makes_no_sense(self) -> None:
        """Rules and groups that cannot be read are left out, the others stay; times are in bounds."""
        for rules in ('"r"', '[{"name":"r"}]', '[{"name":1,"query":"x","type":"recording"}]', "[7]", "null", "[null]"):
            good = '{"interval":1e300,"rules":[{"name":"r","query":"x","type":"t"}]}'
            text = '{"data":{"groups":[{"interval":60,"rules":%s},%s]}}' % (rules, good)  # noqa: UP031
            self.assertEqual(found(text.encode()), [RuleDefinition("r", "x", 60.0)])
        endless = b'{"data":{"groups":[{"interval":9e9,"rules":[{"name":"r","query":"x","type":"alerting","duration":9e9}]}]}}'
        self.assertEqual(found(endless), [RuleDefinition("r", "x", LONGEST_S, alerting=True, pending_s=LONGEST_S)])

    def test_foreign_response_is_an_error(self) -> None:
        """What is no page of rules is an error; a page without groups has none."""
        for body in (b"", b"<html>", b"{}", b"[]", b'{"data":null}', b'{"data":{"groups":{}}}', EMPTY[:-1]):
            self.assertRaises(ValueError, RulesPage, body)
        self.assertEqual(found(EMPTY), [])

    def test_same_rule_twice(self) -> None:
        """A rule that is there twice counts once."""
        self.assertEqual(found(page(RULE, RULE)), [RULE])


class Servers:
    """Two servers, whose responses the test gives, or which respond at once."""

    def __init__(self) -> None:
        self.asked: list[tuple[Backend, str]] = []
        self.bodies: dict[Backend, bytes] = {A: page(RULE), B: page(RULE)}
        self.failure: ProbeOutcome | None = None
        self.waiting: Deferred[ProbeOutcome] | None = None

    def ask_rules(self, backend: Backend, path: str) -> Deferred[ProbeOutcome]:
        """Respond to a request."""
        self.asked.append((backend, path))
        answer: Deferred[ProbeOutcome] = Deferred()
        if self.waiting is not None:
            self.waiting = answer
        elif self.failure is not None:
            answer.callback(self.failure)
        else:
            answer.callback(ProbeResponse(200, self.bodies[backend] if path == PATHS[0] else EMPTY))
        return answer


class SurveyTests(SynchronousTestCase):
    """When the servers are asked."""

    def setUp(self) -> None:
        self.clock, self.servers = Clock(), Servers()
        self.survey = RuleSurvey(self.servers.ask_rules, self.clock, enabled=True)
        self.told: list[tuple[RuleDefinition, ...]] = []
        self.survey.changed.append(lambda: self.told.append(self.survey.definitions))
        self.lines = logged(self, lambda event: event["log_format"])

    def see(self, backend: Backend = A, state: ServerState = STATE, standing: Standing = Standing.VIABLE) -> int:
        """Observe a server; return how many requests that leads to."""
        before = len(self.servers.asked)
        is_new = backend not in self.survey._servers
        self.survey.see(Observation(backend, standing, facts=state))
        if is_new:
            self.clock.advance(FIRST_S)
        self.survey.begin()
        return len(self.servers.asked) - before

    def test_server_is_asked_once(self) -> None:
        """The rules are asked for when a server is first seen, and then not again."""
        self.assertEqual(self.see(), 2)
        self.assertEqual(self.servers.asked, [(A, PATHS[0]), (A, PATHS[1])])
        self.assertEqual((self.survey.definitions, self.told), ((RULE,), [(RULE,)]))
        for _ in range(100):
            self.clock.advance(60)
            self.assertEqual(self.see(state=evolve(STATE, read_at=self.clock.seconds(), oldest=7.0)), 0)

    def test_server_is_asked_again_after_a_reload(self) -> None:
        """The rules are asked for again after a reload and after a restart, but once a minute at most."""
        self.see()
        for state in (evolve(STATE, config_at=210.0), evolve(STATE, config_at=210.0, started_at=190.0)):
            self.assertEqual(self.see(state=state), 0, "too soon")
            self.clock.advance(PAUSE_LEAST_S)
            self.servers.bodies[A] = page(RULE, RULE._replace(query=str(state)))
            self.assertEqual(self.see(state=state), 2)
            self.assertEqual(len(self.survey.definitions), 2)
            self.assertEqual(self.see(state=state), 0)
        self.assertEqual(len(self.told), 3)

    def test_same_rules_are_no_news(self) -> None:
        """Rules that are the same as before, or as those of the other server, are no news."""
        self.see()
        self.see(B)
        self.clock.advance(PAUSE_LEAST_S)
        self.assertEqual(self.see(state=evolve(STATE, config_at=9.0)), 2)
        self.assertEqual(len(self.told), 1)

    def test_different_rules_of_two_servers_all_count(self) -> None:
        """While servers have different rules, all of them count; those of a server that is gone do not."""
        other = RuleDefinition("a:b", "sum(rate(x[1h]))", 20.0)
        self.servers.bodies[B] = page(other)
        self.see()
        self.see(B)
        self.assertEqual(self.survey.definitions, (RULE, other))
        self.survey.keep([B])
        self.assertEqual(self.survey.definitions, (other,))
        self.survey.keep([])
        self.assertEqual(self.told[-1], ())

    def test_server_out_of_service_is_not_asked(self) -> None:
        """A server that is not in service, or of which nothing is known yet, is not asked."""
        self.assertEqual(self.see(standing=Standing.NOT_READY), 0)
        self.assertEqual(self.see(state=ServerState()), 0)
        self.assertEqual(self.see(), 2)

    def test_servers_are_asked_one_by_one(self) -> None:
        """One server is asked after the other, and a request under way is cancelled at the end."""
        self.servers.waiting = Deferred()
        self.assertEqual((self.see(), self.see(B)), (1, 0))
        waiting = self.servers.waiting
        self.survey.stop()
        self.assertTrue(waiting.called)
        self.assertEqual(self.see(B), 0)

    def test_failing_server_is_asked_ever_less_often(self) -> None:
        """A server that does not respond is asked ever less often, its former rules stay, and the log says so once."""
        self.see()
        changed = evolve(STATE, config_at=1.0)
        for failure in (
            ProbeResponse(403, b"no"),
            ProbeResponse(200, b"<html>"),
            ProbeResponse(200, b" " * MOST_BYTES),
            UpstreamError(Phase.HEAD, Cause.TIMEOUT, "after 10 s"),
        ):
            self.servers.failure = failure
            self.clock.advance(PAUSE_MOST_S)
            self.assertEqual(self.see(state=changed), 2)
            self.assertEqual(self.survey.definitions, (RULE,))
        times = []
        for second in range(20_000):
            if self.see(state=changed):
                times.append(second)
            self.clock.advance(1)
        self.assertEqual({after - before for before, after in itertools.pairwise(times[1:])}, {3600})
        self.assertEqual(len([line for line in self.lines if line.startswith("cannot read the rules of {backend}")]), 1)
        self.servers.failure = None
        self.clock.advance(PAUSE_MOST_S)
        self.assertEqual((self.see(state=changed), self.see(state=changed)), (2, 0))

    def test_alerts_that_are_too_many(self) -> None:
        """When the page of the alerts cannot be read, the recording rules count all the same."""
        self.servers.waiting = first = Deferred()
        self.see()
        assert self.servers.waiting is not first
        self.servers.waiting.callback(ProbeResponse(200, page(RULE)))
        self.servers.waiting.callback(ProbeResponse(200, b"[" * MOST_BYTES))
        self.assertEqual(self.survey.definitions, (RULE,))

    def test_number_of_rules_is_bounded(self) -> None:
        """More rules than are considered are left out, and the log says so."""
        self.servers.bodies[A] = page(*(RuleDefinition(f"r{number}", "x", 1.0) for number in range(MOST_RULES + 1)))
        self.see()
        self.assertEqual(len(self.survey.definitions), MOST_RULES)
        self.assertEqual(len(self.lines), 2)

    def test_nothing_is_asked_without_coverage(self) -> None:
        """Without coverage nothing is asked, from the start or after a reload, and nothing is known any more."""
        self.see()
        self.survey.reconfigure(self.servers.ask_rules, enabled=False)
        self.assertEqual((self.survey.definitions, self.see()), ((), 0))
        self.survey.reconfigure(self.servers.ask_rules, enabled=True)
        self.assertEqual(self.see(), 2)


class ParserTests(SynchronousTestCase):
    """The parser of queries, which the reads of rules and of clients' queries come from."""

    def begin(self, problem: str, *, enabled: bool) -> list[str]:
        """Return the warnings of a survey."""
        lines = logged(self, lambda event: formatEvent(event) if event["log_level"] is LogLevel.warn else "")
        survey = RuleSurvey(Servers().ask_rules, Clock(), enabled=enabled, parser_problem=problem)
        for _ in range(3):
            survey.begin()
        return lines

    def test_missing_parser_is_logged_once(self) -> None:
        """The log says once that queries cannot be parsed, unless coverage is switched off."""
        (line,) = self.begin("the package promql-parser cannot be used", enabled=True)
        self.assertIn("queries cannot be parsed (the package promql-parser cannot be used)", line)
        self.assertEqual((self.begin("", enabled=True), self.begin("there is none", enabled=False)), ([], []))


class ComposerTests(SynchronousTestCase):
    """What becomes of the rules."""

    def test_query_of_a_result_reads_what_the_rule_reads(self) -> None:
        """A query of a rule's result reads what the rule reads: its range and one evaluation interval before."""
        memory = QueryMemory()
        self.assertEqual(memory.read(b"a:b").reach(1000.0, 1000.0, 300.0), (700.0, 1000.0))
        RuleComposer(memory.forget, Clock()).compose([RULE])
        self.assertEqual(memory.read(b"a:b").reach(1000.0, 1000.0, 300.0), (80.0, 1000.0))

    def test_many_rules_are_composed_in_slices(self) -> None:
        """Many rules are composed with pauses; other rules replace them at once, and nothing is left behind at the end."""

        class Slow(Clock):
            def seconds(self) -> float:
                self.rightNow += 0.001
                return super().seconds()

        clock, memory = Slow(), QueryMemory()
        composer = RuleComposer(memory.forget, clock)
        composer.compose([RuleDefinition(f"r{number}", "x[5m]", 60.0) for number in range(100)])
        pauses = 0
        while len(memory.read(b"r99").selectors) == 1 and pauses < 200:
            clock.advance(0.01)
            pauses += 1
        self.assertGreater(pauses, 10)
        composer.compose([RULE] * 20)
        composer.compose([RuleDefinition("r", "x[1h]", 60.0)])
        composer.stop()
        self.assertEqual(clock.getDelayedCalls(), [])
