"""From which age on samples count as final."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mpp.core.facts import ServerState
from mpp.core.model import Backend, Observation, Standing
from mpp.coverage.freshness import Freshness, freshness

A, B = Backend("http", "a", 9090), Backend("http", "b", 9090)


def observed(
    backend: Backend, settles_s: float, job: str, standing: Standing = Standing.VIABLE, *, me: bool = False
) -> Observation:
    """Return an observation of a server with a configuration."""
    return Observation(backend, standing, facts=ServerState(settles_s=settles_s, settles_job=job), is_self=me)


class FreshnessTests(SynchronousTestCase):
    """The configured age, and the servers' configurations."""

    def test_configured(self) -> None:
        """The configured age holds without a server, and if the servers' configurations make it no longer."""
        self.assertEqual(freshness(60.0, ()), Freshness(60.0))
        self.assertEqual(freshness(60.0, (observed(A, 43.0, "node"), Observation(B, Standing.DOWN))), Freshness(60.0))

    def test_slowest_job(self) -> None:
        """The job with the longest time decides, of whichever server, and also of a server that is down."""
        found = freshness(60.0, (observed(A, 75.0, "node"), observed(B, 142.0, "snmp", Standing.DOWN)))
        self.assertEqual(found, Freshness(142.0, "snmp", "b:9090"))

    def test_own_configuration(self) -> None:
        """A backend that is mpp itself is not used, so it does not count."""
        self.assertEqual(freshness(60.0, (observed(A, 142.0, "snmp", me=True),)), Freshness(60.0))

    def test_long(self) -> None:
        """More than ten minutes are long, by whatever they are caused."""
        self.assertFalse(freshness(600.0, ()).is_long)
        self.assertTrue(freshness(601.0, ()).is_long)
        self.assertTrue(freshness(60.0, (observed(A, 3_700.0, ""),)).is_long)
