"""
Classifies the responses of servers. Pure.

The rules are a table: the first one that fits decides, and a test covers every row. Statuses and texts come from Prometheus'
``web/api/v1/api.go`` and ``promql/engine.go``; comments name the versions where they differ. A response that is not from
Prometheus itself comes from an intermediary in front of it (a gateway, a limiter, a sidecar) and is classified by its status.
"""

from __future__ import annotations

import enum
from collections.abc import Collection

from attrs import frozen

from mpp.core.http import headers
from mpp.core.model import Headers, Standing
from mpp.core.prometheus import api_errors, paths
from mpp.core.prometheus.outcomes import ANSWERED, Outcome, Retry
from mpp.core.prometheus.storage_errors import is_storage_error

# The maximum length of an error in logs and on pages.
_QUOTED_CHARS = 200
# The response of Go's HTTP server, and so of Prometheus, to a path that it does not serve.
_GO_NOT_FOUND = b"404 page not found"
# Prometheus since 3.0: the token of a page of the rules names an unknown group. A token without a limit is another error.
_UNKNOWN_TOKEN = """invalid parameter "group_next_token": invalid group_next_token '"""


class Authorization(enum.Enum):
    """The origin of the ``Authorization`` field in a request to a server."""

    NONE = "none"
    CLIENT = "client"
    OWN = "own"
    """Configured in mpp for this server."""


@frozen
class SentRequest:
    """
    The properties of a request to a server that the meaning of its response depends on.

    :ivar path: the raw path, without the server's prefix and without the query string.
    :ivar authorization: whether its ``Authorization`` field is the client's or mpp's own, or it has none.
    """

    path: bytes = b"/"
    authorization: Authorization = Authorization.NONE


@frozen
class ClassifiedResponse:
    """
    A response with its outcome.

    :ivar error: the error message, one line for logs and pages; empty unless the response is an error of Prometheus' API.
    """

    outcome: Outcome
    status: int
    error: str = ""

    @property
    def why(self) -> str:
        """The description of the response for logs, one line."""
        return f"answered {self.status}" + (f": {self.error}" if self.error else "")


class ResponseSign(enum.Enum):
    """A kind of response that its status and ``errorType`` alone do not identify."""

    FOREIGN = "foreign"
    """The response is no error of Prometheus' API, and is of none of the other kinds here."""
    NOT_READY = "not ready"
    """The plain text of Prometheus itself while it starts or stops."""
    STORAGE = "storage"
    """Prometheus cannot read its own storage."""
    LOST_ROUTE = "lost route"
    """A 404, although Prometheus serves the path: an intermediary has lost its route to the server."""
    CREDENTIALS = "credentials"
    """A 401 to a request with credentials of mpp itself."""
    UNKNOWN_PAGE = "unknown page"
    """The request for the next page of ``/api/v1/rules`` has a token that this server does not know."""
    FORBIDDEN = "forbidden"
    """A 403 to a request without credentials of the client."""


@frozen
class ResponseRule:
    """
    One row of the table of rules.

    :ivar statuses: the HTTP statuses that fit.
    :ivar kind: the ``errorType`` of the API error, or a `ResponseSign` for another kind of response; None fits all responses.
    :ivar text: a part of the API error's text, or with ``exact`` the whole text.
    """

    statuses: Collection[int]
    outcome: Outcome
    kind: str | ResponseSign | None = None
    text: str = ""
    exact: bool = False

    def fits(self, status: int, kind: str | ResponseSign, text: str) -> bool:
        """Return whether the rule applies to a response."""
        if status not in self.statuses or (self.kind is not None and kind != self.kind):
            return False
        return text == self.text if self.exact else self.text in text


_SATURATED = Outcome("saturated", Retry.YES, busy=True, elsewhere=True)
_UNAUTHORIZED = Outcome("unauthorized", Retry.YES, Standing.VIABLE, elsewhere=True, hide_from_client=True, credentials=True)
_SOFT = Standing.SUSPECT

REFUSED = Outcome("refused", Retry.YES, Standing.BUSY, hide_from_client=True)
"""A 503 that is not from Prometheus: from a limiter in front of a healthy server, or a gateway to a missing one."""
LIMITED = Outcome("limited", Retry.YES, Standing.BUSY, elsewhere=True, hide_from_client=True)
"""A `REFUSED` response of a server that proved to be ready: the retry goes to another one, without a new selection."""

RULES: tuple[ResponseRule, ...] = (
    ResponseRule((401,), _UNAUTHORIZED, ResponseSign.CREDENTIALS),
    # A label proxy rejects the request for every server; a gateway of one server may have a rule of its own.
    ResponseRule((403,), Outcome("forbidden", Retry.ONCE, elsewhere=True), ResponseSign.FORBIDDEN),
    # The query waited for a query slot until its timeout: versions up to 2.45, then later ones.
    ResponseRule((503,), _SATURATED, "timeout", "query timed out in query queue"),
    ResponseRule((400,), _SATURATED, "bad_data", 'invalid parameter "query": context deadline exceeded', exact=True),
    ResponseRule((422,), _SATURATED, "execution", "context deadline exceeded", exact=True),
    # The tokens of `/api/v1/rules` are made of the names of files, which may differ between the servers: the server that made the
    # token has to answer. If no server knows it, the rules have changed.
    ResponseRule((400,), Outcome("unknown_page", Retry.ONCE, elsewhere=True), ResponseSign.UNKNOWN_PAGE),
    # The query is too expensive, on other servers too.
    ResponseRule((503,), ANSWERED, "timeout"),
    # mpp has not canceled the query, so the server is shutting down. 503 up to 2.42, 499 since.
    ResponseRule((503, 499), Outcome("canceled", Retry.ONCE, _SOFT), "canceled"),
    ResponseRule((499,), Outcome("canceled", Retry.ONCE, _SOFT)),
    # The server starts, replays its WAL or stops.
    ResponseRule((503,), Outcome("not_ready", Retry.YES, Standing.NOT_READY, hide_from_client=True), ResponseSign.NOT_READY),
    ResponseRule((500, 503), Outcome("unavailable", Retry.YES, Standing.NOT_READY), "unavailable"),
    ResponseRule((503,), REFUSED, ResponseSign.FOREIGN),
    # The server has a broken block, or a bug that the other server has too.
    ResponseRule((422,), Outcome("storage", Retry.ONCE, _SOFT, elsewhere=True, storage=True), ResponseSign.STORAGE),
    ResponseRule((500,), Outcome("internal", Retry.ONCE, _SOFT), "internal"),
    # Remote read and federation report storage errors in plain text; the client gets one if the other servers fail too.
    ResponseRule((500,), Outcome("server_error", Retry.YES, _SOFT), ResponseSign.FOREIGN),
    # The server is another mpp that sends the request back to this one; another server may answer it.
    ResponseRule((508,), Outcome("loop", Retry.YES, _SOFT, hide_from_client=True), "loop"),
    ResponseRule(range(501, 600), Outcome("bad_gateway", Retry.YES, _SOFT, hide_from_client=True), ResponseSign.FOREIGN),
    ResponseRule((404,), Outcome("lost_route", Retry.YES, _SOFT, elsewhere=True), ResponseSign.LOST_ROUTE),
    # A gateway confuses this host with another one (RFC 9110 section 15.5.20).
    ResponseRule((421,), Outcome("misdirected", Retry.YES, _SOFT, elsewhere=True)),
    # The server did not wait for the whole request, or for the end of the TLS handshake: no evidence against the server
    # (RFC 9110 section 15.5.9, RFC 8470 section 5.2).
    ResponseRule((408,), Outcome("request_timeout", Retry.YES, elsewhere=True)),
    ResponseRule((425,), Outcome("too_early", Retry.YES, elsewhere=True)),
    # A limiter in front of the server: the server is busy, but may be healthy.
    ResponseRule((429,), Outcome("limited", Retry.YES, busy=True, elsewhere=True)),
)


def classify(status: int, fields: Headers, body: bytes, sent: SentRequest) -> ClassifiedResponse:
    """
    Return the classification of a response.

    :param body: the available part of the body, encoded as received; only the first 64 KiB are examined.
    :param sent: the request that led to the response.
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
    """Return the kind of a response that is not identified by its API error; None for no such kind."""
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
    Return whether a 503 comes from Prometheus itself while it starts, replays its WAL or stops (``web/web.go``).

    :param content: the decoded body.
    """
    own = content is not None and content.strip() == b"Service Unavailable"
    # Since 3.0, with "true" or "false".
    return own or bool(headers.values(fields, b"x-prometheus-stopping"))


def is_foreign_503(status: int, fields: Headers, body: bytes) -> bool:
    """Return whether a response is a 503 that no Prometheus sent, see `REFUSED`."""
    return classify(status, fields, body, SentRequest()).outcome is REFUSED


def _lost_route(content: bytes | None, path: bytes) -> bool:
    """Return whether a 404 comes from an intermediary that has lost its route to Prometheus."""
    known = paths.api(path)
    if known is paths.APIPath.NONE or api_errors.parse(content) is not None:
        return False
    return known is paths.APIPath.ALWAYS or content is None or content.strip() != _GO_NOT_FOUND


def one_line(text: str) -> str:
    """Return the beginning of a text from a server, for a log or a page: one line, without control characters."""
    line = " ".join(text[: 4 * _QUOTED_CHARS].split())
    line = "".join(character if character.isprintable() else "?" for character in line)
    return line if len(line) <= _QUOTED_CHARS else line[: _QUOTED_CHARS - 3] + "..."
