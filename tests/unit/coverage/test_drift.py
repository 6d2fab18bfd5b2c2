"""In what the servers of a pair differ."""

from __future__ import annotations

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from mpp.core.facts import ServerState
from mpp.core.model import Backend, Observation, Standing
from mpp.coverage.drift import Difference, age, compare, is_stale

A, B = Backend("http", "a", 9090), Backend("http", "b", 9090)
FACTS = ServerState(
    "3.5.3",
    1e9,
    1.6e9,
    1.7e9,
    None,
    15 * 86400.0,
    False,
    1.7e9 + 3,
    100,
    config_hash="1234",
    config_at=1.0,
    reload_ok=True,
    skew=0.1,
)


def kinds(*facts: ServerState, standing: Standing = Standing.VIABLE) -> list[str]:
    """Compare a well server with another one; give the kinds of what differs."""
    others = tuple(Observation(B, standing, facts=each) for each in facts)
    return [difference.kind for difference in compare((Observation(A, Standing.VIABLE, facts=FACTS), *others))]


class DriftTests(SynchronousTestCase):
    """What is told of a pair."""

    def test_identical_servers(self) -> None:
        """Servers that are a pair differ in nothing; nor does one with itself, or with one that does not tell."""
        for others in ((FACTS,), (), (ServerState(read_at=1.0),), (evolve(FACTS, started_at=1.5e9, oldest=1.65e9),)):
            self.assertEqual(kinds(*others), [])

    def test_each_difference_is_told(self) -> None:
        """Whatever makes the servers of a pair give different answers is told by its name."""
        for changed, kind in [
            ({"version": "2.42.0"}, ["version"]),
            ({"config_hash": "5678"}, ["configuration"]),
            ({"retention_s": 86400.0}, ["retention"]),
            ({"targets": 99}, ["targets"]),
            ({"skew": 2.2}, ["clock"]),
            ({"skew": -30.0}, ["clock"]),
            ({"reload_ok": False}, ["reload"]),
            ({"newest": 1.7e9 - 600}, ["stale"]),
        ]:
            self.assertEqual(kinds(evolve(FACTS, **changed)), kind)

    def test_one_server_with_two_addresses(self) -> None:
        """It is no pair. Two servers never start at the same microsecond, but a start may be rounded to milliseconds."""
        start = 1_700_000_000.123456
        for started, kind in ((start, ["same_server"]), (start + 1e-3, []), (None, [])):
            found = compare(
                (
                    Observation(A, Standing.VIABLE, facts=evolve(FACTS, started_at=start)),
                    Observation(B, Standing.VIABLE, facts=evolve(FACTS, started_at=started)),
                )
            )
            self.assertEqual([each.kind for each in found], kind)
            if found:
                values = (("a:9090", "started 2023-11-14 22:13:20 UTC"), ("b:9090", "started 2023-11-14 22:13:20 UTC"))
                self.assertEqual((found[0].values, found[0].level), (values, "warn"))
        self.assertEqual(kinds(evolve(FACTS, started_at=FACTS.started_at)), [])

    def test_different_flags_are_named_with_values(self) -> None:
        """Flags that differ are named with their values, those that decide what a query returns first."""
        mine = (("enable-feature", ""), ("log.level", "info"), ("query.lookback-delta", "5m"), ("storage.tsdb.x", "1"))
        theirs = (("enable-feature", "a"), ("log.level", "debug"), ("query.lookback-delta", "1s"), ("storage.tsdb.x", "2"))
        here = Observation(A, Standing.VIABLE, facts=evolve(FACTS, flags=mine))
        (difference,) = compare((here, Observation(B, Standing.VIABLE, facts=evolve(FACTS, flags=theirs))))
        text = "They run with different flags: the same request may have different answers."
        values = (
            ("a:9090", "query.lookback-delta=5m enable-feature= storage.tsdb.x=1 log.level=info"),
            ("b:9090", "query.lookback-delta=1s enable-feature=a storage.tsdb.x=2 log.level=debug"),
        )
        self.assertEqual(difference, Difference("flags", text, values))

    def test_flags_that_are_not_known_to_both(self) -> None:
        """A flag that only one of two versions has is no difference, nor is a server that does not tell."""
        mine = Observation(A, Standing.VIABLE, facts=evolve(FACTS, flags=(("a", "1"), ("b", "1"))))
        for flags in ((), (("a", "1"), ("c", "3"))):
            self.assertEqual(compare((mine, Observation(B, Standing.VIABLE, facts=evolve(FACTS, flags=flags)))), ())

    def test_stale_by_the_scrape_interval(self) -> None:
        """Ingestion has ended when the newest sample is a minute and four intervals old, five minutes if no interval is known."""
        for jobs, age_s, stale in (
            ((("node", 15.0),), 59, False),
            ((("node", 15.0),), 61, True),
            ((("node", 30.0), ("fast", 5.0)), 119, False),
            ((("node", 30.0), ("fast", 5.0)), 121, True),
            ((), 299, False),
            ((), 301, True),
            ((("daily", 86400.0),), 301, True),
        ):
            facts = evolve(FACTS, jobs=jobs, skew=0.0, newest=FACTS.read_at - age_s)
            self.assertEqual(is_stale(facts), stale, (jobs, age_s))

    def test_many_flags(self) -> None:
        """Of many flags that differ some are named, and the number of the others."""
        here, there = (
            Observation(each, Standing.VIABLE, facts=evolve(FACTS, flags=tuple((f"f{n:03}", value) for n in range(300))))
            for each, value in ((A, "1"), (B, "2"))
        )
        (difference,) = compare((here, there))
        self.assertTrue(difference.values[0][1].endswith(" f007=1 and 292 more"), difference)

    def test_external_labels(self) -> None:
        """External labels that differ are named with their values, as a note: they are meant to differ in most pairs."""
        mine = (("prometheus", "k8s"), ("prometheus_replica", "p-0"))
        theirs = (("prometheus", "k8s"), ("prometheus_replica", "p-1"), ("zone", "x"))
        here = Observation(A, Standing.VIABLE, facts=evolve(FACTS, external_labels=mine))
        there = Observation(B, Standing.VIABLE, facts=evolve(FACTS, external_labels=theirs))
        (told,) = compare((here, there))
        self.assertEqual((told.kind, told.level), ("external_labels", "note"))
        self.assertEqual(told.values, (("a:9090", 'prometheus_replica="p-0"'), ("b:9090", 'prometheus_replica="p-1" zone="x"')))
        (told,) = compare((here, evolve(there, facts=evolve(FACTS, external_labels=()))))
        self.assertEqual(told.values[1], ("b:9090", "none of them"))

    def test_external_labels_that_are_equal_or_unknown(self) -> None:
        """Equal labels are no difference, nor is a server whose labels are not known; of many some are named."""
        mine = Observation(A, Standing.VIABLE, facts=evolve(FACTS, external_labels=(("a", "1"),)))
        for labels in ((("a", "1"),), None):
            self.assertEqual(compare((mine, Observation(B, Standing.VIABLE, facts=evolve(FACTS, external_labels=labels)))), ())
        many = tuple((f"l{n:02}", "x") for n in range(20))
        (told,) = compare((mine, Observation(B, Standing.VIABLE, facts=evolve(FACTS, external_labels=many))))
        self.assertTrue(told.values[1][1].endswith('l06="x" and 13 more'), told)

    def test_small_differences_are_none(self) -> None:
        """What measuring alone explains is no difference."""
        for changed in ({"skew": 1.5}, {"retention_s": 15 * 86400.0 + 1}, {"newest": 1.7e9 - 200}):
            self.assertEqual(kinds(evolve(FACTS, **changed)), [])

    def test_server_that_has_just_started(self) -> None:
        """A server that still looks for its targets, or has ingested nothing since its start, is given time."""
        for up, expected in ((5, []), (120, ["stale", "targets"])):
            young = evolve(FACTS, targets=0, newest=FACTS.read_at - 3600, started_at=FACTS.read_at - up)
            self.assertEqual(kinds(young), expected)

    def test_configurations_of_two_versions_are_not_compared(self) -> None:
        """Each version writes out other defaults, so only equal versions have comparable configurations."""
        self.assertEqual(kinds(evolve(FACTS, version="3.6.0", config_hash="5678")), ["version"])

    def test_jobs_of_one_configuration_are_named(self) -> None:
        """A job that only some configurations have is named; of a server whose jobs are not known nothing is said."""
        jobs = (("node", 15.0), ("batch", 15.0), ("web", 15.0))
        for own, told in (
            (jobs[:1], "5678, without the jobs batch and web"),
            (jobs[:2], "5678, without the job web"),
            (jobs, "5678"),
            ((), "5678"),
        ):
            other = Observation(B, Standing.VIABLE, facts=evolve(FACTS, config_hash="5678", jobs=own))
            (found,) = compare((Observation(A, Standing.VIABLE, facts=evolve(FACTS, jobs=jobs)), other))
            self.assertEqual(found.values, (("a:9090", "1234"), ("b:9090", told)))

    def test_absent_servers_are_not_compared(self) -> None:
        """What a server told before it went down says nothing about now."""
        for standing in (Standing.NOT_READY, Standing.DOWN):
            self.assertEqual(kinds(evolve(FACTS, targets=1), standing=standing), [])

    def test_values_of_all_are_told(self) -> None:
        """A difference names each server and what it told."""
        other = Observation(B, Standing.VIABLE, facts=evolve(FACTS, targets=99, retention_s=36 * 3600.0))
        targets, retention = compare((Observation(A, Standing.VIABLE, facts=FACTS), other))
        text = "b:9090 scrapes 99 of 100 targets that the other one scrapes."
        self.assertEqual(targets, Difference("targets", text, (("a:9090", "100"), ("b:9090", "99"))))
        self.assertEqual(retention.values, (("a:9090", "15d"), ("b:9090", "1d 12h")))

    def test_newest_sample_is_as_old_as_its_server_says(self) -> None:
        """The age of the newest sample is told by the server's own clock."""
        self.assertAlmostEqual(age(FACTS) or 0, 3.1, places=5)
        self.assertIsNone(age(ServerState()))
        self.assertEqual(age(evolve(FACTS, newest=1.8e9)), 0.0)
