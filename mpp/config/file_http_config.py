"""
Reads an ``http_config`` of the configuration file, in the format of Prometheus. Pure.

`mpp.config.file_backends` decides to which backends it applies.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from attrs import evolve

from mpp.core.http.headers import REQUEST_DROPPED, field_value
from mpp.core.http_config import FILES, ConfiguredHeader, HTTPConfig
from mpp.core.text.server_name import ServerName
from mpp.core.yaml.mapping import MappingReader, kind_of

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
    **dict.fromkeys(("follow_redirects", "enable_http2"), _NOT_SUPPORTED),
}

_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}")
# The header fields that Prometheus rejects for its own requests, in prometheus/common; SigV4 sets the ones in the last line.
_RESERVED = frozenset(
    (
        *(
            "authorization",
            "host",
            "content-encoding",
            "content-length",
            "content-type",
            "user-agent",
            "connection",
            "keep-alive",
        ),
        *("proxy-authenticate", "proxy-authorization", "www-authenticate", "accept-encoding"),
        *(f"x-prometheus-{name}" for name in ("remote-write-version", "remote-read-version", "scrape-timeout-seconds")),
        *("x-amz-date", "x-amz-security-token", "x-amz-content-sha256"),
    )
) | frozenset(name.decode("ascii") for name in REQUEST_DROPPED)


def read_http_config(parent: MappingReader, folder: str) -> HTTPConfig:
    """
    Read the ``http_config`` in a mapping. Errors are added to ``parent.errors``.

    :param folder: the folder at which relative paths start.
    """
    tree = parent.inside("http_config")
    if tree is None:
        return HTTPConfig()
    mistakes = len(tree.errors)
    found: dict[str, object] = {}
    places: dict[str, str] = {}
    for form in tree.keys((*_FORMS, "http_headers"), _HINTS):
        if form == "http_headers":
            found["headers"] = _headers(tree, folder, places)
            continue
        inner = tree.inside(form)
        for key in inner.keys(*_FORMS[form]) if inner is not None else ():
            assert inner is not None
            name = "auth_type" if key == "type" else key
            places[name] = inner.where(key)
            found[name] = inner.boolean(key) if key == "insecure_skip_verify" else inner.text(key)
            if key in FILES and found[name]:
                found[name] = os.path.join(folder, str(found[name]))
        if inner is not None:
            _check(form, inner)
    if "basic_auth" in tree.table and "authorization" in tree.table:
        tree.wrong("authorization", "given together with basic_auth; only one of them can be used")
    if len(tree.errors) > mistakes:
        # An incomplete http_config would cause further errors.
        return HTTPConfig()
    return HTTPConfig(**found, places=places)  # type: ignore[arg-type]


def _headers(parent: MappingReader, folder: str, places: dict[str, str]) -> tuple[ConfiguredHeader, ...]:
    """Read the ``http_headers`` of an ``http_config``. Error messages repeat no values, which may be secrets."""
    tree = evolve(parent, found=kind_of).inside("http_headers")
    headers: dict[str, ConfiguredHeader] = {}
    for number, name in enumerate(tree.table if tree is not None else (), start=1):
        assert tree is not None
        if _HEADER.fullmatch(name) is None:
            parent.wrong("http_headers", f"entry {number}: expected the name of a header, such as X-Scope-OrgID")
            continue
        if name.lower() in _RESERVED:
            hint = "; give basic_auth or authorization instead" if name.lower() == "authorization" else ""
            tree.wrong(name, f"a reserved header, which cannot be set{hint}")
        if name.lower() in headers:
            tree.wrong(name, "is there for the second time; upper and lower case make no difference")
        inner = tree.inside(name)
        if inner is not None:
            headers[name.lower()] = header = _header(inner, name, folder)
            places[header.place] = inner.where("files")
    return tuple(headers.values())


def _header(tree: MappingReader, name: str, folder: str) -> ConfiguredHeader:
    found: dict[str, tuple[str, ...]] = {key: tree.texts(key) for key in tree.keys(("values", "secrets", "files"))}
    if not tree.table:
        tree.wrong("values", "missing; expected values, secrets or files")
    for key in ("values", "secrets"):
        for text in found.get(key, ()):
            try:
                field_value(text)
            except ValueError as error:
                tree.wrong(key, str(error))
    files = tuple(os.path.join(folder, path) for path in found.pop("files", ()))
    return ConfiguredHeader(name, files=files, **found)


def _check(form: str, inner: MappingReader) -> None:
    """Add errors for missing keys, and for keys that contradict each other."""
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
        if "server_name" in table and not _is_server_name(inner.text("server_name")):
            inner.wrong("server_name", "expected a host name or an IP address, such as prom.example.org")


def _is_server_name(text: str) -> bool:
    try:
        return not text or bool(ServerName.parse(text))
    except ValueError:
        return False
