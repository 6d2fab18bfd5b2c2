"""
Calls a function for each of many items, or runs a long calculation, in small steps, so that the reactor can serve clients between
the steps.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import TypeVar

from twisted.internet.defer import Deferred, FirstError, gatherResults
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

T = TypeVar("T")
R = TypeVar("R")

# The start of four operations (of three requests each) takes a few milliseconds: a client's request may not wait longer.
AT_ONCE = 4
# Each step may write a line to the log.
STEPS_AT_ONCE = 16
# A calculation delays requests by less than a slice, and takes a quarter of a core.
SLICE_S = 0.002
PAUSE_S = 0.006


async def of_each(run: Callable[[T], Deferred[R]], those: Iterable[T], clock: IReactorTime) -> list[R]:
    """
    Run an asynchronous operation for each item, all concurrently, but start at most `AT_ONCE` in one iteration of the reactor.

    :param run: starts the operation for one item.
    :return: the results in the order of the items. The first failure, or cancellation, cancels all running operations.
    """
    running: list[Deferred[R]] = []
    try:
        for place, each in enumerate(those):
            if place and place % AT_ONCE == 0:
                await deferLater(clock, 0)
            running.append(run(each))
        return await gatherResults(running, consumeErrors=True)
    # GeneratorExit ends a coroutine that is garbage-collected; a cancellation then would resume the coroutine.
    except Exception as error:
        for one in running:
            one.addErrback(lambda _: None).cancel()
        if isinstance(error, FirstError):
            error.subFailure.raiseException()
        raise


async def with_breaks(step: Callable[[T], object], those: Iterable[T], clock: IReactorTime) -> None:
    """Call a function for each item, in order, but for at most `STEPS_AT_ONCE` items in one iteration of the reactor."""
    for place, each in enumerate(those):
        if place and place % STEPS_AT_ONCE == 0:
            await deferLater(clock, 0)
        step(each)


async def in_slices(steps: Generator[object, None, R], clock: IReactorTime, pause: float = PAUSE_S) -> R:
    """
    Run a calculation to its end, with a pause whenever it has run for `SLICE_S` seconds.

    :param steps: does a part of the calculation at each step; a step is not interrupted.
    :param pause: the length of a pause in seconds; with 0, the reactor only processes the events that are due.
    :return: the return value of the generator.
    """
    until = clock.seconds() + SLICE_S
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: R = end.value
            return result
        if clock.seconds() >= until:
            await deferLater(clock, pause)
            until = clock.seconds() + SLICE_S
