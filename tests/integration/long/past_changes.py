"""
Changes the past of two servers under mpp's cache, and checks what is stale, and for how long, against ``docs/how/cache.rst``.

``python -m tests.integration.long.past_changes [--case NAME ...] [--max-age 120]``

All servers have the same samples, because the targets give them a time. Dashboards are cached; then the past changes on all
servers: samples and rules are backfilled, series are deleted, the retention is shortened, all servers are away together, or
their flags or their version change. Dashboards are looked at through mpp and at each server; a step is stale if mpp shows
what no server says. It fails if a step is stale for longer than the documentation says, or after a flush, or if nothing is stale
where the documentation says that something is.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlencode

from tests.integration.long.outages import known_outage, outage
from tests.integration.long.past_site import Site, panel, prove
from tests.integration.processes import fetch, free_port, wait_until
from tests.integration.servers import promtool_of, require_binary
from tests.integration.stamped import StampedServer

HOUR = 3600
NEVER_S = 3600.0
"""For ``--cache-max-age`` where nothing may expire by itself."""
AT_ONCE_S = 5.0
"""How long mpp may take to notice that a server has been restarted."""
READ_AGAIN_S = 65.0
"""How long it takes at most until mpp has read again which is the oldest sample of a server."""
BLOCKS = "--storage.tsdb.max-block-duration=2h"
"""A server deletes a block as a whole, so they must not grow; a hidden option."""
RULES = {
    "groups": [
        {
            "name": "past",
            "interval": "60s",
            "rules": [{"record": "job:requests:rate5m", "expr": "sum by (job) (rate(requests_total[5m]))"}],
        }
    ]
}


def backfill(max_age: float) -> bool:
    """Backfill samples into a time that is cached, then a rule."""
    site = Site(require_binary(), hours=5, interval_s=15, max_age=max_age)
    try:
        start, end = site.now - 4 * HOUR, site.now - 2 * HOUR
        queries = ("late_samples", "sum(temperature)", "rate(late_samples[10m])")
        late = [f'late_samples{{from="a file"}} {at - start} {at}' for at in range(start + 1800, end - 1800, 15)]
        late += [f'temperature{{from="a file"}} 100 {at}' for at in range(start + 1800, end - 1800, 15)]

        def samples() -> Iterator[None]:
            site.backfill(late)
            yield
            print(f"    flushed before a server has loaded the blocks: {site.flush()} queries")
            yield

        right = prove(site, "backfilled samples", [panel(query, start, end) for query in queries], samples())
        panels = [panel("job:requests:rate5m", start, end), panel("sum(job:requests:rate5m)", start, end, 30)]
        return prove(site, "a backfilled rule", panels, rules(site, start + 1800, end - 1800), flush=True) and right
    finally:
        site.close()


def rules(site: Site, start: int, end: int) -> Iterator[None]:
    """Evaluate a rule for the past, by a server, and give all servers the result."""
    with TemporaryDirectory(prefix="mpp-test-rules-") as name:
        Path(name, "rules.yml").write_text(json.dumps(RULES))
        create = [promtool_of(site.binary), "tsdb", "create-blocks-from", "rules", f"--url={site.servers[0].url}"]
        times = [f"--start={start}", f"--end={end}", f"--output-dir={name}/data", f"{name}/rules.yml"]
        subprocess.run([*create, *times], check=True, capture_output=True, timeout=300, cwd="/")
        site.copy_blocks(Path(name, "data"))
    yield


def delete(max_age: float) -> bool:
    """Delete series of a time that is cached, then all of a target."""
    site = Site(require_binary(), hours=5, interval_s=15, max_age=max_age, options=["--web.enable-admin-api"])
    try:
        start, end = site.now - 4 * HOUR, site.now - 2 * HOUR

        def deleted(selector: str, first: float, last: float) -> Iterator[None]:
            for server in site.servers:
                target = "/api/v1/admin/tsdb/delete_series?" + urlencode({"match[]": selector, "start": first, "end": last})
                assert fetch(server.port, target, method="POST")[0] == 204
            yield

        panels = [panel(query, start, end) for query in ("temperature", "sum(temperature)", "max_over_time(temperature[10m])")]
        right = prove(site, "deleted samples of an hour", panels, deleted("temperature", start + 1800, end - 1800))
        instance = site.targets.jobs["node"][0]
        panels = [panel(query, start, end) for query in ("requests_total", "count(up)", "sum(rate(requests_total[5m]))")]
        change = deleted(f'{{instance="{instance}"}}', 0, site.now + HOUR)
        return prove(site, "all series of a target deleted", panels, change, flush=True) and right
    finally:
        site.close()


def shorten(max_age: float) -> bool:
    """Restart both servers with a shorter retention, one after the other, twice."""
    site = Site(require_binary(), hours=9, interval_s=15, max_age=NEVER_S, options=[BLOCKS])
    try:
        right = True
        for hours in (6, 3):

            def restarted(hours: int = hours) -> Iterator[None]:
                for server in site.servers:
                    site.restart(server, BLOCKS, f"--storage.tsdb.retention.time={hours}h")
                    time.sleep(5)
                    yield

            start = site.now - (hours + 3) * HOUR
            panels = [panel(query, start, start + 2.5 * HOUR) for query in ("temperature", "sum(rate(requests_total[5m]))")]
            right = prove(site, f"a retention of {hours} hours", panels, restarted(), at_most=READ_AGAIN_S) and right
        return right
    finally:
        site.close()


def flags(max_age: float) -> bool:
    """Restart both servers with another lookback, then put others in their place, at other addresses, with yet another one."""
    site = Site(require_binary(), hours=2, interval_s=15, max_age=NEVER_S)
    try:
        panels = [panel(query, site.now - 2 * HOUR, site.now - HOUR, 15) for query in ("sometimes", "count(sometimes)")]

        def restarted() -> Iterator[None]:
            for server in site.servers:
                site.restart(server, "--query.lookback-delta=1m")
                yield

        def replaced() -> Iterator[None]:
            for server in site.servers:
                move(site, server, "--query.lookback-delta=3m")
                yield

        right = prove(site, "another lookback", panels, restarted(), at_most=AT_ONCE_S)
        return prove(site, "another lookback, at another address", panels, replaced(), at_most=AT_ONCE_S) and right
    finally:
        site.close()


def move(site: Site, server: StampedServer, *options: str) -> None:
    """Put a server with the same data and other options at another address in the place of a server."""
    server.stop(30)
    server.port, server.options = free_port(), options
    server.start()
    site.mpp.write_endpoints(*(each.url for each in site.servers))
    wait_until(lambda: site.mpp.standing_of(server.address) == "viable", f"{server.name} is in service at its new address")


def upgrade(max_age: float) -> bool:
    """Upgrade both servers from 2.x, which reads the sample at the beginning of a range as well, to 3.x."""
    site = Site(require_binary(2), hours=2, interval_s=15, max_age=NEVER_S)
    try:
        queries = ("count_over_time(temperature[1m])", "sum(sum_over_time(temperature[5m]))")

        def restarted() -> Iterator[None]:
            for server in site.servers:
                site.restart(server, binary=require_binary(3))
                yield

        panels = [panel(query, site.now - 2 * HOUR + 600, site.now - HOUR) for query in queries]
        return prove(site, "another version", panels, restarted(), at_most=AT_ONCE_S)
    finally:
        site.close()


CASES: dict[str, Callable[[float], bool]] = {
    "backfill": backfill,
    "delete": delete,
    "shorten": shorten,
    "flags": flags,
    "upgrade": upgrade,
    "outage": outage,
    "known-outage": known_outage,
}


def main() -> None:
    """Run the cases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--case", action="append", choices=[*CASES], help="default: all; the outages take a quarter of an hour each"
    )
    parser.add_argument("--max-age", type=float, default=120, help="--cache-max-age in seconds")
    options = parser.parse_args()
    wrong = []
    for name in options.case or CASES:
        print(f"\n=== {name}, {time.strftime('%H:%M:%S')}", flush=True)
        if not CASES[name](options.max_age):
            wrong.append(name)
    print("\n" + (f"WRONG: {', '.join(wrong)}" if wrong else "nothing is stale for longer than the documentation says"))
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
