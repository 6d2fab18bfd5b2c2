"""The interface of a fetch to its attempts."""

from __future__ import annotations

from typing import Protocol

from twisted.python.failure import Failure

from mpp.core.interfaces import IResponse
from mpp.coverage.planning.planner import RequestPlan
from mpp.proxy.attempt import Attempt
from mpp.proxy.decisions.local_replies import LocalReply


class FetchCallbacks(Protocol):
    """The object that all attempts of a request report to: `mpp.proxy.exchanges.server_fetch.ServerFetch`."""

    @property
    def ended(self) -> bool:
        """Whether the fetch has ended."""

    @property
    def splices(self) -> bool:
        """Whether `splice` may be called."""

    def deliver(self, response: IResponse, attempt: Attempt, attempts: int, affinity: str, /) -> None:
        """Deliver a response to all waiters, see `mpp.proxy.exchanges.server_fetch.ServerFetch.deliver`."""

    def splice(self, plan: RequestPlan, /) -> None:
        """Let the servers of a plan answer the request, each some of its steps, or one all of them after other attempts."""

    def fail(self, why: LocalReply, /) -> None:
        """End all waiters with a local reply, because there is no usable response."""

    def failed(self, failure: Failure, /) -> None:
        """End the fetch on an unexpected failure, which is a bug."""
