"""
Matches servers against the URL of an entry under ``backends`` in the configuration file. Pure.

The module `mpp.config.endpoint_patterns` parses such a URL.
"""

from __future__ import annotations

from attrs import frozen

from mpp.core.model import Backend


@frozen
class URLPattern:
    """
    A pattern for the URLs of servers; the default matches every server.

    Each part is compared only with the same part of the server's URL: a path that looks like a host name must not make
    another server match. ``*`` stands for any number of characters within its part.

    :ivar scheme: ``http``, ``https``, or a pattern for it.
    :ivar host: in lower case; an IPv6 address in brackets.
    :ivar port: decimal digits without leading zeros, or a pattern for them.
    :ivar path: the prefix as `mpp.core.model.Backend` has it; empty for servers without a prefix, ``*`` for all.
    """

    scheme: str = "*"
    host: str = "*"
    port: str = "*"
    path: str = "*"

    def fits(self, backend: Backend) -> bool:
        """Return whether a server's URL matches."""
        host = f"[{backend.host}]" if ":" in backend.host else backend.host
        return (
            matches(self.scheme, backend.scheme)
            and matches(self.host, host)
            and matches(self.port, str(backend.port))
            and matches(self.path, backend.prefix)
        )


def matches(pattern: str, text: str) -> bool:
    """
    Return whether a whole text matches a pattern in which ``*`` stands for any characters.

    The time is proportional to the text: each piece between two stars is searched behind the one before it, and its first
    occurrence is as good as any later one. A regular expression would try all of them.
    """
    first, *others = pattern.split("*")
    if not others:
        return pattern == text
    *middle, last = others
    at, end = len(first), len(text) - len(last)
    if at > end or not (text.startswith(first) and text.endswith(last)):
        return False
    for piece in middle:
        at = text.find(piece, at, end)
        if at < 0:
            return False
        at += len(piece)
    return True
