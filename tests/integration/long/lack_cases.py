"""The cases of `tests.integration.long.lacks`: what happens to the servers of each."""

from __future__ import annotations

import json
import signal
import socket
import time
from collections.abc import Callable, Sequence

from attrs import frozen

from tests.integration.long.newest import INTERVAL, Shifted, Site, file_sd, seed, wait_for
from tests.integration.servers import binaries, require_binary
from tests.integration.targets import Scraper, Targets

FOUND_S = 15 + 2 * INTERVAL
"""Seconds until a stall has to be noticed."""
SLACK_S = 3.0
"""Seconds on top for a busy machine, before an answer is late."""


@frozen
class Result:
    """
    What one case has shown.

    :ivar struck: when something happened to a server, monotonic.
    :ivar victim: the address of the stricken server, empty if there is none.
    :ivar allowed: seconds after ``struck`` in which answers may be short.
    :ivar back: when the server was whole again, None if it was not made so.
    :ivar expected: what the answers should have at least, in targets; 0 if it does not matter.
    :ivar wrong: what should not have been so.
    """

    struck: float
    victim: str = ""
    allowed: float = 0.0
    back: float | None = None
    expected: int = 0
    wrong: str = ""


Case = Callable[["World"], Result]


class World:
    """What a case works with."""

    def __init__(self, strategies: Sequence[str], targets: int) -> None:
        self.strategies, self.count = strategies, targets
        self.targets = Targets()
        self.jobs = {"node": self.targets.addresses(targets)}
        self.site = Site(self.targets, [])
        self.shims: list[Shifted] = []

    def servers(self, *names: str, binary: str = "", options: Sequence[str] = ()) -> list[Scraper]:
        """Make servers that do not run yet, with the same history."""
        found = []
        for name in names:
            server = Scraper(binary or require_binary(), self.jobs, name=name, interval=INTERVAL)
            server.options = tuple(options)
            found.append(server)
            self.site.servers.append(server)
        return found

    def begin(self, servers: Sequence[Scraper], *options: str, scraped: bool = True) -> None:
        """Start the servers, and, when they have scraped, mpp."""
        for server in servers:
            server.start(wait=False)
        for server in servers:
            server.wait_ready()
            if scraped:
                server.wait_scraped(sum(map(len, server.jobs.values())))
        time.sleep(2 * INTERVAL if scraped else 0)
        self.front(servers, *options)

    def front(self, servers: Sequence[Scraper], *options: str) -> None:
        """Start mpp for each strategy."""
        self.site.front(self.strategies, [server.url for server in servers], *options)

    def pair(self, *options: str) -> list[Scraper]:
        """Return a pair that runs, with mpp in front of it."""
        servers = self.servers("a", "b")
        for server in servers:
            seed(server, 6 * 3600, 3600)
        self.begin(servers, *options)
        time.sleep(4)
        return servers

    def never_lacking(self, seconds: float) -> str:
        """Return which servers are said to lack something within so many seconds, for any strategy."""
        end, seen = time.monotonic() + seconds, set()
        while time.monotonic() < end:
            for strategy in self.strategies:
                seen |= {f"{name} {lack['missing']}" for name, lack in self.site.lacks(strategy).items()}
            time.sleep(0.5)
        return f"said to lack: {', '.join(sorted(seen))}" if seen else ""

    def found(self, victim: Scraper, seconds: float = FOUND_S + SLACK_S) -> str:
        """Wait until all mpps say that the server lacks something; return what was wrong."""
        took = wait_for(lambda: all(victim.address in self.site.lacks(s) for s in self.strategies), seconds)
        return "" if took < seconds else "not noticed"

    def whole(self, victim: Scraper, seconds: float = 40) -> str:
        """Wait until no mpp says that the server lacks anything; return what was wrong."""
        took = wait_for(lambda: not any(victim.address in self.site.lacks(s) for s in self.strategies), seconds)
        return "" if took < seconds else "not whole again"

    def close(self) -> None:
        """End everything."""
        for shim in self.shims:
            shim.close()
        self.site.close()


def stopped_before(world: World) -> Result:
    """A server that has stopped scraping half an hour ago, with more history than the good one; mpp starts afterwards."""
    old, good = world.servers("a", "b")
    seed(old, 10 * 3600, 1800)
    seed(good, 6 * 3600, 60)
    old.write({})
    old.start()
    good.start()
    good.wait_scraped(world.count)
    time.sleep(2 * INTERVAL)
    struck = time.monotonic()
    world.front([old, good])
    time.sleep(15)
    return Result(struck, old.address, 0.0, expected=world.count)


def emptied(world: World) -> Result:
    """A configuration that becomes empty, and is mended."""
    _, victim = world.pair()
    struck = time.monotonic()
    victim.change({})
    wrong = world.found(victim)
    time.sleep(10)
    victim.change(world.jobs)
    back = time.monotonic()
    return Result(struck, victim.address, FOUND_S, back, world.count, wrong=wrong or world.whole(victim))


def cut_off(world: World) -> Result:
    """A server that is cut off from its targets, and connected again."""
    victim, _ = world.pair()
    struck = time.monotonic()
    victim.change(world.jobs, cut_off=True)
    wrong = world.found(victim)
    time.sleep(10)
    victim.change(world.jobs)
    back = time.monotonic()
    return Result(struck, victim.address, FOUND_S, back, world.count, wrong=wrong or world.whole(victim))


def one_job(world: World) -> Result:
    """One job of two is lost."""
    addresses = world.targets.addresses(world.count)
    world.jobs = {"app": addresses[: world.count // 4], "node": addresses[world.count // 4 :]}
    _, victim = world.pair()
    struck = time.monotonic()
    victim.change(world.jobs, cut_off=("app",))
    wrong = world.found(victim, FOUND_S + SLACK_S + INTERVAL)
    time.sleep(10)
    victim.change(world.jobs)
    back = time.monotonic()
    return Result(struck, victim.address, FOUND_S + INTERVAL, back, world.count, wrong=wrong or world.whole(victim))


def rolling(world: World) -> Result:
    """Each server is killed, away for 20 s, and started again; the other one follows when the first is whole."""
    servers = world.pair()
    struck, wrong = time.monotonic(), ""
    for server in servers:
        server.kill()
        time.sleep(20)
        server.start(wait=False)
        time.sleep(5)
        server.wait_ready()
        wrong = wrong or world.whole(server)
        time.sleep(5)
    return Result(struck, expected=world.count, wrong=wrong)


def both(world: World) -> Result:
    """Both stop scraping: no 503, and both go on to serve."""
    struck = time.monotonic()
    for server in world.pair():
        server.change({})
    wrong = world.never_lacking(25)
    unready = [s for s, mpp in world.site.mpps.items() if not mpp.is_ready()]
    return Result(struck, wrong=wrong or (f"not ready: {unready}" if unready else ""))


def drift(world: World) -> Result:
    """A job that only one server has."""
    servers = world.servers("a", "b")
    own = {**world.jobs, "other": world.targets.addresses(10, first=world.count + 1)}
    servers[0].jobs = own
    servers[0].write(own)
    world.begin(servers)
    struck = time.monotonic()
    return Result(struck, expected=world.count, wrong=world.never_lacking(30))


def deployment(world: World) -> Result:
    """5 % of the targets are replaced each second, seen a second later by the other one, on which two targets time out."""
    hanging = socket.create_server(("127.0.0.1", 0), backlog=128)
    servers = world.servers("a", "b")
    current = list(world.jobs["node"])
    for server in servers:
        path = file_sd(server, "targets.json", current)
        slow = {"source_labels": ["__address__"], "regex": r"127\.0\.1\.[12]:.*", "target_label": "__address__"}
        slow["replacement"] = f"127.0.0.1:{hanging.getsockname()[1]}"
        keep = {"source_labels": ["__address__"], "target_label": "instance"}
        written = {
            "global": {"scrape_interval": f"{INTERVAL:g}s", "scrape_timeout": f"{INTERVAL:g}s"},
            "scrape_configs": [
                {
                    "job_name": "node",
                    "file_sd_configs": [{"files": [str(path)], "refresh_interval": "1s"}],
                    "relabel_configs": [keep, slow] if server.name == "b" else [keep],
                }
            ],
        }
        (server.folder / "prometheus.yml").write_text(json.dumps(written))
    world.begin(servers)
    struck, wrong, number, before = time.monotonic(), "", world.count, current
    step = max(1, world.count // 20)
    while time.monotonic() < struck + 40:
        before = current
        # The two that time out stay.
        fresh = [f"127.0.1.{2 + (number + n) % 240 + 1}:{world.targets.port}" for n in range(step)]
        number += step
        current = [*current[:2], *current[2 + step :], *fresh]
        file_sd(servers[0], "targets.json", current)
        file_sd(servers[1], "targets.json", before)
        wrong = world.never_lacking(1.0) or wrong
    hanging.close()
    ejected = sum(mpp.metric("mpp_ejections_total") for mpp in world.site.mpps.values())
    return Result(struck, wrong=wrong or (f"{ejected:g} ejections" if ejected else ""))


def clocks(world: World) -> Result:
    """Clocks 3 s apart, simulated by a proxy in front of a real server; then that server is cut off."""
    first, second = world.servers("a", "b")
    for server in (first, second):
        server.start()
        server.wait_scraped(world.count)
    time.sleep(2 * INTERVAL)
    shim = Shifted(second.port, 3.0)
    world.shims.append(shim)
    world.site.front(world.strategies, [first.url, f"http://127.0.0.1:{shim.port}"])
    wrong = world.never_lacking(25)
    struck = time.monotonic()
    second.change(world.jobs, cut_off=True)
    seen = wait_for(lambda: all(f"127.0.0.1:{shim.port}" in world.site.lacks(s) for s in world.strategies), FOUND_S + SLACK_S)
    wrong = wrong or ("not noticed" if seen == float("inf") else "")
    return Result(struck, f"127.0.0.1:{shim.port}", FOUND_S, expected=world.count, wrong=wrong)


def receiver(world: World) -> Result:
    """A receiver of remote write, without ``up``, beside a server that scrapes."""
    (sink,) = world.servers("sink", options=("--web.enable-remote-write-receiver",))
    sink.write({})
    (source,) = world.servers("source")
    document = json.loads((source.folder / "prometheus.yml").read_text())
    drop = {"source_labels": ["__name__"], "regex": "up", "action": "drop"}
    document["remote_write"] = [{"url": f"{sink.url}/api/v1/write", "write_relabel_configs": [drop]}]
    (source.folder / "prometheus.yml").write_text(json.dumps(document))
    sink.start()
    source.start()
    source.wait_scraped(world.count)
    wait_for(lambda: sink.query("count(metric)"), 30)
    # Remote write sends what it has every 5 s.
    world.site.query = f"count(max_over_time(metric[{3 * INTERVAL + 10:g}s]))"
    world.front([sink, source])
    struck = time.monotonic()
    return Result(struck, expected=world.count, wrong=world.never_lacking(30))


def versions(world: World) -> Result:
    """The oldest beside the newest version there is; the newest is cut off, then the oldest loses its configuration."""
    found = binaries()
    (old,) = world.servers("old", binary=found[0])
    (new,) = world.servers("new", binary=found[-1])
    world.begin([old, new])
    wrong = world.never_lacking(20)
    struck = time.monotonic()
    new.change(world.jobs, cut_off=True)
    wrong = wrong or world.found(new)
    new.change(world.jobs)
    wrong = wrong or world.whole(new)
    old.change({})
    wrong = wrong or world.found(old)
    return Result(struck, "", time.monotonic() - struck, expected=world.count, wrong=wrong)


def three(world: World) -> Result:
    """Two of three servers are struck: the third one serves."""
    servers = world.servers("a", "b", "c")
    world.begin(servers)
    time.sleep(3)
    struck = time.monotonic()
    servers[0].change(world.jobs, cut_off=True)
    servers[1].change({})
    wrong = world.found(servers[0]) or world.found(servers[1])
    time.sleep(10)
    return Result(struck, servers[0].address, FOUND_S, expected=world.count, wrong=wrong)


def started_during(world: World) -> Result:
    """A server loses its configuration a moment before mpp starts."""
    servers = world.servers("a", "b")
    for server in servers:
        server.start(wait=False)
    for server in servers:
        server.wait_ready()
        server.wait_scraped(world.count)
    time.sleep(2 * INTERVAL)
    servers[0].change({})
    time.sleep(2 * INTERVAL + 2)
    struck = time.monotonic()
    world.front(servers)
    time.sleep(15)
    return Result(struck, servers[0].address, 1.0, expected=world.count)


def hung(world: World) -> Result:
    """A server is stopped for 8 s by a signal and goes on: it is away, and comes back without a restart."""
    _, victim = world.pair()
    struck = time.monotonic()
    victim.signal(signal.SIGSTOP)
    time.sleep(8)
    victim.signal(signal.SIGCONT)
    back = time.monotonic()
    time.sleep(20)
    return Result(struck, victim.address, 8 + FOUND_S, back, world.count, wrong=world.whole(victim))


CASES: tuple[Case, ...] = (
    *(stopped_before, rolling, emptied, both, cut_off, one_job, drift, deployment, clocks, receiver, versions, three),
    *(started_during, hung),
)
