"""Requests per second through one pinned core: mpp beside HAProxy, and vmauth where there is one. See README.rst."""

from __future__ import annotations

import argparse
import base64
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(CHECKOUT))

from bench.programs import CONNECTIONS, LOAD_CORE, PROXY_CORE, cpu_seconds, first_line, pinned, vmauth_version, wrk
from bench.where import profile
from tests.integration.processes import free_port

PROFILED_S = 5
CREDENTIALS = "Authorization: Basic " + base64.b64encode(b"bench:bench").decode()
FORM = "query=up&time=1700000000&start=1699990000&end=1700000000&s=15"

UPSTREAM = """
global
    maxconn 5000
    nbthread 1
    tune.bufsize {bufsize}
    tune.maxrewrite 1024
defaults
    mode http
    timeout client 60s
    timeout server 60s
    timeout connect 5s
frontend upstream
    bind 127.0.0.1:{port}
    http-request return status 200 content-type text/plain string "Prometheus Server is Ready.\\n" if {{ path /-/ready }}
    http-request return status 200 content-type "text/plain; version=0.0.4" file {folder}/metrics if {{ path /metrics }}
{large}    http-request return status 200 content-type application/json file {folder}/small
"""
LARGE = """\
    http-request return status 200 content-type application/json file {folder}/medium if {{ path /api/v1/query_range }}
    http-request return status 200 content-type text/plain file {folder}/large if {{ path /federate }}
"""
HAPROXY = """
global
    maxconn 5000
    nbthread 1
defaults
    mode http
    timeout client 60s
    timeout server 60s
    timeout connect 5s
    http-reuse always
    option redispatch
    retries 2
    option forwardfor
frontend proxy
    bind 127.0.0.1:{port}
    default_backend upstream
backend upstream
    server one 127.0.0.1:{upstream}
"""


LARGE_BUFFER = 4 * 1024 * 1024 + 64 * 1024


@dataclass(frozen=True)
class Case:
    """What is asked for."""

    name: str
    target: str
    post: bool = False
    bufsize: int = 16384
    """Of the upstream: the whole answer has to fit, and a large buffer makes small answers slow."""


CASES = (
    Case("266-get", "/api/v1/query?query=up"),
    Case("266-post", "/api/v1/query", post=True),
    Case("100k-get", "/api/v1/query_range?query=up&start=1&end=2&step=1", bufsize=LARGE_BUFFER),
    Case("4m-get", "/federate?match[]=up", bufsize=LARGE_BUFFER),
)


@dataclass
class Proxy:
    """A proxy under test."""

    name: str
    version: str
    command: list[str]
    port: int
    pid: int = 0


@dataclass
class Figures:
    """What was measured for one proxy in one case, round by round."""

    rates: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    busy: list[float] = field(default_factory=list)
    clean: bool = True


@contextmanager
def running(command: list[str], core: int, log: Path, *, cwd: Path = CHECKOUT) -> Iterator[int]:
    """Run a command on one core; give its process id."""
    with open(log, "ab") as output:
        process = subprocess.Popen(pinned(core, *command), cwd=cwd, stdout=output, stderr=output)
    try:
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_answer(url: str, log: Path) -> None:
    """Wait until a URL answers 200."""
    for _ in range(200):
        try:
            request = urllib.request.Request(url, headers=dict([CREDENTIALS.split(": ")]))
            with urllib.request.urlopen(request, timeout=2) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.1)
    sys.exit(f"{url} does not answer\n{log.read_text(errors='replace')[-2000:]}")


def load(case: Case, port: int, seconds: int, folder: Path) -> tuple[float, int, bool]:
    """Run wrk; give the rate, the number of answers, and whether all of them were good."""
    # Older vmauth serves nobody without a name, so all get one.
    options = ["-H", CREDENTIALS]
    if case.post:
        options += ["-s", str(folder / "post.lua")]
    answers = wrk(f"http://127.0.0.1:{port}{case.target}", seconds, *options)
    return answers.rate, answers.count, answers.clean


def prepare(folder: Path, upstream: int, bufsize: int) -> None:
    """Write all files."""
    small = (
        b'{"status":"success","data":{"resultType":"vector","result":[{"metric":{"__name__":"up"},"value":[1700000000,"1"]}]}}'
    )
    (folder / "small").write_bytes(small.ljust(266))
    (folder / "medium").write_bytes(small.ljust(100_000))
    (folder / "large").write_bytes(b"# filler\n" * (4 * 1024 * 1024 // 9))
    (folder / "metrics").write_text(
        f'prometheus_build_info{{version="2.42.0"}} 1\nprometheus_ready 1\nprocess_start_time_seconds {time.time() - 86400}\n'
        f"prometheus_tsdb_lowest_timestamp_seconds {time.time() - 86400}\n"
        f"prometheus_tsdb_head_max_time_seconds {time.time()}\n"
    )
    (folder / "post.lua").write_text(
        f'wrk.method = "POST"\nwrk.body = "{FORM}"\nwrk.headers["Content-Type"] = "application/x-www-form-urlencoded"\n'
    )
    large = LARGE.format(folder=folder) if bufsize == LARGE_BUFFER else ""
    (folder / "upstream.cfg").write_text(UPSTREAM.format(port=upstream, folder=folder, bufsize=bufsize, large=large))
    (folder / "endpoints").write_text(f"http://127.0.0.1:{upstream}\n")


def proxies(folder: Path, upstream: int, mpp: str | None, before: str | None) -> list[Proxy]:
    """
    Describe what can be measured here; HAProxy comes first, the others are compared to it.

    :param mpp: the command of the mpp that is measured; None: that of this checkout.
    :param before: the command of an older one beside it, if any.
    """
    found = []
    port = free_port()
    (folder / "haproxy.cfg").write_text(HAPROXY.format(port=port, upstream=upstream))
    found.append(Proxy("HAProxy", first_line("haproxy", "-v"), ["haproxy", "-f", str(folder / "haproxy.cfg")], port))
    commands = {"mpp": [mpp] if mpp else [sys.executable, "-m", "mpp"]} | ({"before": [before]} if before else {})
    for title, command in commands.items():
        port = free_port()
        arguments = ["--endpoints-file", str(folder / "endpoints"), "--port", str(port)]
        found.append(Proxy(title, first_line(*command, "--version"), [*command, *arguments], port))
    if vmauth := shutil.which("vmauth"):
        port = free_port()
        (folder / "vmauth.yml").write_text(
            f"users:\n- username: bench\n  password: bench\n  url_prefix: http://127.0.0.1:{upstream}/\n"
        )
        arguments = [f"-auth.config={folder}/vmauth.yml", f"-httpListenAddr=127.0.0.1:{port}"]
        found.append(Proxy("vmauth", vmauth_version(vmauth), ["env", "GOMAXPROCS=1", vmauth, *arguments], port))
    return found


def measure(found: list[Proxy], cases: list[Case], rounds: int, seconds: int, folder: Path) -> dict[tuple[str, str], Figures]:
    """Measure all proxies in all cases, interleaved."""
    figures: dict[tuple[str, str], Figures] = {}
    for case in cases:
        for proxy in found:
            load(case, proxy.port, 1, folder)
    for number in range(rounds):
        for case in cases:
            for proxy in found:
                before = cpu_seconds(proxy.pid)
                rate, count, clean = load(case, proxy.port, seconds, folder)
                row = figures.setdefault((case.name, proxy.name), Figures())
                row.rates.append(rate)
                used = cpu_seconds(proxy.pid) - before
                row.cpu.append(used / max(1, count) * 1e6)
                row.busy.append(used / max(1, count) * rate)
                row.clean = row.clean and clean
        print(f"round {number + 1} of {rounds} done", file=sys.stderr, flush=True)
    return figures


def report(figures: dict[tuple[str, str], Figures], found: list[Proxy], cases: list[Case]) -> None:
    """Print the table."""
    columns = f"{'case':10} {'proxy':10} {'requests/s':>11} {'CPU us/request':>15} {'core busy':>10}"
    others = [proxy.name for proxy in found if proxy.name != "mpp"]
    print(columns + "".join(f"   ratio to {name}: min / median / max" for name in others))
    for case in cases:
        for proxy in found:
            row = figures[case.name, proxy.name]
            shown = "".join(f"   {_ratios(row, figures[case.name, name]):34}" for name in others).rstrip()
            mark = "" if row.clean else "  !"
            rate, cpu, busy = (statistics.median(values) for values in (row.rates, row.cpu, row.busy))
            print(f"{case.name:10} {proxy.name:10} {rate:11.0f} {cpu:15.1f} {busy:10.0%}{shown}{mark}", flush=True)


def _ratios(row: Figures, base: Figures) -> str:
    """Return the ratios of rates, taken round by round."""
    ratios = sorted(rate / other for rate, other in zip(row.rates, base.rates, strict=True))
    return f"{ratios[0]:.2f} / {statistics.median(ratios):.2f} / {ratios[-1]:.2f}"


def bench(cases: list[Case], options: argparse.Namespace) -> None:
    """Measure cases that have the same upstream, and report."""
    with tempfile.TemporaryDirectory(prefix="mpp-bench-") as name, ExitStack() as stack:
        folder, upstream = Path(name), free_port()
        prepare(folder, upstream, cases[0].bufsize)
        stack.enter_context(running(["haproxy", "-f", str(folder / "upstream.cfg")], LOAD_CORE, folder / "upstream.log"))
        wait_answer(f"http://127.0.0.1:{upstream}/-/ready", folder / "upstream.log")
        found = proxies(folder, upstream, options.mpp, options.before)
        print()
        for proxy in found:
            log = folder / f"{proxy.name}.log"
            proxy.pid = stack.enter_context(running(proxy.command, PROXY_CORE, log))
            wait_answer(f"http://127.0.0.1:{proxy.port}{cases[0].target}", log)
            print(f"{proxy.name}: {proxy.version}\n    taskset -c {PROXY_CORE} {' '.join(proxy.command)}")
        print(f"load: {first_line('wrk', '-v')}\n    taskset -c {LOAD_CORE} wrk -t1 -c{CONNECTIONS} -d{options.seconds}s URL\n")
        report(measure(found, cases, options.rounds, options.seconds, folder), found, cases)
        if options.profile:
            for case in cases:
                print(f"\n{case.name}, {show_profile(case, next(proxy for proxy in found if proxy.name == 'mpp'), folder)}")


def show_profile(case: Case, mpp: Proxy, folder: Path) -> str:
    """Return where mpp's time goes."""
    return profile(mpp.pid, PROFILED_S, lambda: load(case, mpp.port, PROFILED_S + 1, folder)[0])


def main() -> None:
    """Run the bench."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2, help="of each measurement")
    parser.add_argument("--case", action="append", choices=[case.name for case in CASES], help="default: all")
    parser.add_argument("--profile", action="store_true", help="tell where mpp's time goes, too (needs py-spy)")
    parser.add_argument("--mpp", help="the mpp command to measure (default: the one of this checkout)")
    parser.add_argument("--before", help="the command of another mpp, an older one, to measure in the same rounds")
    options = parser.parse_args()
    for tool in ("haproxy", "wrk", "taskset"):
        if shutil.which(tool) is None:
            sys.exit(f"bench/forward.py: {tool} is not on the PATH")
    wanted = [case for case in CASES if options.case is None or case.name in options.case]
    for bufsize in dict.fromkeys(case.bufsize for case in wanted):
        bench([case for case in wanted if case.bufsize == bufsize], options)


if __name__ == "__main__":
    main()
