"""Where a proxied request's CPU time goes: a sampling profile of mpp under load, by part of the program and by function."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from bench.figures import table

SAMPLES = 500
"""Per second."""
MOST = 15

# The first that fits names the part: system calls are made where Python calls C, and have no frame of their own.
_PARTS = (
    ("poll loop (epoll_wait and who is called)", ("mpp/wire/tuned/reactor.py",)),
    ("sockets (recv, send)", ("mpp/wire/tuned/transports.py",)),
    ("Deferreds", ("twisted/internet/defer.py",)),
    ("Twisted, the rest", ("twisted/",)),
    ("HTTP (mpp.wire, llhttp)", ("mpp/wire/", "mpp/core/http/headers.py", "httptools")),
    (
        "forwarding (mpp.proxy, policy, affinity)",
        (
            "mpp/proxy/",
            "mpp/proxy/decisions/retry_policy.py",
            "mpp/proxy/decisions/affinity.py",
            "mpp/core/prometheus/query_timeout.py",
        ),
    ),
    ("counting (mpp.core.metrics.registry, tally)", ("mpp/core/metrics/registry.py", "mpp/core/metrics/counters.py")),
    ("the rest of mpp", ("mpp/",)),
)


def profile(pid: int, seconds: int, load: Callable[[], float]) -> str:
    """
    Give a table of where the CPU time of a process went.

    :param load: keeps it busy for a little longer than ``seconds``; gives how many requests were answered per second.
    """
    spy = shutil.which("py-spy")
    if spy is None:
        return "no profile: py-spy is not on the PATH (pip install py-spy)"
    with tempfile.TemporaryDirectory(prefix="mpp-bench-") as name:
        raw = Path(name) / "raw"
        command = [spy, "record", "-p", str(pid), "-d", str(seconds), "-r", str(SAMPLES), "-f", "raw", "-o", str(raw)]
        before = _times(pid)
        sampling = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        rate = load()
        user, system = (after - first for after, first in zip(_times(pid), before, strict=True))
        said = sampling.communicate()[1]
        if sampling.returncode or not raw.exists():
            return f"no profile: {said.decode(errors='replace').strip()}"
        return _summary(raw.read_text(), f"{rate:.0f} requests/s while sampled; {_split(user, system)}")


def _times(pid: int) -> tuple[float, float]:
    """Return seconds in user mode and in the kernel."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    tick = os.sysconf("SC_CLK_TCK")
    return int(fields[11]) / tick, int(fields[12]) / tick


def _split(user: float, system: float) -> str:
    total = user + system or 1.0
    return f"{user / total:.0%} of the CPU time in user mode, {system / total:.0%} in the kernel"


def _summary(raw: str, headline: str) -> str:
    """Return the tables of samples, one stack a line with its count behind it (py-spy's raw format)."""
    own: Counter[str] = Counter()
    below: Counter[str] = Counter()
    for line in raw.splitlines():
        stack, _, count = line.rpartition(" ")
        frames = [frame.rpartition(":")[0] + ")" for frame in stack.split(";")]
        own[frames[-1]] += int(count)
        for frame in set(frames):
            below[frame] += int(count)
    total = sum(own.values()) or 1
    parts: Counter[str] = Counter()
    for frame, count in own.items():
        parts[_part(frame)] += count
    by_part = [[name, f"{count / total:.0%}"] for name, count in parts.most_common()]
    by_function = [[frame, f"{count / total:.1%}", f"{below[frame] / total:.1%}"] for frame, count in own.most_common(MOST)]
    return "\n\n".join(
        (
            f"profile: {total} samples, {headline}",
            table(["part", "share"], by_part),
            table(["function", "itself", "with what it calls"], by_function),
        )
    )


def _part(frame: str) -> str:
    return next((name for name, paths in _PARTS if any(path in frame for path in paths)), "other")
