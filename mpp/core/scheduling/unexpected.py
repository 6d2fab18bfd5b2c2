"""
Logs how work in the background has failed that must not fail.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError
from twisted.python.failure import Failure


def log_unexpected(failure: Failure, log: Any, text: str) -> None:
    """
    Log a failure, unless the work was cancelled; an errback.

    :param log: the logger of the module that started the work.
    """
    if not failure.check(CancelledError):
        log.failure(text, failure)
