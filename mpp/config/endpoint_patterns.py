"""
Parses the URL patterns that operators write under ``backends`` in the configuration file. Pure.
"""

from __future__ import annotations

import re

from mpp.core.backend_url import host_of, port_of, prefix_of, refuse_what_is_not_an_address, split_scheme
from mpp.core.url_pattern import URLPattern, matches

_SCHEMES = ("http", "https")

# A host in brackets is an IPv6 address; the port follows the last colon outside of them.
_AUTHORITY = re.compile(r"(\[[^\]]*\]|[^:\[\]]*)(?::([^:\[\]]*))?")
_HOST = re.compile(r"[a-z0-9_.*-]+|\[[0-9a-f:.*]+\]")
_PORT = re.compile(r"[0-9*]{1,16}")


def parse_url_pattern(text: str) -> URLPattern:
    """
    Parse a URL pattern.

    :param text: ``http://prom-c:*``, ``https://*-b.example.org:443/tenant-*``, or ``*`` for every server. Without a path
        it matches every path; the path ``/`` matches servers without a prefix. If the text has no ``*``, the scheme may be
        missing; it is http then, as in ``--endpoint``.
    :raises ValueError: the text is no URL pattern; the message says what was expected, and never repeats a password.
    """
    text = text.strip()
    if text == "*":
        return URLPattern()
    starred = "*" in text
    scheme, rest = _scheme(text) if starred else split_scheme(text)
    refuse_what_is_not_an_address(rest)
    authority, slash, path = rest.partition("/")
    if starred and not scheme:
        raise ValueError("expected a scheme, http:// or https:// (or *:// for both), or * alone for every server")
    match = _AUTHORITY.fullmatch(authority)
    if match is None:
        raise ValueError("an IPv6 address needs brackets around it, like http://[2001:db8::5]:9090")
    if match[2] is None:
        raise ValueError("no port given; expected one, like http://prom-a:9090, or :* for every port")
    return URLPattern(scheme or "http", _host(match[1]), _port(match[2]), prefix_of(slash + path) if slash else "*")


def _scheme(text: str) -> tuple[str, str]:
    """Return the scheme (possibly a pattern; empty if it is missing) and the rest of the text."""
    scheme, separator, rest = text.partition("://")
    if not separator:
        return "", text
    if not any(matches(scheme.lower(), each) for each in _SCHEMES):
        raise ValueError("the scheme must be http, https, or *")
    return scheme.lower(), rest


def _host(text: str) -> str:
    if "*" not in text:
        host = host_of(text)
        return f"[{host}]" if ":" in host else host
    if _HOST.fullmatch(text.lower()) is None:
        raise ValueError(f"{text!r} is not a host name or address in which * stands for any characters")
    return text.lower()


def _port(text: str) -> str:
    if "*" not in text:
        return str(port_of(text))
    if _PORT.fullmatch(text) is None:
        raise ValueError(f"the port must be a number from 1 to 65535, or have * in place of digits, not {text!r}")
    return text
