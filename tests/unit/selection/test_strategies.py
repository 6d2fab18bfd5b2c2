"""Who is selected, and in which order the others follow."""

from __future__ import annotations

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mpp.core.facts import Gap, Lack, ServerState
from mpp.core.interfaces import IStrategy
from mpp.core.model import Backend, Choice, Observation, Standing
from mpp.core.text.durations import duration
from mpp.selection.strategies import DAY, HOUR, MinimumHistory, RandomStrategy, SingleMostData, history_slack, rank

NOW = 1_700_000_000.0
A, B, C, D = (Backend("http", name, 9090) for name in ("prom-a", "prom-b", "prom-c", "prom-d"))
VIABLE, BUSY, SUSPECT, NOT_READY, DOWN = Standing


def seen(
    backend: Backend,
    history: float = 0.0,
    standing: Standing = VIABLE,
    *,
    retention: float | None = 15 * DAY,
    uptime: float = DAY,
) -> Observation:
    """Return an observation of a 2.x server; no history means no data."""
    oldest = NOW - history if history else None
    return Observation(backend, standing, facts=ServerState(oldest=oldest, retention_s=retention, started_at=NOW - uptime))


def seen_1x(backend: Backend, samples: float, *, uptime: float = DAY) -> Observation:
    """Return an observation of a 1.x server."""
    return Observation(backend, VIABLE, facts=ServerState(samples=samples, started_at=NOW - uptime))


def served_by(*backends: Backend) -> Choice:
    """Return the choice in force: the first one serves, the others are standbys."""
    return Choice(backends[:1], backends[1:])


class SlackTests(SynchronousTestCase):
    """How much more another server must have; see Note [Hysteresis]."""

    def test_slack_depends_on_retention(self) -> None:
        """The slack is a block (and 2 h) at the limit of retention, small below it, and never more than half of the history."""
        for history, retention, by_size, expected in [
            (0, 15 * DAY, False, 0),
            (10 * HOUR, 15 * DAY, False, 1 * HOUR),
            (5 * DAY, 15 * DAY, False, 2 * HOUR),
            (8 * DAY, 15 * DAY, False, 2 * HOUR),
            # One percent.
            (11 * DAY, 15 * DAY, False, 11 * DAY / 100),
            # An hour.
            (5 * HOUR, 15 * DAY, False, 1 * HOUR),
            (0.1 * HOUR, 15 * DAY, False, 1 * HOUR),
            (12 * DAY, 15 * DAY, False, 38 * HOUR),
            (16 * DAY, 15 * DAY, False, 38 * HOUR),
            (400 * DAY, 400 * DAY, False, 31 * DAY + 2 * HOUR),
            (7 * HOUR, 6 * HOUR, False, 3.5 * HOUR),
            (30 * HOUR, None, False, 3 * HOUR),
            (60 * DAY, None, False, 6 * DAY),
            (10 * DAY, None, True, 5 * DAY),
            (100 * DAY, None, True, 31 * DAY),
            (10 * DAY, 15 * DAY, True, 36 * HOUR),
        ]:
            with self.subTest(history=history, retention=retention, by_size=by_size):
                self.assertEqual(history_slack(history, retention, by_size), expected)


class RankTests(SynchronousTestCase):
    """The order that all strategies share."""

    def assert_order(self, observations: list[Observation], *expected: Backend, previous: Choice | None = None) -> None:
        """Check the order."""
        self.assertEqual(tuple(o.backend for o in rank(observations, previous, NOW)), expected)

    def test_standing_goes_first(self) -> None:
        """A viable server ranks before a busy one, and so on, however much data they hold."""
        standings = [DOWN, NOT_READY, SUSPECT, BUSY]
        worse = [seen(b, 10 * DAY, s) for b, s in zip((A, B, C, D), standings, strict=True)]
        self.assert_order(worse, D, C, B, A)
        self.assert_order([*worse[1:], seen(A, 1 * DAY)], A, D, C, B, previous=served_by(B, C, D, A))

    def test_most_data_goes_first(self) -> None:
        """Among servers of one standing the longest history ranks first."""
        self.assert_order([seen(A, 1 * DAY), seen(B, 3 * DAY), seen(C, 2 * DAY)], B, C, A)

    def test_empty_server_ranks_last(self) -> None:
        """A server without data ranks last among the viable ones, even as the incumbent."""
        self.assert_order([seen(A), seen(B, 1 * HOUR)], B, A)
        self.assert_order([seen(A), seen(B, 1 * HOUR)], B, A, previous=served_by(A, B))

    def test_replaying_server_ranks_last(self) -> None:
        """A server that replays its WAL ranks after everyone who is ready, whatever history it had before."""
        self.assert_order([seen(A, 15 * DAY, NOT_READY), seen(B), seen(C, 1 * DAY, BUSY)], B, C, A)

    def test_tie_goes_to_incumbent_then_uptime_then_order(self) -> None:
        """With equal data the incumbent stays first; else the longer uptime, else the locators' order decides."""
        equal = [seen(A, DAY), seen(B, DAY), seen(C, DAY, uptime=2 * DAY)]
        self.assert_order(equal, C, A, B)
        self.assert_order(equal, B, C, A, previous=served_by(B))
        unknown = [evolve(o, facts=ServerState()) for o in equal]
        self.assert_order(unknown, A, B, C)

    def test_retention_drop_does_not_swap(self) -> None:
        """When retention drops the incumbent's largest block, 36 h at 15 d, it keeps its place."""
        self.assert_order([seen(A, 15 * DAY), seen(B, 16.5 * DAY)], A, B, previous=served_by(A, B))

    def test_retention_drop_does_not_swap_standbys(self) -> None:
        """The order of the standbys is defended in the same way."""
        observations = [seen(A, 16 * DAY), seen(B, 15 * DAY), seen(C, 16.5 * DAY)]
        self.assert_order(observations, A, B, C, previous=served_by(A, B, C))

    def test_longer_retention_takes_over(self) -> None:
        """A server with more than a block more takes the place of the incumbent."""
        self.assert_order([seen(A, 15 * DAY), seen(B, 30 * DAY)], B, A, previous=served_by(A, B))

    def test_young_incumbent_yields(self) -> None:
        """A server with 10 h does not stay in front of one with 30 h that comes back after a restart."""
        self.assert_order([seen(A, 10 * HOUR), seen(B, 30 * HOUR)], B, A, previous=served_by(A, B))

    def test_young_incumbent_stays_against_slightly_older(self) -> None:
        """Servers started minutes apart do not swap."""
        self.assert_order([seen(A, 10 * HOUR), seen(B, 10.5 * HOUR)], A, B, previous=served_by(A, B))

    def test_what_is_missing_does_not_count(self) -> None:
        """A server that lacks more than an hour of what another one has ranks after it; half of the targets count half."""
        for hours, share, expected in ((3, 1.0, (B, A)), (3, 0.5, (A, B)), (0.5, 1.0, (A, B)), (5, 0.5, (B, A))):
            gap = Gap(NOW - 5 * HOUR, NOW - (5 - hours) * HOUR, share)
            holed = evolve(seen(A, 5 * DAY), gaps=(gap,))
            self.assert_order([holed, seen(B, 5 * DAY)], *expected, previous=served_by(A, B))

    def test_more_samples_go_first_in_1x(self) -> None:
        """Among 1.x servers the one that ingested more ranks first; the incumbent needs to be beaten by a tenth."""
        self.assert_order([seen_1x(A, 1000), seen_1x(B, 1050)], B, A)
        self.assert_order([seen_1x(A, 1000), seen_1x(B, 1050)], A, B, previous=served_by(A, B))
        self.assert_order([seen_1x(A, 1000), seen_1x(B, 1200)], B, A, previous=served_by(A, B))

    def test_1x_beside_2x_counts_with_its_uptime(self) -> None:
        """In a pool of both kinds a 1.x server is held to have at least its uptime of history."""
        self.assert_order([seen(A, 2 * DAY), seen_1x(B, 10**9, uptime=5 * DAY), seen(C)], B, A, C)
        unknown_uptime = Observation(B, VIABLE, facts=ServerState(samples=5.0))
        self.assert_order([unknown_uptime, seen(A, 2 * DAY)], A, B)

    def test_everyone_is_ranked_once(self) -> None:
        """No backend is lost, and who is gone does not come back."""
        self.assert_order([seen(B, DAY), seen(C)], B, C, previous=served_by(A, C, B))


class SingleMostDataTests(SynchronousTestCase):
    """One server, the one with the most data."""

    def select(self, *observations: Observation, previous: Choice | None = None) -> Choice:
        """Select."""
        return SingleMostData().select(observations, previous, NOW)

    def test_provides_the_interface(self) -> None:
        """All strategies can be used as such, and say their names."""
        for strategy, name in (
            (SingleMostData(), "single-most-data"),
            (RandomStrategy(), "random"),
            (MinimumHistory(90 * 60), "minimum-history:1h30m"),
        ):
            self.assertTrue(verifyObject(IStrategy, strategy))
            self.assertEqual(repr(strategy), name)

    def test_one_is_selected(self) -> None:
        """The server with the most data takes all traffic, the others are standbys in rank."""
        choice = self.select(seen(A, 1 * DAY), seen(B, 3 * DAY), seen(C, 2 * DAY))
        self.assertEqual(choice, Choice((B,), (C, A)))

    def test_busy_serves_when_none_is_viable(self) -> None:
        """When all are busy or worse, a busy one serves, and the choice says that it is not what was wished."""
        choice = self.select(seen(A, 3 * DAY, DOWN), seen(B, 1 * DAY, BUSY), seen(C, 2 * DAY, SUSPECT))
        self.assertEqual(choice, Choice((B,), (C, A), "no backend is viable, the best is busy"))

    def test_unproven_serves_when_none_is_viable(self) -> None:
        """A server that rejects the probe's query ranks after one that is known to be good, and serves when there is none."""
        unproven = evolve(seen(A, 3 * DAY, BUSY), unproven=True)
        self.assertEqual(self.select(unproven, seen(B, 1 * DAY)), Choice((B,), (A,)))
        choice = self.select(unproven, seen(B, 1 * DAY, DOWN))
        self.assertEqual(choice, Choice((A,), (B,), "no backend is known to be viable, they reject the probe's query"))

    def test_least_bad_serves(self) -> None:
        """When nobody is usable, a suspect one serves, and the choice says so."""
        choice = self.select(seen(A, 3 * DAY, DOWN), seen(B, 1 * DAY, SUSPECT))
        self.assertEqual(choice, Choice((B,), (A,), "no backend is usable; the least bad one serves, which is suspect"))

    def test_nobody_is_selected_when_all_look_bad(self) -> None:
        """When nobody is even suspect, nobody is selected, and all are standbys, best first."""
        choice = self.select(seen(A, 3 * DAY, DOWN), seen(B, 1 * DAY, NOT_READY))
        self.assertEqual(choice, Choice((), (B, A), "no backend is usable; all are tried in order, the least bad first"))

    def test_no_backends(self) -> None:
        """Without backends there is an empty choice that says so."""
        self.assertEqual(self.select(), Choice((), (), "no backend is known"))


class RandomStrategyTests(SynchronousTestCase):
    """All usable servers."""

    def test_all_viable_are_selected(self) -> None:
        """All viable servers take traffic, also those without data."""
        choice = RandomStrategy().select((seen(A), seen(B, DAY, BUSY), seen(C, DAY)), None, NOW)
        self.assertEqual(choice, Choice((C, A), (B,)))

    def test_busy_ones_serve_when_none_is_viable(self) -> None:
        """Without a viable server all busy ones take traffic."""
        choice = RandomStrategy().select((seen(A, 0, BUSY), seen(B, DAY, BUSY), seen(C, DAY, SUSPECT)), None, NOW)
        self.assertEqual(choice, Choice((B, A), (C,), "no backend is viable, the best is busy"))


class MinimumHistoryTests(SynchronousTestCase):
    """All usable servers with enough history."""

    def select(self, *observations: Observation, previous: Choice | None = None) -> Choice:
        """Select those with 7 days."""
        return MinimumHistory(7 * DAY).select(observations, previous, NOW)

    def test_all_with_enough_are_selected(self) -> None:
        """All viable servers with at least the asked history take traffic."""
        self.assertEqual(self.select(seen(A, 8 * DAY), seen(B, 6 * DAY), seen(C, 7 * DAY)), Choice((A, C), (B,)))

    def test_most_history_serves_when_none_has_enough(self) -> None:
        """When no viable server has enough history, the one with the most serves, flagged."""
        choice = self.select(seen(A, 1 * DAY), seen(B, 36 * HOUR), seen(C))
        degraded = "no usable backend holds 7d of history; prom-b:9090 holds the most (1d 12h)"
        self.assertEqual(choice, Choice((B,), (A, C), degraded))

    def test_nearly_as_much_as_the_best(self) -> None:
        """Servers that lack up to one percent of what the best one has of the time serve, too: each was restarted some day."""
        hour_ago = NOW - HOUR
        for missing, selected in ((90 * 60.0, (A, B)), (2 * HOUR, (A,))):
            holed = evolve(seen(B, 9 * DAY), gaps=(Gap(hour_ago - missing, hour_ago, 1.0),))
            self.assertEqual(self.select(seen(A, 9 * DAY), holed).selected, selected)
        # What is missing from before the time that is asked for does not matter.
        long_ago = evolve(seen(B, 9 * DAY), gaps=(Gap(NOW - 9 * DAY, NOW - 7 * DAY, 1.0),))
        self.assertEqual(self.select(seen(A, 9 * DAY), long_ago).selected, (A, B))
        # If the best has less than is asked for, the others are compared with that.
        young = self.select(seen(A, 36 * HOUR), seen(B, 36 * HOUR - 60), seen(C, DAY))
        self.assertEqual(young.selected, (A, B))
        self.assertIn("prom-a:9090 holds the most (1d 12h)", young.degraded)

    def test_nothing_known_of_history(self) -> None:
        """When no server tells its history, the first in rank serves, flagged."""
        degraded = "no usable backend holds 7d of history; prom-a:9090 holds the most (an unknown amount)"
        self.assertEqual(self.select(seen(A), seen(B)), Choice((A,), (B,), degraded))

    def test_busy_with_enough_is_first_standby(self) -> None:
        """A busy server with enough history is tried before a viable one with too little."""
        choice = self.select(seen(A, 8 * DAY), seen(B, 6 * DAY), seen(C, 8 * DAY, BUSY), seen(D, 8 * DAY, DOWN))
        self.assertEqual(choice, Choice((A,), (C, B, D)))

    def test_busy_serve_when_none_is_viable(self) -> None:
        """When no server is viable, the busy ones with enough history serve, flagged."""
        choice = self.select(seen(A, 8 * DAY, BUSY), seen(B, 6 * DAY, BUSY), seen(C, 8 * DAY, DOWN))
        self.assertEqual(choice, Choice((A,), (B, C), "no backend is viable, the best is busy"))

    def test_busy_with_too_little(self) -> None:
        """Both shortcomings are told."""
        choice = self.select(seen(A, 1 * DAY, BUSY))
        self.assertEqual(
            choice.degraded,
            "no backend is viable, the best is busy; no usable backend holds 7d of history; prom-a:9090 holds the most (1d)",
        )

    def test_nobody_is_selected_when_all_look_bad(self) -> None:
        """When all look bad nobody is selected, and all are standbys."""
        choice = self.select(seen(A, 8 * DAY, DOWN), seen(B, 1 * DAY, NOT_READY))
        self.assertEqual(choice, Choice((), (B, A), "no backend is usable; all are tried in order, the least bad first"))


class DescribeTests(SynchronousTestCase):
    """Lengths of history, for humans."""

    def test_duration_has_the_largest_fitting_unit(self) -> None:
        """The largest unit that fits is used."""
        for seconds, text in [(0, "0ms"), (59, "59s"), (60, "1m"), (5400, "1h 30m"), (15 * DAY, "15d")]:
            self.assertEqual(duration(seconds), text)


class LackTests(SynchronousTestCase):
    """Servers that lack newest data."""

    def test_ranked_after_usable_servers_that_lack_nothing(self) -> None:
        """However much history a server has, it comes after those that lack nothing, busy ones included, and by what it lacks."""
        seen = [
            Observation(Backend("http", name, 9090), standing, facts=ServerState(oldest=NOW - days * DAY), lack=lack)
            for name, standing, days, lack in (
                ("all", Standing.VIABLE, 90, Lack(80, 80, NOW)),
                ("some", Standing.VIABLE, 60, Lack(20, 80, NOW)),
                ("busy", Standing.BUSY, 1, None),
                ("whole", Standing.VIABLE, 2, None),
                ("suspect", Standing.SUSPECT, 80, None),
            )
        ]
        order = [o.backend.host for o in rank(seen, None, NOW)]
        self.assertEqual(order, ["whole", "busy", "some", "all", "suspect"])
        self.assertEqual([b.host for b in RandomStrategy().select(seen, None, NOW).selected], ["whole"])
        self.assertEqual([b.host for b in RandomStrategy().select(seen[:2], None, NOW).selected], ["some"])
