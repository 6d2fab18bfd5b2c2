"""
An endless answer, taken line by line. Knows bytes and time; knows nothing of what a line says.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from mpp.core.errors import DiscoveryError
from mpp.core.model import MIB

# An object in Kubernetes has 1.5 MiB at most (the limit of etcd); JSON is longer than what is stored.
_MAX_LINE = 8 * MIB


class LineStream(Protocol):
    """
    Takes the body of a response.

    :param line: called with each line; what it raises ends everything.
    :param silence: seconds without any byte after which the other side is held to be gone.
    :ivar ended: fires with None when the other side ended, in whatever way: an endless answer has no right end. Fails with
        what ``line`` raised, or with `DiscoveryError` when a line is too long or nothing came. Cancelling it drops the
        connection.
    """

    def __init__(self, line: Callable[[bytes], None], clock: IReactorTime, silence: float) -> None:
        self._line = line
        self._silence = silence
        self._begun = bytearray()
        self._timer = clock.callLater(silence, self._silent)
        self.ended: Deferred[None] = Deferred(lambda _: self._drop())

    def dataReceived(self, data: bytes) -> None:
        """Cut lines."""
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
        """Take note of the end."""
        if self._timer.active():
            self._timer.cancel()
        if not self.ended.called:
            self.ended.callback(None)

    def _silent(self) -> None:
        self._fail(DiscoveryError(f"not a byte of a watch within {self._silence:g} s"))

    def _fail(self, error: Exception) -> None:
        self._drop()
        if not self.ended.called:
            self.ended.errback(error)

    def _drop(self) -> None:
        if self._timer.active():
            self._timer.cancel()
        if self.transport is not None:
            self.transport.loseConnection()
