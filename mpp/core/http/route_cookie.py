"""
Renames the affinity cookie where one mpp stands in front of another. Pure; the value of the cookie is not used.

Both set a cookie of the same name, and a client keeps only the last one. The outer mpp therefore renames the cookies that its
servers set: ``MPP.Route`` from the server with the id ``0123`` reaches the client as ``MPP.Route-0123``. When the client returns
it, that server gets it back as ``MPP.Route``; other servers do not get it. Each mpp of a longer chain inserts the id of its own
server right behind ``MPP.Route``, and removes it again.
"""

from __future__ import annotations

import re

from mpp.core.model import Backend

ROUTE_COOKIE = b"MPP.Route"

_ANY_INNER = ROUTE_COOKIE + b"-"
# The name ends at the first "=", blanks around it do not belong to it (RFC 6265 section 5.2).
_set_by_an_mpp = re.compile(rb"[ \t]*MPP\.Route(?=[ \t]*=|-)").match


def to_server(value: bytes, backend: Backend) -> bytes:
    """
    Return the value of a ``Cookie`` field without the cookies that are not for this server; it may be empty.

    The cookie of this mpp and the cookies that other servers have set are removed; the cookie that this server has set gets its
    original name. All other cookies stay byte for byte.
    """
    if ROUTE_COOKIE not in value:
        return value
    kept = []
    inner = _ANY_INNER + backend.route
    for part in value.split(b";"):
        name = _name(part)
        if not _is_of_an_mpp(name):
            kept.append(part)
        elif name == inner or name.startswith(inner + b"-"):
            kept.append(part.replace(b"-" + backend.route, b"", 1))
    return b";".join(kept).strip()


def without_ours(value: bytes) -> bytes:
    """Return the value of a ``Cookie`` field without the cookies that this mpp or another one has set; it may be empty."""
    if ROUTE_COOKIE not in value:
        return value
    return b";".join(part for part in value.split(b";") if not _is_of_an_mpp(_name(part))).strip()


def _name(part: bytes) -> bytes:
    return part.partition(b"=")[0].strip()


def _is_of_an_mpp(name: bytes) -> bool:
    return name == ROUTE_COOKIE or name.startswith(_ANY_INNER)


def from_server(value: bytes, backend: Backend) -> bytes:
    """Return the value of a server's ``Set-Cookie`` field; the server's id is added to the name of a cookie of another mpp."""
    found = _set_by_an_mpp(value)
    if found is None:
        return value
    return b"%b-%b%b" % (value[: found.end()], backend.route, value[found.end() :])
