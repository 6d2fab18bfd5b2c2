"""
The interfaces of the steps of a selection round, as `mpp.selection.service` uses them: discovery, refresh of addresses and
credentials, probing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Protocol

from twisted.internet.defer import Deferred

from mpp.core.model import Backend, DiscoveredBackend, Observation
from mpp.core.prometheus.runtimeinfo import ProbeOutcome


class BackendSource(Protocol):
    """A source of the list of backends; fails only when cancelled: `mpp.discovery.merged.MergedLocator`."""

    def locate(self) -> Deferred[tuple[DiscoveredBackend, ...]]:
        """List the backends of all locators, see `MergedLocator`."""

    def start(self, changed: Callable[[], None]) -> None:
        """Start watching the sources; ``changed`` is called when a list may have changed, see `MergedLocator`."""

    def stop(self) -> None:
        """Stop watching, and cancel the look-ups in progress."""


class BeforeRound(Protocol):
    """A refresher of addresses and credentials before a round; fails only when cancelled: `mpp.app.backends.Backends`."""

    def refresh(self, backends: tuple[Backend, ...], /) -> Deferred[None]:
        """Refresh the addresses and credentials for a round, see `Backends`."""

    def refresh_credentials(self) -> None:
        """Refresh the credentials for a probe between rounds, see `Backends`."""


class BackendProber(Protocol):
    """An observer of backends; fails only when cancelled: `mpp.selection.probing.prober.Prober`."""

    def probe(self, backend: Backend, previous: Observation | None, /) -> Deferred[Observation]:
        """Observe a backend once, see `Prober`."""

    def ask(self, backend: Backend, path: str, /) -> Deferred[ProbeOutcome]:
        """Send one query for the newest data of a backend, see `Prober`."""

    def ask_history(self, backend: Backend, path: str, /) -> Deferred[ProbeOutcome]:
        """Send one query of the look back, see `Prober`."""

    def ask_rules(self, backend: Backend, path: str, /) -> Deferred[ProbeOutcome]:
        """Send one request for the rules of a backend, see `Prober`."""

    def keep(self, backends: Collection[Backend], /) -> None:
        """Forget all backends except the given ones, see `Prober`."""

    def stop(self) -> None:
        """Cancel all background reads, see `Prober`."""
