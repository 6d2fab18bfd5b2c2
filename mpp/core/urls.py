"""
Handles the URLs of APIs: hides their secrets, separates their credentials, resolves redirects. Pure.
"""

from __future__ import annotations

import base64
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit

from mpp.core.errors import DiscoveryError


def shown(url: str) -> str:
    """
    Return a URL without user, password, query and fragment.

    An ``@`` in the path may be the end of a password with a slash in it, so the text before it is left out, too.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        return "(an unreadable URL)"
    _, at, rest = parts.path.rpartition("@")
    if at:
        return f"{parts.scheme}://...@{rest}"
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def take_credentials(url: str) -> tuple[str, str]:
    """
    Separate user and password from a URL.

    :return: the URL without them, and the value of ``Authorization`` that is made of them; empty if the URL has none.
    """
    parts = urlsplit(url)
    userinfo, separator, netloc = parts.netloc.rpartition("@")
    if not separator:
        return url, ""
    user, _, password = userinfo.partition(":")
    return urlunsplit(parts._replace(netloc=netloc)), basic(unquote(user), unquote(password))


def basic(user: str, password: str) -> str:
    """Return the value of ``Authorization`` for HTTP basic (RFC 7617, in UTF-8)."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode("ascii")


def origin(url: str) -> tuple[str, str | None, int | None]:
    """Return the scheme, host and port of a URL. After a redirect to another origin, credentials are not sent again."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def redirected(url: str, location: str) -> str:
    """
    Return the target URL of a redirect, without user and password.

    :raise DiscoveryError: the target is no URL.
    """
    try:
        return take_credentials(urljoin(url, location))[0]
    except ValueError:
        raise DiscoveryError(f"{shown(url)}: redirects to an invalid URL") from None
