"""
Reads an ``http_config`` of the configuration file, in the form that Prometheus gives to it. Pure.

What it says is read here; for whom it counts is `mpp.config_backends`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from mpp.config_tree import Tree
from mpp.http_config import HTTPConfig

_SECRET = "a secret has no place in this file; give {} instead"
_NOT_SUPPORTED = "not supported"

_FORMS: Mapping[str, tuple[tuple[str, ...], dict[str, str]]] = {
    "basic_auth": (("username", "username_file", "password_file"), {"password": _SECRET.format("password_file")}),
    "authorization": (("type", "credentials_file"), {"credentials": _SECRET.format("credentials_file")}),
    "tls_config": (
        ("ca_file", "cert_file", "key_file", "server_name", "insecure_skip_verify", "min_version"),
        {
            "ca": "not supported; give ca_file instead",
            "cert": "not supported; give cert_file instead",
            "key": _SECRET.format("key_file"),
            "max_version": _NOT_SUPPORTED,
        },
    ),
}
_HINTS = {
    "bearer_token": _SECRET.format("authorization with credentials_file"),
    "bearer_token_file": "not supported; give authorization with credentials_file instead",
    **dict.fromkeys(("oauth2", "proxy_url", "no_proxy", "proxy_from_environment", "proxy_connect_header"), _NOT_SUPPORTED),
    **dict.fromkeys(("follow_redirects", "enable_http2", "http_headers"), _NOT_SUPPORTED),
}
_FILES = ("username_file", "password_file", "credentials_file", "ca_file", "cert_file", "key_file")


def read_http_config(parent: Tree, folder: str) -> HTTPConfig:
    """
    Read the ``http_config`` that a mapping has; what is wrong is noted there.

    :param folder: where relative paths begin.
    """
    tree = parent.inside("http_config")
    if tree is None:
        return HTTPConfig()
    mistakes = len(tree.errors)
    found: dict[str, object] = {}
    places: dict[str, str] = {}
    for form in tree.keys(_FORMS, _HINTS):
        inner = tree.inside(form)
        for key in inner.keys(*_FORMS[form]) if inner is not None else ():
            assert inner is not None
            name = "auth_type" if key == "type" else key
            places[name] = inner.where(key)
            found[name] = inner.boolean(key) if key == "insecure_skip_verify" else inner.text(key)
            if key in _FILES and found[name]:
                found[name] = os.path.join(folder, str(found[name]))
        if inner is not None:
            _check(form, inner)
    if "basic_auth" in tree.table and "authorization" in tree.table:
        tree.wrong("authorization", "given together with basic_auth; only one of them can be used")
    if len(tree.errors) > mistakes:
        # With a part of it missing, more would seem to be wrong than is.
        return HTTPConfig()
    return HTTPConfig(**found, places=places)  # type: ignore[arg-type]


def _check(form: str, inner: Tree) -> None:
    """Note what is missing, and what cannot be."""
    table = inner.table
    if form == "basic_auth":
        if "username" not in table and "username_file" not in table:
            inner.wrong("username", "missing")
        if "password_file" not in table and "password" not in table:
            inner.wrong("password_file", "missing")
    elif form == "authorization":
        if "credentials_file" not in table and "credentials" not in table:
            inner.wrong("credentials_file", "missing")
        if "type" in table and inner.text("type").lower() == "basic":
            inner.wrong("type", "is for other schemes; give basic_auth instead")
    else:
        for key, other in (("cert_file", "key_file"), ("key_file", "cert_file")):
            if key in table and other not in table:
                inner.wrong(other, f"missing; a {key} is of no use without it")
        if "min_version" in table and inner.text("min_version") not in ("TLS12", "TLS13"):
            inner.wrong("min_version", "expected TLS12 or TLS13; mpp speaks nothing older")
