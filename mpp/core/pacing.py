"""
Does something for each of many in small steps, so that the reactor gets to clients' requests between them. Knows nothing of what
is done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from twisted.internet.defer import Deferred, FirstError, gatherResults
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

T = TypeVar("T")
R = TypeVar("R")

# So many beginnings (of three requests each) take a few milliseconds, which is as long as a client's request may be made to wait.
AT_ONCE = 4
# So many steps, each of which may write a line to the log.
STEPS_AT_ONCE = 16


async def of_each(run: Callable[[T], Deferred[R]], those: Iterable[T], clock: IReactorTime) -> list[R]:
    """
    Run something for each of many, all beside each other, but begin no more than `AT_ONCE` in one turn of the reactor.

    :return: what came of each, in order. The first failure, and being cancelled, cancels all that run.
    """
    running: list[Deferred[R]] = []
    try:
        for place, each in enumerate(those):
            if place and place % AT_ONCE == 0:
                await deferLater(clock, 0)
            running.append(run(each))
        return await gatherResults(running, consumeErrors=True)
    # Not GeneratorExit, which ends a coroutine that is dropped: what is cancelled then would go on with it.
    except Exception as error:
        for one in running:
            one.addErrback(lambda _: None).cancel()
        if isinstance(error, FirstError):
            error.subFailure.raiseException()
        raise


async def with_breaks(step: Callable[[T], object], those: Iterable[T], clock: IReactorTime) -> None:
    """Do something for each of many, in order, but for no more than `STEPS_AT_ONCE` in one turn of the reactor."""
    for place, each in enumerate(those):
        if place and place % STEPS_AT_ONCE == 0:
            await deferLater(clock, 0)
        step(each)
