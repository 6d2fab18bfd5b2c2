"""
Builds the head of requests that mpp itself makes, and recognizes requests that have returned to their sender. Pure.
"""

from __future__ import annotations

from mpp._version import __version__
from mpp.core.errors import LoopDetected
from mpp.core.http import headers, instance
from mpp.core.http.instance import Instance
from mpp.core.model import Backend, RequestInfo


def own_request_head(backend: Backend, path: str, sender: Instance) -> bytes:
    """
    Return the head of a request that mpp itself makes, including the empty line at its end.

    It asks for a response without compression: the response is small, or is scanned while it arrives.

    :param path: the path and query string, without the backend's prefix.
    :param sender: this mpp.
    """
    return (
        f"GET {backend.prefix}{path} HTTP/1.1\r\n"
        f"Host: {backend.netloc}\r\n"
        f"User-Agent: mpp/{__version__}\r\n"
        "Accept: application/json, text/plain;version=0.0.4;q=0.9, */*;q=0.1\r\n"
        "Accept-Encoding: identity\r\n"
        f"MPP-Instance: {sender.token}\r\n"
        "\r\n"
    ).encode("ascii")


def check_sender(info: RequestInfo, own: Instance) -> None:
    """
    Check that a received request was not made or forwarded by this mpp.

    :raise LoopDetected: this mpp has sent the request.
    """
    if own.is_in(headers.values(info.headers, instance.FIELD)):
        raise LoopDetected
