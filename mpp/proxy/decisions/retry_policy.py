"""
Decides what a failed attempt means and which backend is tried next. Pure, and complete: every failure has an outcome.
`mpp.core.prometheus.responses` classifies responses.
"""

from __future__ import annotations

import random
import re
from collections.abc import Collection

from mpp.core.errors import Cause, Phase, UpstreamError
from mpp.core.http import headers
from mpp.core.model import Backend, Headers, Selection, Standing
from mpp.core.prometheus import api_errors
from mpp.core.prometheus.outcomes import Outcome, Retry

# Prometheus writes the status first and no blanks; other servers of this API may write some.
_SUCCESS = re.compile(rb'\s*\{\s*"status"\s*:\s*"success"')


def is_proof(status: int, fields: Headers, body: bytes) -> bool:
    """
    Return whether a response proves that a server answers queries: it is a success of the API, not another page with status 200.

    :param body: the buffered beginning of the body, encoded as received.
    """
    content = api_errors.decoded(fields, body) if status == 200 else None
    return content is not None and _SUCCESS.match(content) is not None


_CONNECT_STANDING: dict[Cause, Standing | None] = {
    Cause.REFUSED: Standing.DOWN,
    Cause.UNREACHABLE: Standing.DOWN,
    Cause.TLS: Standing.DOWN,
    # A full accept queue has the same effect, so it is no proof that the server is down.
    Cause.TIMEOUT: Standing.SUSPECT,
    Cause.RESET: Standing.SUSPECT,
    Cause.CLOSED: Standing.SUSPECT,
    Cause.GARBLED: Standing.SUSPECT,
    Cause.FULL: None,
    Cause.LOCAL: None,
}


def judge_failure(error: UpstreamError) -> Outcome:
    """Return the outcome of an attempt that failed without a response. A dead kept connection alone is no failed attempt."""
    reason = error.cause.value if error.phase is not Phase.BODY else f"truncated_{error.cause.value}"
    if error.phase is Phase.CONNECT:
        return Outcome(reason, Retry.YES, _CONNECT_STANDING[error.cause], resend=True)
    return Outcome(reason, Retry.YES, Standing.SUSPECT, crash=error.cause in (Cause.RESET, Cause.CLOSED))


def may_retry(outcome: Outcome, *, read: bool, attempts: int, retries: int, crashes: int) -> bool:
    """
    Decide whether another attempt is made.

    :param read: whether the request is a read, which may be sent again.
    :param attempts: the number of attempts so far.
    :param retries: the number of attempts allowed beyond the first.
    :param crashes: the number of attempts whose connection broke; after two, the request is not sent again.
    """
    if attempts > retries or crashes >= 2 or not (read or outcome.resend):
        return False
    return outcome.retry is Retry.YES or (outcome.retry is Retry.ONCE and attempts == 1)


def choose(
    selection: Selection, preferred: Backend | None, tried: Collection[Backend], rng: random.Random, *, renewed: bool = False
) -> Backend | None:
    """
    Choose the backend for the next attempt.

    :param preferred: the backend that an affinity prefers, or None.
    :param tried: the backends that failed this request already.
    :param renewed: whether the selection was made after all of them had failed; then its selected backends may be tried again.
    :return: the preferred backend, else any selected one, else the best standby; None if all have been tried.
    """
    if preferred is not None and preferred not in tried:
        return preferred
    selected = [b for b in selection.selected if b not in tried] if tried else selection.selected
    if not selected and renewed:
        selected = selection.selected
    if selected:
        return selected[0] if len(selected) == 1 else rng.choice(selected)
    return next((b for b in selection.choice.standbys if b not in tried), None)


def is_better_elsewhere(outcome: Outcome, selection: Selection, tried: Collection[Backend], rng: random.Random) -> bool:
    """Return whether there is another backend to try; if the request failed because a backend was busy, one that is not busy."""
    backend = choose(selection, None, tried, rng)
    return backend is not None and not (outcome.busy and selection.is_busy(backend))


def spare(selection: Selection, chosen: Backend | None, unfit: Collection[Backend], rng: random.Random) -> Backend | None:
    """
    Return the backend for the first attempt of a query whose data some backends cannot read: a usable one that can, if possible.

    :param chosen: the backend that would be tried otherwise.
    :param unfit: the backends that cannot read the data of the query.
    """
    if chosen not in unfit:
        return chosen
    other = choose(selection, None, unfit, rng)
    return other if other is not None and selection.is_usable(other) else chosen


def may_buffer(status: int, fields: Headers) -> bool:
    """Return whether a response may be buffered: an endless event stream must not be (HTML standard, section 9.2)."""
    return not any(value.lower().startswith(b"text/event-stream") for value in headers.values(fields, b"content-type"))
