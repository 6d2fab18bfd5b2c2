"""What a client is told when no backend has answered it. Pure."""

from __future__ import annotations

from typing import NamedTuple

from mpp.selection.query_of_death import REMEMBERED_S

# What a client is told to wait before it asks again (Retry-After): by then a round has passed.
RETRY_AFTER_S = 5


class LocalReply(NamedTuple):
    """
    An answer of mpp's own.

    :ivar error_type: as Prometheus' API would say.
    :ivar retry_after: seconds, or None.
    """

    status: int
    error_type: str
    message: str
    retry_after: int | None = None


UNKNOWN = LocalReply(503, "unavailable", "no Prometheus server is known; see /mpp/status", RETRY_AFTER_S)
BUG = LocalReply(500, "internal", "internal error of mpp, see its log")


def loop_detected(token: str) -> LocalReply:
    """
    Return the response to a request that this mpp has sent itself.

    :param token: of this mpp, by which it recognizes the response.
    """
    message = f"this request has come back to the mpp that sent it ({token}): it is listed among its own servers"
    return LocalReply(508, "loop", message)


def not_repeatable(last: str) -> LocalReply:
    """Refuse to repeat what must not be done twice."""
    message = f"the request may have been carried out, its answer is lost; it is not repeated; last: {last}"
    return LocalReply(502, "unavailable", message)


def query_of_death(crashes: int, servers: int, last: str) -> LocalReply:
    """
    Refuse to try a further server with a request that may have killed some.

    :param crashes: how often it was broken off, at least twice.
    :param servers: by how many different servers.
    """
    who = f"{servers} servers broke off" if servers > 1 else f"one server broke off {crashes} times"
    message = f"{who} under this request; it is not tried on another; last: {last}"
    return LocalReply(502, "unavailable", message)


def unauthorized(last: str) -> LocalReply:
    """Return the response for when all servers that were asked refuse the credentials that mpp has for them."""
    return LocalReply(502, "unavailable", f"the servers refuse mpp's credentials; last: {last}")


def suspected(last: str) -> LocalReply:
    """
    Refuse to send a read that a server may have died of to the last healthy server.

    :param last: what that server did, in one line; empty if another request saw it.
    """
    when = "" if last else f"less than {REMEMBERED_S / 60:g} minutes ago "
    message = (
        f"{when}a server broke off while it ran this query, and may have died of it; it is not sent to the last healthy server"
    )
    return LocalReply(502, "unavailable", f"{message}; last: {last}" if last else message)


def exhausted(tried: int, last: str) -> LocalReply:
    """Say that nobody could."""
    return LocalReply(503, "unavailable", f"no Prometheus server could answer, tried {tried}; last: {last}", RETRY_AFTER_S)


def deadline_exceeded(seconds: float, why: str, *, read: bool) -> LocalReply:
    """Say that the client's time is over."""
    maybe = "" if read else ", the request may have been carried out"
    return LocalReply(504, "timeout", f"no answer within {seconds:g} s{maybe}: {why}")
