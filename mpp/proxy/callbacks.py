"""The interface through which the attempts of a request report to the fetch of its response."""

from __future__ import annotations

from typing import Protocol

from twisted.python.failure import Failure

from mpp.core.interfaces import IResponse
from mpp.coverage.planning.request_plan import RequestPlan
from mpp.proxy.attempt import Attempt
from mpp.proxy.decisions.local_replies import LocalReply


class FetchCallbacks(Protocol):
    """The object that all attempts of a request report to: `mpp.proxy.exchanges.server_fetch.ServerFetch`."""

    @property
    def ended(self) -> bool:
        """Whether the fetch has ended."""

    @property
    def splices(self) -> bool:
        """Whether `splice` may be called; False for the attempts of one part of a request that is divided already."""

    def deliver(self, response: IResponse, attempt: Attempt, attempts: int, affinity: str, /) -> None:
        """Deliver a response to all requests that wait for it, see `mpp.proxy.exchanges.server_fetch.ServerFetch.deliver`."""

    def splice(self, plan: RequestPlan, /) -> None:
        """
        Replace the attempts by the ones of a plan: several servers answer some of the steps each, or one server answers all, with
        a warning about the data that it lacks.
        """

    def fail(self, why: LocalReply, /) -> None:
        """End all requests that wait for the response with an error of mpp's own, because no response is usable."""

    def failed(self, failure: Failure, /) -> None:
        """End the fetch on an unexpected failure, which is a bug."""
