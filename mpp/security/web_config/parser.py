"""
The parser of web configuration files in the format of Prometheus' exporter-toolkit: from text to `WebConfig`. Pure functions.

An unknown key or a value of another type than expected is an error with its line and key; values that may be secret are not
shown. See https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping

from mpp.core.model import Headers
from mpp.core.text.values import parse_count, parse_duration
from mpp.core.yaml.events import PlainYAMLError, Table, read_yaml
from mpp.security.web_config.ciphers import CIPHERS, CURVES, TLS_13, TOO_OLD, VERSIONS
from mpp.security.web_config.sections import WebConfigError, WebConfigSection, choice, kind
from mpp.security.web_config.values import ClientAuth, PEMSource, RateLimit, TLSServer, WebConfig

# The deepest nesting of the YAML: sections, keys, lists or headers, and one level more than they need.
_DEPTH = 5

_SECTIONS = ("tls_server_config", "http_server_config", "basic_auth_users", "rate_limit")

_BCRYPT = re.compile(r"\$2[aby]\$(0[4-9]|[12][0-9]|3[01])\$[./A-Za-z0-9]{53}")
_HASH = "a bcrypt hash ($2y$10$ and 53 more characters)"

_TLS_KEYS = (
    *("cert", "key", "client_ca", "cert_file", "key_file", "client_auth_type", "client_ca_file", "client_allowed_sans"),
    *("min_version", "max_version", "cipher_suites", "prefer_server_cipher_suites", "curve_preferences"),
)
# Each of these keys switches TLS on.
_TLS_SWITCHES = ("cert", "key", "client_ca", "cert_file", "key_file", "client_auth_type", "client_ca_file")

# The permitted header fields, each with its permitted values; an empty tuple permits any value.
_HEADERS: Mapping[str, tuple[str, ...]] = {
    "Content-Security-Policy": (),
    "X-Frame-Options": ("deny", "sameorigin"),
    "X-Content-Type-Options": ("nosniff",),
    "X-XSS-Protection": (),
    "Strict-Transport-Security": (),
}
_AUTH = {each.word: each for each in ClientAuth} | {"RequireClientCert": ClientAuth.REQUIRE_ANY}


def read_web_config(text: str, folder: str) -> WebConfig:
    """
    Parse the text of a web configuration file.

    :param folder: the directory of the file, to which its relative paths refer.
    :raise WebConfigError: the first error in the text.
    """
    try:
        root = read_yaml(text, depth=_DEPTH)
    except PlainYAMLError as error:
        raise WebConfigError(str(error)) from None
    if root is not None and not isinstance(root, Table):
        raise WebConfigError(f"expected sections such as tls_server_config, found {kind(root)}")
    if not root:
        # An empty file was probably emptied by mistake or is being written; it does not mean that no protection is wanted.
        raise WebConfigError(f"has no key at all; expected {', '.join(_SECTIONS)}; to protect nothing, basic_auth_users: {{}}")
    sections = WebConfigSection("", root, _SECTIONS)
    tls = _tls(sections.section("tls_server_config", _TLS_KEYS), folder)
    users = _users(sections.section("basic_auth_users", None, expected="user names with bcrypt hashes, or {} for no user"))
    http = sections.section("http_server_config", ("http2", "headers"))
    return WebConfig(
        tls=tls,
        users=users,
        headers=_headers(http.section("headers", tuple(_HEADERS))),
        rate_limit=_rate_limit(sections.section("rate_limit", ("interval", "burst"))),
        notes=(*_unprotected(sections, tls, users), *_not_served(http)),
    )


def _unprotected(sections: WebConfigSection, tls: TLSServer | None, users: Mapping[bytes, bytes]) -> Iterator[str]:
    """Yield notes for the operator about empty sections, and about a file that protects nothing."""
    if tls is None and not users:
        yield "nothing is protected: there is no user in basic_auth_users, and no certificate in tls_server_config"
    elif "basic_auth_users" in sections.given and not users:
        yield f"line {sections.line('basic_auth_users')}: basic_auth_users: is empty, so clients need no password"
    elif "tls_server_config" in sections.given and tls is None:
        yield f"line {sections.line('tls_server_config')}: tls_server_config: is empty, so connections are not encrypted"


def _not_served(http: WebConfigSection) -> Iterator[str]:
    if http.truth("http2", False):
        yield f"line {http.line('http2')}: http_server_config.http2: HTTP/2 is not served, clients speak HTTP/1.1"


def _tls(section: WebConfigSection, folder: str) -> TLSServer | None:
    auth = section.of("client_auth_type", lambda text: _AUTH[choice(text, _AUTH, "client_auth_type")], ClientAuth.NONE)
    ciphers, minimum = _ciphers(section, section.of("min_version", _version, 2))
    maximum = section.of("max_version", _version, 3)
    curves = _names(section, "curve_preferences", CURVES, "curve")
    sans = section.texts("client_allowed_sans")
    server_prefers = section.truth("prefer_server_cipher_suites", True)
    if not any(section.text(key) for key in _TLS_SWITCHES):
        if section.given:
            raise section.wrong(section.given[0], "has no effect without cert_file and key_file")
        return None
    certificate, key, authority = (_source(section, key, folder) for key in ("cert", "key", "client_ca"))
    for source, name in ((certificate, "cert"), (key, "key")):
        if not source:
            raise WebConfigError(f"tls_server_config: {name}_file (or {name}) is missing")
    if minimum > maximum:
        raise section.wrong("max_version" if "max_version" in section.given else "min_version", "leaves no version of TLS")
    if authority and auth is ClientAuth.NONE:
        raise section.wrong(authority.key, "has no effect without client_auth_type")
    if sans is not None and not auth.required:
        raise section.wrong("client_allowed_sans", "requires client_auth_type RequireAnyClientCert or RequireAndVerifyClientCert")
    return TLSServer(certificate, key, authority, auth, sans, minimum, maximum, ciphers, curves, server_prefers)


def _source(section: WebConfigSection, name: str, folder: str) -> PEMSource:
    """Return a PEM source from its two keys; a path has precedence over a text, as in the toolkit."""
    path = section.text(f"{name}_file")
    if path:
        return PEMSource(f"{name}_file", os.path.join(folder, path), line=section.line(f"{name}_file"))
    return PEMSource(name, text=section.text(name), line=section.line(name))


def _version(text: str) -> int:
    if text in TOO_OLD:
        raise ValueError(f"{text} is not served: deprecated, and no client needs it; expected {' or '.join(VERSIONS)}")
    return VERSIONS[choice(text, VERSIONS, "version of TLS")]


def _names(section: WebConfigSection, key: str, names: Mapping[str, str], what: str) -> tuple[str, ...]:
    try:
        return tuple(names[choice(name, names, what)] for name in section.texts(key) or ())
    except ValueError as error:
        raise section.wrong(key, str(error)) from None


def _ciphers(section: WebConfigSection, minimum: int) -> tuple[tuple[str, ...], int]:
    """Return the ciphers for TLS 1.2 and the minimum version, which is TLS 1.3 if all listed ciphers are for it."""
    found = _names(section, "cipher_suites", {**CIPHERS, **dict.fromkeys(TLS_13, "")}, "cipher suite")
    chosen = tuple(filter(None, found))
    return chosen, 3 if found and not chosen else minimum


def _users(section: WebConfigSection) -> dict[bytes, bytes]:
    users = {}
    for name in section.given:
        hashed = section.text(name, _HASH)
        if ":" in name:
            raise section.wrong(name, "a user name with a colon cannot be sent")
        if not _BCRYPT.fullmatch(hashed):
            raise section.wrong(name, f"expected {_HASH}")
        users[name.encode()] = hashed.encode("ascii")
    return users


def _headers(section: WebConfigSection) -> Headers:
    fields = []
    for name in section.given:
        value, allowed = section.text(name), _HEADERS[name]
        if value and allowed and value not in allowed:
            raise section.wrong(name, f"expected {' or '.join(allowed)}, found {value[:60]!r}")
        if not value.isascii() or not value.isprintable():
            raise section.wrong(name, "expected printable ASCII on one line")
        if value:
            fields.append((name.encode("ascii"), value.encode("ascii")))
    return tuple(fields)


def _rate_limit(section: WebConfigSection) -> RateLimit | None:
    interval = section.of("interval", _interval, 0.0)
    burst = section.of("burst", parse_count, 0)
    if not interval:
        return None
    if not burst:
        raise section.wrong("burst" if "burst" in section.given else "interval", "a burst of 0 lets no request through")
    return RateLimit(interval, burst)


def _interval(text: str) -> float:
    if text.isdigit() and text != "0":
        raise ValueError(f"{text!r} has no unit (the toolkit takes it for nanoseconds); expected a duration such as 10ms")
    return parse_duration(text)
