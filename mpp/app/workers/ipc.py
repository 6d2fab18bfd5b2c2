"""
The line between the parent and a worker: words, questions and their answers, in JSON over a pair of sockets.

It knows none of the words. Who says one that is not known, or something that is no word at all, is cut off.
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

# Ten thousand backends, or the metrics of a thousand.
_LONGEST = 64 * MIB

# In bytes: the word, and nothing of settings.
_QUOTED = 12

NotificationHandlers = Mapping[str, Callable[..., object]]
RequestHandlers = Mapping[str, Callable[..., "Deferred[Any]"]]


@implementer(IFileDescriptorReceiver)
class IPCChannel(Int32StringReceiver):
    """
    One end.

    :param handlers: what may be said here, and what is then called with what follows.
    :param questions: what may be asked here, and what gives the answer.
    :param ended: called once, when there is nobody at the other end any more.
    :param received: called with each file descriptor that comes, before the word that was said after it.
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

    def notify(self, word: str, *values: object) -> None:
        """Say something."""
        self.notify_encoded(json.dumps([word, *values]))

    def notify_encoded(self, text: str) -> None:
        """Say something that has been encoded already."""
        if not self._lost:
            self.sendString(text.encode())  # type: ignore[no-untyped-call]

    def send_descriptor(self, descriptor: int) -> None:
        """Have the other end get a copy of a file descriptor. To be followed by a word, with which it goes."""
        if not self._lost:
            self.transport.sendFileDescriptor(descriptor)

    def fileDescriptorReceived(self, descriptor: int) -> None:
        """Pass it on."""
        self._received(descriptor)

    def request(self, question: str, *values: object, timeout: float | None = None) -> Deferred[Any]:
        """
        Ask something.

        :return Deferred: fires with the answer. Fails with Twisted's ``TimeoutError`` after ``timeout`` seconds, and with
            ``ConnectionDone`` when the other end is gone. May be cancelled.
        """
        if self._lost:
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
        answer.addErrback(lambda failure: _log.failure("Bug: no answer to {question}", failure, question=question))

    def _responded(self, number: int, value: Any) -> None:
        # Whoever asked may have given up.
        waiting = self._waiting.pop(number, None)
        if waiting is not None:
            waiting.callback(value)

    def stringReceived(self, string: bytes) -> None:
        """Do as told."""
        if self._cut_off:
            return
        try:
            word, *values = json.loads(string)
            self._handlers[word](*values)
        except Exception:
            _log.failure("Not understood, cut off: {beginning}", beginning=string[:_QUOTED])
            self.close()

    def close(self) -> None:
        """Listen no more. What was said before still goes out: why, if it is a worker who hangs up."""
        self._cut_off = True
        self.transport.loseConnection()

    def lengthLimitExceeded(self, length: int) -> None:
        """Listen no more."""
        self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell who waits for an answer."""
        self._lost = True
        waiting, self._waiting = self._waiting, {}
        for each in waiting.values():
            each.errback(reason)
        self._ended()
