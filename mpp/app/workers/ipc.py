"""
The IPC channel between the parent and a worker: notifications, requests and responses, in JSON over a pair of sockets.

The channel does not define the messages. It closes when the other process sends an unknown or malformed one.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IFileDescriptorReceiver, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.protocols.basic import Int32StringReceiver
from twisted.python.failure import Failure
from txaio.tx import make_logger
from zope.interface import implementer

from mpp.core.model import MIB

_log = make_logger()

# The largest message in bytes: ten thousand backends, or the metrics of a thousand.
_LONGEST = 64 * MIB

# How many bytes of an invalid message are logged: its name, but not the settings that follow.
_QUOTED = 12

NotificationHandlers = Mapping[str, Callable[..., object]]
RequestHandlers = Mapping[str, Callable[..., "Deferred[Any]"]]


@implementer(IFileDescriptorReceiver)
class IPCChannel(Int32StringReceiver):
    """
    One end of the channel between the parent and a worker. Messages before it is connected, or after its end, are dropped.

    :param handlers: the functions that are called for notifications, by the name of the notification.
    :param questions: the functions that respond to requests, by the name of the request; they return a Deferred.
    :param ended: called once when the connection is closed.
    :param received: called with each file descriptor that arrives, before the notification that was sent after it.
    """

    MAX_LENGTH = _LONGEST
    transport: Any

    def __init__(
        self,
        handlers: NotificationHandlers,
        questions: RequestHandlers,
        clock: IReactorTime,
        ended: Callable[[], None],
        received: Callable[[int], None] = os.close,
    ) -> None:
        self._handlers = {**handlers, "?": self._requested, "!": self._responded}
        self._questions = questions
        self._clock = clock
        self._ended = ended
        self._received = received
        self._numbers = itertools.count()
        self._waiting: dict[int, Deferred[Any]] = {}
        self._lost = self._cut_off = False

    def _is_open(self) -> bool:
        return self.transport is not None and not self._lost

    def notify(self, word: str, *values: object) -> None:
        """Send a notification with its values."""
        self.notify_encoded(json.dumps([word, *values]))

    def notify_encoded(self, text: str) -> None:
        """Send a notification that is already encoded as JSON."""
        if self._is_open():
            self.sendString(text.encode())  # type: ignore[no-untyped-call]

    def send_descriptor(self, descriptor: int) -> None:
        """Send a copy of a file descriptor; it leaves with the next notification, which must follow."""
        if self._is_open():
            self.transport.sendFileDescriptor(descriptor)

    def fileDescriptorReceived(self, descriptor: int) -> None:
        """Pass a received file descriptor on."""
        self._received(descriptor)

    def request(self, question: str, *values: object, timeout: float | None = None) -> Deferred[Any]:
        """
        Send a request and wait for its response.

        :return Deferred: fires with the response. Fails with Twisted's ``TimeoutError`` after ``timeout`` seconds, and with
            ``ConnectionDone`` when the channel is closed or not connected yet. May be cancelled.
        """
        if not self._is_open():
            return fail(ConnectionDone())
        number = next(self._numbers)
        answer: Deferred[Any] = Deferred(lambda _: self._forget(number))
        self._waiting[number] = answer
        self.notify("?", number, question, *values)
        return answer if timeout is None else answer.addTimeout(timeout, self._clock)

    def _forget(self, number: int) -> None:
        self._waiting.pop(number, None)

    def _requested(self, number: int, question: str, *values: Any) -> None:
        answer = self._questions[question](*values)
        answer.addCallback(lambda value: self.notify("!", number, value))
        text = "bug: the request {question} of another mpp process failed, and gets no response"
        answer.addErrback(lambda failure: _log.failure(text, failure, question=question))

    def _responded(self, number: int, value: Any) -> None:
        # Absent if the request was cancelled.
        waiting = self._waiting.pop(number, None)
        if waiting is not None:
            waiting.callback(value)

    def stringReceived(self, string: bytes) -> None:
        """Decode a message and call its handler; close the channel if that fails."""
        if self._cut_off:
            return
        try:
            word, *values = json.loads(string)
            self._handlers[word](*values)
        except Exception:
            text = "message of another mpp process not understood; the worker that sent or received it ends: {beginning}"
            _log.failure(text, beginning=string[:_QUOTED])
            self.close()

    def close(self) -> None:
        """Ignore further messages and close the channel after the sent ones are written, such as a worker's last log line."""
        self._cut_off = True
        self.transport.loseConnection()

    def lengthLimitExceeded(self, length: int) -> None:
        """Abort the connection after a message that is too long."""
        self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Fail the pending requests and report the end of the connection."""
        self._lost = True
        waiting, self._waiting = self._waiting, {}
        for each in waiting.values():
            each.errback(reason)
        self._ended()
