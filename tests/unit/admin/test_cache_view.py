"""The part of the status page about shared and cached responses."""

from __future__ import annotations

import json
from typing import Any

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from mpp.admin.cache.view import CacheView, rows
from mpp.admin.status import html_page, json_document
from mpp.cache.store import CacheState
from mpp.core.metrics.cache_use import CacheTraffic, CacheUse
from mpp.core.settings import Settings
from mpp.coverage.freshness import Freshness
from tests.status_support import FOREIGN, A, B, view, well

MIB = 2**20
TOTAL = CacheUse(hits=1000, partial=60, misses=30, bypassed=10, cached_steps=1e6, asked_steps=5e3, saved_s=4320.0, shared=12345)
RECENT = CacheUse(hits=180, partial=15, misses=4, bypassed=1, cached_steps=9900, asked_steps=100, saved_s=35.0)
BUSY = CacheView(CacheState(1204, 100 * MIB + MIB // 2, 256 * MIB), CacheTraffic(TOTAL, RECENT, 600.0), Freshness(60.0))
ON = Settings(cache_memory=256 * MIB)


def shown(of: CacheView, settings: Settings = ON) -> dict[str, str]:
    """Return the lines of the page by their names."""
    return {row.name: row.text for row in rows(of, settings)}


class RowsTests(SynchronousTestCase):
    """The lines of the page."""

    def test_cache_in_use(self) -> None:
        """The page shows what the cache is good for, how full it is, and from which age on samples are final."""
        self.assertEqual(
            shown(BUSY),
            {
                "Hit ratio": "90% of 200 range queries in the last 10m, and 7.5% in part",
                "Steps from the cache": "99%",
                "Server time saved": "1h 12m since the start, 35s in the last 10m",
                "Memory": "100.5 MiB of 256.0 MiB, 1,204 entries",
                "Freshness": "1m; steps that read newer samples are not cached",
                "Shared responses": "12,345 requests since the start",
            },
        )

    def test_cache_without_use(self) -> None:
        """A cache that nothing was asked of has no ratio."""
        quiet = evolve(BUSY, state=CacheState(1, 2000, 2 * MIB), traffic=CacheTraffic(seconds=600.0))
        found = shown(quiet)
        self.assertEqual(found["Hit ratio"], "no range query in the last 10m")
        self.assertEqual((found["Steps from the cache"], found["Server time saved"]), ("-", "none"))
        self.assertEqual(found["Memory"], "2 KiB of 2.0 MiB, 1 entry")
        at_first = shown(evolve(quiet, traffic=CacheTraffic(CacheUse(hits=1), CacheUse(), 0.0)))
        self.assertEqual(at_first["Hit ratio"], "100% of 1 range query since the start, and 0% in part")

    def test_time_that_was_not_measured(self) -> None:
        """The time that hits of short queries saved is not known, since only long ones are measured."""
        hits, both = CacheUse(hits=40, cached_steps=800), CacheUse(hits=41, cached_steps=900, saved_s=60.0)
        for total, recent, text in (
            (hits, hits, "not known: no long query was measured"),
            (both, hits, "1m since the start, not known in the last 10m"),
            (both, CacheUse(), "1m since the start, none in the last 10m"),
        ):
            found = shown(evolve(BUSY, traffic=CacheTraffic(total, recent, 600.0)))
            self.assertEqual(found["Server time saved"], text)

    def test_switched_off(self) -> None:
        """Without a cache there is little to show, and without single flight less."""
        self.assertEqual(shown(BUSY, Settings()), {"Cache": "off", "Shared responses": "12,345 requests since the start"})
        self.assertEqual(shown(BUSY, Settings(no_single_flight=True)), {"Cache": "off"})

    def test_job_that_makes_freshness_long(self) -> None:
        """The page names the server and the job because of which newer samples are not cached."""
        found = evolve(BUSY, freshness=Freshness(142.0, "snmp", "prom-b:9090"))
        why = "from the configuration of prom-b:9090; the slowest job that counts is snmp"
        self.assertEqual(shown(found)["Freshness"], f"2m 22s, {why}; steps that read newer samples are not cached")

    def test_long_freshness(self) -> None:
        """A freshness above ten minutes is a warning."""
        for seconds, level in ((600.0, ""), (3700.0, "warn")):
            found = evolve(BUSY, freshness=Freshness(seconds, "", "prom-b:9090"))
            (row,) = (row for row in rows(found, ON) if row.name == "Freshness")
            self.assertEqual(row.level, level)
        self.assertEqual(
            row.text,
            "1h 1m, from the configuration of prom-b:9090. Steps that read newer samples are not cached: for most dashboards that"
            " is too long",
        )


class PageTests(SynchronousTestCase):
    """The page and the document."""

    def render(self, **settings: Any) -> tuple[str, dict[str, Any]]:
        """Return the page and the part of the document."""
        cache = evolve(BUSY, freshness=Freshness(3700.0, FOREIGN, "prom-b:9090/x"))
        value = view(well(A), well(B), cache=cache, settings={"cache_memory": 256 * MIB, **settings})
        return html_page.render(value).decode(), json.loads(json_document.render(value))["cache"]

    def test_page(self) -> None:
        """The page has the lines, with a link to the server, a warning in its color, and no markup of a job's name."""
        html, _ = self.render()
        part = html.partition('<section id="cache">')[2].partition("</section>")[0]
        self.assertIn("<dt>Hit ratio</dt><dd>90% of 200 range queries in the last 10m, and 7.5% in part</dd>", part)
        self.assertIn('<dt>Freshness</dt><dd><span class="warn">1h 1m, from the configuration of <a href=', part)
        self.assertNotIn("<script>", part)

    def test_document(self) -> None:
        """The document has the same as numbers."""
        _, found = self.render()
        self.assertEqual((found["enabled"], found["entries"], found["limit_bytes"]), (True, 1204, 256 * MIB))
        self.assertEqual(found["requests"], {"hit": 1000, "partial": 60, "miss": 30, "bypass": 10})
        self.assertAlmostEqual(found["hit_ratio"], 1000 / 1100)
        self.assertEqual(found["recent"], {"seconds": 600, "requests": 200, "hit_ratio": 0.9, "saved_seconds": 35})
        self.assertEqual((found["freshness_seconds"], found["freshness_server"]), (3700, "prom-b:9090/x"))
        self.assertIs(self.render(cache_memory=0)[1]["enabled"], False)
