"""What is noted of servers that lack newest data."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mpp.core.facts import Lack
from mpp.core.model import Backend
from mpp.coverage.lack_log import LackLog

A = Backend("http", "prom-a", 9090)
AT = 1_700_000_000.0


class LackLogTests(SynchronousTestCase):
    """The events of one server."""

    def test_server_that_loses_more_and_more_targets(self) -> None:
        """A lack is noted when it begins, and once more when nothing is scraped any longer; not with each target."""
        noted: list[tuple[str, str]] = []
        log = LackLog(lambda kind, text: noted.append((kind, text)))
        course = [Lack(4, 20, AT), Lack(12, 20, AT), Lack(20, 20, AT, stopped=True), Lack(19, 20, AT)]
        for before, now in zip([None, *course], course, strict=False):
            log.report({} if before is None else {A: before}, {A: now}, [A])
        self.assertEqual(
            noted,
            [
                ("lack", "prom-a:9090 has scraped only 16 of 20 targets since 22:13:20 UTC"),
                ("lack", "prom-a:9090 has scraped none of 20 targets since 22:13:20 UTC"),
            ],
        )
