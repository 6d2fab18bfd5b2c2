"""
Parses the text of one endpoint, as operators write it, into a `Backend`. Pure; shared by all locators that read
addresses as text.

Accepted are ``http://`` and ``https://`` URLs with an optional path prefix, and ``host:port`` (meaning http). A URL without
a port has its scheme's, 80 or 443, as everywhere else. A bare ``host`` is rejected: whether 80 or 9090 was meant is a
guess, and a wrong guess would be noticed late.
"""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import quote

from mpp.core.model import Backend

_DEFAULT_PORTS = {"http": 80, "https": 443}

# RFC 1123 labels, and the underscore that Docker Compose and Windows put into names.
_HOST_NAME = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*\.?\Z"
)
_AUTHORITY = re.compile(r"(?P<host>\[[^\]]*\]|[^:\[\]]*)(?::(?P<port>.*))?\Z")
# RFC 3986 section 3.3: what may stand in a path as it is; "%" because it was checked before.
_PATH_SAFE = "/!$&'()*+,;=:~%"
_UNRESERVED = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~")


def parse_endpoint(text: str) -> Backend:
    """
    Parse the text of one endpoint.

    :param text: ``https://prom-a:9090/prometheus``, ``prom-a:9090``, ``[::1]:9090``; surrounding blanks are ignored.
    :raises ValueError: the text is no endpoint; the message says what was expected, and never repeats a password.
    """
    text = text.strip()
    scheme, rest = split_scheme(text)
    refuse_what_is_not_an_address(rest)
    authority, slash, path = rest.partition("/")
    match = _AUTHORITY.match(authority)
    if match is None or (authority.count(":") > 1 and not authority.startswith("[")):
        raise ValueError("an IPv6 address needs brackets around it, like [2001:db8::5]:9090")
    return Backend(scheme or "http", host_of(match["host"]), port_of(match["port"], scheme), prefix_of(slash + path))


def split_scheme(text: str) -> tuple[str, str]:
    """
    Split a URL into its lower-case scheme, empty if it has none, and the rest.

    :raises ValueError: the scheme is neither http nor https.
    """
    scheme, separator, rest = text.partition("://")
    if not separator:
        return "", text
    if scheme.lower() not in _DEFAULT_PORTS:
        raise ValueError("the scheme must be http or https")
    return scheme.lower(), rest


def refuse_what_is_not_an_address(rest: str) -> None:
    """
    Check that the part of a URL behind its scheme has only a host, a port and a path.

    :raises ValueError: it has a user name, a query, a fragment, or blanks; the message repeats no part of the URL.
    """
    if "@" in rest:
        # Looked for everywhere, since a password may contain the characters that would end the authority.
        raise ValueError("a user name and password in the URL are not supported (write a literal @ in a path as %40)")
    if "?" in rest or "#" in rest:
        raise ValueError("an endpoint must not have a query (?) or fragment (#)")
    if any(character.isspace() or not character.isprintable() for character in rest):
        raise ValueError("expected one endpoint, found blanks or control characters inside it")


def host_of(text: str) -> str:
    """
    Return a host name or IP address in the form that `mpp.core.model.Backend` requires.

    :param text: an IPv6 address is in brackets; the result has no brackets.
    :raises ValueError: the text is no host name and no IP address.
    """
    if text.startswith("["):
        return _ipv6(text[1:-1])
    host = text.lower()
    if not host:
        raise ValueError("expected a host name or address, like prom-a:9090 or https://prom-a:9090/prefix")
    if host.isascii() and not host.strip("0123456789."):
        return _ipv4(host)
    if not host.isascii():
        raise ValueError("a host name must be ASCII; write an international one in its xn-- form")
    if _HOST_NAME.match(host) is None:
        raise ValueError(f"{text!r} is not a host name")
    return host


def _ipv4(text: str) -> str:
    try:
        return str(ipaddress.IPv4Address(text))
    except ValueError:
        raise ValueError(f"{text!r} is not an IPv4 address") from None


def _ipv6(text: str) -> str:
    if "%" in text:
        raise ValueError("an IPv6 address with a zone (%) is not supported")
    try:
        return str(ipaddress.IPv6Address(text))
    except ValueError:
        raise ValueError(f"{text!r} is not an IPv6 address") from None


def port_of(text: str | None, scheme: str = "") -> int:
    """
    Return the port number that a text contains.

    :param text: None for the default port of the scheme.
    :raises ValueError: the text is no port number, or text and scheme are both missing.
    """
    if text is None:
        if not scheme:
            raise ValueError("no port given: expected host:port, like prom-a:9090, or a URL")
        return _DEFAULT_PORTS[scheme]
    # No more than 5 digits: int() would accept any number of leading zeros, and other scripts' digits.
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and 1 <= int(text) <= 65535):
        raise ValueError(f"the port must be a number from 1 to 65535, not {text!r}")
    return int(text)


def prefix_of(path: str) -> str:
    """
    Return a path prefix in one spelling: no trailing slash, percent-encoding only where it is needed (RFC 3986 section 6.2.2).

    :raises ValueError: the path has an incomplete percent-encoding, or an empty, ``.`` or ``..`` segment.
    """
    path = path.rstrip("/")
    if re.search(r"%(?![0-9A-Fa-f]{2})", path):
        raise ValueError("the path has a % that is not followed by two hexadecimal digits")
    path = quote(re.sub(r"%[0-9A-Fa-f]{2}", _one_spelling, path), safe=_PATH_SAFE)
    if {"", ".", ".."}.intersection(path.split("/")[1:]):
        raise ValueError("the path must not contain empty, . or .. segments")
    return path


def _one_spelling(escape: re.Match[str]) -> str:
    character = chr(int(escape[0][1:], 16))
    return character if character in _UNRESERVED else escape[0].upper()
