"""The errors that mpp sends itself (local replies), to requests that no backend has answered. Pure."""

from __future__ import annotations

from typing import NamedTuple

from mpp.selection.query_of_death import REMEMBERED_S

# The seconds in Retry-After; a selection round takes less.
RETRY_AFTER_S = 5


class LocalReply(NamedTuple):
    """
    An error that mpp sends itself, in the format of Prometheus' API.

    :ivar error_type: the field ``errorType`` of the API.
    :ivar retry_after: seconds, or None.
    """

    status: int
    error_type: str
    message: str
    retry_after: int | None = None


TIMEOUT = 504
"""The status of the reply to a request that got no response before its deadline."""

UNKNOWN = LocalReply(503, "unavailable", "no Prometheus server is known; see /mpp/status", RETRY_AFTER_S)
BUG = LocalReply(500, "internal", "internal error of mpp, see its log")


def loop_detected(token: str) -> LocalReply:
    """
    Return the reply to a request that this mpp has sent itself.

    :param token: the token of this mpp: a probe that gets this reply recognizes by it that the backend is this mpp itself.
    """
    message = f"this request has come back to the mpp that sent it ({token}): it is listed among its own servers"
    return LocalReply(508, "loop", message)


def not_repeatable(last: str) -> LocalReply:
    """Return the reply to a request that may have been carried out and must not be repeated."""
    message = f"the request may have been carried out, its answer is lost; it is not repeated; last: {last}"
    return LocalReply(502, "unavailable", message)


def query_of_death(crashes: int, servers: int, last: str) -> LocalReply:
    """
    Return the reply to a request that servers may have died of, so that it is not sent to another one.

    :param crashes: how often its connection broke, at least twice.
    :param servers: on how many different servers.
    """
    broken = f"{servers} servers broke off" if servers > 1 else f"one server broke off {crashes} times"
    message = f"{broken} under this request; it is not tried on another; last: {last}"
    return LocalReply(502, "unavailable", message)


def unauthorized(last: str) -> LocalReply:
    """Return the reply to a request for which all servers that were tried reject mpp's credentials."""
    return LocalReply(502, "unavailable", f"the servers refuse mpp's credentials; last: {last}")


def suspected(last: str) -> LocalReply:
    """
    Return the reply to a read that is not sent to the last healthy server, because another server may have died of it.

    :param last: how the attempt on the other server failed, in one line; empty if that was an attempt of another request.
    """
    when = "" if last else f"less than {REMEMBERED_S / 60:g} minutes ago "
    message = (
        f"{when}a server broke off while it ran this query, and may have died of it; it is not sent to the last healthy server"
    )
    return LocalReply(502, "unavailable", f"{message}; last: {last}" if last else message)


def exhausted(tried: int, last: str) -> LocalReply:
    """
    Return the reply to a request that failed on all servers that were tried.

    :param tried: the number of attempts.
    :param last: how the last attempt failed, in one line.
    """
    return LocalReply(503, "unavailable", f"no Prometheus server could answer, tried {tried}; last: {last}", RETRY_AFTER_S)


def deadline_exceeded(seconds: float, why: str, *, read: bool) -> LocalReply:
    """
    Return the reply to a request that got no response before its deadline.

    :param seconds: the time that the request had.
    :param why: what the request waited for, in one line.
    :param read: the request is a read; otherwise the reply says that it may have been carried out.
    """
    maybe = "" if read else ", the request may have been carried out"
    return LocalReply(TIMEOUT, "timeout", f"no answer within {seconds:g} s{maybe}: {why}")
