"""
Decides whether a server ingests nothing, by what it says of itself: its configuration, or the newest sample of its head. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping

from mpp.core.facts import Lack, ServerState
from mpp.core.model import Backend
from mpp.coverage.drift import age
from mpp.coverage.windows import DEFAULT_INTERVAL_S, SLOW_S, longest_intervals

HEAD_STALE_S = 15.0
"""Seconds: a server whose newest sample is older than this and two scrape intervals ingests nothing."""

# Flags of servers that ingest samples that others send, and the names of these features before 2.33 and 3.0.
_RECEIVERS = ("web.enable-remote-write-receiver", "web.enable-otlp-receiver")
_RECEIVER_FEATURES = frozenset(("remote-write-receiver", "otlp-write-receiver"))


def newest_at(server_state: ServerState) -> float | None:
    """Return the time of the newest sample of a server by the clock of mpp; None if it is not known."""
    seconds = age(server_state)
    return None if seconds is None else server_state.read_at - seconds


def is_idle(server_state: ServerState, intervals: Mapping[str, float]) -> bool:
    """
    Return whether a server ingests nothing, judged by its configuration or by the newest sample of its head.

    :param intervals: scrape intervals of the jobs of all servers, in seconds: a server that lost its configuration has none.
    """
    return _is_without_source(server_state) or _is_head_old(server_state, intervals)


def _is_without_source(server_state: ServerState) -> bool:
    """
    Return whether a server reports that it scrapes and receives nothing. False if its report is incomplete.

    The number of its targets is ignored: Prometheus 3.5 goes on to report the targets of its previous configuration.
    """
    flags = dict(server_state.flags)
    features = flags.get("enable-feature", "").split(",")
    receives = "true" in map(flags.get, _RECEIVERS) or not _RECEIVER_FEATURES.isdisjoint(features)
    return bool(server_state.config_hash and flags) and not (server_state.jobs or server_state.pools or receives)


def _is_head_old(server_state: ServerState, intervals: Mapping[str, float]) -> bool:
    seconds = age(server_state)
    quick = [interval for interval in (dict(server_state.jobs) or intervals).values() if interval < SLOW_S]
    return seconds is not None and seconds > 2 * max(quick, default=DEFAULT_INTERVAL_S) + HEAD_STALE_S


def by_state(known: Mapping[Backend, ServerState]) -> dict[Backend, Lack]:
    """Return what each idle server (`is_idle`) lacks while another server ingests samples; used before the first survey."""
    intervals = longest_intervals(server_state.jobs for server_state in known.values())
    old = {backend for backend, server_state in known.items() if is_idle(server_state, intervals)}
    if all(backend in old or age(server_state) is None for backend, server_state in known.items()):
        return {}
    targets = max((server_state.targets or 0 for backend, server_state in known.items() if backend not in old), default=0)
    return {backend: Lack(max(1, targets), targets, _since(known[backend]), stopped=True) for backend in old}


def _since(server_state: ServerState) -> float:
    configured_at = (server_state.config_at or server_state.read_at) - (server_state.skew or 0.0)
    since = newest_at(server_state)
    return configured_at if since is None else since
