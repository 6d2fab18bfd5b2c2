"""
A protocol that splits an endless response into lines. Knows bytes and time; knows nothing of the content of a line.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from mpp.core.errors import DiscoveryError
from mpp.core.model import MIB

# An object in Kubernetes has 1.5 MiB at most (the limit of etcd); its JSON is longer than its stored form.
_MAX_LINE = 8 * MIB


class LineStream(Protocol):
    """
    A receiver of the body of a response, line by line.

    :param line: called with each line; an exception from it ends the stream.
    :param silence: seconds without any byte after which the connection counts as dead.
    :ivar ended: fires with None when the other side ends the stream, in whatever way: an endless response has no regular end.
        Fails with the exception of ``line``, or with `DiscoveryError` when a line is too long or no byte came in time.
        Cancelling it drops the connection.
    """

    def __init__(self, line: Callable[[bytes], None], clock: IReactorTime, silence: float) -> None:
        self._line = line
        self._silence = silence
        self._begun = bytearray()
        self._timer = clock.callLater(silence, self._silent)
        self.ended: Deferred[None] = Deferred(lambda _: self._drop())

    def dataReceived(self, data: bytes) -> None:
        """Split the received bytes into lines."""
        if self.ended.called:
            return
        self._timer.reset(self._silence)
        *lines, rest = (self._begun + data).split(b"\n") if b"\n" in data else [self._begun + data]
        self._begun = bytearray(rest)
        if len(self._begun) > _MAX_LINE:
            self._fail(DiscoveryError("a line of a watch is too long"))
        for line in lines:
            if line.strip() and not self.ended.called:
                self._take(bytes(line))

    def _take(self, line: bytes) -> None:
        try:
            self._line(line)
        except Exception as error:
            self._fail(error)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Fire with None, because the connection has ended."""
        if self._timer.active():
            self._timer.cancel()
        if not self.ended.called:
            self.ended.callback(None)

    def _silent(self) -> None:
        self._fail(DiscoveryError(f"no byte of a watch within {self._silence:g} s"))

    def _fail(self, error: Exception) -> None:
        self._drop()
        if not self.ended.called:
            self.ended.errback(error)

    def _drop(self) -> None:
        if self._timer.active():
            self._timer.cancel()
        if self.transport is not None:
            self.transport.loseConnection()
