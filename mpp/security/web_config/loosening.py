"""
The comparison of two web configurations: does the new one protect less? Pure functions.

A file that is being written, or was emptied by mistake, may look like one without protection. So a configuration that protects
less is activated only by an explicit reload, see `mpp.security.web_config.file`. Fewer or other users and another certificate
authority are ordinary changes: every client still needs a password or a certificate.
"""

from __future__ import annotations

from mpp.security.web_config.values import ClientAuth, TLSServer, WebConfig


def loosened(before: WebConfig, after: WebConfig) -> tuple[str, ...]:
    """Return a phrase, beginning with the key of the file, for each protection that ``before`` has and ``after`` lacks."""
    found = []
    if before.users and not after.users:
        found.append("basic_auth_users: no user is left, so no client would need a password")
    if before.tls is not None and after.tls is None:
        found.append("tls_server_config: TLS is switched off, so connections would not be encrypted")
    elif before.tls is not None and after.tls is not None:
        found += _certificates_loosened(before.tls, after.tls)
    return tuple(found)


def _certificates_loosened(before: TLSServer, after: TLSServer) -> list[str]:
    """Return the demands on client certificates that are dropped, as phrases."""
    found = []
    old, new = before.client_auth, after.client_auth
    if _demands(old) - _demands(new):
        found.append(f"tls_server_config.client_auth_type: {new.word} asks less of client certificates than {old.word}")
    elif new.required and before.allowed_sans is not None and after.allowed_sans is None:
        found.append("tls_server_config.client_allowed_sans: is removed, so client certificates with any name would be accepted")
    if new.verified and before.client_ca and not after.client_ca:
        found.append("tls_server_config.client_ca_file: is removed, so every authority that the system trusts would be accepted")
    return found


def _demands(auth: ClientAuth) -> set[str]:
    """Return the set of demands of a ``client_auth_type``, because Go's five types are only partly ordered."""
    demands = {"requested": auth is not ClientAuth.NONE, "required": auth.required, "verified": auth.verified}
    return {name for name, demanded in demands.items() if demanded}
