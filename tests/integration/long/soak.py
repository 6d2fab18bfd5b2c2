"""
Mixed load on mpp while one server at a time misbehaves at random; memory, descriptors and delayed calls have to stay flat.

``python -m tests.integration.long.soak [--minutes 10] [--seed 1]``

Good clients (small reads by GET and POST), large answers, clients that hang up in mid-answer, slow readers and hostile heads, in
front of two simulated servers. No request of a good client may fail. Memory counts from the end of the second minute on.
"""

from __future__ import annotations

import argparse
import json
import sys
import time

from attrs import define, field

from tests.integration.clients import Load, Tally
from tests.integration.long.judged import WATCHED, compared, left_behind
from tests.integration.long.measured import EVERY_S
from tests.integration.long.weather import Rabble, Weather
from tests.integration.processes import Mpp, Simulated

MB = 1_000_000
WARM_UP = 120.0
"""Seconds until memory has to be flat: allocators and caches fill."""
FLAT = 0.3
"""Megabytes per minute that resident memory may grow: 3 MB in ten minutes, less than its ups and downs."""
LEAST = 3 * 60.0
"""Seconds after that which it takes to tell growth from ups and downs."""
LOOKS = 12
"""Readings that are compared, before and after: of half a minute, in which an idle mpp has been through all that it does."""
MEMORY_EVERY = 2.0
"""Seconds between two looks at resident memory."""
REST = 150.0
"""Seconds that idle connections may take to be closed: mpp's own limit is 60, and half as long again, and the readings."""


class MeasuredMpp(Mpp):
    """mpp with a witness in its process."""

    def command(self) -> list[str]:
        """Return the command line."""
        ours = super().command()
        options = ours[ours.index("mpp") + 1 :]
        return [sys.executable, "-m", "tests.integration.long.measured", str(self.folder / "readings"), *options]

    def reading(self) -> dict[str, float]:
        """Return the witness's last reading, and what the kernel knows."""
        lines = (self.folder / "readings").read_text().splitlines()
        memory = {"resident": self.resident() / MB, "proportional": self.proportional() / MB}
        return {**json.loads(lines[-1]), **memory, "descriptors": float(self.descriptors())}

    def proportional(self) -> int:
        """Return its memory in bytes, with its share of what it shares with others."""
        with open(f"/proc/{self.pid}/smaps_rollup") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("Pss:"))


def slope(points: list[tuple[float, float]]) -> float:
    """Return the slope of the line through points, by least squares, per minute; 0 for fewer than two."""
    if len(points) < 2:
        return 0.0
    mean_x, mean_y = (sum(values) / len(points) for values in zip(*points, strict=True))
    return 60 * sum((x - mean_x) * (y - mean_y) for x, y in points) / sum((x - mean_x) ** 2 for x, _ in points)


HEADS = ("minute", "RSS MB", "PSS MB", "fds", "delayed", "threads", "objects", "requests", "failed", "faults")


def line(minute: str, reading: dict[str, float], *counts: int) -> str:
    """Return a line of the table."""
    shown = [f"{reading[name]:.1f}" for name in ("resident", "proportional")]
    shown += [f"{reading[name]:.0f}" for name in ("descriptors", "delayed", "threads", "objects")]
    return " ".join(f"{text:>9}" for text in (minute, *shown, *map(str, counts)))


def at_rest(mpp: MeasuredMpp, before: list[dict[str, float]] | None = None) -> list[dict[str, float]]:
    """
    Give readings of some time without load.

    :param before: wait, but not for ever, until nothing is left behind that was not there then.
    """
    end, taken = time.monotonic() + REST, list[dict[str, float]]()
    while True:
        time.sleep(EVERY_S)
        taken = [*taken, mpp.reading()][-LOOKS:]
        calm = len(taken) == LOOKS and (before is None or not left_behind(before, taken))
        if calm or time.monotonic() > end:
            return taken


@define
class Figures:
    """
    What the loaded time gave.

    :ivar points: seconds since the beginning, and resident megabytes.
    """

    points: list[tuple[float, float]] = field(factory=list)
    tally: Tally = field(factory=Tally)
    shown: int = 0

    def watch(self, mpp: MeasuredMpp, now: float) -> bool:
        """Take memory down when it is time; tell whether a minute is over."""
        if now - (self.points[-1][0] if self.points else 0.0) >= MEMORY_EVERY:
            self.points.append((now, mpp.resident() / MB))
        over = now // 60 > self.shown
        self.shown = int(now // 60)
        return over


def loaded(mpp: MeasuredMpp, weather: Weather, seconds: float) -> Figures:
    """Put the good clients' load on mpp while faults come and go; print a line for each minute."""
    figures, began = Figures(), time.monotonic()
    with Load(mpp.port, clients=6, at_most=seconds + 60, pause=0.01) as load:
        while (now := time.monotonic() - began) < seconds:
            weather.blow()
            time.sleep(0.25)
            if figures.watch(mpp, now):
                tally = load.tally()
                counts = tally.requests, len(tally.failures), weather.faults
                print(line(str(figures.shown), mpp.reading(), *counts), flush=True)
        weather.clear()
        figures.tally = load.stop()
    return figures


def run(mpp: MeasuredMpp, servers: tuple[Simulated, Simulated], seconds: float, seed: int) -> list[str]:
    """Run it; give what promises were broken."""
    print(" ".join(f"{head:>9}" for head in HEADS))
    before = at_rest(mpp)
    print(line("before", before[-1]), flush=True)
    weather, rabble = Weather(servers, seed), Rabble(mpp.port, seed)
    rabble.start()
    figures = loaded(mpp, weather, seconds)
    rabble.stop()
    after = at_rest(mpp, before)
    failed = len(figures.tally.failures)
    print(line("at rest", after[-1], figures.tally.requests, failed, weather.faults))
    grown = slope([point for point in figures.points if point[0] > min(WARM_UP, seconds / 2)])
    judged = seconds >= WARM_UP + LEAST
    print("", *(compared(name, before, after) for name in WATCHED), sep="\n")
    print(f"\ngood clients: {figures.tally}\nthe others: {rabble.counts}")
    print(f"resident memory: {grown:+.2f} MB per minute" + ("" if judged else " (not judged: the run was too short)"))
    return [*left_behind(before, after), *verdict(mpp, grown if judged else 0.0, failed)]


def verdict(mpp: MeasuredMpp, grown: float, failed: int) -> list[str]:
    """Return what other promises were broken."""
    broken = [f"{failed} requests of good clients failed"] if failed else []
    if grown > FLAT:
        broken.append(f"memory grows by {grown:.2f} MB per minute")
    held = mpp.metric("mpp_held_bytes")
    if held:
        broken.append(f"{held:.0f} bytes are held at rest")
    if mpp.log().count("Traceback"):
        broken.append(f"{mpp.log().count('Traceback')} tracebacks in the log: {mpp.log().partition('Traceback')[2][:1500]}")
    return broken


def main() -> int:
    """Run it and tell the verdict."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    servers = (
        Simulated("--version", "3.5.0", "--history", "30d", name="a"),
        Simulated("--version", "3.5.0", "--history", "10d", name="b"),
    )
    mpp = MeasuredMpp([server.url for server in servers])
    try:
        for process in (*servers, mpp):
            process.start()
        broken = run(mpp, servers, options.minutes * 60, options.seed)
    finally:
        for process in (*servers, mpp):
            process.close()
    for promise in broken:
        print(f"BROKEN: {promise}")
    print("verdict: " + ("broken" if broken else "no promise broken"))
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
