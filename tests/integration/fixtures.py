"""What several tests share because starting it takes long: made at first use, ended with the test process."""

from __future__ import annotations

import atexit
import functools
import time
from typing import TypeVar

from tests.integration.processes import Mpp, Process, Simulated
from tests.integration.servers import Prometheus, pair

HISTORY = 10 * 3600
"""Seeded history of the shared servers; the samples lie between so long ago and 4 hours ago."""
THEN = int(time.time()) // 3600 * 3600 - 6 * 3600
"""A moment at which the shared servers have samples: the answer to a question about it never changes."""

P = TypeVar("P", bound=Process)

_running: list[Process] = []


@atexit.register
def end_all() -> None:
    """End everything that is shared."""
    while _running:
        _running.pop().close()


def keep(process: P) -> P:
    """End it with the test process."""
    _running.append(process)
    return process


@functools.cache
def shared_pair(binary: str) -> tuple[Prometheus, Prometheus]:
    """Return two running servers with the same seeded history. Not to be stopped or changed."""
    first, second = pair(binary, history=HISTORY)
    return keep(first), keep(second)


@functools.cache
def shared_mpp(binary: str) -> Mpp:
    """Return an mpp in front of the shared pair."""
    return keep(Mpp([server.url for server in shared_pair(binary)])).start()


@functools.cache
def shared_simulated() -> Simulated:
    """Return a running simulated server; whoever changes its state puts it right again."""
    return keep(Simulated("--version", "3.5.0", name="shared")).start()


@functools.cache
def shared_mpp_over_simulated() -> Mpp:
    """Return an mpp in front of the shared simulated server."""
    return keep(Mpp([shared_simulated().url], "--max-request-body", "1MiB")).start()
