"""Real servers with a history: what they are said to have scraped is written into their storage before they start."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from attrs import frozen

from tests.integration.servers import promtool_of
from tests.integration.targets import Scraper

INTERVAL_S = 15


@frozen
class Lost:
    """
    What a server did not scrape.

    :ivar job: of this job; None for all.
    :ivar targets: so many targets of it, the last ones.
    :ivar cut_off: it has ``up`` as 0, as a server that does not reach its targets.
    """

    start: float
    end: float
    job: str | None = None
    targets: int = 1_000_000
    cut_off: bool = False


@frozen
class Metric:
    """
    A metric that each target has.

    :ivar name: its name; that of a counter without ``_total``.
    :ivar kind: its type in the OpenMetrics text.
    :ivar series: returns the suffix of the name, further labels, and the value of each of its series, by the number of the
        target in its job, and the seconds since the history began.
    """

    name: str
    kind: str
    series: Callable[[int, int], Iterable[tuple[str, str, float]]]


METRICS = (
    Metric("up", "gauge", lambda number, at: [("", "", 1)]),
    Metric("requests", "counter", lambda number, at: [("_total", "", at * (number + 1) // 7 % 100_003)]),
)


class WithHistory(Scraper):
    """
    A real Prometheus that scrapes its jobs at an interval, and has done so before.

    :param start: when its history begins, seconds since the epoch.
    :param end: when it ends.
    :param lost: what is missing in it.
    :param phase: how many seconds after each full interval it has scraped.
    :param interval: the scrape interval, in seconds.
    :param metrics: what each target had.
    :param slow: the scrape intervals of jobs that have another one, in seconds.
    """

    def __init__(
        self,
        binary: str,
        jobs: Mapping[str, Sequence[str]],
        *,
        name: str,
        start: int,
        end: int,
        lost: Sequence[Lost] = (),
        phase: int = 0,
        interval: int = INTERVAL_S,
        metrics: Sequence[Metric] = METRICS,
        slow: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        self.slow = slow
        super().__init__(binary, jobs, name=name, interval=interval)
        with tempfile.TemporaryDirectory(prefix="mpp-test-history-") as folder:
            seed = Path(folder, "seed.om")
            with open(seed, "w") as written:
                for metric in metrics:
                    written.write(f"# TYPE {metric.name} {metric.kind}\n")
                    for job, targets in jobs.items():
                        for number, instance in enumerate(targets):
                            own = [each for each in lost if each.job in (None, job) and number >= len(targets) - each.targets]
                            labels = f'instance="{instance}",job="{job}"'
                            for at in range(start + phase, end, slow.get(job, interval)):
                                now = [each for each in own if each.start <= at < each.end]
                                if now and now[0].cut_off and metric.name == "up":
                                    written.write(f"up{{{labels}}} 0 {at}\n")
                                elif not now:
                                    for suffix, more, value in metric.series(number, at - start):
                                        written.write(f"{metric.name}{suffix}{{{labels}{more}}} {value} {at}\n")
                written.write("# EOF\n")
            # The whole text is read once for each block, so these are long.
            create = [promtool_of(binary), "tsdb", "create-blocks-from", "--max-block-duration=24h"]
            command = [*create, "openmetrics", str(seed), str(Path(folder, "data"))]
            subprocess.run(command, check=True, capture_output=True, timeout=300, cwd="/")
            shutil.copytree(Path(folder, "data"), self.folder / "data", dirs_exist_ok=True)
