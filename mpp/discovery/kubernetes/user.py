"""
The parser of a kubeconfig's user: credentials, impersonation, or the plugin that issues credentials. Sends and runs nothing.
"""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from attrs import field, frozen

from mpp.core.errors import ConfigError
from mpp.core.urls import basic
from mpp.discovery.kubernetes.kubeconfig import OPTION, KubeconfigEntry, read_text
from mpp.wire.tls import TLSPolicy

EXEC_EXTENSION = "client.authentication.k8s.io/exec"
_VERSIONS = tuple(f"client.authentication.k8s.io/{version}" for version in ("v1", "v1beta1"))

# RFC 6750 section 2.1; an invalid token is put neither into a header nor into a message.
_TOKEN = re.compile(r"[!-~]+\Z")


@frozen
class ExecPlugin:
    """
    A program that issues credentials (https://kubernetes.io/docs/reference/access-authn-authz/authentication/, client-go
    credential plugins).

    :ivar where: the kubeconfig and the key in it, for error messages.
    :ivar command: a path, or a name to be looked up in PATH.
    :ivar environ: variables added to mpp's environment, ``KUBERNETES_EXEC_INFO`` included.
    """

    where: str
    api_version: str
    command: str
    arguments: tuple[str, ...] = field(default=(), repr=False)
    environ: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    install_hint: str = ""


def bearer(token: str, where: str) -> str:
    """
    Return the value of the ``Authorization`` header for a token.

    :param where: the file, or the file and the key in it, from which the token comes, for the error.
    :raise ConfigError: the token is not valid.
    """
    if _TOKEN.match(token) is None:
        raise ConfigError(OPTION, f"{where}: not a token: it has blanks or other characters that no token has")
    return f"Bearer {token}"


def authorization(user: KubeconfigEntry) -> str:
    """Return the value of the ``Authorization`` header for a user; empty if the user has neither token nor password."""
    user.refuse("auth-provider", "not supported, and removed from kubectl 1.26; use exec")
    token_file = user.file("tokenFile")
    has_token = bool(token_file or user.text("token"))
    name, password = user.text("username"), user.text("password")
    if has_token and (name or password):
        raise user.error("token", "a token and a username or password are set; expected one")
    if token_file:
        # Preferred by kubectl, too, because it is the one that is replaced regularly.
        try:
            return bearer(read_text(token_file), token_file)
        except ConfigError as error:
            raise user.error("tokenFile", error.problem) from error
    if has_token:
        return bearer(user.text("token"), user.named("token"))
    return basic(name, password) if name or password else ""


def impersonation(user: KubeconfigEntry) -> tuple[tuple[str, str], ...]:
    """Return the names and values of the headers with which a user of the kubeconfig impersonates another one."""
    groups = user.texts("as-groups")
    extra = user.section("as-user-extra")
    headers = [("Impersonate-User", user.text("as"))] if user.text("as") else []
    headers += [("Impersonate-Uid", user.text("as-uid"))] if user.text("as-uid") else []
    headers += [("Impersonate-Group", group) for group in groups]
    for key in () if extra is None else extra.value:
        headers += [(f"Impersonate-Extra-{quote(str(key), safe='')}", each) for each in extra.texts(key)]  # type: ignore[union-attr]
    if headers and not user.text("as"):
        raise user.error("as", "missing, and there are groups, a uid or more to impersonate")
    if not all(value.isprintable() for _, value in headers):
        raise user.error("as", "as, as-uid, as-groups or as-user-extra has control characters; expected printable text")
    return tuple(headers)


def read_plugin(user: KubeconfigEntry, cluster_info: Callable[[], dict[str, Any]]) -> ExecPlugin | None:
    """
    Return the credential plugin of a user; None if it has none, or has a token or a user name, which take precedence.

    :param cluster_info: returns the cluster information for the plugin, if it is requested.
    """
    section = user.section("exec")
    if section is None:
        return None
    if user.text("token") or user.text("tokenFile") or user.text("username"):
        # As with kubectl: a token takes precedence over a plugin.
        return None
    version = section.text("apiVersion")
    if version not in _VERSIONS:
        raise section.error("apiVersion", f"{version!r} is not supported; expected {' or '.join(_VERSIONS)}")
    command = section.text("command")
    if not command:
        raise section.error("command", "missing")
    if section.text("interactiveMode") == "Always":
        raise section.error("interactiveMode", "the plugin always needs a terminal, and mpp has none")
    if os.sep in command:
        command = section.file("command")
    info = {"apiVersion": version, "kind": "ExecCredential", "spec": {"interactive": False}}
    if section.flag("provideClusterInfo"):
        info["spec"] = {"cluster": cluster_info(), "interactive": False}
    variables = [(each.text("name"), each.text("value")) for each in section.sections("env")]
    return ExecPlugin(
        where=section.named("command"),
        api_version=version,
        command=command,
        arguments=section.texts("args"),
        environ=(*variables, ("KUBERNETES_EXEC_INFO", json.dumps(info, default=str))),
        install_hint=section.text("installHint"),
    )


def tls_info(tls: TLSPolicy) -> dict[str, Any]:
    """Return the TLS information for a plugin (client.authentication.k8s.io, type Cluster)."""
    info: dict[str, Any] = {"insecure-skip-tls-verify": tls.insecure, "tls-server-name": tls.server_name}
    if tls.ca is not None:
        info["certificate-authority-data"] = base64.b64encode(tls.ca).decode("ascii")
    return {key: value for key, value in info.items() if value}
