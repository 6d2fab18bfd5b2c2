"""An outage of all servers at the same time while dashboards are looked at, and what mpp shows until the gap counts as final."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence

from attrs import define, field

from mpp.proxy.exchanges.valid_steps import COMMON_GAP_S
from tests.integration.long.hour_of_change import Panel, points
from tests.integration.long.past_site import EVERY_S, Points, Site, differing, panel, prove
from tests.integration.servers import require_binary
from tests.integration.stamped import JOBS, TARGETS, StampedServer, lines

INTERVAL_S = 5
AWAY_S = 45
AFTER_S = 90.0
"""How much longer than `COMMON_GAP_S` is looked."""
QUERIES = ("temperature", "sum(rate(requests_total[30s]))", "count(up)")


@define
class Outage:
    """
    Looks at dashboards before, during and after an outage.

    :ivar seen: answers that servers were not there to confirm, with the time until which they are compared.
    :ivar wrong: how many steps were shown that no server says.
    """

    site: Site
    fixed: Sequence[Panel] = ()
    past: Sequence[Panel] = field(init=False)
    seen: list[tuple[Panel, Points, float]] = field(factory=list)
    wrong: int = 0
    steps: int = 0
    _printed: str = ""

    @past.default
    def _older(self) -> Sequence[Panel]:
        return [panel(query, self.site.now - 3000, self.site.now - 1200, INTERVAL_S) for query in QUERIES]

    def look(self, *, there: bool) -> None:
        """Look at each panel once; compare the answers if servers are there."""
        now, found = time.time(), Counter[str]()
        moving = [panel(query, now - 900, now, INTERVAL_S) for query in QUERIES]
        kinds = {"before it": self.past, "of the gap": self.fixed, "newest": moving}
        for kind, each in ((kind, each) for kind, panels in kinds.items() for each in panels):
            status, fields, document = each.ask(self.site.mpp.port)
            warned = ", warned" if any(text.startswith("mpp: ") for text in document.get("warnings", ())) else ""
            found[f"{kind}: {fields.get('mpp.cache', 'none').partition(';')[0] if status == 200 else status}{warned}"] += 1
            if status == 200:
                self.seen.append((each, points(document, now - self.site.freshness), now - self.site.freshness))
        if there:
            self.compare()
        text = str(dict(sorted(found.items())))
        if text != self._printed:
            print(f"    {time.strftime('%H:%M:%S')} {text}", flush=True)
            self._printed = text

    def compare(self) -> None:
        """Compare what was seen with what the servers say now."""
        for each, ours, until in self.seen:
            theirs = []
            for server in self.site.servers:
                status, _, document = each.ask(server.port)
                assert status == 200, document
                theirs.append(points(document, until))
            wrong = differing(ours, theirs)
            self.wrong, self.steps = self.wrong + len(wrong), self.steps + len(ours)
            for key in sorted(wrong, key=lambda key: key[1])[:3]:
                print(f"    WRONG {each}: {key}: {ours.get(key)}, {[one.get(key) for one in theirs]}", flush=True)
        self.seen.clear()

    def happen(self, servers: Sequence[StampedServer]) -> tuple[float, float]:
        """Kill servers, start them again, and return from when to when they were away."""
        for _ in range(10):
            self.look(there=True)
            time.sleep(EVERY_S)
        for server in servers:
            server.kill()
        left = time.time()
        print(f"    {time.strftime('%H:%M:%S')} {len(servers)} servers are killed", flush=True)
        while time.time() < left + AWAY_S:
            self.look(there=False)
            time.sleep(EVERY_S)
        for server in servers:
            server.start(wait=False)
        for server in servers:
            server.wait_ready()
        print(f"    {time.strftime('%H:%M:%S')} they have been started again", flush=True)
        back = time.time()
        self.fixed = [panel(query, left - 300, back + 60, INTERVAL_S) for query in QUERIES]
        return left, back

    def wait(self, back: float) -> bool:
        """Look until the gap is final, and return whether nothing was wrong and all of it is cached."""
        while time.time() < back + COMMON_GAP_S + AFTER_S:
            self.look(there=True)
            time.sleep(EVERY_S)
        # The first response may be a miss, because the kept steps have just expired.
        uses = [[each.ask(self.site.mpp.port)[1].get("mpp.cache", "none") for _ in range(3)] for each in self.fixed]
        right = not self.wrong and all("hit" in each for each in uses)
        found = f"{self.wrong} of {self.steps} points have values that no server returns; at the end {uses}"
        print(f"    {'right' if right else 'WRONG'}: {found}")
        return right


def outage(max_age: float) -> bool:
    """Kill both servers, wait until the gap is final, and backfill it."""
    site = Site(require_binary(), hours=1, interval_s=INTERVAL_S, max_age=max_age)
    try:
        print(f"\nboth servers are down for {AWAY_S} s", flush=True)
        seen = Outage(site)
        left, back = seen.happen(site.servers)
        right = seen.wait(back)

        def backfilled() -> Iterator[None]:
            site.backfill(missing(site, int(left), int(back)))
            yield

        panels = [each for each in seen.fixed if "rate" in each.query]
        return prove(site, "the gap of all servers is backfilled", panels, backfilled()) and right
    finally:
        site.close()


def missing(site: Site, left: int, back: int) -> Iterator[str]:
    """Yield the samples of an outage."""
    place = 0
    for job in JOBS:
        for instance in site.targets.jobs[job]:
            for at in range(left // INTERVAL_S * INTERVAL_S, back + INTERVAL_S, INTERVAL_S):
                more = f',instance="{instance}",job="{job}"'
                yield from (f"{line} {at}" for line in lines(place, at, more))
            place += 1
    assert place == TARGETS * len(JOBS)


def known_outage(max_age: float) -> bool:
    """Kill two of three servers; a minute after their return, remove the third one, which has all samples, from mpp's list."""
    del max_age
    site = Site(require_binary(), "abc", hours=1, interval_s=INTERVAL_S, max_age=3600)
    try:
        print(f"\ntwo of three servers are down for {AWAY_S} s; then the third one is removed from the list", flush=True)
        seen = Outage(site)
        _, back = seen.happen(site.servers[:2])
        # By then the third server has been seen to have what the other two lack.
        while time.time() < back + 60:
            seen.look(there=True)
            time.sleep(EVERY_S)
        site.mpp.write_endpoints(*(server.url for server in site.servers[:2]))
        print(f"    {time.strftime('%H:%M:%S')} the third server is removed from the list", flush=True)
        site.flush()
        return seen.wait(back)
    finally:
        site.close()
