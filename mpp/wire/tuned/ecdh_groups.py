"""
The ECDH groups of a TLS context. pyOpenSSL can set a single one, so a list is set through its private parts.

If these are not as expected, only one group is set: the first in the list that is P-256, P-384 or P-521.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL

_ALONE = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}


def set_curves(context: SSL.Context, names: Sequence[str]) -> bool:
    """
    Set the ECDH groups of a context, in the order of preference.

    :param names: OpenSSL's names: ``X25519``, ``P-256`` and so on.
    :return: False if no group could be set.
    """
    private: Any = SSL
    try:
        return bool(private._lib.SSL_CTX_set1_curves_list(context._context, ":".join(names).encode()))
    except (AttributeError, TypeError):
        return _set_first(context, names)


def _set_first(context: SSL.Context, names: Sequence[str]) -> bool:
    curve = next((_ALONE[name] for name in names if name in _ALONE), None)
    if curve is None:
        return False
    context.set_tmp_ecdh(curve)
    return True
