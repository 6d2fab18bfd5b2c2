"""Servers with the same past, mpp with a cache in front of them, and what is stale in its answers: what no server says."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from attrs import define, field

from tests.integration.long.hour_of_change import Answer, Panel, points
from tests.integration.processes import Mpp, fetch, wait_until
from tests.integration.stamped import Past, StampedServer, StampedTargets, make_blocks, start_all, write_past

SPREAD = 0.2
"""Of ``--cache-max-age``."""
SLACK_S = 10.0
"""What a look at all panels, and a response that was under way, may take."""
EVERY_S = 3.0
"""How often the panels are looked at."""
SHOWN_S = 150.0
"""How long a server may take until it shows a change: it looks for new blocks once a minute."""

Points = dict[tuple[str, float], str]


def panel(query: str, start: float, end: float, step: float = 60) -> Panel:
    """Return a panel whose start is a multiple of its step, so that it is cached from the first time on."""
    return Panel(query, start // step * step, end // step * step, step, False, False)


class Site:
    """
    What a case works with.

    :param hours: of history.
    :param max_age: ``--cache-max-age`` in seconds.
    :ivar servers: all servers, also those that mpp does not know any longer: they say what is right.
    """

    def __init__(
        self, binary: str, names: str = "ab", *, hours: float, interval_s: int, max_age: float, options: Sequence[str] = ()
    ) -> None:
        self.binary, self.max_age, self.interval_s = binary, max_age, interval_s
        self._stack = ExitStack()
        self.targets = StampedTargets(interval_s)
        self._stack.callback(self.targets.close)
        self.past: Past = write_past(binary, self.targets, int(hours * 3600), interval_s, "2h")
        self._stack.callback(self.past.close)
        self.servers = [StampedServer(binary, name, self.targets, self.past, interval_s, *options) for name in names]
        for server in self.servers:
            self._stack.callback(server.close)
        start_all(self.servers, self.past)
        cache = ("--cache-memory=64MiB", f"--cache-max-age={max_age:g}s", "--cache-tail=0", "--enable-lifecycle")
        self.mpp = Mpp([server.url for server in self.servers], *cache, interval="1s")
        self._stack.callback(self.mpp.close)
        self.mpp.start()
        self.now = int(time.time())

    @property
    def freshness(self) -> float:
        """The age in seconds from which on steps are cached."""
        return self.mpp.metric("mpp_cache_freshness_seconds")

    def close(self) -> None:
        """End all processes."""
        self._stack.close()

    def flush(self) -> int:
        """Flush the cache; return the number of removed queries."""
        status, _, body = fetch(self.mpp.port, "/mpp/cache/flush", method="POST")
        assert status == 200, body
        return int(json.loads(body)["data"]["entries"])

    def restart(self, server: StampedServer, *options: str, binary: str = "") -> None:
        """Restart a server with other options, at the same address."""
        server.stop(30)
        server.options = options
        server.binary = binary or server.binary
        server.start()

    def backfill(self, lines: Iterable[str]) -> None:
        """
        Add samples of the past to all servers, as blocks.

        :param lines: samples with their times, in the OpenMetrics text format.
        """
        with tempfile.TemporaryDirectory(prefix="mpp-test-backfill-") as name:
            text, folder = Path(name, "more.om"), Path(name, "data")
            text.write_text("".join(f"{line}\n" for line in (*lines, "# EOF")))
            make_blocks(self.binary, text, folder)
            self.copy_blocks(folder)

    def copy_blocks(self, folder: Path) -> None:
        """Copy the blocks of a folder into the storage of all servers, each at once."""
        for server in self.servers:
            for block in (each for each in folder.iterdir() if (each / "meta.json").exists()):
                shutil.copytree(block, server.folder / block.name)
                (server.folder / block.name).rename(server.folder / "data" / block.name)


@define
class Watch:
    """
    Looks at panels through mpp and at all servers, and counts the steps at which mpp shows what no server says.

    :ivar changed_at: when the answer of a server to one of the panels changed last.
    :ivar stale_at: when a step was stale last; minus infinity if none ever was.
    :ivar stale: how many steps are stale now.
    """

    site: Site
    panels: Sequence[Panel]
    changed_at: float = 0.0
    stale_at: float = -float("inf")
    stale: int = 0
    uses: Counter[str] = field(factory=Counter)
    _before: dict[tuple[str, Panel], Points] = field(factory=dict)
    _changed: set[tuple[str, Panel]] = field(factory=set)
    _printed: str = ""

    def fill(self) -> None:
        """Have all panels cached, and remember what the servers say."""
        for each in self.panels:
            wait_until(lambda each=each: _use(each.ask(self.site.mpp.port)) == "hit", f"{each} is cached", every=0.2)
        self.look()
        assert not self.stale, "stale before anything was changed"
        self._changed.clear()

    def look(self) -> int:
        """Look at all panels once; return how many steps are stale."""
        began, self.stale, self.uses, steps = time.time(), 0, Counter(), 0
        for each in self.panels:
            ours = each.ask(self.site.mpp.port)
            assert ours[0] == 200, ours
            self.uses[_use(ours)] += 1
            theirs = list(self._servers(each, began))
            stale = {at for _, at in differing(points(ours[2], began - self.site.freshness), theirs)}
            self.stale, steps = self.stale + len(stale), steps + int((each.end - each.start) / each.step) + 1
        if self.stale:
            self.stale_at = time.time()
        text = f"{self.stale} of {steps} steps stale; MPP.Cache: {dict(self.uses)}"
        if text != self._printed:
            since = f"{began - self.changed_at:6.1f} s after the last change that a server shows" if self.changed_at else "before"
            print(f"    {since}: {text}", flush=True)
            self._printed = text
        return self.stale

    def _servers(self, asked: Panel, began: float) -> Iterator[Points]:
        """Yield what the servers say, and note if it is not what they said before."""
        for server in self.site.servers:
            status, _, document = asked.ask(server.port)
            assert status == 200, document
            key, found = (server.name, asked), points(document, began - self.site.freshness)
            if key in self._before and self._before[key] != found:
                self.changed_at = time.time()
                self._changed.add(key)
            self._before[key] = found
            yield found

    @property
    def shown(self) -> bool:
        """Whether each server's answer to each panel has changed since `fill`."""
        return len(self._changed) == len(self.panels) * len(self.site.servers)

    @property
    def stale_for(self) -> float:
        """For how many seconds after the change steps were stale."""
        return max(0.0, self.stale_at - self.changed_at)


def differing(ours: Points, theirs: Sequence[Points]) -> set[tuple[str, float]]:
    """Return the series and times at which an answer is what none of the servers says."""
    keys = {*ours}.union(*theirs)
    return {key for key in keys if all(ours.get(key) != each.get(key) for each in theirs)}


def _use(answer: Answer) -> str:
    return answer[1].get("mpp.cache", "none").partition(";")[0]


def prove(
    site: Site, what: str, panels: Sequence[Panel], change: Iterable[object], *, flush: bool = False, at_most: float | None = None
) -> bool:
    """
    Have panels cached, make a change, look until nothing is stale, and return whether the documentation is right.

    :param change: makes a part of the change at each iteration; there is a look in between.
    :param flush: whether the cache is flushed when all servers show the change.
    :param at_most: how many seconds steps may be stale; None if they must be for some time, up to ``--cache-max-age`` + 20 %.
    """
    print(f"\n{what}, --cache-max-age={site.max_age:g}s", flush=True)
    watch, bound = Watch(site, panels), site.max_age * (1 + SPREAD) if at_most is None else at_most
    watch.fill()
    for _ in change:
        watch.look()
    until = time.time() + SHOWN_S
    while not watch.shown:
        assert time.time() < until, "no server shows the change, or not in each panel"
        watch.look()
        time.sleep(EVERY_S if at_most is None else 0.2)
    if flush:
        was_stale = watch.stale > 0
        print(f"    flushed: {site.flush()} queries")
        right = was_stale and watch.look() == 0
        print(f"    {'right' if right else 'WRONG'}: {'nothing' if right else 'something'} is stale after the flush")
        return right
    until = watch.changed_at + bound + SLACK_S
    while time.time() < max(watch.stale_at, watch.changed_at) + SLACK_S and time.time() < until + 60:
        watch.look()
        time.sleep(EVERY_S if at_most is None else 0.2)
    right = not watch.stale and watch.stale_for <= bound + SLACK_S and (watch.stale_at > 0 or at_most is not None)
    print(
        f"    {'right' if right else 'WRONG'}: stale for {watch.stale_for:.1f} s after all servers showed it; at most {bound:g} s"
    )
    return right
