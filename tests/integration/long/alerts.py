"""
Lets a real Prometheus that scrapes mpp evaluate the shipped alerts while one fault after the other is made.

``python -m tests.integration.long.alerts [--only one-down both-down] [--patience 60]``

The rules are those of ``contrib/prometheus``; only each ``for`` is a second, so that a fault need not last for ten minutes. For
each fault it prints which alerts fire, and after how many seconds. It fails if an expected alert does not fire, or if another one
does that says something else than the fault.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.integration.clients import Ask, Load
from tests.integration.processes import Simulated, fetch, wait_until
from tests.integration.servers import Prometheus, require_binary, version_of
from tests.integration.test_reload import Configured

RULES = Path(__file__).resolve().parents[3] / "contrib/prometheus"
ALWAYS = {"MppWatchdog"}
OF_ONE_SERVER = {"MppServerNotViable", "MppNoRedundancy", "MppRetries", "MppServersStuck"}
"""What says that something is wrong with one server; clients see nothing of it."""


class Watcher(Prometheus):
    """A Prometheus that scrapes mpp each second, and evaluates the alerts each second."""

    def __init__(self, binary: str, mpps: list[Configured]) -> None:
        self._mpps = mpps
        super().__init__(binary, name="watcher")

    def scrape(self, addresses: object) -> None:
        """Write the configuration and the rules."""
        for name in ("mpp.rules.yml", "mpp.outside.rules.yml"):
            rules = re.sub(r"for: \w+", "for: 1s", (RULES / name).read_text())
            (self.folder / name).write_text(rules)
        job = {
            "job_name": "mpp",
            "metrics_path": "/mpp/metrics",
            "static_configs": [{"targets": [mpp.address for mpp in self._mpps]}],
        }
        written = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [f"{self.folder}/*.rules.yml"],
            "scrape_configs": [job],
        }
        (self.folder / "prometheus.yml").write_text(json.dumps(written))

    def firing(self) -> set[str]:
        """Return the names of the alerts that fire."""
        alerts = json.loads(fetch(self.port, "/api/v1/alerts")[2])["data"]["alerts"]
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}


@dataclass
class World:
    """
    What a fault is made in.

    :ivar keys: further keys of mpp's configuration file.
    """

    servers: list[Simulated]
    mpp: Configured
    keys: dict[str, object]
    stack: contextlib.ExitStack
    others: list[Configured] = field(default_factory=list)

    def load(self, clients: int = 4, target: str = "/api/v1/query?query=up") -> Load:
        """Begin a load that ends with the case."""
        load = Load(self.mpp.port, clients=clients, pause=0.02, asks=[Ask(target)], timeout=30)
        return self.stack.enter_context(load)


@dataclass
class Case:
    """
    A fault.

    :ivar make: makes it; yields between steps, so that it may go on while alerts are waited for.
    :ivar expected: alerts that have to fire.
    :ivar allowed: others that may.
    :ivar keys: further keys of mpp's configuration file.
    :ivar slow: how many times as long as others the alert may take.
    """

    make: Callable[[World], Iterator[None] | None]
    expected: set[str]
    allowed: set[str] = field(default_factory=set)
    keys: dict[str, object] = field(default_factory=dict)
    slow: int = 1


def one_down(world: World) -> None:
    """Kill one server, and ask for something."""
    world.load()
    world.servers[0].kill()


def both_down(world: World) -> None:
    """Kill both."""
    world.load()
    for server in world.servers:
        server.kill()


def mpp_down(world: World) -> None:
    """Kill mpp."""
    world.mpp.kill()


def nothing_listed(world: World) -> None:
    """Let the source list nothing."""
    (world.mpp.folder / "servers").write_text("# none\n")


def source_lost(world: World) -> None:
    """Remove the source."""
    (world.mpp.folder / "servers").unlink()


def refused(world: World) -> None:
    """Let mpp read a wrong configuration."""
    world.mpp.write("bogus: 1\n", **world.keys)
    world.mpp.signal(signal.SIGHUP)


def refused_web_config(world: World) -> None:
    """Write a wrong web configuration."""
    (world.mpp.folder / "web.yml").write_text("tls_server_config: 7\n")
    world.mpp.signal(signal.SIGHUP)


def truncated(world: World) -> None:
    """Break off answers that have begun."""
    for server in world.servers:
        server.spoil("half-close", share=0.3, spare_probes=True)
    world.load()


def stuck(world: World) -> Iterator[None]:
    """Stop the selected server again and again; the other one is selected then."""
    world.load()
    while True:
        selected = next((each for each in world.servers if world.mpp.is_selected(each.address)), world.servers[0])
        selected.signal(signal.SIGSTOP)
        time.sleep(1.5)
        selected.signal(signal.SIGCONT)
        time.sleep(8)
        yield


def flapping(world: World) -> Iterator[None]:
    """Let the source list one server and the other by turns; mpp itself keeps a server out that is ready by turns."""
    while True:
        for server in world.servers:
            (world.mpp.folder / "servers").write_text(f"{server.url}\n")
            time.sleep(1.0)
        yield


def degraded(world: World) -> None:
    """Do nothing: no server has the history that is asked for."""


def queueing(world: World) -> None:
    """Ask more slow queries than may run."""
    for server in world.servers:
        server.set(query_takes=3.0)
    world.load(clients=12)


def budget(world: World) -> None:
    """Let more requests fail than may be repeated."""
    for server in world.servers:
        server.spoil("half-close", share=0.4, spare_probes=True)
    world.load(clients=32)


def connections(world: World) -> None:
    """Open nearly as many connections as may be."""
    for _ in range(39):
        world.stack.enter_context(socket.create_connection(("127.0.0.1", world.mpp.port)))


def disagree(world: World) -> None:
    """Let a second mpp know one server only, the one that the first does not select."""
    selected = world.mpp.is_selected(world.servers[0].address)
    other = world.others[0]
    (other.folder / "servers").write_text(world.servers[1 if selected else 0].url + "\n")


def errors(world: World) -> None:
    """Let both servers answer with errors that are theirs alone, so that none can answer."""
    for server in world.servers:
        server.spoil("garbage", share=0.9, spare_probes=True)
    world.load()


CASES = {
    "nothing": Case(lambda world: None, set()),
    "one-down": Case(one_down, {"MppServerNotViable", "MppNoRedundancy"}, OF_ONE_SERVER),
    "both-down": Case(
        both_down, {"MppLastResort", "MppPairDown", "MppServerNotViable"}, {"MppRetries", "MppRetryBudgetExhausted"}
    ),
    "mpp-down": Case(mpp_down, {"MppDown", "MppAllDown"}),
    "nothing-listed": Case(nothing_listed, {"MppNothingSelected"}),
    "source-lost": Case(source_lost, {"MppDiscoveryFailing"}),
    "refused": Case(refused, {"MppConfigurationRefused"}),
    "web-config": Case(
        refused_web_config, {"MppWebConfigurationBroken", "MppConfigurationRefused"}, keys={"web-config": "web.yml"}
    ),
    "truncated": Case(
        truncated,
        {"MppTruncatedResponses"},
        {"MppRetries", "MppRetryBudgetExhausted", "MppServerNotViable", "MppNoRedundancy", "MppSelectionFlapping"},
        {"response-buffer": "16"},
    ),
    "stuck": Case(stuck, {"MppServersStuck"}, OF_ONE_SERVER | {"MppSelectionFlapping"}, {"selection-interval": "10s"}, slow=4),
    "flapping": Case(flapping, {"MppSelectionFlapping"}, OF_ONE_SERVER),
    "degraded": Case(degraded, {"MppSelectionDegraded"}, keys={"routing-strategy": "minimum-history:300d"}),
    "queueing": Case(queueing, {"MppQueueing"}, {"MppSelectionDegraded"}, {"max-concurrency": 2}),
    "budget": Case(
        budget,
        {"MppRetryBudgetExhausted"},
        OF_ONE_SERVER | {"MppAnswersErrors", "MppSelectionFlapping", "MppLastResort", "MppPairDown"},
        {"retry-budget": "1%"},
    ),
    "errors": Case(
        errors,
        {"MppAnswersErrors"},
        OF_ONE_SERVER | {"MppSelectionFlapping", "MppLastResort", "MppRetryBudgetExhausted", "MppPairDown"},
    ),
    "connections": Case(connections, {"MppClientConnections"}, keys={"max-connections": 40}),
    "disagree": Case(disagree, {"MppInstancesDisagree"}, {"MppNoRedundancy"}),
}


def run(name: str, case: Case, patience: float) -> bool:
    """Make one fault; print what fires, and return whether that is right."""
    with contextlib.ExitStack() as stack:
        servers = [Simulated("--name", each, "--history", "40000", name=each) for each in "ab"]
        mpps = [Configured() for _ in range(2 if case.make is disagree else 1)]
        watcher = Watcher(require_binary(), mpps)
        for process in (watcher, *mpps, *servers):
            stack.callback(process.close)
        for mpp in mpps:
            (mpp.folder / "servers").write_text("".join(f"{server.url}\n" for server in servers))
            (mpp.folder / "web.yml").write_text("basic_auth_users: {}\n")
        paths = {key: str(mpps[0].folder / str(value)) if key == "web-config" else value for key, value in case.keys.items()}
        for process in servers:
            process.start()
        for mpp in mpps:
            keys = {"endpoints-file": str(mpp.folder / "servers"), **paths}
            mpp.write(**keys)
            mpp.start()
        watcher.start()
        wait_until(lambda: watcher.firing() >= ALWAYS, "the alerts are evaluated", 30)
        time.sleep(5)
        before = watcher.firing() - ALWAYS - case.expected
        world = World(servers, mpps[0], {"endpoints-file": str(mpps[0].folder / "servers"), **paths}, stack, mpps[1:])
        began = time.monotonic()
        steps = case.make(world) or iter(())
        seen: dict[str, float] = {}
        while time.monotonic() - began < patience * case.slow and not (
            case.expected <= seen.keys() and time.monotonic() - began > 15
        ):
            next(steps, None)
            for alert in watcher.firing() - ALWAYS:
                seen.setdefault(alert, time.monotonic() - began)
            time.sleep(0.2)
    missing, wrong = case.expected - seen.keys(), (seen.keys() | before) - case.expected - case.allowed
    fired = ", ".join(f"{alert} {seconds:.0f} s" for alert, seconds in sorted(seen.items(), key=lambda each: each[1]))
    verdict = "good" if not (missing or wrong) else f"BAD: missing {sorted(missing)}, wrong {sorted(wrong)}"
    print(f"{name:16} {verdict:5} fired: {fired or 'none'}", flush=True)
    return not (missing or wrong)


def main() -> int:
    """Run all, and print what happened."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=sorted(CASES), default=list(CASES))
    parser.add_argument("--patience", type=float, default=60.0, help="seconds that an alert may take")
    options = parser.parse_args()
    version = ".".join(str(part) for part in version_of(require_binary()))
    print(f"Prometheus {version} scrapes mpp each second; the shipped rules, with a 'for' of one second\n")
    good = [run(name, CASES[name], options.patience) for name in options.only]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
