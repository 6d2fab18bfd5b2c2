"""
Runs the integration tests side by side: each file in a trial process of its own, several processes at a time.

Most of these tests wait for a server, a timer or a round of probes, so that more processes than cores are busy together. The
files that take longest start first (`SECONDS`). A file that measures CPU time or speed has a module constant ``ALONE`` with the
reason: such files run after all others, one at a time. The output of a file is printed whole when the file is done. The last line
is a summary of all of them in trial's form; the exit status is 1 if a test failed or a process died.

trial's own ``--jobs`` hands out single tests instead: every process would start the shared servers of `fixtures`, ``ALONE``
would be impossible, and the output of the tests would end up in files.
"""

from __future__ import annotations

import argparse
import ast
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path

from attrs import frozen

from tests.integration.processes import CHECKOUT, die_with_parent

SECONDS = Path(__file__).with_name("seconds.txt")
"""How long each file takes: lines of seconds and a file name. ``--record`` writes it."""
PATIENCE = 900.0
"""Seconds that one file may take. After that SIGABRT lets it print where it hangs."""
PORTS = range(10_240, 32_000)
"""The ports of all servers: below those that the kernel gives out by itself."""
OUTCOMES = ("skips", "todos", "expectedFailures", "failures", "errors", "unexpectedSuccesses", "successes")
"""The outcomes in trial's summary, in the order in which it prints them."""
BAD = ("failures", "errors", "unexpectedSuccesses")
_SUMMARY = re.compile(r"^(?:PASSED|FAILED)(?: \((.*)\))?$", re.MULTILINE)


@frozen
class Ran:
    """
    How one file went.

    :ivar took: seconds.
    :ivar cpu: seconds of CPU time, of the process and of the children that it waited for.
    """

    file: str
    output: str
    outcomes: Counter[str]
    took: float
    cpu: float

    @property
    def failed(self) -> bool:
        """Whether a test failed or the process died."""
        return any(self.outcomes[name] for name in BAD)


def outcomes_of(output: str, status: int) -> Counter[str]:
    """Return the outcomes in the last summary that trial printed; a process that failed without naming a test is one error."""
    summaries = _SUMMARY.findall(output)
    found: Counter[str] = Counter()
    for name, number in re.findall(r"(\w+)=(\d+)", summaries[-1] if summaries else ""):
        found[name] = int(number)
    if (status != 0 or not summaries) and not any(found[name] for name in BAD):
        found["errors"] += 1
    return found


def summary(outcomes: Mapping[str, int]) -> str:
    """Return trial's summary line for these outcomes."""
    verdict = "FAILED" if any(outcomes[name] for name in BAD) else "PASSED"
    counts = ", ".join(f"{name}={outcomes[name]}" for name in OUTCOMES if outcomes[name])
    return f"{verdict} ({counts})" if counts else verdict


def needs_machine(file: str) -> bool:
    """Return whether a file says that it must run alone."""
    body = ast.parse(Path(file).read_text()).body
    return any(isinstance(line, ast.Assign) and ast.unparse(line.targets[0]) == "ALONE" for line in body)


def recorded() -> dict[str, float]:
    """Return the recorded seconds of each file by its name."""
    lines = SECONDS.read_text().splitlines() if SECONDS.exists() else []
    return {name: float(seconds) for seconds, name in map(str.split, lines)}


def longest_first(files: Iterable[str], seconds: Mapping[str, float]) -> list[str]:
    """Return the files in the order in which they start: a file without a record first, then those that take longest."""
    return sorted(files, key=lambda file: (-seconds.get(Path(file).name, PATIENCE), file))


@frozen
class Running:
    """A trial process with one file; it ends with this process."""

    file: str
    process: subprocess.Popen[bytes]
    ports: str
    output: Path
    started: float

    def ended(self, status: int, cpu: float) -> Ran:
        """Return how it went: the process has been waited for."""
        self.process.returncode = os.waitstatus_to_exitcode(status)
        output = self.output.read_text(errors="replace")
        took = time.monotonic() - self.started
        return Ran(self.file, output, outcomes_of(output, self.process.returncode), took, cpu)


def start(file: str, ports: str, folder: str) -> Running:
    """Start trial with a file, its temporary folder being in ``folder``, with a range of ports of its own."""
    output = Path(folder, f"{Path(file).stem}.out")
    trial = [sys.executable, "-X", "faulthandler", "-m", "twisted.trial", f"--temp-directory={output.with_suffix('')}", file]
    environ = {**os.environ, "MPP_TEST_PORTS": ports}
    with open(output, "wb") as out:
        process = subprocess.Popen(
            trial, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=CHECKOUT, env=environ, preexec_fn=die_with_parent
        )
    return Running(file, process, ports, output, time.monotonic())


def run(files: Iterable[str], jobs: int, folder: str) -> Iterator[Ran]:
    """Run files, ``jobs`` of them at a time; yield how each went when it is done."""
    waiting, running = deque(files), dict[int, Running]()
    size = len(PORTS) // jobs
    ranges = [f"{PORTS[number * size]}-{PORTS[number * size + size - 1]}" for number in range(jobs)]
    while waiting or running:
        while waiting and len(running) < jobs:
            started = start(waiting.popleft(), ranges.pop(), folder)
            running[started.process.pid] = started
        pid, status, usage = os.wait4(-1, os.WNOHANG)
        if pid in running:
            ranges.append(running[pid].ports)
            yield running.pop(pid).ended(status, usage.ru_utime + usage.ru_stime)
            continue
        for late in running.values():
            if time.monotonic() - late.started > PATIENCE:
                late.process.send_signal(signal.SIGABRT)
        time.sleep(0.1)


def run_all(files: Iterable[str], jobs: int) -> list[Ran]:
    """Run files side by side, then one at a time those that need the machine; print the output of each when it is done."""
    order = longest_first(files, recorded())
    alone = [file for file in order if needs_machine(file)]
    done = []
    with tempfile.TemporaryDirectory(prefix="mpp-trial-") as folder:
        together = run([file for file in order if file not in alone], jobs, folder)
        for ran in chain(together, run(alone, 1, folder)):
            done.append(ran)
            print(f"-- {ran.file}: {ran.took:.0f} s, of which {ran.cpu:.0f} s CPU", ran.output.strip(), sep="\n", flush=True)
    return done


def main(arguments: Sequence[str]) -> int:
    """Run the files that the command line names, by default all; return the exit status."""
    options = argparse.ArgumentParser(prog="python -m tests.integration", description="Runs integration tests side by side.")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    options.add_argument("--jobs", type=int, default=2 * cores, metavar="N", help="files at a time (default: two per core)")
    options.add_argument("--record", action="store_true", help=f"write how long each file took to {SECONDS.name}")
    options.add_argument("files", nargs="*", metavar="FILE", help="default: all")
    chosen = options.parse_args(arguments)
    # A shell starts what runs in its background with SIGINT ignored, and so would each mpp be that a test interrupts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    files = chosen.files or sorted(str(path.relative_to(CHECKOUT)) for path in SECONDS.parent.glob("test_*.py"))
    done = run_all(files, chosen.jobs)
    if chosen.record:
        times = recorded() | {Path(ran.file).name: round(ran.took) for ran in done}
        SECONDS.write_text("".join(f"{seconds:.0f} {name}\n" for name, seconds in sorted(times.items())))
    total = sum((ran.outcomes for ran in done), Counter[str]())
    for ran in done:
        if ran.failed:
            print(f"failed: {ran.file}")
    print(summary(total))
    return int(any(ran.failed for ran in done))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
