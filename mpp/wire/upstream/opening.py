"""One new connection to a server: opened and, if need be, proved. What it is for and what its silence means is not known here."""

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

# Any response proves that the connection is read; that to /-/ready has some twenty bytes, a gateway's error page some thousand.
PROOF_BYTES = 64 * 1024


class OpeningCallbacks(Shape):
    """Whom it is opened for: a `mpp.wire.upstream.growth.ConnectionGrowth`."""

    def dial(self, *, prove: bool) -> Deferred[UpstreamConnection]:
        """Open a connection; ``prove``: it will be proved."""

    def opened(self, opening: Opening, connection: UpstreamConnection) -> None:
        """Take the connection, which is idle if it is ``alive``."""

    def not_opened(self, opening: Opening, failure: Failure) -> None:
        """Record that there is none: `UpstreamError` in phase CONNECT, or `CancelledError` when the pool is being closed."""


class Opening:
    """
    A connection that is being opened.

    :ivar prove: the server is asked for ``/-/ready`` on it.
    :ivar began: when, by the monotonic clock.
    :ivar connection: the connection that is being proved; None before it is open.
    """

    def __init__(self, owner: OpeningCallbacks, *, prove: bool, began: float) -> None:
        self.prove = prove
        self.began = began
        self.connection: UpstreamConnection | None = None
        self._owner = owner
        self._waits_for: Deferred[UpstreamConnection] | Deferred[IResponse] | None = None
        self._stopped = False

    def age(self) -> float:
        """Return when it began, to sort by."""
        return self.began

    def start(self, question: bytes) -> None:
        """Begin; ``question`` is the request that proves it."""
        dialing = self._waits_for = self._owner.dial(prove=self.prove)
        dialing.addCallbacks(self._connected, self._failed, callbackArgs=(question,))
        dialing.addErrback(self._broken)

    def stop(self) -> None:
        """Close what there is. Its owner is told nothing any more."""
        self._stopped = True
        waits_for, self._waits_for = self._waits_for, None
        if waits_for is not None:
            waits_for.cancel()

    def report(self, failure: Failure) -> None:
        """Tell the owner that it has failed."""
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
                # By the pool, which is being closed.
                self.report(failure)
            return
        failure.trap(UpstreamError)
        error = failure.value
        assert isinstance(error, UpstreamError)
        # Nothing of the request that waits was sent.
        self.report(Failure(UpstreamError(Phase.CONNECT, error.cause, error.detail)))

    def _broken(self, failure: Failure) -> None:
        _log.failure("Bug: a connection could not be opened", failure)
