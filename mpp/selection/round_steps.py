"""The interfaces through which `mpp.selection.service` discovers backends, and refreshes their addresses and credentials."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twisted.internet.defer import Deferred

from mpp.core.model import Backend, DiscoveredBackend


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
