"""A thread for long calculations that release the interpreter's lock, so that the reactor does not wait for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

T = TypeVar("T")


class BackgroundThread:
    """
    One thread, which is started at the first call.

    :param reactor: the reactor, in whose thread the Deferreds fire.
    :param name: the name of the thread.
    """

    def __init__(self, reactor: Any, name: str) -> None:
        self._reactor = reactor
        self._pool = ThreadPool(0, 1, name)

    def __call__(self, function: Callable[[], T]) -> Deferred[T]:
        """Call a function in the thread; the Deferred fires with its result, and fails with the exception that it raises."""
        if not self._pool.started:
            self._pool.start()
        answer: Deferred[T] = deferToThreadPool(self._reactor, self._pool, function)
        return answer

    def stop(self) -> None:
        """End the thread after the call that is under way."""
        if self._pool.started:
            self._pool.stop()
