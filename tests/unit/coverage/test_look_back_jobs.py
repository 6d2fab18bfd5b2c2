"""When the look back begins: not before the survey has found the jobs that the servers are to scrape."""

from __future__ import annotations

from mpp.core.facts import ServerState
from mpp.coverage.history.service import JOBS_S
from tests.unit.coverage.look_back_case import JOBS, OLDEST, A, B, LookBackCase

CONFIGURED = ServerState(oldest=OLDEST, skew=0.0, jobs=(("node", 15.0), ("web", 15.0)))


class JobsTests(LookBackCase):
    """Two servers that have just been started, and have not scraped all of their jobs yet."""

    def setUp(self) -> None:
        super().setUp()
        self.knowledge.surveyed({"web": JOBS["web"]})
        self.see(A, B, facts=CONFIGURED)
        self.run_for(2)

    def test_waits_for_all_jobs(self) -> None:
        """A lack of all targets of the only known job would count as a lack of all data."""
        self.assertEqual(self.histories.asked, [])
        self.assertEqual(self.look_back.progress()[A].problem, "not all configured scrape jobs were scraped yet")
        self.knowledge.surveyed(JOBS)
        self.see(A, B, facts=CONFIGURED)
        self.run_for(2)
        self.assertNotEqual(self.histories.asked, [])
        self.assertEqual(self.look_back.progress()[A].problem, "")

    def test_does_not_wait_for_ever(self) -> None:
        """A job may have no targets."""
        self.clock.advance(JOBS_S)
        self.see(A, B, facts=CONFIGURED)
        self.run_for(2)
        self.assertNotEqual(self.histories.asked, [])

    def test_job_that_is_configured_later(self) -> None:
        """The look back goes on without it."""
        self.knowledge.surveyed(JOBS)
        self.see(A, B, facts=CONFIGURED)
        self.run_for(0.2)
        before = len(self.histories.asked)
        more = ServerState(oldest=OLDEST, skew=0.0, jobs=(*CONFIGURED.jobs, ("later", 15.0)))
        self.see(A, B, facts=more)
        self.run_for(10)
        self.assertGreater(len(self.histories.asked), before)
