"""
Which elliptic curves a TLS context takes. pyOpenSSL can set a single one; the rest leans on its private parts.

If those are not as expected, the most preferred curve is the only one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL

_ALONE = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}


def set_curves(context: SSL.Context, names: Sequence[str]) -> bool:
    """
    Have a context take these curves, in this order of preference.

    :param names: OpenSSL's: ``X25519``, ``P-256`` and so on.
    :return: whether they could be set.
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
