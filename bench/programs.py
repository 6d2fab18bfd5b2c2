"""The programs that the benches run: which core they get, what version they are, what CPU time they used, what wrk says."""

from __future__ import annotations

import gzip
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.integration.processes import CHECKOUT

PROXY_CORE, LOAD_CORE = 0, 1
CONNECTIONS = 16


def pinned(core: int, *command: str) -> list[str]:
    """Return the command line that runs a command on one core."""
    return ["taskset", "-c", str(core), *command]


def first_line(*command: str) -> str:
    """Return the first line that a command prints; empty when it prints nothing."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=CHECKOUT)
    return (done.stdout + done.stderr).strip().partition("\n")[0]


def vmauth_version(binary: str) -> str:
    """Return what vmauth says it is; its Debian package leaves that out of the build, and has it in its changelog."""
    news = Path(binary).parent.parent / "share" / "doc" / "victoria-metrics" / "changelog.Debian.gz"
    packaged = ""
    if news.exists():
        with gzip.open(news, "rt") as file:
            packaged = file.readline().partition(";")[0]
    return first_line(binary, "-version") or packaged or "vmauth does not tell its version"


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process and its ended children have used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(value) for value in fields[11:15]) / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Answers:
    """
    What wrk got.

    :ivar rate: requests per second.
    :ivar clean: all answers were good.
    """

    rate: float
    count: int
    clean: bool
    printed: str


def wrk(url: str, seconds: int, *options: str, core: int | None = LOAD_CORE) -> Answers:
    """Ask for a URL in a closed loop, from a core, or from whichever is free."""
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--timeout", "10s", *options, url]
    command = command if core is None else pinned(core, *command)
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", printed)[1])  # type: ignore[index]
    count = int(re.search(r"(\d+) requests in", printed)[1])  # type: ignore[index]
    return Answers(rate, count, "Socket errors" not in printed and "Non-2xx" not in printed, printed)
