"""
Decides whether a web configuration protects less than another one. Pure; knows neither files nor connections.

A file that is being written, or was emptied by mistake, looks like one that asks nothing of clients. So what protects less comes
into force by an explicit reload only, see `mpp.security.web_config.file`. Fewer users, other users and another authority do not
count: this is what operators change every day, and each of them still asks every client for a password or a certificate.
"""

from __future__ import annotations

from mpp.security.web_config.values import ClientAuth, TLSServer, WebConfig


def loosened(before: WebConfig, after: WebConfig) -> tuple[str, ...]:
    """Return what ``after`` asks less of clients than ``before``, one phrase for each with the key; empty if nothing."""
    found = []
    if before.users and not after.users:
        found.append("basic_auth_users: no user is left, so nobody would be asked for a password")
    if before.tls is not None and after.tls is None:
        found.append("tls_server_config: TLS is gone, so connections would not be encrypted")
    elif before.tls is not None and after.tls is not None:
        found += _certificates_loosened(before.tls, after.tls)
    return tuple(found)


def _certificates_loosened(before: TLSServer, after: TLSServer) -> list[str]:
    """Return what is asked less of client certificates."""
    found = []
    old, new = before.client_auth, after.client_auth
    if _demands(old) - _demands(new):
        found.append(f"tls_server_config.client_auth_type: {new.word} asks less of client certificates than {old.word}")
    elif new.required and before.allowed_sans is not None and after.allowed_sans is None:
        found.append("tls_server_config.client_allowed_sans: is gone, so a client certificate with any name would do")
    if new.verified and before.client_ca and not after.client_ca:
        found.append("tls_server_config.client_ca_file: is gone, so every authority that the system trusts would do")
    return found


def _demands(auth: ClientAuth) -> set[str]:
    """Return what a ``client_auth_type`` demands; Go's five types are only partly ordered."""
    demands = {"requested": auth is not ClientAuth.NONE, "required": auth.required, "verified": auth.verified}
    return {name for name, demanded in demands.items() if demanded}
