"""Real servers with a history: what they are said to have scraped is written into their storage before they start."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

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
    """

    start: float
    end: float
    job: str | None = None
    targets: int = 1_000_000


class WithHistory(Scraper):
    """
    A real Prometheus that scrapes its jobs every 15 s, and has done so before: ``up``, and a counter ``requests_total``.

    :param start: when its history begins, seconds since the epoch.
    :param end: when it ends.
    :param lost: what is missing in it.
    :param phase: how many seconds after each full interval it has scraped.
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
    ) -> None:
        super().__init__(binary, jobs, name=name, interval=INTERVAL_S)
        with tempfile.TemporaryDirectory(prefix="mpp-test-history-") as folder:
            seed = Path(folder, "seed.om")
            with open(seed, "w") as written:
                for metric, kind in (("up", "gauge"), ("requests", "counter")):
                    written.write(f"# TYPE {metric} {kind}\n")
                    for job, targets in jobs.items():
                        for number, instance in enumerate(targets):
                            own = [each for each in lost if each.job in (None, job) and number >= len(targets) - each.targets]
                            name = metric if kind == "gauge" else f"{metric}_total"
                            labels = f'{name}{{instance="{instance}",job="{job}"}}'
                            for at in range(start + phase, end, INTERVAL_S):
                                if not any(each.start <= at < each.end for each in own):
                                    value = 1 if kind == "gauge" else (at - start) * (number + 1) // 7 % 100_003
                                    written.write(f"{labels} {value} {at}\n")
                written.write("# EOF\n")
            # The whole text is read once for each block, so these are long.
            create = [promtool_of(binary), "tsdb", "create-blocks-from", "--max-block-duration=24h"]
            command = [*create, "openmetrics", str(seed), str(Path(folder, "data"))]
            subprocess.run(command, check=True, capture_output=True, timeout=300, cwd="/")
            shutil.copytree(Path(folder, "data"), self.folder / "data", dirs_exist_ok=True)
