"""What all attempts of one request together report their outcome to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from mpp.core.interfaces import IResponse
    from mpp.proxy.attempt import Attempt
    from mpp.proxy.local_replies import LocalReply


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
