"""For tests that are about an mpp of one process: ``MPP_TEST_WORKERS``, which gives each mpp workers, does not apply to them."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T", bound=Callable[..., Any])

KEPT = ("MPP_PLAIN", "MPP_WORKERS")
"""The variables of mpp that say how the tests run; a test that removes all others keeps these."""


@contextmanager
def _alone() -> Iterator[None]:
    workers = os.environ.pop("MPP_WORKERS", None)
    try:
        yield
    finally:
        if workers is not None:
            os.environ["MPP_WORKERS"] = workers


def one_process(reason: str) -> Callable[[T], T]:
    """
    Return a decorator that lets mpp run as one process in a test, or in all tests of a class and their ``setUp``.

    An mpp that the ``setUp`` of an undecorated class starts is not affected by the decorator of one test.

    :param reason: why the test cannot be about several processes.
    """
    assert reason

    def decorate(test: T) -> T:
        if isinstance(test, type):
            test.run = decorate(test.run)  # type: ignore[attr-defined]
            return test

        @functools.wraps(test)
        def alone(*arguments: Any, **more: Any) -> Any:
            with _alone():
                return test(*arguments, **more)

        return alone  # type: ignore[return-value]

    return decorate
