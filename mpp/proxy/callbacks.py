"""What one attempt, and all attempts of one request together, report their outcome to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from mpp.core.errors import UpstreamError
    from mpp.core.interfaces import IResponse
    from mpp.proxy.attempt import Attempt
    from mpp.proxy.local_replies import LocalReply


class AttemptListener(Protocol):
    """Who made the attempt: `mpp.proxy.attempts.Attempts`."""

    def answered(self, attempt: Attempt, response: IResponse, /) -> None:
        """The backend has answered, whole or as far as may be held."""

    def failed(self, attempt: Attempt, error: UpstreamError, /) -> None:
        """There is no usable answer."""

    def stopped(self, failure: Failure, /) -> None:
        """There is a bug in one of these."""

    def client(self) -> str:
        """Return the address of the client."""


class ExchangeCallbacks(Protocol):
    """Whom the answer is for: an `mpp.proxy.exchange.Exchange`."""

    @property
    def ended(self) -> bool:
        """Nobody waits any more."""

    def deliver(self, response: IResponse, attempt: Attempt, attempts: int, affinity: str, /) -> None:
        """Take the answer over."""

    def fail(self, why: LocalReply, /) -> None:
        """There is no answer."""

    def failed(self, failure: Failure, /) -> None:
        """There is a bug."""
