"""
The opening of one connection to a server, if need be with a first request that proves that the server has accepted it.

It does not know what the connection is for. Note [Connection limits] in `mpp.wire.upstream.proving` says when a proof is needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Protocol as Shape

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure
from txaio.tx import make_logger

from mpp.core.errors import Phase, UpstreamError

if TYPE_CHECKING:
    from mpp.core.interfaces import IResponse
    from mpp.wire.upstream.connection import UpstreamConnection

_log = make_logger()

# The limit of a proof's response in bytes. That of /-/ready has some twenty bytes, the error page of a gateway some thousand.
PROOF_BYTES = 64 * 1024


class OpeningCallbacks(Shape):
    """The interface of the object that has a connection opened: a `mpp.wire.upstream.growth.ConnectionGrowth`."""

    def dial(self, *, prove: bool) -> Deferred[UpstreamConnection]:
        """Open a connection, and count it; ``prove``: it carries no request of a client until it has responded."""

    def opened(self, opening: Opening, connection: UpstreamConnection) -> None:
        """Use the new connection: it is idle, or (not ``alive``) was closed after the request that proved it."""

    def not_opened(self, opening: Opening, failure: Failure) -> None:
        """Record the failure of an opening: `UpstreamError` in phase CONNECT, or `CancelledError` if the pool is being closed."""


class Opening:
    """
    A connection that is being opened.

    :ivar prove: mpp first sends a request for ``/-/ready`` on it, to see that the server has accepted it.
    :ivar began: when opening it began, by the monotonic clock.
    :ivar connection: the connection on which this request was sent; None before that.
    """

    def __init__(self, owner: OpeningCallbacks, *, prove: bool, began: float) -> None:
        self.prove = prove
        self.began = began
        self.connection: UpstreamConnection | None = None
        self._owner = owner
        self._waits_for: Deferred[UpstreamConnection] | Deferred[IResponse] | None = None
        self._stopped = False

    def age(self) -> float:
        """Return when the opening began, as a sort key."""
        return self.began

    def start(self, question: bytes) -> None:
        """Begin to open a connection; ``question`` is the head of the request that ``prove`` sends on it."""
        dialing = self._waits_for = self._owner.dial(prove=self.prove)
        dialing.addCallbacks(self._connected, self._failed, callbackArgs=(question,))
        dialing.addErrback(self._broken)

    def stop(self) -> None:
        """Close the connection, or stop connecting. The owner is not called."""
        self._stopped = True
        waits_for, self._waits_for = self._waits_for, None
        if waits_for is not None:
            waits_for.cancel()

    def report(self, failure: Failure) -> None:
        """Report to the owner that the connection was not opened."""
        self._owner.not_opened(self, failure)

    def _connected(self, connection: UpstreamConnection, question: bytes) -> None:
        if not self.prove:
            self._waits_for = None
            self._owner.opened(self, connection)
            return
        self.connection = connection
        proof = self._waits_for = connection.send(question, b"", PROOF_BYTES, None)
        proof.addCallbacks(self._proved, self._failed, callbackArgs=(connection,))
        proof.addErrback(self._broken)

    def _proved(self, response: IResponse, connection: UpstreamConnection) -> None:
        self._waits_for = None
        if response.complete:
            response.release()
        else:
            response.cancel()
        self._owner.opened(self, connection)

    def _failed(self, failure: Failure) -> None:
        self._waits_for = None
        if failure.check(CancelledError):
            if not self._stopped:
                # The pool has cancelled it, because it is being closed.
                self.report(failure)
            return
        failure.trap(UpstreamError)
        error = failure.value
        assert isinstance(error, UpstreamError)
        # For the request that waits this is a failure to connect: nothing of it was sent.
        self.report(Failure(UpstreamError(Phase.CONNECT, error.cause, error.detail)))

    def _broken(self, failure: Failure) -> None:
        _log.failure(
            "bug: mpp failed while it opened a connection to a server; a request may wait for it until its time limit", failure
        )
