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
from mpp.core.prometheus.storage_errors import is_storage_error
from mpp.proxy.decisions.retry_policy import ANSWERED, Retry, Verdict

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
class Sent:
    """
    What mpp sent.

    :ivar path: the raw path, without the server's prefix and without the query string.
    :ivar authorization: whose ``Authorization`` went with it.
    """

    path: bytes = b"/"
    authorization: Authorization = Authorization.NONE


@frozen
class Classified:
    """
    What a response means.

    :ivar error: what it says, one line for logs and pages; empty unless it is an error of Prometheus' API.
    """

    verdict: Verdict
    status: int
    error: str = ""

    @property
    def why(self) -> str:
        """What is said of it in logs, one line."""
        return f"answered {self.status}" + (f": {self.error}" if self.error else "")


class Sign(enum.Enum):
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
class Rule:
    """
    One row of the matrix.

    :ivar statuses: the HTTP status is one of these.
    :ivar kind: ``errorType`` of the API error, or what else the response shows; None fits everything.
    :ivar text: the API error's text contains this; with ``exact`` it is this.
    """

    statuses: Collection[int]
    verdict: Verdict
    kind: str | Sign | None = None
    text: str = ""
    exact: bool = False

    def fits(self, status: int, kind: str | Sign, text: str) -> bool:
        """Return whether the row speaks of this response."""
        if status not in self.statuses or (self.kind is not None and kind != self.kind):
            return False
        return text == self.text if self.exact else self.text in text


_SATURATED = Verdict("saturated", Retry.YES, busy=True, elsewhere=True)
_UNAUTHORIZED = Verdict("unauthorized", Retry.YES, Standing.VIABLE, elsewhere=True, mask=True, credentials=True)
_SOFT = Standing.SUSPECT

REFUSED = Verdict("refused", Retry.YES, Standing.BUSY, mask=True)
"""A 503 that is not Prometheus' own: a limiter in front of a server that is well, or a gateway to one that is not there."""
LIMITED = Verdict("limited", Retry.YES, Standing.BUSY, elsewhere=True, mask=True)
"""The same, of a server that was found to be ready when it was asked: another one is tried, and no new selection waited for."""

RULES: tuple[Rule, ...] = (
    Rule((401,), _UNAUTHORIZED, Sign.CREDENTIALS),
    # A label proxy or a forbidden path says so of each server; a gateway of one server may have a rule of its own.
    Rule((403,), Verdict("forbidden", Retry.ONCE, elsewhere=True), Sign.FORBIDDEN),
    # Waited for a query slot until the timeout, up to 2.45 and since.
    Rule((503,), _SATURATED, "timeout", "query timed out in query queue"),
    Rule((400,), _SATURATED, "bad_data", 'invalid parameter "query": context deadline exceeded', exact=True),
    Rule((422,), _SATURATED, "execution", "context deadline exceeded", exact=True),
    # The tokens of `/api/v1/rules` are made of the files' names, which may differ between the servers; the page comes from the
    # server that has made the token. Not known to either: the rules have changed.
    Rule((400,), Verdict("unknown_page", Retry.ONCE, elsewhere=True), Sign.UNKNOWN_PAGE),
    # Too heavy a query: it would be as heavy elsewhere.
    Rule((503,), ANSWERED, "timeout"),
    # Not canceled by us, for we are still listening: the server is going down. 503 up to 2.42, 499 since.
    Rule((503, 499), Verdict("canceled", Retry.ONCE, _SOFT), "canceled"),
    Rule((499,), Verdict("canceled", Retry.ONCE, _SOFT)),
    # Starting, replaying its WAL or stopping.
    Rule((503,), Verdict("not_ready", Retry.YES, Standing.NOT_READY, mask=True), Sign.NOT_READY),
    Rule((500, 503), Verdict("unavailable", Retry.YES, Standing.NOT_READY), "unavailable"),
    Rule((503,), REFUSED, Sign.FOREIGN),
    # A broken block, or a bug that the other server has too.
    Rule((422,), Verdict("storage", Retry.ONCE, _SOFT, elsewhere=True, storage=True), Sign.STORAGE),
    Rule((500,), Verdict("internal", Retry.ONCE, _SOFT), "internal"),
    # Remote read and federation say so of the storage, in plain text; the client gets it if the others say the same.
    Rule((500,), Verdict("server_error", Retry.YES, _SOFT), Sign.FOREIGN),
    # Another mpp sends our request back to us; perhaps another server of ours answers it.
    Rule((508,), Verdict("loop", Retry.YES, _SOFT, mask=True), "loop"),
    Rule(range(501, 600), Verdict("bad_gateway", Retry.YES, _SOFT, mask=True), Sign.FOREIGN),
    Rule((404,), Verdict("lost_route", Retry.YES, _SOFT, elsewhere=True), Sign.LOST_ROUTE),
    # The gateway takes this host for another one (RFC 9110 section 15.5.20).
    Rule((421,), Verdict("misdirected", Retry.YES, _SOFT, elsewhere=True)),
    # It did not wait for the request, or not for the end of TLS' handshake: says nothing about the server
    # (RFC 9110 section 15.5.9, RFC 8470 section 5.2).
    Rule((408,), Verdict("request_timeout", Retry.YES, elsewhere=True)),
    Rule((425,), Verdict("too_early", Retry.YES, elsewhere=True)),
    # A limiter in front of the server: says how busy it is, not how well.
    Rule((429,), Verdict("limited", Retry.YES, busy=True, elsewhere=True)),
)


def classify(status: int, fields: Headers, body: bytes, sent: Sent) -> Classified:
    """
    Return what a response means.

    :param body: as much of it as is at hand, encoded as it came; only the first 64 KiB are looked at.
    :param sent: the request that it answers.
    """
    if status < 400:
        return Classified(ANSWERED, status)
    content = api_errors.decoded(fields, body)
    error = api_errors.parse(content)
    kind = _sign(status, fields, content, sent) or (Sign.FOREIGN if error is None else error.kind)
    text = "" if error is None else error.text
    if kind == "execution" and status == 422 and is_storage_error(text):
        kind = Sign.STORAGE
    elif kind == "bad_data" and status == 400 and text.startswith(_UNKNOWN_TOKEN):
        kind = Sign.UNKNOWN_PAGE
    verdict = next((rule.verdict for rule in RULES if rule.fits(status, kind, text)), ANSWERED)
    return Classified(verdict, status, one_line(text))


def _sign(status: int, fields: Headers, content: bytes | None, sent: Sent) -> Sign | None:
    """Return what the response shows apart from an API error, None if nothing."""
    if status == 503:
        return Sign.NOT_READY if says_not_ready(fields, content) else None
    if status == 404:
        return Sign.LOST_ROUTE if _lost_route(content, sent.path) else None
    if status == 401:
        return Sign.CREDENTIALS if sent.authorization is Authorization.OWN else None
    if status == 403:
        return Sign.FORBIDDEN if sent.authorization is not Authorization.CLIENT else None
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
    return classify(status, fields, body, Sent()).verdict is REFUSED


def _lost_route(content: bytes | None, path: bytes) -> bool:
    """Return whether a 404 comes from something that does not know the way to a Prometheus any more."""
    known = paths.api(path)
    if known is paths.Api.NONE or api_errors.parse(content) is not None:
        return False
    return known is paths.Api.ALWAYS or content is None or content.strip() != _GO_NOT_FOUND


def one_line(text: str) -> str:
    """Return the beginning of a text from elsewhere as it may stand in a log or on a page: one line, no control characters."""
    line = " ".join(text[: 4 * _QUOTED_CHARS].split())
    line = "".join(character if character.isprintable() else "?" for character in line)
    return line if len(line) <= _QUOTED_CHARS else line[: _QUOTED_CHARS - 3] + "..."
