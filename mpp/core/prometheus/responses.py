"""
What a server's response means. Pure, and complete: every response has a verdict.

The matrix is data: the first rule that fits decides, and every row is a test. Statuses and texts are those of Prometheus'
``web/api/v1/api.go`` and ``promql/engine.go``; where they changed between versions the rule says so. A response that is not
Prometheus' own comes from something in front of it (a gateway, a limiter, a sidecar) and is judged by its status.
"""

from __future__ import annotations

import enum
from collections.abc import Collection

from attrs import frozen

from mpp.core import headers
from mpp.core.model import Headers, Standing
from mpp.core.prometheus import api_errors, paths
from mpp.core.prometheus.outcomes import ANSWERED, Outcome, Retry
from mpp.core.prometheus.storage_errors import is_storage_error

# How much of an error is repeated in logs and on pages.
_QUOTED_CHARS = 200
# What Go's HTTP server says of a path that it does not know, and Prometheus of one that its version does not have.
_GO_NOT_FOUND = b"404 page not found"
# Prometheus since 3.0, of a page of the rules whose group it does not have; a token without a limit is another error.
_UNKNOWN_TOKEN = """invalid parameter "group_next_token": invalid group_next_token '"""


class Authorization(enum.Enum):
    """Whose ``Authorization`` a request carried to the server."""

    NONE = "none"
    CLIENT = "client"
    OWN = "own"
    """mpp's, as configured for this server."""


@frozen
class SentRequest:
    """
    What mpp sent.

    :ivar path: the raw path, without the server's prefix and without the query string.
    :ivar authorization: whose ``Authorization`` went with it.
    """

    path: bytes = b"/"
    authorization: Authorization = Authorization.NONE


@frozen
class ClassifiedResponse:
    """
    What a response means.

    :ivar error: what it says, one line for logs and pages; empty unless it is an error of Prometheus' API.
    """

    outcome: Outcome
    status: int
    error: str = ""

    @property
    def why(self) -> str:
        """What is said of it in logs, one line."""
        return f"answered {self.status}" + (f": {self.error}" if self.error else "")


class ResponseSign(enum.Enum):
    """What a response shows that is not (or not only) told by its status and ``errorType``."""

    FOREIGN = "foreign"
    """It is no error of Prometheus' API, and none of the following."""
    NOT_READY = "not ready"
    """Prometheus' own plain text while it starts or stops."""
    STORAGE = "storage"
    """Prometheus cannot read its own storage."""
    LOST_ROUTE = "lost route"
    """Not found, at a path that a Prometheus has."""
    CREDENTIALS = "credentials"
    """mpp's own credentials are refused."""
    UNKNOWN_PAGE = "unknown page"
    """The next page of the rules is asked for by a token that this server does not know."""
    FORBIDDEN = "forbidden"
    """Forbidden, and not for the sake of the client's own credentials."""


@frozen
class ResponseRule:
    """
    One row of the matrix.

    :ivar statuses: the HTTP status is one of these.
    :ivar kind: ``errorType`` of the API error, or what else the response shows; None fits everything.
    :ivar text: the API error's text contains this; with ``exact`` it is this.
    """

    statuses: Collection[int]
    outcome: Outcome
    kind: str | ResponseSign | None = None
    text: str = ""
    exact: bool = False

    def fits(self, status: int, kind: str | ResponseSign, text: str) -> bool:
        """Return whether the row speaks of this response."""
        if status not in self.statuses or (self.kind is not None and kind != self.kind):
            return False
        return text == self.text if self.exact else self.text in text


_SATURATED = Outcome("saturated", Retry.YES, busy=True, elsewhere=True)
_UNAUTHORIZED = Outcome("unauthorized", Retry.YES, Standing.VIABLE, elsewhere=True, hide_from_client=True, credentials=True)
_SOFT = Standing.SUSPECT

REFUSED = Outcome("refused", Retry.YES, Standing.BUSY, hide_from_client=True)
"""A 503 that is not Prometheus' own: a limiter in front of a server that is well, or a gateway to one that is not there."""
LIMITED = Outcome("limited", Retry.YES, Standing.BUSY, elsewhere=True, hide_from_client=True)
"""The same, of a server that was found to be ready when it was asked: another one is tried, and no new selection waited for."""

RULES: tuple[ResponseRule, ...] = (
    ResponseRule((401,), _UNAUTHORIZED, ResponseSign.CREDENTIALS),
    # A label proxy or a forbidden path says so of each server; a gateway of one server may have a rule of its own.
    ResponseRule((403,), Outcome("forbidden", Retry.ONCE, elsewhere=True), ResponseSign.FORBIDDEN),
    # Waited for a query slot until the timeout, up to 2.45 and since.
    ResponseRule((503,), _SATURATED, "timeout", "query timed out in query queue"),
    ResponseRule((400,), _SATURATED, "bad_data", 'invalid parameter "query": context deadline exceeded', exact=True),
    ResponseRule((422,), _SATURATED, "execution", "context deadline exceeded", exact=True),
    # The tokens of `/api/v1/rules` are made of the files' names, which may differ between the servers; the page comes from the
    # server that has made the token. Not known to either: the rules have changed.
    ResponseRule((400,), Outcome("unknown_page", Retry.ONCE, elsewhere=True), ResponseSign.UNKNOWN_PAGE),
    # Too heavy a query: it would be as heavy elsewhere.
    ResponseRule((503,), ANSWERED, "timeout"),
    # Not canceled by us, for we are still listening: the server is going down. 503 up to 2.42, 499 since.
    ResponseRule((503, 499), Outcome("canceled", Retry.ONCE, _SOFT), "canceled"),
    ResponseRule((499,), Outcome("canceled", Retry.ONCE, _SOFT)),
    # Starting, replaying its WAL or stopping.
    ResponseRule((503,), Outcome("not_ready", Retry.YES, Standing.NOT_READY, hide_from_client=True), ResponseSign.NOT_READY),
    ResponseRule((500, 503), Outcome("unavailable", Retry.YES, Standing.NOT_READY), "unavailable"),
    ResponseRule((503,), REFUSED, ResponseSign.FOREIGN),
    # A broken block, or a bug that the other server has too.
    ResponseRule((422,), Outcome("storage", Retry.ONCE, _SOFT, elsewhere=True, storage=True), ResponseSign.STORAGE),
    ResponseRule((500,), Outcome("internal", Retry.ONCE, _SOFT), "internal"),
    # Remote read and federation say so of the storage, in plain text; the client gets it if the others say the same.
    ResponseRule((500,), Outcome("server_error", Retry.YES, _SOFT), ResponseSign.FOREIGN),
    # Another mpp sends our request back to us; perhaps another server of ours answers it.
    ResponseRule((508,), Outcome("loop", Retry.YES, _SOFT, hide_from_client=True), "loop"),
    ResponseRule(range(501, 600), Outcome("bad_gateway", Retry.YES, _SOFT, hide_from_client=True), ResponseSign.FOREIGN),
    ResponseRule((404,), Outcome("lost_route", Retry.YES, _SOFT, elsewhere=True), ResponseSign.LOST_ROUTE),
    # The gateway takes this host for another one (RFC 9110 section 15.5.20).
    ResponseRule((421,), Outcome("misdirected", Retry.YES, _SOFT, elsewhere=True)),
    # It did not wait for the request, or not for the end of TLS' handshake: says nothing about the server
    # (RFC 9110 section 15.5.9, RFC 8470 section 5.2).
    ResponseRule((408,), Outcome("request_timeout", Retry.YES, elsewhere=True)),
    ResponseRule((425,), Outcome("too_early", Retry.YES, elsewhere=True)),
    # A limiter in front of the server: says how busy it is, not how well.
    ResponseRule((429,), Outcome("limited", Retry.YES, busy=True, elsewhere=True)),
)


def classify(status: int, fields: Headers, body: bytes, sent: SentRequest) -> ClassifiedResponse:
    """
    Return what a response means.

    :param body: as much of it as is at hand, encoded as it came; only the first 64 KiB are looked at.
    :param sent: the request that it answers.
    """
    if status < 400:
        return ClassifiedResponse(ANSWERED, status)
    content = api_errors.decoded(fields, body)
    error = api_errors.parse(content)
    kind = _sign(status, fields, content, sent) or (ResponseSign.FOREIGN if error is None else error.kind)
    text = "" if error is None else error.text
    if kind == "execution" and status == 422 and is_storage_error(text):
        kind = ResponseSign.STORAGE
    elif kind == "bad_data" and status == 400 and text.startswith(_UNKNOWN_TOKEN):
        kind = ResponseSign.UNKNOWN_PAGE
    outcome = next((rule.outcome for rule in RULES if rule.fits(status, kind, text)), ANSWERED)
    return ClassifiedResponse(outcome, status, one_line(text))


def _sign(status: int, fields: Headers, content: bytes | None, sent: SentRequest) -> ResponseSign | None:
    """Return what the response shows apart from an API error, None if nothing."""
    if status == 503:
        return ResponseSign.NOT_READY if says_not_ready(fields, content) else None
    if status == 404:
        return ResponseSign.LOST_ROUTE if _lost_route(content, sent.path) else None
    if status == 401:
        return ResponseSign.CREDENTIALS if sent.authorization is Authorization.OWN else None
    if status == 403:
        return ResponseSign.FORBIDDEN if sent.authorization is not Authorization.CLIENT else None
    return None


def says_not_ready(fields: Headers, content: bytes | None) -> bool:
    """
    Return whether a 503 is what a Prometheus itself says while it starts, replays its WAL or stops (``web/web.go``).

    :param content: the body, decoded.
    """
    own = content is not None and content.strip() == b"Service Unavailable"
    # Since 3.0, with "true" or "false".
    return own or bool(headers.values(fields, b"x-prometheus-stopping"))


def is_foreign_503(status: int, fields: Headers, body: bytes) -> bool:
    """Return whether a response is a 503 that no Prometheus sent, see `REFUSED`."""
    return classify(status, fields, body, SentRequest()).outcome is REFUSED


def _lost_route(content: bytes | None, path: bytes) -> bool:
    """Return whether a 404 comes from something that does not know the way to a Prometheus any more."""
    known = paths.api(path)
    if known is paths.APIPath.NONE or api_errors.parse(content) is not None:
        return False
    return known is paths.APIPath.ALWAYS or content is None or content.strip() != _GO_NOT_FOUND


def one_line(text: str) -> str:
    """Return the beginning of a text from elsewhere as it may stand in a log or on a page: one line, no control characters."""
    line = " ".join(text[: 4 * _QUOTED_CHARS].split())
    line = "".join(character if character.isprintable() else "?" for character in line)
    return line if len(line) <= _QUOTED_CHARS else line[: _QUOTED_CHARS - 3] + "..."
