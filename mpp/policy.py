"""
What a failed attempt means, and what to do next. Pure, and complete: every failure has a verdict. What a response means is known
to `mpp.responses`.
"""

from __future__ import annotations

import enum
import json
import random
import re
import zlib
from collections.abc import Collection

from attrs import frozen

from mpp import headers
from mpp.errors import Cause, Phase, UpstreamError
from mpp.model import Backend, Headers, Selection, Standing


class Retry(enum.Enum):
    """Whether a read may be tried on another backend."""

    NO = "no"
    ONCE = "once"
    """On one other backend, if this was the first attempt: the same fault may well be there too."""
    YES = "yes"


@frozen
class Verdict:
    """
    What the outcome of one attempt means.

    :ivar reason: short word for metrics and logs.
    :ivar retry: whether a read belongs on another backend.
    :ivar standing: what the backend is worth from now on, or None when its standing is not touched.
    :ivar crash: the server may have died of this very request.
    :ivar resend: nothing was sent, so that even a write may be repeated.
    :ivar busy: the server has more to do than it can: only one that is not busy itself is worth a try.
    :ivar mask: when no backend is left, the client gets mpp's own error instead of this answer.
    :ivar elsewhere: only a backend that has not been tried is worth a retry, a new selection is not waited for. Unless it is to
        be masked, the client gets this answer when no other backend does better.
    :ivar credentials: mpp's own credentials are refused.
    :ivar storage: the server cannot read a part of its own storage.
    """

    reason: str
    retry: Retry
    standing: Standing | None = None
    crash: bool = False
    resend: bool = False
    busy: bool = False
    mask: bool = False
    elsewhere: bool = False
    credentials: bool = False
    storage: bool = False


ANSWERED = Verdict("answered", Retry.NO)


# No error text of Prometheus comes near this; it bounds the work on an error page of something else.
_JUDGED_BYTES = 64 * 1024


@frozen
class Rule:
    """
    One row of the matrix for answers. Empty conditions fit everything.

    :ivar statuses: the HTTP status is one of these.
    :ivar error_type: ``errorType`` of the JSON error; ``None`` fits an answer that is not a Prometheus error at all.
    :ivar error: ``error`` of the JSON error contains this; with ``exact`` it is this.
    """

    statuses: Collection[int]
    verdict: Verdict
    error_type: str | None = ""
    error: str = ""
    exact: bool = False

    def fits(self, status: int, error_type: str | None, error: str) -> bool:
        """Tell whether the row speaks of this answer."""
        if status not in self.statuses or (self.error_type != "" and error_type != self.error_type):
            return False
        return error == self.error if self.exact else self.error in error


_SATURATED = Verdict("saturated", Retry.YES, busy=True)
_NOT_READY = Verdict("not_ready", Retry.YES, Standing.NOT_READY, mask=True)
_SOFT = Standing.SUSPECT

RULES: tuple[Rule, ...] = (
    # Waited for a query slot until the timeout, up to 2.45 and since.
    Rule((503,), _SATURATED, "timeout", "query timed out in query queue"),
    Rule((400,), _SATURATED, "bad_data", 'invalid parameter "query": context deadline exceeded', exact=True),
    Rule((422,), _SATURATED, "execution", "context deadline exceeded", exact=True),
    # Too heavy a query: it would be as heavy elsewhere.
    Rule((503,), ANSWERED, "timeout"),
    # Not canceled by us, for we are still listening: the server is going down. 503 up to 2.42, 499 since.
    Rule((503, 499), Verdict("canceled", Retry.ONCE, _SOFT), "canceled"),
    Rule((499,), Verdict("canceled", Retry.ONCE, _SOFT)),
    # Starting, replaying its WAL or stopping: "Service Unavailable" in plain text, or whatever a sidecar says.
    Rule((503,), _NOT_READY, None),
    Rule((500, 503), Verdict("unavailable", Retry.YES, Standing.NOT_READY), "unavailable"),
    # Storage trouble of this one server, or a bug that the other has too.
    Rule((500,), Verdict("internal", Retry.ONCE, _SOFT), "internal"),
    Rule((500,), Verdict("server_error", Retry.YES, _SOFT), None),
    Rule((502, 504), Verdict("bad_gateway", Retry.YES, _SOFT, mask=True), None),
    # A limiter in front of the server: says how busy it is, not how well.
    Rule((429,), Verdict("limited", Retry.YES, busy=True)),
)


def judge_answer(status: int, fields: Headers, body: bytes) -> Verdict:
    """
    Judge a response.

    :param body: as much of the body as is at hand, encoded as it came.
    """
    if status < 400:
        return ANSWERED
    error_type, error = _prometheus_error(fields, body)
    for rule in RULES:
        if rule.fits(status, error_type, error):
            return rule.verdict
    return ANSWERED


# Prometheus writes the status first and no blanks; other servers of this API may write some.
_SUCCESS = re.compile(rb'\s*\{\s*"status"\s*:\s*"success"')


def is_proof(status: int, fields: Headers, body: bytes) -> bool:
    """
    Return whether a response proves that a server answers queries: a success of the API, not just any page with a good status.

    :param body: as much of the body as is at hand, encoded as it came.
    """
    try:
        return status == 200 and _SUCCESS.match(_decoded(fields, body)) is not None
    except zlib.error:
        return False


def _prometheus_error(fields: Headers, body: bytes) -> tuple[str | None, str]:
    """Give ``errorType`` and ``error`` of an API error; (None, "") when the body is none."""
    try:
        found = json.loads(_decoded(fields, body))
        return str(found["errorType"]), str(found.get("error", ""))
    except (ValueError, KeyError, TypeError, AttributeError, zlib.error, RecursionError):
        return None, ""


def _decoded(fields: Headers, body: bytes) -> bytes:
    """Undo gzip or deflate, the encodings Prometheus uses, up to a bound."""
    encodings = headers.values(fields, b"content-encoding")
    if not encodings:
        return body[:_JUDGED_BYTES]
    # 32: zlib finds out itself whether it is gzip or deflate.
    return zlib.decompressobj(zlib.MAX_WBITS | 32).decompress(body, _JUDGED_BYTES)


_CONNECT_STANDING: dict[Cause, Standing | None] = {
    Cause.REFUSED: Standing.DOWN,
    Cause.UNREACHABLE: Standing.DOWN,
    Cause.TLS: Standing.DOWN,
    # A full accept queue looks the same, so it is no proof.
    Cause.TIMEOUT: Standing.SUSPECT,
    Cause.RESET: Standing.SUSPECT,
    Cause.CLOSED: Standing.SUSPECT,
    Cause.GARBLED: Standing.SUSPECT,
    Cause.FULL: None,
    Cause.LOCAL: None,
}


def judge_failure(error: UpstreamError) -> Verdict:
    """Judge an attempt that brought no usable answer. Stale connections are not attempts and do not come here."""
    reason = error.cause.value if error.phase is not Phase.BODY else f"truncated_{error.cause.value}"
    if error.phase is Phase.CONNECT:
        return Verdict(reason, Retry.YES, _CONNECT_STANDING[error.cause], resend=True)
    return Verdict(reason, Retry.YES, Standing.SUSPECT, crash=error.cause in (Cause.RESET, Cause.CLOSED))


def may_retry(verdict: Verdict, *, read: bool, attempts: int, retries: int, crashes: int) -> bool:
    """
    Decide whether one more backend is tried.

    :param read: the request changes nothing on the server.
    :param attempts: how many have been made.
    :param retries: how many may be made beyond the first.
    :param crashes: how many servers may have died under this request: not a third one.
    """
    if attempts > retries or crashes >= 2 or not (read or verdict.resend):
        return False
    return verdict.retry is Retry.YES or (verdict.retry is Retry.ONCE and attempts == 1)


def choose(
    selection: Selection, preferred: Backend | None, tried: Collection[Backend], rng: random.Random, *, renewed: bool = False
) -> Backend | None:
    """
    Pick the backend for the next attempt.

    :param preferred: where affinity wants the client to be.
    :param tried: backends that failed this request already.
    :param renewed: the selection was made after all of them had failed: whoever it selects deserves another try.
    :return: the preferred one, else any selected one, else the best standby; None when all have been tried.
    """
    if preferred is not None and preferred not in tried:
        return preferred
    selected = [b for b in selection.selected if b not in tried] if tried else selection.selected
    if not selected and renewed:
        selected = selection.selected
    if selected:
        return selected[0] if len(selected) == 1 else rng.choice(selected)
    return next((b for b in selection.choice.standbys if b not in tried), None)


def is_better_elsewhere(verdict: Verdict, selection: Selection, tried: Collection[Backend], rng: random.Random) -> bool:
    """Return whether there is another backend to try; what one is too busy for is of use only to one that has less to do."""
    backend = choose(selection, None, tried, rng)
    return backend is not None and not (verdict.busy and selection.is_busy(backend))


def spare(selection: Selection, chosen: Backend | None, unfit: Collection[Backend], rng: random.Random) -> Backend | None:
    """
    Return the backend for the first attempt where some cannot read what is asked for: another usable one, if there is one.

    :param chosen: the one that would be asked otherwise.
    :param unfit: those that cannot read it.
    """
    if chosen not in unfit:
        return chosen
    other = choose(selection, None, unfit, rng)
    return other if other is not None and selection.is_usable(other) else chosen


def may_hold(status: int, fields: Headers) -> bool:
    """Tell whether an answer may be held back: an endless event stream must not be (HTML standard, section 9.2)."""
    return not any(value.lower().startswith(b"text/event-stream") for value in headers.values(fields, b"content-type"))
